"""How much room the disk with the images has, and how long it lasts."""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from inspection.domain import Verdict
from inspection.records.growth import Growth, growth, rates
from inspection.records.retention import read_totals
from inspection.retention import Limits

NO_LIMITS = Limits()
_GROWTH_FRESH_S = 30.0
# On a station whose first parts are still to come, there is next to nothing to read.
_NO_GROWTH_FRESH_S = 1.0
# Of what is to stay free: from there on images of passed parts are not stored.
_LOW_SHARE = 0.75
_LOW_HOURS = 24.0


@dataclass(frozen=True, slots=True)
class Disk:
    """``parts_left``: parts for whose images there is room without deleting any, as large as those of the newest parts.

    ``hours_left``: until images of parts that did not pass have taken, at the pace of the newest parts, all that retention leaves
    them, which is what is free and what images of passed parts take. Each is None where no such images are stored. ``low``: there
    is no room for images of passed parts any more, or for those of others in a day.
    """

    free_bytes: int
    total_bytes: int
    parts_left: int | None
    hours_left: float | None
    low: bool


class DiskWatch:
    """One for the whole web process; thread-safe. Growth is read from the records twice a minute at most."""

    def __init__(self, limits: Limits = NO_LIMITS) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._growth = Growth(None, None)
        self._pass_bytes = 0
        self._reject_bytes_a_part = 0.0
        self._read_at = float("-inf")

    def read(self, image_dir: Path, records: Engine) -> Disk | None:
        """The disk now; None where it cannot be asked."""
        place = next((folder for folder in (image_dir, *image_dir.absolute().parents) if folder.exists()), None)
        if place is None:
            return None
        try:
            usage = shutil.disk_usage(place)
        except OSError:
            return None
        grown = self._current(records)
        parts = hours = None
        if grown.bytes_per_inspection:
            parts = int(usage.free / grown.bytes_per_inspection)
        if self._reject_bytes_a_part and grown.inspections_per_s:
            room = max(0.0, usage.free - self._limits.min_free_bytes / 2 + self._pass_bytes)
            hours = round(room / self._reject_bytes_a_part / grown.inspections_per_s / 3600, 1)
        low = usage.free < _LOW_SHARE * self._limits.min_free_bytes or (hours is not None and hours < _LOW_HOURS)
        return Disk(usage.free, usage.total, parts, hours, low)

    def _current(self, records: Engine) -> Growth:
        with self._lock:
            fresh_s = _GROWTH_FRESH_S if self._growth.bytes_per_inspection else _NO_GROWTH_FRESH_S
            if time.monotonic() - self._read_at >= fresh_s:
                try:
                    with records.connect() as connection:
                        self._growth = growth(connection)
                        kinds = rates(connection).bytes_a_part.items()
                        self._reject_bytes_a_part = sum(each for (_, verdict), each in kinds if verdict is not Verdict.PASS)
                        passes = (total for total in read_totals(connection) if total.verdict is Verdict.PASS)
                        self._pass_bytes = sum(total.nbytes for total in passes)
                except DBAPIError:
                    # Health says itself that the records cannot be read.
                    self._growth = Growth(None, None)
                self._read_at = time.monotonic()
            return self._growth
