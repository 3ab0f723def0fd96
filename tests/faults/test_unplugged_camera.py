"""A camera that is pulled and put back: parts in between are not inspected, and say so; inspections resume by themselves."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from running_station import RunningStation

from inspection.cell import CellPart

RATE = 20


@pytest.mark.parametrize("how", ["silent", pytest.param("error", marks=pytest.mark.by_hand)])
def test_unplug_for_five_seconds(station: RunningStation, how: str) -> None:
    replugged_at = 0.0
    first_after: list[float] = []

    def parts() -> Iterator[CellPart]:
        nonlocal replugged_at
        number = 0
        for number in range(40):
            yield next(station.parts("L1", [number]))
        station.camera.unplug(how)
        unplugged_at = time.monotonic()
        while time.monotonic() - unplugged_at < 5:
            number += 1
            yield next(station.parts("L1", [number]))
        station.camera.replug()
        replugged_at = time.monotonic()
        while time.monotonic() - replugged_at < 6:
            number += 1
            done = [outcome for outcome in station.outcomes[-5:] if outcome.verdict != "not_inspected"]
            if done and not first_after:
                first_after.append(time.monotonic())
            yield next(station.parts("L1", [number]))

    with station:
        station.open_lot("L1")
        station.convey(parts(), RATE)
        station.check_invariants("L1")
        station.check_images("L1")
        rows = station.rows("L1")
        assert all(row["verdict"] != "not_inspected" for row in rows[:35])
        lost = [row for row in rows if row["verdict"] == "not_inspected"]
        assert {row["reason"] for row in lost} == {"camera_lost"}
        assert len(lost) > 50
        assert first_after, "inspections did not resume"
        assert first_after[0] - replugged_at < 5
        assert all(row["verdict"] != "not_inspected" for row in rows[-10:])
