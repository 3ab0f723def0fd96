"""One soak: parts, faults and checks at the same time, until the time is over and the station inspects again."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import psutil
from sqlalchemy.exc import SQLAlchemyError

from cameras.bus import Bus
from inspection.cell import Cell, Outcome
from inspection.domain import Output, Verdict
from inspection.errors import StationError
from inspection.images import ImageStore
from inspection.mes.receiver import Stream
from inspection.messages import CellMessage
from inspection.records.database import open_engine
from inspection.soak.checks import Findings, check_delivered, check_images, check_losses, check_lot, check_numbers, missing_images
from inspection.soak.injectors import Skipped, Undo
from inspection.soak.lots import Lot, Lots
from inspection.soak.memory import Memory
from inspection.soak.plan import Planned
from inspection.soak.recovery import RECOVERED_S, Injected, Recovery
from inspection.soak.scenes import SPOILT, Scenes
from inspection.soak.station import CAMERA, DEADLINE_MS, SoakStation

# So many parts inspected in a row: the station works again.
_WELL = 20
_LOOK_S = 0.1
# The last results, rows, images and deliveries may take so long.
_FINISH_S = 90.0
_SAMPLES, _STRETCHES, _SHORTEST_S = 720, 60, 5.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """Parts whose results came in one stretch of time; milliseconds from trigger to durable verdict."""

    from_s: float
    parts: int
    inspected: int
    p50_ms: float | None
    p99_ms: float | None


@dataclass
class Tally:
    """What came of the parts."""

    parts: int = 0
    accepted: int = 0
    well: int = 0
    """Parts inspected in a row, until now."""
    verdicts: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    stretches: list[Stretch] = field(default_factory=list)
    _from_s: float = 0.0
    _parts_before: int = 0
    _latencies: list[float] = field(default_factory=list)

    def count(self, outcome: Outcome) -> None:
        self.parts += 1
        self.accepted += outcome.output is Output.ACCEPT
        self.verdicts[str(outcome.verdict)] += 1
        if outcome.verdict is Verdict.NOT_INSPECTED:
            self.well = 0
            self.lost[str(outcome.reason)] += 1
        else:
            self.well += 1
            self._latencies.append(outcome.durable_ms or 0.0)

    def end_stretch(self, now_s: float) -> None:
        latencies, self._latencies = self._latencies, []
        came, self._parts_before = self.parts - self._parts_before, self.parts
        p50, p99 = (float(value) for value in np.quantile(latencies, (0.5, 0.99))) if latencies else (None, None)
        self.stretches.append(Stretch(self._from_s, came, len(latencies), p50, p99))
        self._from_s = now_s


class Soak:
    """On a running station; ``run`` may be called several times with different plans, and ``finish`` once at the end."""

    def __init__(self, station: SoakStation, scenes: Scenes, rate: float, lot_size: int) -> None:
        self._station = station
        self._scenes = scenes
        self._rate = rate
        self._lot_size = lot_size
        self._engine = open_engine(station.config.database_url, read_only=True)
        self._bus = Bus(station.config.run_dir, "cell", CellMessage)
        self._store = ImageStore(station.config.image_dir)
        self._missing: list[int] = []
        self._number = 1
        self.findings = Findings()
        self.memory = Memory()
        self.tally = Tally()
        self.faults: list[Injected] = []
        self.seconds = 0.0

    def run(
        self, plan: Sequence[Planned], seconds: float, prefix: str, progress: Callable[[str], None], least_parts: int = 0
    ) -> None:
        """Parts for so long, at least so many and until the plan is done, then until the station inspects again.

        Ctrl-C ends it as if the time were over. Lots are named ``prefix`` and a number.
        """
        recovery = Recovery(time.monotonic_ns())
        lots = Lots(self._station.config, self._engine, self._scenes, prefix, self._lot_size, self._number, self._check_lot)
        lots.open_first()
        stop, well = threading.Event(), threading.Event()
        cell = Cell(self._bus, self._station.camera, CAMERA, DEADLINE_MS)

        def result(outcome: Outcome) -> None:
            lots.result(outcome)
            recovery.result(outcome)
            self.tally.count(outcome)

        cell.on_outcome = result
        self.tally.well = 0
        parts = lots.parts(lambda: not well.is_set(), lambda: self._station.spoilt)
        conveying = threading.Thread(target=cell.run, args=(parts, self._rate), name="cell")
        injecting = threading.Thread(target=self._inject, args=(plan, recovery, stop), name="injecting")
        keeping = threading.Thread(target=lots.keep, name="lots")
        for thread in (conveying, injecting, keeping):
            thread.start()
        try:
            self._watch(recovery, seconds, self.tally.parts + least_parts, injecting, conveying, progress)
        except KeyboardInterrupt:
            progress("stopping")
        finally:
            stop.set()
            injecting.join()
            self._inspects_again(recovery)
            well.set()
            self._join_cell(conveying, cell)
            self._wait(lambda: lots.waiting == 0)
            left = lots.finish()
            keeping.join()
        self.findings.add("every lot is over", 1, [f"lot {lot} is not over" for lot in left])
        self._number = lots.number
        self.faults += recovery.faults
        self.seconds += recovery.now_s()
        self.tally.end_stretch(self.seconds)

    def _watch(
        self,
        recovery: Recovery,
        seconds: float,
        until_parts: int,
        injecting: threading.Thread,
        conveying: threading.Thread,
        progress: Callable[[str], None],
    ) -> None:
        """Until the time is over, the parts have come and the plan is done."""
        stretch_s, sample_s = max(_SHORTEST_S, seconds / _STRETCHES), max(1.0, seconds / _SAMPLES)
        stretch_from_s = sampled_s = 0.0
        while True:
            time.sleep(_LOOK_S)
            now_s = recovery.now_s()
            self._station.keep_running()
            if not conveying.is_alive():
                raise StationError("the cell ended by itself")
            if now_s - sampled_s > sample_s:
                sampled_s = now_s
                self.memory.sample(now_s, self._station)
                progress(self._progress(now_s, seconds, recovery.faults))
            over = now_s > seconds and self.tally.parts >= until_parts and not injecting.is_alive()
            if now_s - stretch_from_s > stretch_s or over:
                self.tally.end_stretch(self.seconds + now_s)
                stretch_from_s = now_s
            if over:
                return

    # --- faults ---

    def _inject(self, plan: Sequence[Planned], recovery: Recovery, stop: threading.Event) -> None:
        """Faults when they are due, and their ends; when ``stop`` is set, only the ends."""
        under_way: list[tuple[float, Injected, Undo]] = []
        upcoming = list(plan)
        while (upcoming and not stop.is_set()) or under_way:
            for each in [each for each in under_way if each[0] <= recovery.now_s() or stop.is_set()]:
                under_way.remove(each)
                _, record, undo = each
                self._undo(undo, record)
                recovery.undone(record)
            if upcoming and upcoming[0].at_s <= recovery.now_s() and not stop.is_set():
                planned = upcoming.pop(0)
                record = recovery.injected(planned)
                try:
                    undo = planned.fault.inject(self._station, planned.target, random.Random(planned.chance))  # noqa: S311
                except (Skipped, OSError, psutil.Error, StationError, SQLAlchemyError) as why:
                    # Another fault of the plan may stand in the way: a process that just ended, a database that is locked.
                    recovery.skipped(record, str(why))
                else:
                    under_way.append((recovery.now_s() + planned.seconds, record, undo))
            stop.wait(0.01)

    def _undo(self, undo: Undo, record: Injected) -> None:
        """Another fault may stand in the way for some time."""
        until = time.monotonic() + _FINISH_S
        while True:
            try:
                undo()
                break
            except (Skipped, OSError, StationError, SQLAlchemyError) as why:
                if time.monotonic() > until:
                    self.findings.add("faults can be undone", 1, [f"{record.fault}: {why}"])
                    break
                time.sleep(_LOOK_S)

    # --- what is checked while parts come ---

    def _check_lot(self, lot: Lot) -> None:
        """Called by the lots' thread; what is kept of a lot is which images are missing."""
        defects = {outcome.serial: outcome.defect for outcome in lot.outcomes}
        with self._engine.connect() as connection:
            rows = check_lot(connection, lot.name, lot.outcomes, self.findings)
        rows = [row for row in rows if row["serial"] in defects]

        def shown(serial: str) -> str:
            return self._scenes.digest(serial, defects[serial])

        check_images(self._engine.connect, self._store, rows, shown, self.findings)
        self._missing += missing_images(rows)
        spoilt = [row for row in rows if defects[row["serial"]] in SPOILT]
        passed = [f"{row['serial']}, {defects[row['serial']]}, passed" for row in spoilt if row["verdict"] == Verdict.PASS]
        self.findings.add("no part passes on a spoilt picture", len(spoilt), passed)
        known = {digest for digest, _ in self._station.models}
        others = [f"{row['serial']} was judged by {row['model']}" for row in rows if row["model"] and row["model"] not in known]
        self.findings.add("judged by a model that was deployed", len(rows), others)
        self._check_deliveries()

    def _check_deliveries(self) -> None:
        arrivals = self._station.receiver.arrivals
        told = [arrivals.first.popleft() for _ in range(len(arrivals.first))]
        violations, arrivals.violations = arrivals.violations, []
        with self._engine.connect() as connection:
            check_delivered(connection, told, violations, self.findings)

    # --- the end ---

    def _inspects_again(self, recovery: Recovery) -> None:
        """Parts still come; so many in a row are to be inspected, without help."""
        again = self._wait(lambda: self.tally.well >= _WELL and not self._station.unhealthy())
        trouble = f"not {_WELL} parts in a row, and all processes well, within {_FINISH_S:.0f} s: {self._station.unhealthy()}"
        self.findings.add("the station inspects again by itself", 1, [] if again else [trouble])
        self.findings.add(f"a part is inspected within {RECOVERED_S:.0f} s of a fault", len(recovery.faults), recovery.stuck())

    def _join_cell(self, conveying: threading.Thread, cell: Cell) -> None:
        self._wait(lambda: not conveying.is_alive())
        without = ["the cell waits for results"] if conveying.is_alive() else []
        self.findings.add("every part gets its result", 1, without)
        cell.running = False
        conveying.join()

    def finish(self) -> None:
        """Checks over everything; parts come no more."""

        def delivered() -> bool:
            with self._engine.connect() as connection:
                last = check_numbers(connection, Findings())
            return arrivals.last[Stream.INSPECTIONS] >= last

        arrivals = self._station.receiver.arrivals
        done = self._wait(delivered)
        self._check_deliveries()
        with self._engine.connect() as connection:
            last = check_numbers(connection, self.findings)
            check_losses(connection, self._missing, self.findings)
        short = f"inspection {arrivals.last[Stream.INSPECTIONS]} of {last} is the last that the receiver got"
        self.findings.add("receivers get everything in the end", 1, [] if done else [short])
        self._bus.close()
        self._engine.dispose()

    def _wait(self, condition: Callable[[], bool]) -> bool:
        until = time.monotonic() + _FINISH_S
        while not condition():
            if time.monotonic() > until:
                return False
            self._station.keep_running()
            time.sleep(_LOOK_S)
        return True

    def _progress(self, now_s: float, seconds: float, faults: Sequence[Injected]) -> str:
        held = sum(self.memory.last.values()) / 2**20
        return (
            f"{now_s / 60:.1f} of {seconds / 60:.0f} minutes, {self.tally.parts} parts, {sum(self.tally.lost.values())} lost, "
            f"{len(faults)} faults, {len(self.findings.violations)} violations, {held:.0f} MiB"
        )
