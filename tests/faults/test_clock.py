"""The wall clock is set back and forward, by hours and years, while parts run; nothing that lasts is measured by it."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from running_station import RunningStation
from sqlalchemy import select

from inspection.cell import CellPart
from inspection.records.database import open_engine
from inspection.records.tables import faults

SOURCE = Path(__file__).parents[1] / "support" / "set_clock.c"
COMPILERS = (["cc"], [sys.executable, "-m", "ziglang", "cc"])
PARTS, RATE = 240, 20
HOUR_S, YEAR_S = 3_600, 365 * 86_400
# At which part the clock is how many seconds from the true time.
STEPS = {40: HOUR_S, 80: -HOUR_S, 120: -YEAR_S, 160: 2 * YEAR_S, 200: 0}

pytestmark = pytest.mark.by_hand


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that says how far the clock of the station's processes is from the true one."""
    clock, library = tmp_path / "clock", tmp_path / "set_clock.so"
    set_clock(clock, 0)
    for compiler in COMPILERS:
        if shutil.which(compiler[0]) is not None:
            subprocess.run([*compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE)], check=True)
            break
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("STATION_CLOCK", str(clock))
    # Nothing may depend on where the station stands.
    monkeypatch.setenv("TZ", "Europe/Berlin")
    return clock


def set_clock(clock: Path, offset_s: int) -> None:
    """In place: the processes have the file in their memory."""
    with clock.open("r+b" if clock.exists() else "wb") as file:
        file.write(struct.pack("=q", offset_s * 1_000_000_000))


@pytest.mark.timeout(600)
def test_parts_go_on_and_every_step_is_recorded(station: RunningStation, clock: Path) -> None:
    ages = []

    def parts() -> Iterator[CellPart]:
        for number in range(PARTS):
            if number in STEPS:
                set_clock(clock, STEPS[number])
                # Heartbeats are not older or younger for it.
                ages.extend(each["age_s"] for each in httpx.get(f"{station.url}/api/v1/health", timeout=20).json()["processes"])
            yield next(station.parts("L1", [number]))

    with station:
        station.open_lot("L1")
        outcomes = station.convey(parts(), RATE)
        station.check_invariants("L1")
        station.check_images("L1")
        rows = station.rows("L1")
        assert max(ages) < 60
        assert [row["trigger_id"] for row in rows] == sorted(row["trigger_id"] for row in rows)
        judged = [row for row in rows if row["verdict"] != "not_inspected"]
        assert len(judged) > PARTS * 0.8
        assert all(0 <= each < 60_000 for row in judged for each in row["timings_ms"].values())
        assert all(each.durable_ms is None or 0 <= each.durable_ms < 60_000 for each in outcomes)
        told = httpx.get(f"{station.url}/api/v1/changes?after=0&limit=1000", timeout=20).json()["items"]
        assert [each["seq"] for each in told] == [row["seq"] for row in rows]
        station.wait_until(lambda: len(steps(station)) >= len(STEPS), 20, "all steps to be recorded")
        # A lot that was opened in the future is closed, and another is opened.
        station.close_lot("L1")
        station.open_lot("L2")
        station.convey(station.parts("L2", range(1_000, 1_040)), RATE)
        station.check_invariants("L2")
    sys.stdout.write("\n".join(steps(station)) + "\n")
    shutil.rmtree(station.config.data_dir)


def steps(station: RunningStation) -> list[str]:
    engine = open_engine(station.config.database_url, read_only=True)
    with engine.connect() as connection:
        found = connection.execute(select(faults.c.detail).where(faults.c.kind == "clock_stepped")).scalars().all()
    engine.dispose()
    return list(found)
