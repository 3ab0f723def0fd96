"""The rules of supervision: which process is killed and why, when it may start again, and what the records say of it.

Knows nothing of circus, which calls ``started``, ``ended`` and ``is_due``.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

from cameras.bus import Bus
from cameras.fault_kinds import FaultKind
from cameras.messages import FaultReport, Heartbeat
from inspection.config import Config
from inspection.memory import limit_bytes, used_bytes
from inspection.watchdog import Watchdog

log = logging.getLogger(__name__)

# Looking at the memory, and the heartbeat.
_EVERY_S = 1.0
# A process that ended before it was so old has not been of use; after as many such lives it waits, longer and longer.
_USEFUL_S = 20.0
_AT_ONCE = 2
_PAUSE_S, _PAUSE_MOST_S = 1.0, 60.0
# Past so many short lives in a row, every so many are one fault.
_FAULTS = 8
# The station inspects without it.
_DISPENSABLE = ("trainer",)


def pause_s(short_lives: int) -> float:
    """Before the next start of a process that ended soon after so many starts in a row."""
    return 0.0 if short_lives <= _AT_ONCE else min(_PAUSE_S * 2.0 ** min(short_lives - _AT_ONCE - 1, 10), _PAUSE_MOST_S)


@dataclass
class _Life:
    name: str
    began: float
    killed: tuple[FaultKind, str] | None = None


@dataclass
class _Record:
    """Of all lives of one process: how many ended soon in a row, and when the next may begin."""

    short_lives: int = 0
    due: float = 0.0


class Supervision:
    """Of one station. Processes are known by their ids while they live, and by their names."""

    def __init__(self, config: Config, bus: Bus, watchdog: Watchdog) -> None:
        self._config = config
        self._bus = bus
        self._watchdog = watchdog
        self._lives: dict[int, _Life] = {}
        self._records: dict[str, _Record] = {}
        self._counters: Counter[str] = Counter(restarts=0, hung=0, over_memory=0)
        self._looked_at = 0.0
        self._stopping = False

    # --- what circus says and asks ---

    def started(self, name: str, pid: int) -> None:
        self._lives[pid] = _Life(name, time.monotonic())
        self._watchdog.started(pid)

    def ended(self, pid: int, exit_code: int | None) -> None:
        """``exit_code`` is negative for a signal, None if nobody knows."""
        self._watchdog.ended(pid)
        life = self._lives.pop(pid, None)
        if life is None or self._stopping:
            return
        now = time.monotonic()
        record = self._records.setdefault(life.name, _Record())
        record.short_lives = record.short_lives + 1 if now - life.began < _USEFUL_S else 0
        wait_s = pause_s(record.short_lives)
        record.due = now + wait_s
        self._counters["restarts"] += 1
        kind, why = life.killed or (FaultKind.PROCESS_ENDED, _how(exit_code))
        again = f"starts again in {wait_s:.0f} s, after {record.short_lives} short lives" if wait_s else "starts again"
        detail = f"process {pid} of {life.name} {why}; it {again}"
        log.error("%s: %s", kind, detail)
        often, left = divmod(record.short_lives, _FAULTS)
        if often == 0 or left == 0:
            self._fault(life.name, kind, 1 if often <= 1 else _FAULTS, detail)

    def is_due(self, name: str) -> bool:
        record = self._records.get(name)
        return record is None or time.monotonic() >= record.due

    def stop(self) -> None:
        """What ends from now on was told to."""
        self._stopping = True

    # --- several times a second ---

    def look(self) -> None:
        for pid, silent_s in self._watchdog.overdue().items():
            self._counters["hung"] += self._kill(
                pid, FaultKind.PROCESS_HUNG, f"gave no sign of progress for {silent_s:.1f} s and was killed"
            )
        if time.monotonic() - self._looked_at >= _EVERY_S:
            self._looked_at = time.monotonic()
            self._beat({life.name: self._watch_memory(pid, life.name) for pid, life in list(self._lives.items())})

    def _watch_memory(self, pid: int, name: str) -> int:
        """What it uses; over the limit the process is killed, or the one of its children that uses most."""
        used = used_bytes(pid)
        total, limit = sum(used.values()), limit_bytes(name, self._config.station.process_memory_mib)
        if total > limit:
            why = f"used {total >> 20} MiB of memory where {limit >> 20} are allowed, and was killed"
            largest = max(used, key=lambda process: used[process])
            if largest == pid:
                self._counters["over_memory"] += self._kill(pid, FaultKind.PROCESS_OVER_MEMORY, why)
            else:
                self._counters["over_memory"] += 1
                log.error("child %d of %s %s", largest, name, why)
                self._fault(name, FaultKind.PROCESS_OVER_MEMORY, 1, f"its child {largest} {why}")
                with suppress(ProcessLookupError):
                    os.kill(largest, signal.SIGKILL)
        return total

    def _kill(self, pid: int, kind: FaultKind, why: str) -> bool:
        """Once; a process in the midst of a system call that the disk holds up ends when that returns."""
        life = self._lives.get(pid)
        if life is None or life.killed is not None:
            return False
        life.killed = (kind, why)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return True

    # --- what others hear ---

    def _fault(self, name: str, kind: FaultKind, count: int, detail: str) -> None:
        if not self._bus.send("recorder", FaultReport(at=time.time(), source=name, kind=kind, count=count, detail=detail)):
            log.error("the recorder takes no messages; not recorded: %s", detail)

    def _beat(self, used: dict[str, int]) -> None:
        now = time.monotonic()
        waiting = {name: record for name, record in self._records.items() if record.due > now}
        state = "; ".join(
            f"{name} ended soon after {record.short_lives} starts, starts again in {record.due - now:.0f} s"
            for name, record in sorted(waiting.items())
        )
        counters = {name: float(count) for name, count in self._counters.items()}
        counters |= {f"{name}_mib": used_bytes / 2**20 for name, used_bytes in used.items()}
        beat = Heartbeat(
            process="supervisor",
            at=time.time(),
            state=state or f"{len(self._lives)} processes",
            counters=counters,
            ok=not waiting.keys() - set(_DISPENSABLE),
        )
        self._bus.send("recorder", beat)


def _how(exit_code: int | None) -> str:
    if exit_code is None:
        return "ended, nobody knows how"
    if exit_code >= 0:
        return f"ended with {exit_code}"
    return f"was ended by {signal.Signals(-exit_code).name}"
