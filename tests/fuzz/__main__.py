"""``python -m tests.fuzz [NAME …] --minutes M``: atheris on each harness for M minutes, and what came of it.

Needs the extra ``fuzz`` of the package. Inputs that reached something new are kept under ``--corpus`` and begun with the next
time; an input that broke something is kept beside them, and ``--replay FILE`` runs one harness on it. Ends with 1 if anything
broke.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzz.common import TOP

# Below the memory of any machine that the station runs on.
_MEMORY_MB, _LONGEST_INPUT, _HANGS_S = 2_500, 65_536, 30
_DONE = re.compile(r"Done (\d+) runs")
_COVERAGE = re.compile(r"#(\d+)\s.*?cov: (\d+) ft: (\d+)")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", help="harnesses; without, all of them")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--corpus", type=Path, default=TOP / ".fuzz")
    parser.add_argument("--replay", type=Path, help="run the one harness named on this file, without atheris")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        return fuzz(options.names[0], options.corpus, options.minutes)
    from tests.fuzz.harnesses import HARNESSES

    unknown = set(options.names) - set(HARNESSES)
    if unknown:
        parser.error(f"no harness is named {', '.join(sorted(unknown))}; there are {', '.join(HARNESSES)}")
    if options.replay:
        HARNESSES[options.names[0]].run(options.replay.read_bytes())
        return 0
    return report(options.names or list(HARNESSES), options.corpus, options.minutes)


def report(names: list[str], corpus: Path, minutes: float) -> int:
    """Each in a process of its own, so that one that ends the interpreter ends no other; a line for each."""
    broken = 0
    say(f"{'harness':16}{'minutes':>8}{'executions':>13}{'edges':>8}{'features':>10}{'kept':>7}  result")
    for name in names:
        kept, findings = corpus / name, corpus / f"{name}.broken"
        kept.mkdir(parents=True, exist_ok=True)
        findings.mkdir(exist_ok=True)
        known = set(findings.iterdir())
        begun = time.monotonic()
        command = [sys.executable, "-m", "tests.fuzz", name, "--inside", "--minutes", str(minutes), "--corpus", str(corpus)]
        # As without a user's settings; the network harness would else report its use.
        done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, errors="replace", check=False)
        output = done.stdout + done.stderr
        (corpus / f"{name}.log").write_text(output, encoding="utf-8")
        reached = _COVERAGE.findall(output)
        runs = _DONE.search(output)
        executions = int(runs[1]) if runs else int(reached[-1][0]) if reached else 0
        edges, features = (reached[-1][1], reached[-1][2]) if reached else ("0", "0")
        new = sorted(set(findings.iterdir()) - known)
        failed = done.returncode != 0 or bool(new)
        broken += failed
        result = f"BROKEN: {', '.join(str(each) for each in new) or corpus / f'{name}.log'}" if failed else "nothing found"
        spent = (time.monotonic() - begun) / 60
        say(f"{name:16}{spent:8.1f}{executions:13,}{edges:>8}{features:>10}{len(list(kept.iterdir())):7}  {result}")
    return 1 if broken else 0


def fuzz(name: str, corpus: Path, minutes: float) -> int:
    import atheris

    # What the harness tests, and no library: their branches would drown those of the station.
    with atheris.instrument_imports(include=["inspection", "cameras", "PIL", "asyncua", "pymodbus", "tomlkit", "tomllib"]):
        for module in _MODULES.get(name, ()):
            importlib.import_module(module)
        from tests.fuzz.harnesses import HARNESSES

        harness = HARNESSES[name]
        seeds = harness.seeds()
        for number, seed in enumerate(seeds):
            (corpus / name / f"seed-{number}").write_bytes(seed)
        harness.run(seeds[0])
    # What is refused is also logged, a million times.
    logging.disable()
    arguments = [
        f"-max_total_time={int(minutes * 60)}",
        f"-rss_limit_mb={_MEMORY_MB}",
        f"-timeout={_HANGS_S}",
        f"-max_len={_LONGEST_INPUT}",
        f"-artifact_prefix={corpus / f'{name}.broken'}{os.sep}",
        "-print_final_stats=1",
        str(corpus / name),
    ]
    atheris.Setup([name, *arguments], harness.run)
    atheris.Fuzz()
    return 0


_MODULES = {"image_file": ("PIL.PngImagePlugin", "PIL.TiffImagePlugin", "PIL.BmpImagePlugin", "PIL.JpegImagePlugin")}


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
