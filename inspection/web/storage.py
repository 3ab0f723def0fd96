"""What the disk holds, by what it is, how fast it fills, and what comes of that. Read by REST, pages and metrics alike."""

from __future__ import annotations

import os
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, make_url, text

from inspection.domain import ImageKind, Verdict
from inspection.overview import counted
from inspection.records.growth import Rates, rates
from inspection.records.retention import ImageTotal, read_totals
from inspection.retention import Limits
from inspection.storage_forecast import Forecast, Use, forecast
from inspection.web.settings import Settings

_FRESH_S = 30.0
# Folders of models and logs are small; a disk that is too slow to count them is not kept busy with it.
_COUNTING_S = 1.0


@dataclass(frozen=True, slots=True)
class Portion:
    """What takes room, in bytes, and how many bytes come in a day at the present rate; None where that is not known.

    ``holds``: pass_frames, reject_frames (of all parts that did not pass), maps, database, models, model_maps, logs.
    """

    holds: str
    nbytes: int
    bytes_a_day: float | None


@dataclass(frozen=True, slots=True)
class StorageReport:
    """The disk with the images now, and what becomes of it; ``other_bytes`` is what is none of the station's portions.

    ``parts_a_day``: in the last day, or since the station began. ``min_free_bytes`` and ``max_bytes`` are the configuration's.
    """

    disk_bytes: int
    free_bytes: int
    min_free_bytes: float
    max_bytes: float | None
    portions: tuple[Portion, ...]
    other_bytes: int
    parts_a_day: float | None
    forecast: Forecast


class StorageWatch:
    """One for the whole web process; thread-safe. Everything is read anew twice a minute at most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._report: StorageReport | None = None
        self._read_at = float("-inf")

    def read(self, settings: Settings, records: Engine) -> StorageReport:
        """DBAPIError if the records cannot be read, OSError if the disk cannot be asked."""
        with self._lock:
            if self._report is None or time.monotonic() - self._read_at >= _FRESH_S:
                with records.connect() as connection:
                    self._report = storage_report(settings.data_dir, settings.database_url, settings.limits, connection)
                self._read_at = time.monotonic()
            return self._report


def storage_report(data_dir: Path, database_url: str, limits: Limits, connection: Connection) -> StorageReport:
    """What the disk holds now."""
    place = next(folder for folder in (data_dir, *data_dir.absolute().parents) if folder.exists())
    usage = shutil.disk_usage(place)
    speed, totals = rates(connection), read_totals(connection)
    database = _database_bytes(database_url, connection)
    until = time.monotonic() + _COUNTING_S
    models, maps, logs = (counted(name, data_dir / name, until).nbytes for name in ("models", "maps", "logs"))
    portions = (
        *_images(speed, totals),
        Portion("database", database, _database_a_day(speed, database)),
        Portion("models", models, None),
        Portion("model_maps", maps, None),
        Portion("logs", logs, None),
    )
    return StorageReport(
        disk_bytes=usage.total,
        free_bytes=usage.free,
        min_free_bytes=limits.min_free_bytes,
        max_bytes=limits.max_bytes,
        portions=portions,
        other_bytes=max(0, usage.used - sum(portion.nbytes for portion in portions)),
        parts_a_day=speed.parts_a_day,
        forecast=forecast(_use(speed, totals, database), usage.free, limits),
    )


def _holds(kind: ImageKind, verdict: Verdict) -> str:
    if kind is ImageKind.MAP:
        return "maps"
    return "pass_frames" if verdict is Verdict.PASS else "reject_frames"


def _images(speed: Rates, totals: tuple[ImageTotal, ...]) -> tuple[Portion, ...]:
    nbytes = dict.fromkeys(("pass_frames", "reject_frames", "maps"), 0)
    for total in totals:
        nbytes[_holds(total.kind, total.verdict)] += total.nbytes
    a_part = dict.fromkeys(nbytes, 0.0)
    for (kind, verdict), each in speed.bytes_a_part.items():
        a_part[_holds(kind, verdict)] += each
    parts = speed.parts_a_day
    return tuple(Portion(holds, nbytes[holds], None if parts is None else parts * a_part[holds]) for holds in nbytes)


def _database_a_day(speed: Rates, database: int) -> float | None:
    """As every part took its share until now."""
    return None if speed.parts_a_day is None else speed.parts_a_day * database / speed.parts


def _use(speed: Rates, totals: tuple[ImageTotal, ...], database: int) -> Use:
    def a_day(passed: bool) -> float:
        each = sum(nbytes for (_, verdict), nbytes in speed.bytes_a_part.items() if (verdict is Verdict.PASS) == passed)
        return (speed.parts_a_day or 0.0) * each

    return Use(
        passes=sum(total.nbytes for total in totals if total.verdict is Verdict.PASS),
        rejects=sum(total.nbytes for total in totals if total.verdict is not Verdict.PASS),
        database=database,
        passes_a_day=a_day(True),
        rejects_a_day=a_day(False),
        database_a_day=_database_a_day(speed, database) or 0.0,
    )


def _database_bytes(url: str, connection: Connection) -> int:
    """The write-ahead log included. What a PostgreSQL takes need not be on this disk."""
    if connection.dialect.name == "postgresql":
        return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
    path = make_url(url).database or ""
    return sum(Path(path + end).stat().st_size for end in ("", "-wal", "-shm") if os.path.exists(path + end))  # noqa: PTH110
