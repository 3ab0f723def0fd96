"""A PLC with its conveyor at changing speed, over Modbus TCP, on a whole station."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import pytest
from plc_station import check_bins, conveyor, plc_station, recorded_faults
from running_station import scene

from inspection.cell import CellPart
from inspection.domain import Output

PARTS = 120


@pytest.mark.by_hand
def test_the_bins_of_a_conveyor_at_changing_speed_agree_with_the_records(tmp_path: Path, plate_model: Path) -> None:
    station = plc_station(tmp_path, plate_model)

    def parts() -> list[CellPart]:
        """Every sixth with a hole."""
        made = []
        for number in range(PARTS):
            pixels, defect = scene(number), None
            if number % 6 == 5:
                pixels[50:75, 60:90], defect = 0, "hole"
            made.append(CellPart("L1", f"SN{number:06d}", np.ascontiguousarray(pixels), defect))
        return made

    with station:
        station.open_lot("L1")
        belt = conveyor(station)
        belt.run(parts())
        check_bins(station, "L1", belt.parts)
        rows = {row["serial"]: row for row in station.rows("L1")}
        accepted = {part.serial for part in belt.parts if part.bin is Output.ACCEPT}
        recorded = {serial for serial, row in rows.items() if row["output"] == "accept"}
        missed = recorded - accepted
        # A machine that is busy with other things may be late for some; each of them is told.
        told = recorded_faults(station)
        assert len(missed) <= told.get("accept_not_taken", 0) + told.get("accept_not_given", 0)
        assert len(accepted) > PARTS / 2
        assert not any(part.defect for part in belt.parts if part.bin is Output.ACCEPT)
        assert belt.strangers == 0
        assert all(part.confirmed for part in belt.parts if part.acquisition_id is not None)
        assert told.keys() <= {"accept_not_taken", "accept_not_given", "missed_acquisition", "stop_request"}
        health = httpx.get(f"{station.url}/api/v1/health").json()
        (plc,) = (process for process in health["processes"] if process["name"] == "plc")
        assert plc["counters"]["triggers"] == len(rows)
