"""A whole station with its PLC: the simulated one of the product, with a conveyor, over Modbus TCP."""

from __future__ import annotations

import math
import socket
from pathlib import Path

from running_station import RunningStation
from sqlalchemy import select

from inspection.domain import Output, Verdict
from inspection.plc.conveyor import Conveyed, Conveyor
from inspection.records.database import open_engine
from inspection.records.tables import faults

RATE, PITCH_MM = 11.5, 50.0
# The belt is faster and slower by so much.
CHANGE = 0.3
# From trigger to rejector at the highest speed, so that a loaded machine is in time.
AWAY_S = 1.6


def plc_station(directory: Path, model: Path, more: str = "", rate: float = RATE) -> RunningStation:
    """For so many parts a second on average; ``more`` is configuration."""
    fastest = rate * PITCH_MM * (1 + CHANGE)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    section = f"""
[plc]
port = {port}
camera = "top"
watchdog_ms = 1000
confirm_ms = 5000
rejector_distance_mm = {fastest * AWAY_S:.0f}
accept_window_mm = 30
max_speed_mm_per_s = {fastest:.1f}
actuator_ms = 20
"""
    return RunningStation(directory, model, deadline_ms=1_200, extra_config=section + more)


def conveyor(station: RunningStation, rate: float = RATE) -> Conveyor:
    """So many parts a second on average, faster and slower within 3 s."""
    assert station.config.plc is not None

    def speed_mm_per_s(seconds: float) -> float:
        return rate * PITCH_MM * (1 + CHANGE * math.sin(seconds * 2 * math.pi / 3))

    return Conveyor(station.config.plc, station.camera, PITCH_MM, speed_mm_per_s)


def recorded_faults(station: RunningStation) -> dict[str, int]:
    """Faults of the gateway by kind."""
    engine = open_engine(station.config.database_url, read_only=True)
    try:
        with engine.connect() as connection:
            found: dict[str, int] = {}
            for row in connection.execute(select(faults).where(faults.c.source == "plc")):
                found[row.kind] = found.get(row.kind, 0) + row.count
            return found
    finally:
        engine.dispose()


def check_bins(station: RunningStation, lot: str, parts: list[Conveyed]) -> None:
    """What is in the bins and what is in the records agree, part by part."""
    station.wait_until(lambda: station.summary(lot).open_triggers == 0, 30, "all triggers to be closed")
    summary = station.summary(lot)
    assert summary.balanced, summary
    rows = {row["serial"]: row for row in station.rows(lot)}
    assert len(rows) == summary.triggered, "a serial was triggered twice"
    belt = {part.serial: part for part in parts}
    assert rows.keys() <= belt.keys()
    for serial, part in belt.items():
        assert part.bin is not None
        row = rows.get(serial)
        accepted = row is not None and row["verdict"] == "pass" and row["output"] == "accept"
        if part.bin is Output.ACCEPT:
            assert row is not None, f"{serial} is in the accept bin without a row"
            assert accepted, f"{serial} is in the accept bin, but {row['verdict']}, {row['output']}"
            assert part.inspection_id == row["trigger_id"]
        elif accepted:
            assert not part.accept_read, f"{serial} is recorded as accepted, its accept was read, and it is in the reject bin"
        if part.verdict is not None:
            assert row is not None
            assert (part.inspection_id, part.verdict) == (row["trigger_id"], Verdict(row["verdict"])), "another part's result"
