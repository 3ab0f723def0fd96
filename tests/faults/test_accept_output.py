"""Invariant 2 at the camera's own output: a pulse for each durable pass and for nothing else, whatever is killed, and when.

The level of the line is read from the simulated camera, which goes on without its process as a real one does.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zxingcpp
from running_station import RunningStation, digest, scene
from sqlalchemy import select

from inspection.artifact import Thresholds, read_artifact, write_artifact
from inspection.cell import Cell, CellPart, Outcome
from inspection.commands import OpenLot
from inspection.deploying import deploy_artifact
from inspection.domain import Output
from inspection.records.database import open_engine
from inspection.records.tables import faults, parts, triggers

PULSE_MS, RATE = 60, 6
CAMERA = f"""
[cameras.accept_output]
line = "Line2"
pulse_ms = {PULSE_MS}
"""
CODED = """
[[products]]
part_number = "coded"
camera = "top"
deadline_ms = 3000
serial_code = "SN:(.+)"
serial_from = "code"
"""


@pytest.fixture
def station(tmp_path: Path, plate_model: Path) -> RunningStation:
    """With an accept output, and a second product whose parts tell their serials by codes, and all pass."""
    station = RunningStation(tmp_path, plate_model, camera_config=CAMERA, extra_config=CODED)
    strict = read_artifact(plate_model)
    # No part that it learned from shows a code, which would be a frame taken otherwise.
    generous = msgspec.structs.replace(strict.manifest, thresholds=Thresholds(review=1e6, fail=1e9, rule="a test"), optics=None)
    path, _ = write_artifact(station.config.models_dir, generous, strict.files)
    deploy_artifact(station.config, path, "coded", "test", "test", override="what is tested is the serial")
    return station


def recorded_faults(station: RunningStation, kind: str) -> int:
    engine = open_engine(station.config.database_url, read_only=True)
    try:
        with engine.connect() as connection:
            return sum(connection.execute(select(faults.c.count).where(faults.c.kind == kind)).scalars())
    finally:
        engine.dispose()


def check_pulses(station: RunningStation) -> int:
    """Each pulse begins after the exposure of a part that passed and before the next exposure, and the camera ended it."""
    pulses = station.camera.output_periods()
    exposed = [outcome for outcome in station.outcomes if outcome.exposed]
    never = Outcome("", "", None, time.monotonic_ns())
    owned = 0
    for outcome, following in pairwise([*exposed, never]):
        within = [rise_ns for rise_ns, _ in pulses if outcome.requested_ns < rise_ns < following.requested_ns]
        assert len(within) <= 1, outcome
        assert not within or outcome.verdict == "pass", f"a pulse for {outcome}"
        owned += len(within)
    assert owned == len(pulses)
    # Shorter is one during which the camera was opened anew.
    assert all(fall_ns is not None and 0 < fall_ns - rise_ns <= PULSE_MS * 1_000_000 for rise_ns, fall_ns in pulses)
    accepted = sum(outcome.output is Output.ACCEPT for outcome in exposed)
    assert len(pulses) >= accepted - recorded_faults(station, "accept_not_given") - recorded_faults(station, "camera_lost")
    return len(pulses)


def pulse_begins(station: RunningStation) -> bool:
    """Is the part that was exposed last accepted within a second? Then the output has just gone on."""
    until = time.monotonic() + 1
    while not (on := station.camera.line_output()) and time.monotonic() < until:
        time.sleep(0.001)
    return on


def test_pulses_are_those_of_durable_passes_whatever_is_killed(station: RunningStation) -> None:
    victims = {"camera@top": 15, "line": 35}

    def some_with_holes() -> Iterator[CellPart]:
        for number, part in enumerate(station.parts("L1", range(55))):
            if number % 5 == 4:
                part.pixels[50:75, 60:90] = 0
                station.shown[part.serial] = digest(part.pixels)
            yield part
            due = next((name for name, since in victims.items() if number >= since), None)
            if due is not None and pulse_begins(station):
                station.kill(due)
                del victims[due]
                station.wait_until(lambda: not station.camera.line_output(), 1, "the output to go off by itself")

    with station:
        assert not station.camera.line_output()
        station.open_lot("L1")
        cell = Cell(station.bus, station.camera, "top", station.deadline_ms, station.outcomes.append)
        cell.run(some_with_holes(), RATE, in_flight=1)
        assert victims == {}
        station.wait_until(station.ready, 30, "all processes to be back")
        before = check_pulses(station)
        assert before > 15
        station.check_invariants("L1")
        station.check_images("L1")
        check_serials_from_codes(station)
        assert check_pulses(station) >= before + 5, "the line resumed"


def coded(number: int, text: str | None, other: str | None = None) -> CellPart:
    """A part with codes on it, which the cell knows by its number."""
    pixels = scene(number)
    for code, row in ((text, 0), (other, 60)):
        if code is not None:
            barcode = zxingcpp.create_barcode(code, zxingcpp.BarcodeFormat.DataMatrix)
            symbol = np.array(zxingcpp.write_barcode_to_image(barcode, scale=3, add_quiet_zones=True))
            pixels[row : row + symbol.shape[0], 100 : 100 + symbol.shape[1]] = symbol
    return CellPart("C1", str(number), pixels, None)


def check_serials_from_codes(station: RunningStation) -> None:
    """Parts whose triggers name no serial, one after the other."""
    station.recorder.execute(OpenLot(lot="C1", product="coded"))
    shown = [coded(number, f"SN:C{number}") for number in range(6)]
    shown += [coded(6, None), coded(7, "SN:C7", "SN:C8"), coded(8, "SN:C0")]
    cell = Cell(station.bus, station.camera, "top", station.deadline_ms, station.outcomes.append, names_serials=False)
    for part in shown:
        cell.run([part], 10)
        station.wait_until(lambda: not station.camera.line_output(), 5, "the end of the pulse")
    station.wait_until(lambda: station.summary("C1").open_triggers == 0, 30, "all triggers to be closed")
    rows = station.rows("C1")
    numbers = [row["trigger_id"] for row in rows]
    told = [(row["serial"], row["verdict"], row["reason"], row["attempt"]) for row in rows]
    assert told == [
        *((f"C{number}", "pass", None, 1) for number in range(6)),
        (f"?{numbers[6]}", "not_inspected", "serial_unread", 1),
        (f"?{numbers[7]}", "not_inspected", "serial_mismatch", 1),
        ("C0", "pass", None, 2),
    ]
    assert station.summary("C1").balanced
    assert [row["output"] for row in rows] == [*["accept"] * 6, "reject", "reject", "accept"]
    station.wait_until(lambda: all(row["frame_sha256"] for row in station.rows("C1")), 30, "all images to be stored")
    for row, part in zip(station.rows("C1"), shown, strict=True):
        assert station.stored_digest(row["frame_sha256"]) == digest(part.pixels), row["serial"]
    engine = open_engine(station.config.database_url, read_only=True)
    try:
        with engine.connect() as connection:
            named = connection.execute(select(triggers.c.serial).where(triggers.c.lot == "C1").order_by(triggers.c.trigger_id))
            assert list(named.scalars()) == [row["serial"] for row in rows]
            kept = connection.execute(select(parts.c.serial, parts.c.attempts).where(parts.c.lot == "C1"))
            assert dict(iter(kept)) == {row["serial"]: row["attempt"] for row in rows}
    finally:
        engine.dispose()
