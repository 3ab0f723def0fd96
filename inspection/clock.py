"""The wall clock, which people and time servers set. Durations never come from it; that it was set is recorded."""

from __future__ import annotations

import time

STEP_S = 1.0
"""Time servers correct smaller differences by running the clock faster or slower, at most half a millisecond a second."""


class ClockWatch:
    """Compares the wall clock with the one that nobody sets and that runs on in standby (CLOCK_BOOTTIME)."""

    def __init__(self) -> None:
        self._offset_s = self._offset()

    def stepped(self) -> str | None:
        """In words, by how much the clock was set since this was asked last; None if it was not."""
        former, self._offset_s = self._offset_s, self._offset()
        step_s = self._offset_s - former
        if abs(step_s) < STEP_S:
            return None
        return f"the clock was set {'forward' if step_s > 0 else 'back'} by {abs(step_s):.1f} s; times in the records jump here"

    @staticmethod
    def _offset() -> float:
        return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
