"""Invariants 1 and 2 under kill -9: the reconciliation balances, nothing is accepted without a durable pass, the line resumes."""

from __future__ import annotations

from collections.abc import Iterator

from running_station import RunningStation

from inspection.cell import CellPart

PARTS, RATE = 1_000, 40
VICTIMS = ("camera@top", "inspector", "recorder", "line", "web")


def test_kill_9_of_each_process_in_turn(station: RunningStation) -> None:
    killed: list[str] = []

    def parts_with_kills() -> Iterator[CellPart]:
        for number in range(PARTS):
            # Lots change in between, so that each lot is hit in another state.
            part = next(station.parts(f"L{number // 250 + 1}", [number]))
            if number % 180 == 100 and len(killed) < len(VICTIMS):
                station.kill(VICTIMS[len(killed)])
                killed.append(VICTIMS[len(killed)])
            yield part

    with station:
        for lot in range(1, 5):
            station.open_lot(f"L{lot}")
        station.convey(parts_with_kills(), RATE)
        assert killed == list(VICTIMS)
        station.wait_until(station.ready, 30, "all processes to be back")
        for lot in range(1, 5):
            station.check_invariants(f"L{lot}")
            station.check_images(f"L{lot}")
        # The line resumed by itself: the last parts were inspected.
        station.convey(station.parts("L4", range(PARTS, PARTS + 50)), RATE)
        station.check_invariants("L4")
        assert all(row["verdict"] != "not_inspected" for row in station.rows("L4")[-50:])
