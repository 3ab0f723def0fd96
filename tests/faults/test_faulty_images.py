"""Light, lens and camera that fail while the line runs: such parts are not inspected, with their images, and it goes on."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from running_station import PRODUCT, WIDTH, RunningStation, scene
from sqlalchemy import select

from cameras.simulator.control import FaultKind
from inspection.cell import CellPart
from inspection.domain import Output
from inspection.optics import RULES
from inspection.records.database import open_engine
from inspection.records.tables import faults

RATE = 20
EACH = 3

Spoil = Callable[[NDArray[np.float32]], Any]

DEGRADED: dict[str, Spoil] = {
    "too dark": lambda pixels: pixels * 0.3,
    "too bright": lambda pixels: pixels * 4,
    "shows nothing": lambda pixels: pixels * 0,
    "without contrast": lambda pixels: pixels * 0.05 + 110,
    "blurred": lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 2),
    "dark on the right": lambda pixels: pixels * np.linspace(1, 0.1, WIDTH, dtype=np.float32),
}
CAMERA: dict[FaultKind, str] = {
    "frozen": "frozen: the same pixels as the frame before",
    "cropped": "160 × 60 pixels, the good images had",
}


def said(station: RunningStation, kind: str) -> list[str]:
    engine = open_engine(station.config.database_url, read_only=True)
    try:
        with engine.connect() as connection:
            return list(connection.execute(select(faults.c.detail).where(faults.c.kind == kind)).scalars())
    finally:
        engine.dispose()


def test_what_fails_in_front_of_or_inside_the_camera_never_passes(station: RunningStation) -> None:
    """Every fault for three parts, with good parts after it."""
    spoiled: dict[str, str] = {}
    numbers = itertools.count(1)

    def good(count: int) -> Iterator[CellPart]:
        return station.parts("L1", itertools.islice(numbers, count))

    def degraded() -> Iterator[CellPart]:
        for words, spoil in DEGRADED.items():
            for number in itertools.islice(numbers, EACH):
                pixels = np.clip(np.rint(spoil(scene(number).astype(np.float32))), 0, 255).astype(np.uint8)
                spoiled[f"SN{number:06d}"] = words
                yield CellPart("L1", f"SN{number:06d}", pixels, None)
            yield from good(EACH)

    with station:
        station.open_lot("L1")
        station.convey(degraded(), RATE)
        for kind, words in CAMERA.items():
            station.camera.fault(kind, every=1)
            faulty = [outcome.serial for outcome in station.convey(good(EACH + 1), RATE)]
            # The image that a frozen camera goes on to show is still a true one.
            spoiled |= dict.fromkeys(sorted(faulty)[kind == "frozen" :], words)
            station.camera.clear_fault()
            station.convey(good(EACH), RATE)
        outcomes = station.outcomes
        station.check_invariants("L1")
        rows = {row["serial"]: row for row in station.rows("L1")}
        for serial, words in spoiled.items():
            assert (rows[serial]["verdict"], rows[serial]["reason"]) == ("not_inspected", "optics"), (words, rows[serial])
            assert words in rows[serial]["detail"]
            assert rows[serial]["late_verdict"] is not None
        inspected = [row for serial, row in rows.items() if serial not in spoiled]
        assert all(row["verdict"] != "not_inspected" for row in inspected), inspected
        assert all(row["optics"].keys() == RULES.keys() for row in rows.values())
        accepted = {outcome.serial for outcome in outcomes if outcome.output is Output.ACCEPT}
        assert accepted
        assert not accepted & spoiled.keys()
        # Whoever reviews them sees what the camera saw.
        station.wait_until(
            lambda: all(row["frame_sha256"] for row in station.rows("L1") if row["serial"] in spoiled), 20, "images to be stored"
        )
        assert sum("camera top: " in detail for detail in said(station, "optics")) > 0


@pytest.mark.by_hand
def test_a_camera_that_stalls_is_opened_again_by_itself(tmp_path: Path, plate_model: Path) -> None:
    """It answers and exposes, and nothing comes: deadlines are missed, arming does not help, opening does."""
    station = RunningStation(tmp_path, plate_model, deadline_ms=1_000)

    def parts() -> Iterator[CellPart]:
        for number in range(400):
            if number == 40:
                station.camera.stall()
            yield next(station.parts("L1", [number]))

    with station:
        station.open_lot("L1")
        station.convey(parts(), RATE)
        station.check_invariants("L1")
        station.check_images("L1")
        rows = station.rows("L1")
        lost = [row for row in rows if row["verdict"] == "not_inspected"]
        assert len(lost) > 20
        assert {row["reason"] for row in lost} <= {"deadline", "camera_lost", "desync", "frame_lost", "overload"}
        assert all(row["verdict"] != "not_inspected" for row in rows[:30] + rows[-50:])
        assert any("is opened again" in detail for detail in said(station, "camera_lost"))


@pytest.mark.by_hand
@pytest.mark.parametrize("process", ["inspector", "recorder"])
def test_a_ring_that_is_full_loses_parts_and_counts_them(station: RunningStation, process: str) -> None:
    """A process that takes no frames for eight seconds at forty parts a second: 320 frames, and 256 slots."""

    def parts() -> Iterator[CellPart]:
        pid = station.pid(process)
        assert pid is not None
        for number in range(480):
            if number == 40:
                os.kill(pid, signal.SIGSTOP)
            if number == 360:
                os.kill(pid, signal.SIGCONT)
            yield next(station.parts("L1", [number]))

    with station:
        station.open_lot("L1")
        station.convey(parts(), 40)
        station.check_invariants("L1")
        station.check_images("L1")
        rows = station.rows("L1")
        reasons = {row["reason"] for row in rows}
        assert reasons - {None}
        assert all(row["verdict"] != "not_inspected" for row in rows[:30] + rows[-30:])
        assert PRODUCT in station.states()["inspector"]
