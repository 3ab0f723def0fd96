"""``station bench line``: the real processes on simulated cameras, beside bare inference of the same network.

The limit is measured alone, before the station starts and after it has stopped. The highest rate is that of a conveyor which
brings the next part as soon as fewer than a few are between trigger and result; then parts come at fixed rates.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from sqlalchemy import func, select

from cameras.bus import Bus
from cameras.frame import Frame, PixelFormat
from inspection.artifact import read_artifact
from inspection.bench.station import DEADLINE_MS, PRODUCT, BenchStation, Sensor, bench_model, bench_scenes, bench_station
from inspection.cell import Cell, CellPart, Outcome
from inspection.config import Config
from inspection.detector import CompiledNetwork, computing_threads, usable_precision
from inspection.domain import Verdict
from inspection.messages import CellMessage
from inspection.preprocessing import network_input
from inspection.records.database import open_engine
from inspection.records.tables import faults, inspections
from inspection.starting import close_lots, open_lots

IN_FLIGHT = 4
"""Parts of one camera between trigger and result while the highest rate is measured: enough that the inspector never waits."""
# Parts per second: below the cameras' own limit of 500 frames.
_FASTEST = 400.0
_ROUNDS, _WARM_UP = 60, 5
_STAGES = ("expose", "transfer", "queue", "preprocess", "optics", "infer", "regions", "record")


SENSORS = (Sensor(1280, 1024, "BayerRG8"), Sensor(1280, 1024, "Mono8"), Sensor(2448, 2048, "Mono8"))


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Milliseconds."""

    p50: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one process over one run: processor seconds per second, and the most memory it held since it started."""

    cpu_share: float
    peak_memory_bytes: int


@dataclass(frozen=True, slots=True)
class LineRun:
    """One stretch of parts. ``wanted_parts_per_s`` is None for the highest rate. ``lost`` counts parts that ended without a
    verdict, by reason, ``verdicts`` the others, and ``images_skipped`` the passed ones whose images there was no time to store.
    ``durable`` is from trigger to durable verdict; ``stages`` add up to it for each part.
    """

    wanted_parts_per_s: float | None
    parts: int
    parts_per_s: float
    lost: dict[str, int]
    verdicts: dict[str, int]
    images_skipped: int
    durable: Quantiles | None
    stages: dict[str, Quantiles]
    processes: dict[str, Usage]


@dataclass(frozen=True, slots=True)
class LineCase:
    """One sensor and number of cameras. Limits are parts per second of bare inference, alone: on as many threads as the inspector
    computes with, and on all cores. ``ratio`` is the highest rate to the first, ``ratio_all_cores`` to the second."""

    sensor: Sensor
    cameras: int
    network: tuple[int, int]
    precision: str
    limit_parts_per_s: float
    limit_all_cores_parts_per_s: float
    max_parts_per_s: float
    ratio: float
    ratio_all_cores: float
    runs: tuple[LineRun, ...]


def measure(
    directory: Path, sensor: Sensor, cameras: int, seconds: float, rates: Sequence[float], progress: Callable[[str], None]
) -> LineCase:
    """Measure one case; ``directory`` keeps the model for the next time. StationError if no model can be trained."""
    progress("model")
    model = bench_model(directory, sensor)
    scenes = bench_scenes(sensor)
    progress("limit")
    limits = [_limits(model, sensor, scenes)]
    runs = []
    with bench_station(directory, model, sensor, cameras) as station:
        progress("highest rate")
        highest = run_parts(station, None, seconds)
        runs.append(highest)
        for rate in rates:
            progress(f"{rate:g} parts/s")
            runs.append(run_parts(station, rate, seconds))
    progress("limit")
    limits.append(_limits(model, sensor, scenes))
    manifest = read_artifact(model).manifest
    limit, limit_all = (median(values) for values in zip(*limits, strict=True))
    return LineCase(
        sensor,
        cameras,
        (manifest.preprocessing.width, manifest.preprocessing.height),
        usable_precision(manifest.parity.precision),
        limit,
        limit_all,
        highest.parts_per_s,
        highest.parts_per_s / limit,
        highest.parts_per_s / limit_all,
        tuple(runs),
    )


def _limits(model: Path, sensor: Sensor, scenes: Sequence[CellPart]) -> tuple[float, float]:
    """Parts per second of bare inference: on the inspector's threads, on all cores. In turn, so that noise meets both."""
    artifact = read_artifact(model)
    preprocessing, precision = artifact.manifest.preprocessing, usable_precision(artifact.manifest.parity.precision)
    pixels = np.asarray(scenes[0].pixels)
    frame = Frame(pixels, PixelFormat.RGB8 if sensor.color else PixelFormat.Mono8, frame_id=1, timestamp_ns=0, received_ns=0)
    tensor = network_input(frame, preprocessing.width, preprocessing.height)
    cores = len(os.sched_getaffinity(0))
    networks = [CompiledNetwork(artifact.files, precision, threads) for threads in (computing_threads(), cores)]
    times: list[list[float]] = [[], []]
    for number in range(_ROUNDS):
        for network, of_network in zip(networks, times, strict=True):
            started = time.perf_counter()
            network.infer(tensor)
            if number >= _WARM_UP:
                of_network.append(time.perf_counter() - started)
    return 1 / median(times[0]), 1 / median(times[1])


