"""Results that wait for the PLC: one is shown until it is acknowledged, others wait behind it. Pure."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Final

from inspection.plc.codes import PLC_WAS_AWAY

DEPTH: Final = 8


@dataclass(frozen=True, slots=True)
class Result:
    """What is known of one part. ``accept`` is of use until ``deadline_ns``."""

    inspection_id: int
    serial: str
    verdict: int
    reason: int
    score_x1000: int
    model: str
    accept: bool
    deadline_ns: int


@dataclass
class Results:
    """At most DEPTH results, the shown one included, or one if they are not buffered."""

    shown: Result | None = None
    _waiting: deque[Result] = field(default_factory=deque)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def add(self, result: Result, buffered: bool, now_ns: int) -> Result | None:
        """Queue a result; returns the one that was dropped for it, unread.

        Of a full buffer the oldest is dropped that is not shown and accepts nothing any more: after an outage, results of parts
        that are long gone must not push out those that the PLC can still use.
        """
        dropped = None
        if not buffered and self.shown is not None:
            dropped, self.shown = self.shown, None
        self._waiting.append(result)
        if len(self._waiting) + (self.shown is not None) > (DEPTH if buffered else 1):
            useless = (each for each in self._waiting if not each.accept or now_ns > each.deadline_ns)
            dropped = next(useless, self._waiting[0])
            self._waiting.remove(dropped)
        return dropped

    def acknowledge(self, risen: bool, held: bool) -> None:
        """Results Ack rose, or is held: the next result is shown once it has fallen."""
        if risen:
            self.shown = None
        if self.shown is None and not held and self._waiting:
            self.shown = self._waiting.popleft()

    def void(self) -> None:
        """The PLC was away: whatever it sees of these parts now, it rejects them."""
        self._waiting = deque(_void(result) for result in self._waiting)
        self.shown = _void(self.shown) if self.shown else None


def _void(result: Result) -> Result:
    return replace(result, accept=False, reason=PLC_WAS_AWAY) if result.accept else result


def thousandfold(score: float | None) -> int:
    """As a register of 32 bits holds it; 0 where there is none."""
    if score is None or not math.isfinite(score):
        return 0
    return max(-(2**31), min(2**31 - 1, round(score * 1000)))
