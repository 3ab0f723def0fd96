"""The ring: one owner a slot, and whatever dies, no slot is lost and no frame is taken for another."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cameras.errors import RingError
from cameras.frame import PixelFormat
from cameras.ring import Ring, SlotState

SLOTS = 4


def put(ring: Ring, value: int) -> tuple[int, int] | None:
    slot = ring.acquire()
    if slot is None:
        return None
    ring.write(slot, np.full((8, 16), value, np.uint8))
    return slot, ring.publish(slot)


def value_of(ring: Ring, slot: int, seq: int, state: SlotState) -> int:
    return int(ring.pixels(slot, seq, state, PixelFormat.Mono8, 16, 8)[3, 3])


def test_a_frame_goes_from_camera_to_recorder_and_the_slot_back(tmp_path: Path) -> None:
    camera = Ring.create(tmp_path, "top", SLOTS, 128)
    reader = Ring(camera.path)
    slot, seq = put(camera, 7) or (-1, -1)
    assert value_of(reader, slot, seq, SlotState.READY) == 7
    reader.hand_over(slot, seq)
    assert value_of(reader, slot, seq, SlotState.STORING) == 7
    reader.release(slot, seq, SlotState.STORING)
    assert camera.free_slots() == SLOTS


def test_pixels_are_read_only_and_keep_16_bits(tmp_path: Path) -> None:
    ring = Ring.create(tmp_path, "top", SLOTS, 256)
    slot = ring.acquire()
    assert slot is not None
    ring.write(slot, np.full((8, 16), 4_000, np.uint16))
    view = ring.pixels(slot, ring.publish(slot), SlotState.READY, PixelFormat.Mono12, 16, 8)
    assert view.max() == 4_000
    with pytest.raises(ValueError, match="read-only"):
        view[0, 0] = 1


def test_a_full_ring_gives_no_slot_and_overwrites_nothing(tmp_path: Path) -> None:
    ring = Ring.create(tmp_path, "top", SLOTS, 128)
    held = [put(ring, value) for value in range(SLOTS)]
    assert put(ring, 99) is None
    assert [value_of(ring, *entry, SlotState.READY) for entry in held if entry] == list(range(SLOTS))


def test_a_slot_that_was_taken_back_is_not_read_as_another_frame(tmp_path: Path) -> None:
    ring = Ring.create(tmp_path, "top", 1, 128)
    slot, old = put(ring, 1) or (-1, -1)
    ring.reclaim(SlotState.READY)
    put(ring, 2)
    with pytest.raises(RingError, match="not frame"):
        ring.pixels(slot, old, SlotState.READY, PixelFormat.Mono8, 16, 8)
    with pytest.raises(RingError):
        ring.release(slot, old, SlotState.READY)


def test_an_image_larger_than_a_slot_is_refused(tmp_path: Path) -> None:
    ring = Ring.create(tmp_path, "top", SLOTS, 128)
    slot = ring.acquire()
    assert slot is not None
    with pytest.raises(RingError, match="does not fit"):
        ring.write(slot, np.zeros(10_000, np.uint8))


def test_another_layout_makes_a_new_ring_and_removes_the_old(tmp_path: Path) -> None:
    old = Ring.create(tmp_path, "top", SLOTS, 128)
    new = Ring.create(tmp_path, "top", SLOTS, 100_000)
    assert new.path != old.path
    assert not old.path.exists()


def test_a_file_that_is_no_ring_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "top.4x4096.ring"
    path.write_bytes(b"\0" * 8192)
    with pytest.raises(RingError, match="not a ring"):
        Ring(path)
    with pytest.raises(RingError, match="camera process"):
        Ring(tmp_path / "missing.ring")


def _write_until_killed(directory: Path) -> None:
    ring = Ring.create(directory, "top", SLOTS, 128)
    put(ring, 5)
    slot = ring.acquire()
    assert slot is not None
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_camera_killed_while_writing_leaves_no_slot_behind(tmp_path: Path) -> None:
    victim = multiprocessing.get_context("spawn").Process(target=_write_until_killed, args=(tmp_path,))
    victim.start()
    victim.join(30)
    assert victim.exitcode == -signal.SIGKILL
    again = Ring.create(tmp_path, "top", SLOTS, 128)
    # What was published before the death is still there, and numbers go on.
    [(slot, seq)] = again.owned(SlotState.READY)
    assert value_of(again, slot, seq, SlotState.READY) == 5
    assert again.free_slots() == SLOTS - 1
    _, next_seq = put(again, 6) or (-1, -1)
    assert next_seq > seq


class RingLives(RuleBasedStateMachine):
    """Camera, inspector and recorder work and restart in any order; a model of what each holds is kept beside."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.directory = Path(tempfile.mkdtemp())
        self.camera = Ring.create(self.directory, "top", SLOTS, 128)
        self.ready: list[tuple[int, int, int]] = []
        self.storing: list[tuple[int, int, int]] = []
        self.stale: list[tuple[int, int]] = []
        self.next_value = 0

    @rule()
    def publish(self) -> None:
        self.next_value = (self.next_value + 1) % 251
        entry = put(self.camera, self.next_value)
        assert (entry is None) == (len(self.ready) + len(self.storing) == SLOTS)
        if entry is not None:
            self.ready.append((*entry, self.next_value))

    @precondition(lambda self: self.ready)
    @rule()
    def inspect(self) -> None:
        slot, seq, value = self.ready.pop(0)
        reader = Ring(self.camera.path)
        assert value_of(reader, slot, seq, SlotState.READY) == value
        reader.hand_over(slot, seq)
        self.storing.append((slot, seq, value))

    @precondition(lambda self: self.storing)
    @rule()
    def store(self) -> None:
        slot, seq, value = self.storing.pop(0)
        assert value_of(self.camera, slot, seq, SlotState.STORING) == value
        self.camera.release(slot, seq, SlotState.STORING)
        self.stale.append((slot, seq))

    @rule()
    def camera_restarts(self) -> None:
        slot = self.camera.acquire()  # dies while writing
        self.camera = Ring.create(self.directory, "top", SLOTS, 128)
        assert slot is None or self.camera.states()[slot] is SlotState.FREE

    @rule()
    def inspector_restarts(self) -> None:
        assert self.camera.reclaim(SlotState.READY) == len(self.ready)
        self.stale += [(slot, seq) for slot, seq, _ in self.ready]
        self.ready.clear()

    @rule()
    def recorder_restarts(self) -> None:
        assert self.camera.reclaim(SlotState.STORING) == len(self.storing)
        self.stale += [(slot, seq) for slot, seq, _ in self.storing]
        self.storing.clear()

    @invariant()
    def every_slot_has_one_owner(self) -> None:
        assert self.camera.free_slots() == SLOTS - len(self.ready) - len(self.storing)
        for slot, seq in self.stale:
            for state in (SlotState.READY, SlotState.STORING):
                with pytest.raises(RingError):
                    self.camera.pixels(slot, seq, state, PixelFormat.Mono8, 16, 8)


TestRingLives = RingLives.TestCase
TestRingLives.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
