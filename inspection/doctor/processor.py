"""The processor: what it can compute with, and whether it may."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from inspection.doctor.findings import Finding, ok, warning

AREA = "processor"
_SETS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


@dataclass(frozen=True, slots=True)
class ProcessorFacts:
    """``cores``: those this process may use. ``sets``: of AVX2, AVX-512, bf16 and AMX. ``precision``: what models are computed
    in. ``governors``: of the cores that have one.
    """

    machine: str
    model: str
    cores: int
    sets: tuple[str, ...]
    precision: str
    governors: frozenset[str]
    preference: frozenset[str]
    virtual: bool


def probe() -> ProcessorFacts:
    from inspection.detector import processor_precisions

    lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    # The first processor's; the others say the same.
    told = {key.strip(): value.strip() for key, colon, value in (line.partition(":") for line in reversed(lines)) if colon}
    flags = set(told.get("flags", "").split())
    return ProcessorFacts(
        platform.machine(),
        told.get("model name", "unnamed"),
        len(os.sched_getaffinity(0)),
        tuple(name for name in _SETS if name in flags),
        processor_precisions()[0],
        _of_cores("scaling_governor"),
        _of_cores("energy_performance_preference"),
        "hypervisor" in flags,
    )


def _of_cores(name: str) -> frozenset[str]:
    files = Path("/sys/devices/system/cpu").glob(f"cpu[0-9]*/cpufreq/{name}")
    return frozenset(file.read_text(encoding="ascii").strip() for file in files)


def judge(facts: ProcessorFacts) -> Iterator[Finding]:
    found = f"{facts.model}, {facts.cores} cores{', of a virtual machine' if facts.virtual else ''}"
    if facts.machine != "x86_64":
        yield warning(AREA, "model", f"{found}, {facts.machine}", "nothing was tried on this kind of machine; x86-64 is")
    elif facts.cores < 2:
        yield warning(AREA, "model", found, "give the station two cores or more: else everything waits for the detector")
    else:
        yield ok(AREA, "model", found)
    sets = ", ".join(facts.sets) or "none beyond SSE"
    if "avx2" not in facts.sets:
        yield warning(AREA, "instruction sets", sets, "expect several times fewer parts per second; take a processor with AVX2")
    else:
        yield ok(AREA, "instruction sets", f"{sets}; models are computed in {facts.precision}")
    if not facts.governors:
        yield ok(AREA, "frequency", "the machine lets nobody choose it")
    elif facts.governors == {"performance"} or facts.preference == {"performance"}:
        yield ok(AREA, "frequency", "governor: performance")
    else:
        yield warning(
            AREA,
            "frequency",
            f"governor: {', '.join(sorted(facts.governors))}: the clock falls between two parts, and each part pays for it",
            "cpupower frequency-set -g performance, at every start",
        )
