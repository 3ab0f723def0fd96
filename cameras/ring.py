"""Shared-memory ring: frames cross processes without being copied twice.

A file in memory holds a header, a table of slots and the slots' pixels. Every slot has exactly one owner, told by its state, and
only the owner changes the state: FREE and WRITING belong to the camera, READY to the inspector, STORING to the recorder. Since
ownership is handed on and never shared, no lock is needed and none can be left locked by a dead process: each process
takes its own slots back when it starts again.
"""

from __future__ import annotations

import mmap
import os
from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cameras.errors import RingError
from cameras.frame import PixelFormat

PAGE = 4096
MAGIC = 0x5247_4E49_5254_5301
HEADER = np.dtype([("magic", "<u8"), ("slots", "<u8"), ("slot_bytes", "<u8"), ("next_seq", "<u8")])
SLOT = np.dtype([("state", "<u4"), ("pad", "<u4"), ("seq", "<u8")])


class SlotState(IntEnum):
    FREE = 0
    WRITING = 1
    READY = 2
    STORING = 3


class Ring:
    """One camera's ring. The camera creates it, the others attach; the layout is part of the file's name."""

    def __init__(self, path: Path) -> None:
        """Attach to an existing ring; RingError if it is missing or not a ring of the layout in its header."""
        try:
            with path.open("r+b") as file:
                self._memory = mmap.mmap(file.fileno(), 0)
        except (OSError, ValueError) as error:
            raise RingError(f"cannot attach to the ring {path}: {error}; is the camera process running?") from error
        header = np.frombuffer(self._memory, HEADER, 1)
        slots, self.slot_bytes = int(header["slots"][0]), int(header["slot_bytes"][0])
        if header["magic"][0] != MAGIC or len(self._memory) != _file_size(slots, self.slot_bytes):
            raise RingError(f"{path} is not a ring of this version; stop the station, delete the file and start again")
        self.path = path
        self._header = header
        self._table = np.frombuffer(self._memory, SLOT, slots, PAGE)
        self._states = self._table["state"]
        self._pixels_at = _pixels_at(slots)
        self._last = 0

    @classmethod
    def create(cls, directory: Path, camera: str, slots: int, slot_bytes: int) -> Ring:
        """The camera's ring with this layout: the one left by a former process if there is one, else a new one.

        Rings of the same camera with another layout are deleted; processes attached to them keep their memory until they let go.
        """
        slot_bytes = -(-slot_bytes // PAGE) * PAGE
        path = directory / f"{camera}.{slots}x{slot_bytes}.ring"
        for other in directory.glob(f"{camera}.*.ring"):
            if other != path:
                other.unlink(missing_ok=True)
        if not path.exists():
            # Written beside and renamed, so that nobody attaches to half a ring.
            fresh = path.with_suffix(".new")
            descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "r+b") as file:
                # Allocated now: a full memory file system must fail here, not with a bus error on the line.
                os.posix_fallocate(file.fileno(), 0, _file_size(slots, slot_bytes))
                header = np.zeros(1, HEADER)
                header["magic"], header["slots"], header["slot_bytes"], header["next_seq"] = MAGIC, slots, slot_bytes, 1
                file.write(header.tobytes())
            fresh.rename(path)
        ring = cls(path)
        ring.reclaim(SlotState.WRITING)
        return ring

    @property
    def slots(self) -> int:
        return len(self._table)

    def free_slots(self) -> int:
        return int(np.count_nonzero(self._states == SlotState.FREE))

    def states(self) -> list[SlotState]:
        return [SlotState(int(state)) for state in self._states]

    # --- the camera's side ---

    def acquire(self) -> int | None:
        """A slot to write into, or None if the inspector and the recorder hold them all."""
        count = len(self._table)
        for step in range(1, count + 1):
            slot = (self._last + step) % count
            if self._states[slot] == SlotState.FREE:
                self._states[slot] = SlotState.WRITING
                self._last = slot
                return slot
        return None

    def write(self, slot: int, pixels: NDArray[np.generic]) -> None:
        """Copy pixels, of any dtype and shape that fit, into a slot that is being written; RingError if they do not."""
        if pixels.nbytes > self.slot_bytes:
            raise RingError(
                f"image of {pixels.nbytes} bytes does not fit a slot of {self.slot_bytes}; restart the camera process"
            )
        target = np.frombuffer(self._memory, pixels.dtype, pixels.size, self._pixels_at + slot * self.slot_bytes)
        np.copyto(target.reshape(pixels.shape), pixels)

    def publish(self, slot: int) -> int:
        """Hand a written slot to the inspector; returns its sequence number, unique for the life of the ring."""
        seq = int(self._header["next_seq"][0])
        self._header["next_seq"][0] = seq + 1
        self._table["seq"][slot] = seq
        self._states[slot] = SlotState.READY
        return seq

    # --- the readers' side ---

    def pixels(
        self, slot: int, seq: int, state: SlotState, pixel_format: PixelFormat, width: int, height: int
    ) -> NDArray[np.generic]:
        """Read-only view of a frame that the caller owns; RingError if the slot was taken back meanwhile."""
        self._check(slot, seq, state)
        shape = pixel_format.shape(width, height)
        if pixel_format.nbytes(width, height) > self.slot_bytes:
            raise RingError(f"frame of {width}×{height} {pixel_format.name} is larger than a slot of {self.slot_bytes} bytes")
        view = np.frombuffer(self._memory, pixel_format.dtype, int(np.prod(shape)), self._pixels_at + slot * self.slot_bytes)
        view.flags.writeable = False
        return view.reshape(shape)

    def hand_over(self, slot: int, seq: int) -> None:
        """Inspector to recorder."""
        self._check(slot, seq, SlotState.READY)
        self._states[slot] = SlotState.STORING

    def release(self, slot: int, seq: int, state: SlotState) -> None:
        """Back to the camera; the caller owned it as ``state``."""
        self._check(slot, seq, state)
        self._states[slot] = SlotState.FREE

    def owned(self, state: SlotState) -> list[tuple[int, int]]:
        """(slot, seq) of every slot in this state."""
        return [(int(slot), int(self._table["seq"][slot])) for slot in np.flatnonzero(self._states == state)]

    def reclaim(self, state: SlotState) -> int:
        """Free every slot that a former process of the owner of ``state`` left behind."""
        left = np.flatnonzero(self._states == state)
        self._states[left] = SlotState.FREE
        return len(left)

    def _check(self, slot: int, seq: int, state: SlotState) -> None:
        if not 0 <= slot < len(self._table):
            raise RingError(f"slot {slot} does not exist in {self.path.name}")
        if self._states[slot] != state or self._table["seq"][slot] != seq:
            found = SlotState(int(self._states[slot])).name
            raise RingError(f"slot {slot} holds frame {self._table['seq'][slot]} as {found}, not frame {seq} as {state.name}")


def _pixels_at(slots: int) -> int:
    return PAGE + -(-slots * SLOT.itemsize // PAGE) * PAGE


def _file_size(slots: int, slot_bytes: int) -> int:
    return _pixels_at(slots) + slots * slot_bytes