def run_parts(station: BenchStation, rate: float | None, seconds: float) -> LineRun:
    """Parts for so many seconds, shared out to all cameras; ``rate`` is in parts per second, None for the highest."""
    config = station.config
    lots = {
        camera.name: f"{camera.name}-{hashlib.sha256(str(time.time()).encode()).hexdigest()[:8]}" for camera in config.cameras
    }
    for name, lot in lots.items():
        open_lots(config, [lot], f"{PRODUCT}-{name}")
    cells = [
        Cell(Bus(config.run_dir, f"cell-{camera.name}", CellMessage), handle, camera.name, DEADLINE_MS)
        for camera, handle in zip(config.cameras, station.cameras, strict=True)
    ]
    outcomes: list[Outcome] = []
    for cell in cells:
        cell.on_outcome = outcomes.append
    before, skipped = _processor_seconds(station), _images_skipped(config)
    started = time.monotonic()
    threads = []
    for cell, scenes in zip(cells, station.scenes, strict=True):
        parts = _until(started + seconds, lots[cell.camera_name], scenes)
        arguments = (parts, _FASTEST, IN_FLIGHT) if rate is None else (parts, rate / len(cells))
        threads.append(threading.Thread(target=cell.run, args=arguments))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - started
    used = {
        name: Usage((spent - before.get(name, (0.0, 0))[0]) / took, peak)
        for name, (spent, peak) in _processor_seconds(station).items()
    }
    for cell in cells:
        cell.bus.close()
    close_lots(config, lots.values())
    return _line_run(config, list(lots.values()), outcomes, rate, took, used, skipped)


def _until(end: float, lot: str, scenes: Iterator[CellPart]) -> Iterator[CellPart]:
    for number, scene in enumerate(scenes):
        if time.monotonic() >= end:
            return
        yield CellPart(lot, f"{lot}-{number}", scene.pixels, scene.defect)


def _line_run(
    config: Config,
    lots: list[str],
    outcomes: Sequence[Outcome],
    rate: float | None,
    took: float,
    used: dict[str, Usage],
    skipped_before: int,
) -> LineRun:
    engine = open_engine(config.database_url, read_only=True)
    with engine.connect() as connection:
        rows = connection.execute(
            select(inspections.c.trigger_id, inspections.c.timings_ms).where(inspections.c.lot.in_(lots))
        ).all()
    engine.dispose()
    timings = {row.trigger_id: row.timings_ms for row in rows}
    inspected = [each for each in outcomes if _is_inspected(each)]
    durable = [each.durable_ms for each in inspected if each.durable_ms is not None]
    stages: dict[str, list[float]] = {name: [] for name in _STAGES}
    for each in inspected:
        of_part = timings.get(each.trigger_id) if each.trigger_id is not None else None
        if of_part and each.durable_ms is not None:
            for name in _STAGES[:-1]:
                stages[name].append(of_part[name])
            stages["record"].append(each.durable_ms - of_part["total"])
    lost = Counter(str(each.reason) if each.exposed else "not exposed" for each in outcomes if not _is_inspected(each))
    return LineRun(
        rate,
        len(outcomes),
        len(inspected) / took,
        dict(lost),
        dict(Counter(str(each.verdict) for each in inspected)),
        _images_skipped(config) - skipped_before,
        _quantiles(durable),
        {name: quantiles for name, values in stages.items() if (quantiles := _quantiles(values)) is not None},
        used,
    )


def _is_inspected(outcome: Outcome) -> bool:
    return outcome.verdict not in (None, Verdict.NOT_INSPECTED)


def _images_skipped(config: Config) -> int:
    engine = open_engine(config.database_url, read_only=True)
    with engine.connect() as connection:
        skipped = connection.execute(select(func.sum(faults.c.count)).where(faults.c.kind == "image_skipped")).scalar_one()
    engine.dispose()
    return int(skipped or 0)


def _quantiles(values: Sequence[float]) -> Quantiles | None:
    if not values:
        return None
    p50, p99 = np.quantile(values, (0.5, 0.99))
    return Quantiles(float(p50), float(p99), float(max(values)))


def _processor_seconds(station: BenchStation) -> dict[str, tuple[float, int]]:
    """Processor seconds and peak memory in bytes of each process of the station, by its name."""
    found = {}
    for name, process in station.by_name().items():
        times = process.cpu_times()
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        peak = int(status.split("VmHWM:", 1)[1].split(maxsplit=1)[0]) * 1024
        found[name] = (times.user + times.system, peak)
    return found
