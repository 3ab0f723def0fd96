"""What ``station soak`` runs: rendered parts on a small sensor, a model of them, and a plan over all the hours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from inspection.bench.station import Sensor, bench_model, bench_scenes
from inspection.soak.catalogue import CATALOGUE
from inspection.soak.plan import plan
from inspection.soak.report import Report, report
from inspection.soak.run import Soak
from inspection.soak.scenes import numbered
from inspection.soak.station import soak_station

SENSOR = Sensor(320, 256, "Mono8")
# Least and most seconds between two faults: time to recover from most, and overlaps now and then.
_GAP_S = (5.0, 40.0)
_LOT = 1_000
# Of passed parts; all other images are kept.
_KEEP_PASS_SHARE = 0.05
# What the images of a part take on average, and the most memory that is given to a file system for them.
_BYTES_PER_PART, _MOUNT_MOST = 20_000, 2**32
_MOUNT_LEAST = 2**26


def soaked(
    directory: Path, run_dir: Path, seconds: float, rate: float, seed: int | None, progress: Callable[[str], None]
) -> Report:
    """``directory`` keeps the model for the next time, ``run_dir`` everything else. StationError if no model can be trained or
    the line does not start.
    """
    progress("model")
    model = bench_model(directory, SENSOR)
    planned = () if seed is None else plan(seed, seconds, _GAP_S, CATALOGUE)
    mount_bytes = min(_MOUNT_LEAST + int(seconds * rate * _BYTES_PER_PART), _MOUNT_MOST)
    progress("the line starts")
    with soak_station(run_dir, model, SENSOR, mount_bytes, _KEEP_PASS_SHARE) as station:
        soak = Soak(station, numbered(bench_scenes(SENSOR)), rate, _LOT)
        soak.run(planned, seconds, "S", progress)
        progress("the last checks")
        soak.finish()
        return report(soak, seed, rate, station.restarts, station.receiver.arrivals.events)
