"""A database that another program holds for minutes: the line's messages fill the recorder's inbox, and some are lost."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_station import RunningStation
from sqlalchemy.engine import make_url

from inspection.cell import CellPart
from inspection.domain import Output

RATE = 20
# More messages by then than both queues hold, and fewer open triggers than the line numbers.
LOCKED_S = 190


@pytest.mark.by_hand
@pytest.mark.timeout(900)
def test_the_station_inspects_again_at_once_and_every_part_has_its_row(tmp_path: Path, plate_model: Path) -> None:
    after: list[str] = []
    with RunningStation(tmp_path, plate_model) as station:
        path = make_url(station.config.database_url).database
        assert path is not None

        def parts() -> Iterator[CellPart]:
            yield from station.parts("L", range(50))
            other = sqlite3.connect(path, timeout=5, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            until = time.monotonic() + LOCKED_S
            number = 50
            while time.monotonic() < until:
                yield from station.parts("L", [number])
                number += 1
            other.execute("ROLLBACK")
            other.close()
            # So long may it take; parts come meanwhile.
            yield from station.parts("L", range(number, number + 20 * RATE))
            yield from station.parts("L", range(4_000 + number, 4_100 + number))
            after[:] = [f"SN{each:06d}" for each in range(4_000 + number, 4_100 + number)]

        station.open_lot("L")
        station.convey(parts(), RATE)
        station.check_invariants("L")
        recorder_log = (station.config.log_dir / "recorder.log").read_text()
        assert "the line is asked for all again" in recorder_log, "nothing was lost: hold the database for longer"
    last = {outcome.serial: outcome for outcome in station.outcomes}
    assert sum(last[serial].output is Output.ACCEPT for serial in after) > 80
