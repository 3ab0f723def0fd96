"""Invariants 1 and 2 under kill -9: the reconciliation balances, nothing is accepted without a durable pass, the line resumes.

``FAULT_SEEDS=50 python -m pytest -rP tests/faults/test_killed_processes.py`` does it with 50 orders of kills and camera faults
more, and says what came of each.
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from collections.abc import Iterator

import pytest
from running_station import RunningStation

from inspection.cell import CellPart
from inspection.domain import Output

PARTS, RATE = 1_000, 40
VICTIMS = ("camera@top", "inspector", "recorder", "line", "web")
LOTS = tuple(f"L{number}" for number in range(1, 5))
# At these parts a process is killed.
TURNS = range(100, PARTS, 180)
CAMERA_FAULTS = ("drop", "duplicate_id", "corrupt", "incomplete")


def plan(seed: int) -> dict[int, str]:
    """Which process is killed at which part: with seed 0 each in turn, else at random, so that some are hit while they start."""
    if seed == 0:
        return dict(zip(TURNS, VICTIMS, strict=True))
    chance = random.Random(seed)
    return {number: chance.choice(VICTIMS) for number in sorted(chance.sample(range(40, PARTS - 40), chance.randint(4, 10)))}


@pytest.mark.by_hand
@pytest.mark.parametrize("seed", range(int(os.environ.get("FAULT_SEEDS", "0")) + 1))
def test_kill_9_of_processes(station: RunningStation, seed: int) -> None:
    kills, killed = plan(seed), []

    def parts_with_kills() -> Iterator[CellPart]:
        chance = random.Random(-seed)
        for number in range(PARTS):
            # Lots change in between, so that each lot is hit in another state.
            part = next(station.parts(LOTS[number * len(LOTS) // PARTS], [number]))
            if seed and number % 50 == 0:
                station.camera.clear_fault()
                if chance.random() < 0.5:
                    station.camera.fault(chance.choice(CAMERA_FAULTS), every=chance.randint(5, 40))
            if number in kills and station.pid(kills[number]) is not None:
                station.kill(kills[number])
                killed.append(kills[number])
            yield part
        station.camera.clear_fault()

    with station:
        for lot in LOTS:
            station.open_lot(lot)
        station.convey(parts_with_kills(), RATE)
        assert set(killed) >= set(kills.values()) if seed == 0 else killed
        station.wait_until(station.ready, 30, "all processes to be back")
        for lot in LOTS:
            station.check_invariants(lot)
            station.check_images(lot)
        say(station, seed, killed)
        # The line resumed by itself: the last parts were inspected.
        station.convey(station.parts("L4", range(PARTS, PARTS + 50)), RATE)
        station.check_invariants("L4")
        assert all(row["verdict"] != "not_inspected" for row in station.rows("L4")[-50:])


def say(station: RunningStation, seed: int, killed: list[str]) -> None:
    """Shown by ``-rP``. ``check_invariants`` and ``check_images`` have held by then."""
    rows = [row for lot in LOTS for row in station.rows(lot)]
    accepted = sum(outcome.output is Output.ACCEPT for outcome in station.outcomes)
    reasons = Counter(row["reason"] or row["verdict"] for row in rows)
    words = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    sys.stdout.write(f"seed {seed}: {len(rows)} parts, {accepted} accepted, killed {' '.join(killed)}; {words}\n")
