"""A clock that is set is noticed, one that is corrected by and by is not."""

from __future__ import annotations

import pytest

from inspection import clock
from inspection.clock import ClockWatch


class Clocks:
    """Stands for the module ``time``: the wall clock, and the one that nobody sets."""

    CLOCK_BOOTTIME = 7
    wall = 1_000_000.0
    boot = 50.0

    def time(self) -> float:
        return self.wall

    def clock_gettime(self, which: int) -> float:
        assert which == self.CLOCK_BOOTTIME
        return self.boot

    def run(self, seconds: float, step: float = 0.0) -> None:
        self.boot += seconds
        self.wall += seconds + step


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks()
    monkeypatch.setattr(clock, "time", clocks)
    return clocks


def test_a_step_is_told_once_with_its_direction(clocks: Clocks) -> None:
    watch = ClockWatch()
    clocks.run(60)
    assert watch.stepped() is None
    clocks.run(1, 3_600)
    told = watch.stepped()
    assert told is not None
    assert told.startswith("the clock was set forward by 3600.0 s")
    clocks.run(1)
    assert watch.stepped() is None
    clocks.run(1, -31_536_000)
    told = watch.stepped()
    assert told is not None
    assert "set back by 31536000.0 s" in told


def test_a_clock_that_is_corrected_by_and_by_is_not_set(clocks: Clocks) -> None:
    watch = ClockWatch()
    for _ in range(10_000):
        clocks.run(1, 0.0005)
        assert watch.stepped() is None
