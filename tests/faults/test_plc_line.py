"""The gateway and what stands behind it are killed under a running conveyor: the bins still agree with the records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from plc_station import check_bins, conveyor, plc_station, recorded_faults
from running_station import scene

from inspection.cell import CellPart
from inspection.domain import Output

VICTIMS = ("plc", "line", "recorder", "inspector")
# So many are accepted before each kill, and after the last one.
ACCEPTED, MOST = 8, 2_000


def test_kill_9_under_a_conveyor_leaves_no_part_in_the_wrong_bin(tmp_path: Path, plate_model: Path) -> None:
    station = plc_station(tmp_path, plate_model)
    killed: list[str] = []

    def parts() -> Iterator[CellPart]:
        """Parts without end, until the line has resumed after each kill."""
        since = 0
        for number in range(MOST):
            if sum(part.bin is Output.ACCEPT for part in belt.parts[since:]) >= ACCEPTED:
                if len(killed) == len(VICTIMS):
                    return
                station.kill(VICTIMS[len(killed)])
                killed.append(VICTIMS[len(killed)])
                # The belt is full of parts from before.
                since = len(belt.parts) + 1
            yield CellPart("L1", f"SN{number:06d}", scene(number), None)
        raise AssertionError(f"the line did not resume after {killed}")

    with station:
        station.open_lot("L1")
        belt = conveyor(station)
        belt.run(parts())
        assert tuple(killed) == VICTIMS
        check_bins(station, "L1", belt.parts)
        station.wait_until(lambda: station.states().get("plc", "").startswith("online"), 10, "the gateway to be online")
        assert "accept_not_commanded" not in recorded_faults(station)
