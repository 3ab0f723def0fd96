"""``station bench memory``: what each process of a line holds while parts come at one rate, and how fast that grows.

Private memory is what counts: rings are shared and of fixed size, and pages of files and libraries can be dropped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inspection.bench.line import LineRun, run_parts
from inspection.bench.station import Sensor, bench_model, bench_station

SETTLING_S = 300.0
"""Left out of the slope: queues, caches and pools fill. Of a shorter run, the first twelfth."""
_SAMPLES = 360


@dataclass(frozen=True, slots=True)
class Growth:
    """Private memory of one process in bytes, sampled at even distances; ``slope_per_hour`` is that of the least squares
    after settling, in bytes, and ``slope_error`` its standard error as if samples were independent."""

    samples: tuple[int, ...]
    settled: int
    last: int
    slope_per_hour: float
    slope_error: float


@dataclass(frozen=True, slots=True)
class MemoryCase:
    sensor: Sensor
    seconds: float
    every_s: float
    run: LineRun
    processes: dict[str, Growth]


def measure(directory: Path, sensor: Sensor, rate: float, seconds: float, progress: Callable[[str], None]) -> MemoryCase:
    """One camera at ``rate`` parts per second. StationError if no model can be trained."""
    progress("model")
    model = bench_model(directory, sensor)
    every_s = seconds / _SAMPLES
    samples: list[tuple[float, dict[str, int]]] = []
    with bench_station(directory, model, sensor, 1) as station:
        done = threading.Event()
        started = time.monotonic()

        def sample() -> None:
            while not done.wait(max(0.0, started + every_s * (len(samples) + 1) - time.monotonic())):
                held = {name: private_bytes(process.pid) for name, process in station.by_name().items()}
                samples.append((time.monotonic() - started, held))
                total = sum(held.values()) / 2**20
                progress(f"{samples[-1][0] / 60:.0f} of {seconds / 60:.0f} minutes, {total:.0f} MiB in {len(held)} processes")

        sampler = threading.Thread(target=sample)
        sampler.start()
        try:
            run = run_parts(station, rate, seconds)
        finally:
            done.set()
            sampler.join()
    names = samples[-1][1]
    return MemoryCase(sensor, seconds, every_s, run, {name: growth(samples, name, seconds) for name in names})


def growth(samples: Sequence[tuple[float, dict[str, int]]], name: str, seconds: float) -> Growth:
    """Of the process of that name, from (seconds since the start, bytes by process)."""
    held = [(at, by_name[name]) for at, by_name in samples if name in by_name]
    settled = [each for each in held if each[0] >= min(SETTLING_S, seconds / 12)]
    hours, values = np.array([at / 3600 for at, _ in settled]), np.array([value for _, value in settled], np.float64)
    (slope, _), covariance = np.polyfit(hours, values, 1, cov=True)
    return Growth(
        tuple(value for _, value in held), settled[0][1], settled[-1][1], float(slope), float(np.sqrt(covariance[0, 0]))
    )


def private_bytes(pid: int) -> int:
    """What no other process shares and no file holds. OSError if the process is gone."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    # A process that has ended and was not waited for holds nothing.
    _, _, held = status.partition("RssAnon:")
    return int(held.split(maxsplit=1)[0]) * 1024 if held else 0
