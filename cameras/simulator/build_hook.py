"""Compiles the simulator's GenTL producer, ``simcam.cti``, with the C compiler in PyPI's ziglang: no system compiler.

Hatchling calls `ProducerBuildHook` for wheels and editable installs; developers run this file.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ModuleNotFoundError:  # run by a developer: only a build by pip brings hatchling
    BuildHookInterface = object

HERE = Path(__file__).resolve().parent
PRODUCER = HERE / "simcam.cti"
GLIBC = "2.17"  # what manylinux2014 promises, so that one wheel runs on every supported Linux
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wno-sign-conversion", "-Werror")


def sources() -> list[Path]:
    """Everything the producer is made from: C files, headers, and the description that registers.c embeds."""
    return sorted(path for pattern in ("*.c", "*.h", "*.xml") for path in HERE.glob(pattern))


def build() -> Path:
    """Compile the producer unless it is newer than its sources; the path of the .cti.

    Raises subprocess.CalledProcessError if the compiler refuses, after it has printed why.
    """
    inputs = [*sources(), Path(__file__)]
    if PRODUCER.exists() and PRODUCER.stat().st_mtime > max(path.stat().st_mtime for path in inputs):
        return PRODUCER
    partial = PRODUCER.with_suffix(".partial")  # a process that has the old file loaded keeps it
    command = [sys.executable, "-m", "ziglang", "cc", "-target", f"{platform.machine()}-linux-gnu.{GLIBC}"]
    command += ["-shared", "-s", "-fPIC", "-fvisibility=hidden", "-O2", "-std=c23", *WARNINGS, "-o", str(partial)]
    command += [path.name for path in sources() if path.suffix == ".c"]
    subprocess.run([*command, "-lpthread", "-lm"], cwd=HERE, check=True)
    partial.replace(PRODUCER)
    return PRODUCER


class ProducerBuildHook(BuildHookInterface):
    """Puts the producer into the wheel and marks the wheel as one for this kind of machine."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        build()
        build_data["pure_python"] = False
        glibc = GLIBC.replace(".", "_")
        build_data["tag"] = f"py3-none-manylinux_{glibc}_{platform.machine()}"


if __name__ == "__main__":
    sys.stdout.write(f"{build()}\n")
