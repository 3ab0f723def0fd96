"""Parts per second on this machine: the real processes on simulated cameras, for some seconds; or what a running line
recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from sqlalchemy.exc import SQLAlchemyError

from cameras.errors import CameraError
from cameras.frame import PixelFormat
from inspection.bench.line import run_parts
from inspection.bench.station import Sensor, bench_model, bench_station
from inspection.config import Config
from inspection.doctor.findings import Finding, failure, not_checked, ok, warning
from inspection.doctor.producers import numbers
from inspection.errors import StationError
from inspection.processes import models_in_service
from inspection.records.database import open_engine
from inspection.records.queries import latest_timings_ms

AREA = "speed"
_USUAL = Sensor(1280, 1024, "Mono8")
# Latency is measured at this share of the highest rate: a line that runs at the limit has no time to spare.
_SHARE = 0.5
_NEAR = 0.8
_RECORDED, _LEAST = 500, 50


@dataclass(frozen=True, slots=True)
class SpeedFacts:
    """``parts_per_s`` is the highest rate of ``cameras`` cameras together, None of a running line. ``p99_ms`` is from trigger
    to durable verdict, at ``rate`` parts per second. ``lost``: parts that ended without a verdict.
    """

    what: str
    p99_ms: float | None = None
    parts_per_s: float | None = None
    rate: float | None = None
    lost: int = 0
    trouble: str | None = None


def sensor_of(features: Mapping[str, str]) -> Sensor:
    """Of a camera, by its features; the simulated one shows grey, Bayer or RGB of 8 bits."""
    width, height = numbers(features, "Width"), numbers(features, "Height")
    if width is None or height is None:
        return _USUAL
    known = PixelFormat.__members__.get(features.get("PixelFormat", ""), PixelFormat.Mono8)
    shown = "BayerRG8" if known.is_bayer else "RGB8" if known.is_color else "Mono8"
    return Sensor(int(width), int(height), shown)


def deployed(config: Config) -> Path | None:
    """Where a model in service lies; None if there is none, or no records that this version reads."""
    engine = open_engine(config.database_url, read_only=True)
    try:
        found = models_in_service(engine, config)
    except SQLAlchemyError:
        return None
    finally:
        engine.dispose()
    return next((path for _, path in found.values() if path.is_dir()), None)


def measure(
    folder: Path, model: Path | None, sensor: Sensor, cameras: int, seconds: float, progress: Callable[[str], None]
) -> SpeedFacts:
    """On the disk of ``folder``, in a directory that is deleted; without a model, one of rendered parts is trained, in a
    minute.
    """
    what = f"{cameras} simulated camera{'s' if cameras > 1 else ''} of {sensor}, "
    what += "the model in service" if model is not None else "a model of rendered parts"
    try:
        with TemporaryDirectory(prefix=".doctor-", dir=folder) as place:
            directory = Path(place)
            if model is None:
                progress("training a model to measure with")
                model = bench_model(directory, sensor)
            progress("starting a station to measure")
            with bench_station(directory, model, sensor, cameras) as station:
                progress("parts per second")
                highest = run_parts(station, None, seconds)
                rate = max(1.0, highest.parts_per_s * _SHARE)
                usual = run_parts(station, rate, seconds)
    except (StationError, CameraError, OSError) as error:
        # Whatever folder it names is gone.
        return SpeedFacts(what, trouble=f"a station could not be started to be measured: {str(error).partition(';')[0]}")
    lost = sum(highest.lost.values()) + sum(usual.lost.values())
    return SpeedFacts(what, usual.durable.p99 if usual.durable else None, highest.parts_per_s, rate, lost)


def recorded(config: Config) -> SpeedFacts:
    """What the newest parts of a running line took."""
    engine = open_engine(config.database_url, read_only=True)
    try:
        with engine.connect() as connection:
            times = [each["total"] for each in latest_timings_ms(connection, _RECORDED) if "total" in each]
    except SQLAlchemyError as error:
        return SpeedFacts("recorded parts", trouble=str(error))
    finally:
        engine.dispose()
    if len(times) < _LEAST:
        return SpeedFacts("recorded parts", trouble=f"the running line recorded {len(times)} parts, too few; stop it to measure")
    return SpeedFacts(f"the newest {len(times)} parts of the running line", float(np.percentile(times, 99)))


def judge(facts: SpeedFacts, deadlines_ms: Mapping[str, tuple[float, float]]) -> Iterator[Finding]:
    """``deadlines_ms``: of each product, its deadline and how long its camera exposes, which simulated cameras need not."""
    if facts.trouble is not None:
        yield not_checked(
            AREA,
            "parts per second",
            facts.trouble,
            "see to the other findings, end what else runs, and measure again",
        )
        return
    if facts.parts_per_s is not None:
        found = f"up to {facts.parts_per_s:.1f} parts/s: {facts.what}"
        if facts.lost:
            todo = "end what else runs on this machine, and measure again"
            yield warning(AREA, "parts per second", f"{found}; {facts.lost} parts ended without a verdict", todo)
        else:
            yield ok(AREA, "parts per second", found)
    if facts.p99_ms is None:
        yield failure(AREA, "time to verdict", "no part came to a verdict", "look at the other findings")
        return
    at = f"at {facts.rate:.0f} parts/s" if facts.rate is not None else f"of {facts.what}"
    if not deadlines_ms:
        yield ok(AREA, "time to verdict", f"99 % within {facts.p99_ms:.0f} ms {at}")
    for product, (deadline_ms, exposure_ms) in deadlines_ms.items():
        needed = facts.p99_ms + exposure_ms
        found = f"99 % within {needed:.0f} ms {at}, {exposure_ms:.0f} ms of it exposure; the deadline is {deadline_ms:.0f} ms"
        if exposure_ms == 0:
            found = f"99 % within {needed:.0f} ms {at}; the deadline is {deadline_ms:.0f} ms"
        check = f"product {product}: deadline"
        if needed > deadline_ms:
            todo = "move the rejector, train with a smaller --size, or take a faster processor: late parts are rejected"
            yield failure(AREA, check, found, todo)
        elif needed > deadline_ms * _NEAR:
            yield warning(AREA, check, found, "leave it more time, or train with a smaller --size")
        else:
            yield ok(AREA, check, found)
