"""Makes room beside the line, in small steps: a thread of the recorder that chooses which images go and removes their files.

The recorder, the one writer of their rows, records each deletion; then the file is removed. Files that nothing refers to, as a
crash may leave them, are found and removed too. The thread also has the write-ahead log of the database cut back, and keeps a
reserve on the disk by which the recorder can still write when everything else is full.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from cameras.fault_kinds import FaultKind
from cameras.messages import FaultReport
from inspection.images import ImageStore
from inspection.records.database import WAL_BYTES, Wal
from inspection.records.numbers import newest_recorded_at
from inspection.records.retention import deletable, images_of, kept_after, read_totals, referred_to
from inspection.reserve import Reserve
from inspection.retention import Chosen, Deletion, DoubtfulClock, Room, due_by_age, due_for_room

log = logging.getLogger(__name__)

# Inspections that one step looks at and deletes at most.
LOOKED_AT, DELETED = 1_000, 50
# Between two steps where there is more to do, where there is nothing, and where something failed.
_NEXT_S, _IDLE_S, _FAILED_S = 0.05, 2.0, 10.0
# Nothing was too old: nothing will be for a while.
_AGING_S = 60.0
# What was kept because somebody wanted it is looked at again after so long.
_AGAIN_S = 6 * 3600.0
# One of the 256 folders of the store is searched for files without a row; all of them take four hours.
_SWEEP_S = 60.0
# A file is stored before its row.
_YOUNG = timedelta(hours=1)
# Ten times what it is cut back to; said once an hour.
_WAL_TOLD_BYTES, _WAL_TOLD_S = 10 * WAL_BYTES, 3600.0
# A crash leaves a few files; many mean that the records are not those of these images, as after a restored backup.
_MANY, _MANY_SHARE = 20, 0.02


class _Walk:
    """How far along the kept images one rule has come."""

    def __init__(self) -> None:
        self.after = 0
        self.newest = datetime.min.replace(tzinfo=UTC)
        self.began = time.monotonic()
        self.due = float("-inf")


class Housekeeper:
    """``proposed`` and ``faults`` are emptied by the recorder, which answers each proposal with ``recorded``. ``rows_wait``: the
    recorder cannot write; files without a row may be those of rows that wait."""

    def __init__(self, records: Engine, images: ImageStore, room: Room, reserve: Reserve, wal: Wal | None) -> None:
        self.reserve = reserve
        self.deleted = 0
        self.rows_wait = False
        self.proposed: deque[Deletion] = deque()
        self.faults: deque[FaultReport] = deque()
        self._records = records
        self._images = images
        self._room = room
        self._wal = wal
        self._clock: DoubtfulClock | None = None
        self._by_age, self._for_room = _Walk(), _Walk()
        self._looked: dict[str, int | None] = {}
        self._marked: queue.SimpleQueue[list[str]] = queue.SimpleQueue()
        self._sweep_at = time.monotonic() + _SWEEP_S
        self._folder = 0
        self._wal_told_at = float("-inf")
        self._waiting = False
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeper", daemon=True)
        self._thread.start()

    def recorded(self, hashes: list[str]) -> None:
        """The deletion that was proposed is durable: the files of these images may go."""
        self._marked.put(hashes)
        self._wake.set()

    def close(self) -> None:
        """Stop after the present step."""
        self._stop.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        pause_s = _NEXT_S
        while not self._stop.is_set():
            self._wake.wait(pause_s)
            self._wake.clear()
            try:
                pause_s = self._step()
            except (OSError, SQLAlchemyError) as error:
                # The disk may be full just now; there is nothing that could not wait.
                log.warning("housekeeping failed, trying again: %s", error)
                pause_s = _FAILED_S
            except Exception:
                log.exception("housekeeping failed, trying again")
                pause_s = _FAILED_S

    def _step(self) -> float:
        """Do one small thing; how long to wait before the next."""
        while not self._marked.empty():
            # Files whose removal fails have no row any more, and the sweep finds them.
            self._waiting = False
            self._remove(self._marked.get())
        if self._wal is not None:
            self._cut_back(self._wal)
        if self._waiting:
            return _IDLE_S
        with self._records.connect() as connection:
            self._count(connection)
            busy = self._choose(connection)
            if time.monotonic() >= self._sweep_at and not self.rows_wait:
                self._sweep(connection)
        self.reserve.fill()
        return _NEXT_S if busy else _IDLE_S

    def _count(self, connection: Connection) -> None:
        self._room.kept_bytes = sum(total.nbytes for total in read_totals(connection))

    def _cut_back(self, wal: Wal) -> None:
        wal.cut_back()
        if wal.nbytes > _WAL_TOLD_BYTES and time.monotonic() - self._wal_told_at > _WAL_TOLD_S:
            self._wal_told_at = time.monotonic()
            detail = f"the write-ahead log has {wal.nbytes / 1e6:.0f} MB, because a reader has not let go of it; end that reader"
            self.faults.append(FaultReport(at=time.time(), source="recorder", kind=FaultKind.WAL_GROWS, count=1, detail=detail))

    def _choose(self, connection: Connection) -> bool:
        """Propose what goes next; True if there may be more."""
        if time.monotonic() - self._by_age.began > _AGAIN_S:
            self._by_age = _Walk()
        if time.monotonic() - self._for_room.began > _AGAIN_S:
            self._for_room = _Walk()
        return self._choose_by_age(connection) or self._choose_for_room(connection)

    def _choose_by_age(self, connection: Connection) -> bool:
        walk = self._by_age
        if time.monotonic() < walk.due:
            return False
        kept = kept_after(connection, walk.after, LOOKED_AT)
        chosen = due_by_age(kept, self._room.limits, self._now(connection), DELETED, walk.newest)
        walk.after, walk.newest = chosen.looked_to or walk.after, chosen.newest
        if chosen.ended or not kept:
            walk.due = time.monotonic() + _AGING_S
        return self._propose(connection, chosen) or (bool(kept) and not chosen.ended)

    def _choose_for_room(self, connection: Connection) -> bool:
        walk = self._for_room
        lacking, rule = self._room.lacking()
        if lacking <= 0:
            return False
        kept = kept_after(connection, walk.after, LOOKED_AT)
        chosen = due_for_room(kept, lacking, rule, DELETED)
        walk.after = chosen.looked_to or walk.after
        return self._propose(connection, chosen) or bool(kept)

    def _propose(self, connection: Connection, chosen: Chosen) -> bool:
        found = []
        self._looked = {}
        for deletion in chosen.deletions:
            seqs = deletable(connection, deletion.seqs)
            if seqs:
                found.append(Deletion(tuple(seqs), deletion.rule))
                # Before the deletion is recorded: a file that is stored again from now on stays.
                for sha256 in images_of(connection, seqs):
                    self._looked[sha256] = self._images.touched(sha256)
        self._waiting = bool(found)
        self.proposed.extend(found)
        return bool(found)

    def _now(self, connection: Connection) -> datetime:
        if self._clock is None:
            self._clock = DoubtfulClock(newest_recorded_at(connection))
        return self._clock.now()

    def _remove(self, hashes: list[str]) -> None:
        """Files of images that are recorded as deleted, unless another row wants them."""
        with self._records.connect() as connection:
            wanted = referred_to(connection, hashes)
            self._count(connection)
        for sha256 in hashes:
            touched = self._looked.pop(sha256, None)
            if sha256 not in wanted and touched is not None and self._images.remove(sha256, touched):
                self.deleted += 1

    def _sweep(self, connection: Connection) -> None:
        """Remove the files of one folder that nothing refers to."""
        self._sweep_at = time.monotonic() + _SWEEP_S
        folder, self._folder = f"{self._folder:02x}", (self._folder + 1) % 256
        removed, left = sweep(self._images, connection, folder)
        if removed:
            log.info("%d files in %s had no row and are removed", removed, folder)
        if left:
            detail = (
                f"{left} files in images/{folder} have no row and are left, being many: are these the records of these images?"
            )
            self.faults.append(
                FaultReport(at=time.time(), source="recorder", kind=FaultKind.ORPHAN_IMAGES, count=left, detail=detail)
            )


def sweep(store: ImageStore, connection: Connection, folder: str, young: timedelta = _YOUNG) -> tuple[int, int]:
    """Remove files of one folder of the store that nothing refers to: how many were removed, and how many left, being too many.

    Files younger than ``young`` are left alone: their rows may be on the way.
    """
    before_ns = time.time_ns() - int(young.total_seconds() * 1e9)
    old: dict[str, int] = {}
    unfinished: list[Path] = []
    try:
        with os.scandir(store.root / folder) as entries:
            for entry in entries:
                touched = entry.stat().st_mtime_ns
                if touched < before_ns:
                    if entry.name.endswith(".new"):
                        unfinished.append(Path(entry.path))
                    else:
                        old[entry.name.removesuffix(".png")] = touched
    except FileNotFoundError:
        return 0, 0
    for path in unfinished:
        path.unlink(missing_ok=True)
    orphans = old.keys() - referred_to(connection, old)
    if len(orphans) > max(_MANY, _MANY_SHARE * len(old)):
        return len(unfinished), len(orphans)
    return len(unfinished) + sum(store.remove(sha256, old[sha256]) for sha256 in orphans), 0
