"""The two files of one simulated camera, as control.h lays them out: words, scene slots, the wake FIFO, and the locks."""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import numpy as np

from cameras.errors import CameraError

# The layout of control.h; a test compares the two.
MAGIC: Final = 0x53494D43414D0003
CONTROL_BYTES: Final = 32768
SCENE_SLOTS: Final = 32
EDGE_RING: Final = 1024
OUTPUT_RING: Final = 512
HELD_BY_HOST: Final = 2**64 - 1
NO_SCENE: Final = SCENE_SLOTS
WORDS: Final = (
    *("magic", "sensor_width", "sensor_height", "color", "scene_bytes", "noise"),
    *("present", "plug_count", "lost_silently", "edges", "edge_head", "scene_slot"),
    *("fault_kind", "fault_every", "fault_at", "fault_delay_ms", "fault_number", "stalled"),
    *("edge_tail", "acquiring", "fault_done", "exposures", "delivered", "underruns"),
    *("missed_triggers", "software_triggers", "faults_injected", "user_output"),
    *("output_inverted", "output_periods"),
)
ARRAYS: Final = {
    "scene_holds": SCENE_SLOTS,
    "scene_kind": SCENE_SLOTS,
    "edge_timestamp_ns": EDGE_RING,
    "edge_scene": EDGE_RING,
    "output_rise_ns": OUTPUT_RING,
    "output_fall_ns": OUTPUT_RING,
}
COUNTERS: Final = (
    *("edges", "exposures", "delivered", "underruns"),
    *("missed_triggers", "software_triggers", "faults_injected", "user_output"),
)
SCENE_KINDS: Final = {"gray8": 1, "rgb8": 2, "gray16": 3}
FAULT_KINDS: Final = {"drop": 1, "incomplete": 2, "corrupt": 3, "duplicate_id": 4, "delay": 5, "frozen": 6, "cropped": 7}


def _places() -> dict[str, int]:
    places = {name: index for index, name in enumerate(WORDS)}
    index = len(WORDS)
    for name, count in ARRAYS.items():
        places[name] = index
        index += count
    return places


PLACES: Final = _places()
"""Index of each word, and of the first word of each array."""

# struct flock of 64-bit Linux: type, whence, start, length, process.
_FLOCK: Final = "@hhqqi"


class ControlFile:
    """The files of one camera, mapped. ``scenes`` is uint8 (SCENE_SLOTS, bytes of the largest scene)."""

    def __init__(self, directory: Path) -> None:
        """Raises FileNotFoundError if the directory holds no camera, CameraError if what it holds is none."""
        size = (directory / "control").stat().st_size
        if size <= CONTROL_BYTES or (size - CONTROL_BYTES) % SCENE_SLOTS:
            raise CameraError(f"{directory} was made by another version of the simulator, or is damaged: delete it")
        self._fd = os.open(directory / "control", os.O_RDWR | os.O_CLOEXEC)
        self._wake_fd = os.open(directory / "wake", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._memory = mmap.mmap(self._fd, 0)
        # Items of a memoryview of words are read and written in one piece, unlike struct's.
        self._words = memoryview(self._memory)[:CONTROL_BYTES].cast("Q")
        self.scenes = np.frombuffer(self._memory, np.uint8, offset=CONTROL_BYTES).reshape(SCENE_SLOTS, -1)
        self._lock = threading.Lock()

    @classmethod
    def create(cls, directory: Path, width: int, height: int, color: bool, noise: float) -> ControlFile:
        """Make the files of a camera that is plugged in and has no scene. FileExistsError if the directory exists."""
        directory.mkdir(parents=True)
        first_words = {
            "magic": MAGIC,
            "sensor_width": width,
            "sensor_height": height,
            "color": int(color),
            "scene_bytes": -(-3 * width * height // 64) * 64,  # scenes start where any dtype is aligned
            "noise": round(1000 * noise),
            "present": 1,
            "scene_slot": NO_SCENE,
        }
        os.mkfifo(directory / "wake")
        with (directory / "partial").open("wb") as file:
            file.truncate(CONTROL_BYTES + SCENE_SLOTS * first_words["scene_bytes"])
            file.write(struct.pack(f"={len(WORDS)}Q", *(first_words.get(name, 0) for name in WORDS)))
        (directory / "partial").rename(directory / "control")  # the producer never sees half a camera
        return cls(directory)

    def get(self, name: str, index: int = 0) -> int:
        return self._words[PLACES[name] + index]

    def set(self, name: str, value: int, index: int = 0) -> None:
        self._words[PLACES[name] + index] = value

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keeps other threads and other handles out; the producer never waits for this."""
        with self._lock:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    def wake(self) -> None:
        """Make the producer's thread look."""
        with suppress(BlockingIOError):  # a full FIFO wakes it as well
            os.write(self._wake_fd, b"\0")

    def is_held_by_producer(self) -> bool:
        """True while a living process has the camera open: the kernel drops the lock of a dead one."""
        question = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        answer = fcntl.fcntl(self._fd, fcntl.F_OFD_GETLK, question)
        return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)

    def close(self) -> None:
        self._words.release()
        del self.scenes
        self._memory.close()
        os.close(self._fd)
        os.close(self._wake_fd)
