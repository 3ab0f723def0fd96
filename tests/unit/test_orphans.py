"""Slots whose message died are freed; frames in use are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cameras.ring import Ring, SlotState
from inspection.rings import Orphans, Rings


def put(ring: Ring) -> tuple[int, int]:
    slot = ring.acquire()
    assert slot is not None
    ring.write(slot, np.zeros(16, np.uint8))
    return slot, ring.publish(slot)


def test_what_is_owned_at_two_looks_is_freed_and_younger_frames_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspection.rings.FIRST_LOOK_S", 0.0)
    monkeypatch.setattr("inspection.rings.LOOK_S", 0.0)
    ring = Ring.create(tmp_path, "top", 4, 16)
    put(ring)
    orphans = Orphans(Rings(tmp_path), SlotState.READY)
    young = put(ring)
    assert len(orphans.free()) == 1
    assert ring.owned(SlotState.READY) == [young]
    assert len(orphans.free()) == 1
    assert ring.free_slots() == 4


def test_frames_whose_message_came_are_not_freed_however_long_they_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspection.rings.FIRST_LOOK_S", 0.0)
    monkeypatch.setattr("inspection.rings.LOOK_S", 0.0)
    ring = Ring.create(tmp_path, "top", 4, 16)
    waiting, orphan = put(ring), put(ring)
    orphans = Orphans(Rings(tmp_path), SlotState.READY, lambda: {(ring.path.name, *waiting)})
    assert orphans.free() == [f"slot {orphan[0]} of {ring.path.name}, frame {orphan[1]}"]
    assert orphans.free() == []
    assert ring.owned(SlotState.READY) == [waiting]


def test_nothing_is_freed_before_its_time_nor_from_another_owner(tmp_path: Path) -> None:
    ring = Ring.create(tmp_path, "top", 4, 16)
    put(ring)
    assert Orphans(Rings(tmp_path), SlotState.READY).free() == []
    assert ring.free_slots() == 3


def test_slots_of_another_owner_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspection.rings.FIRST_LOOK_S", 0.0)
    ring = Ring.create(tmp_path, "top", 4, 16)
    put(ring)
    assert Orphans(Rings(tmp_path), SlotState.STORING).free() == []
