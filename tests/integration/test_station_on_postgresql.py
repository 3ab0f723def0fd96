"""The same station with its records in a PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest
from running_station import RunningStation


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_parts_are_inspected_and_recorded_on_postgresql(tmp_path: Path, plate_model: Path, database_url: str) -> None:
    with RunningStation(tmp_path, plate_model, database_url=database_url) as station:
        station.open_lot("L1")
        station.convey(station.parts("L1", range(40)), rate=20)
        station.check_invariants("L1")
        station.check_images("L1", 40)
        assert station.summary("L1").not_inspected == 0
