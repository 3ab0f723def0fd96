"""Invariant 3: an image belongs to its trigger, proved serial by serial by content."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from running_station import RunningStation

from inspection.cell import CellPart

PARTS, RATE = 2_000, 50


@pytest.mark.by_hand
def test_every_stored_image_is_the_one_shown_for_its_serial(station: RunningStation) -> None:
    with station:
        station.open_lot("L1")
        station.convey(station.parts("L1", range(PARTS)), RATE)
        station.check_invariants("L1")
        station.check_images("L1", PARTS)
        summary = station.summary("L1")
        assert summary.not_inspected == 0
        assert summary.triggered == PARTS
        assert summary.accepted == summary.passed > PARTS * 0.9


@pytest.mark.by_hand
def test_lost_duplicate_corrupt_and_incomplete_frames_never_swap_images(station: RunningStation) -> None:
    kinds = ("drop", "duplicate_id", "corrupt", "incomplete", "delay")

    def parts_with_faults() -> Iterator[CellPart]:
        for number, part in enumerate(station.parts("L1", range(PARTS))):
            if number % 100 == 0:
                station.camera.clear_fault()
                kind = kinds[number // 100 % len(kinds)]
                station.camera.fault(kind, every=23, delay_ms=60 if kind == "delay" else 0)
            yield part

    with station:
        station.open_lot("L1")
        station.convey(parts_with_faults(), RATE)
        station.camera.clear_fault()
        assert station.camera.faults_injected > 40
        station.check_invariants("L1")
        inspected = sum(row["verdict"] != "not_inspected" for row in station.rows("L1"))
        station.check_images("L1", inspected)
        summary = station.summary("L1")
        reasons = set(summary.reasons)
        assert {"frame_lost", "frame_corrupt", "desync"} <= reasons, reasons
        assert PARTS * 0.7 < inspected < PARTS


@pytest.mark.by_hand
def test_edges_that_nobody_asked_for_cost_parts_and_never_swap_images(station: RunningStation) -> None:
    def parts_with_noise() -> Iterator[CellPart]:
        for number, part in enumerate(station.parts("L1", range(400))):
            if number % 40 == 20:
                # Shows the former part once more, between its own edge and the next part's.
                station.camera.edge()
            yield part

    with station:
        station.open_lot("L1")
        station.convey(parts_with_noise(), RATE)
        station.check_invariants("L1")
        inspected = sum(row["verdict"] != "not_inspected" for row in station.rows("L1"))
        station.check_images("L1", inspected)
        assert "desync" in station.summary("L1").reasons
        assert inspected > 100


def test_edges_that_were_allowed_and_never_raised_cost_parts_and_never_swap_images(
    station: RunningStation, monkeypatch: pytest.MonkeyPatch
) -> None:
    raise_edge, allowed = station.camera.edge, itertools.count(1)

    def raise_most() -> int:
        """The camera counts the next part's edge as that of the part whose edge was forgotten."""
        return 0 if next(allowed) % 40 == 20 else raise_edge()

    monkeypatch.setattr(station.camera, "edge", raise_most)
    with station:
        station.open_lot("L1")
        station.convey(station.parts("L1", range(200)), RATE)
        station.check_invariants("L1")
        inspected = sum(row["verdict"] != "not_inspected" for row in station.rows("L1"))
        station.check_images("L1", inspected)
        assert "desync" in station.summary("L1").reasons
        assert inspected > 50
