"""The line around a simulated camera: scenes, trigger edges, faults, the plug, and what the camera did.

Handles may be made in any process, also several for one camera; the camera itself is opened through GenTL elsewhere.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from cameras.errors import CameraError
from cameras.simulator.control_file import (
    COUNTERS,
    EDGE_RING,
    FAULT_KINDS,
    HELD_BY_HOST,
    MAGIC,
    OUTPUT_RING,
    SCENE_KINDS,
    SCENE_SLOTS,
    ControlFile,
)

FaultKind = Literal["drop", "incomplete", "corrupt", "duplicate_id", "delay", "frozen", "cropped"]
ROOM_TIMEOUT_S: Final = 2.0


class SimulatedCamera:
    """One simulated camera. Threads may share a handle."""

    def __init__(self, directory: Path, control: ControlFile) -> None:
        """Use ``create`` or ``attach``."""
        self._directory = directory
        self._control = control

    @classmethod
    def create(cls, root: Path, serial: str, width: int, height: int, color: bool = False, noise: float = 0.0) -> SimulatedCamera:
        """Make a camera, plugged in, without a scene. Width and height are the sensor's, in pixels.

        PixelFormat is RGB8 after opening a colour camera, otherwise Mono8. ``noise`` is the standard deviation that each pixel
        of each exposure has, in 8-bit steps: without it, a scene that stays gives the same image again, bit for bit. Raises
        CameraError if the serial exists.
        """
        directory = root / serial
        if not 0 < len(serial) < 64 or "/" in serial or serial.startswith("."):
            raise CameraError(f"{serial!r} is no serial number: give 1 to 63 characters without '/'")
        if width < 1 or height < 1:
            raise ValueError(f"a sensor of {width} x {height} pixels sees nothing: give at least 1 x 1")
        try:
            return cls(directory, ControlFile.create(directory, width, height, color, noise))
        except FileExistsError:
            raise CameraError(f"{directory} exists: attach to the camera, or choose another serial number") from None

    @classmethod
    def attach(cls, root: Path, serial: str) -> SimulatedCamera:
        """The camera that was made before, perhaps by another process; CameraError if there is none."""
        try:
            control = ControlFile(root / serial)
        except FileNotFoundError:
            raise CameraError(f"there is no simulated camera {serial!r} in {root}: create it first") from None
        if control.get("magic") != MAGIC:
            control.close()
            raise CameraError(f"{root / serial} was made by another version of the simulator: delete it")
        return cls(root / serial, control)

    def close(self) -> None:
        """Release this handle; the camera stays."""
        self._control.close()

    # ---- scenes and triggers ----

    def show(self, pixels: NDArray[np.generic]) -> None:
        """Put a scene before the camera: uint8 or uint16 (height, width), or uint8 RGB (height, width, 3).

        The size is the sensor's; full scale of uint16 is 65535. A copy is made. Waits up to 2 s while all 32 slots
        hold scenes that triggered exposures still need, then raises CameraError. ValueError for another shape or dtype.
        """
        kind = self._scene_kind(pixels)
        with self._control.exclusive():
            slot = self._free_slot()
            view = self._control.scenes[slot, : pixels.nbytes].view(pixels.dtype).reshape(pixels.shape)
            view[...] = pixels
            self._control.set("scene_kind", kind, slot)
            self._control.set("scene_slot", slot)

    def _scene_kind(self, pixels: NDArray[np.generic]) -> int:
        size = (self.height, self.width)
        if pixels.dtype == np.uint8 and pixels.shape == size:
            return SCENE_KINDS["gray8"]
        if pixels.dtype == np.uint8 and pixels.shape == (*size, 3):
            return SCENE_KINDS["rgb8"]
        if pixels.dtype == np.uint16 and pixels.shape == size:
            return SCENE_KINDS["gray16"]
        raise ValueError(
            f"a scene of {pixels.dtype} {pixels.shape} does not fit: give uint8 or uint16 {size}, or uint8 {(*size, 3)}"
        )

    def _free_slot(self) -> int:
        deadline = time.monotonic() + ROOM_TIMEOUT_S
        while True:
            # The ring before the holds: the producer holds a slot before it takes the edge out of the ring.
            taken = {self._control.get("scene_slot")}
            if self.is_open:
                pending = range(self._control.get("edge_tail"), self._control.get("edge_head"))
                taken |= {self._control.get("edge_scene", edge % EDGE_RING) for edge in pending}
                taken |= {slot for slot in range(SCENE_SLOTS) if self._control.get("scene_holds", slot)}
            free = set(range(SCENE_SLOTS)) - taken
            if free:
                return min(free)
            if time.monotonic() > deadline:
                raise CameraError(
                    f"camera {self.serial} is more than {SCENE_SLOTS} scenes behind: trigger more slowly, or close it"
                )
            time.sleep(0.001)

    def edge(self) -> int:
        """One trigger edge on Line1, now, on the scene that is showing; its time stamp (ns, CLOCK_MONOTONIC).

        An edge that finds the camera closed is lost, as on a real line. Waits up to 2 s while 1024 edges are pending,
        then raises CameraError.
        """
        with self._control.exclusive():
            deadline = time.monotonic() + ROOM_TIMEOUT_S
            head = self._control.get("edge_head")
            while head - self._control.get("edge_tail") >= EDGE_RING and self.is_open:
                if time.monotonic() > deadline:
                    raise CameraError(f"camera {self.serial} is {EDGE_RING} edges behind: trigger more slowly")
                time.sleep(0.001)
            timestamp_ns = time.monotonic_ns()
            if head - self._control.get("edge_tail") < EDGE_RING:
                self._control.set("edge_timestamp_ns", timestamp_ns, head % EDGE_RING)
                self._control.set("edge_scene", self._control.get("scene_slot"), head % EDGE_RING)
                self._control.set("edge_head", head + 1)
            self._control.set("edges", self.edges + 1)
            self._control.wake()
        return timestamp_ns

    # ---- faults ----

    def fault(self, kind: FaultKind, *, every: int = 0, at: int = 0, delay_ms: int = 0) -> None:
        """Spoil frames: each ``every``-th, the one with frame id ``at``, or else the next one.

        Replaces an earlier fault.
        ``drop`` loses the frame, ``incomplete`` delivers half of it and says so, ``corrupt`` changes its bytes behind
        the checksum, ``duplicate_id`` gives it the previous frame's id, ``delay`` delivers it ``delay_ms`` late, and
        those behind it no earlier. ``frozen`` repeats the image of the first frame so spoiled in those that follow it without
        a gap, ``cropped`` delivers its upper half alone, as a whole frame of that height.
        """
        if (kind == "delay") != (delay_ms > 0):
            raise ValueError("delay_ms belongs to the fault 'delay', and only to it")
        if every and at:
            raise ValueError("give every or at, not both")
        with self._control.exclusive():
            self._control.set("fault_kind", 0)
            self._control.set("fault_every", every)
            self._control.set("fault_at", at)
            self._control.set("fault_delay_ms", delay_ms)
            self._control.set("fault_number", self._control.get("fault_number") + 1)
            self._control.set("fault_kind", FAULT_KINDS[kind])

    def clear_fault(self) -> None:
        """The frames after this are as they should be."""
        self._control.set("fault_kind", 0)

    def stall(self) -> None:
        """The camera answers, exposes and delivers nothing, until it is opened again."""
        self._control.set("stalled", 1)

    def unplug(self, how: Literal["error", "silent"] = "error") -> None:
        """Take the camera away: every register access fails, and it is no longer listed.

        With ``error`` waiting for a buffer fails at once; with ``silent`` no buffer comes, as on a network.
        """
        with self._control.exclusive():
            self._control.set("lost_silently", int(how == "silent"))
            self._control.set("plug_count", self._control.get("plug_count") + 1)
            self._control.set("present", 0)
            self._control.set("user_output", 0)
            self._cut_output()
            self._control.wake()

    def _cut_output(self) -> None:
        """A camera without power drives nothing."""
        now_ns, periods = time.monotonic_ns(), self._control.get("output_periods")
        if periods and self._control.get("output_fall_ns", (periods - 1) % OUTPUT_RING) > now_ns:
            self._control.set("output_fall_ns", now_ns, (periods - 1) % OUTPUT_RING)
        self._control.set("output_inverted", 0)

    def replug(self) -> None:
        """Bring the camera back, counters at 0. Whoever had it open has to close and reopen it."""
        with self._control.exclusive():
            for counter in COUNTERS:
                self._control.set(counter, 0)
            self._control.set("plug_count", self._control.get("plug_count") + 1)
            self._control.set("present", 1)
            self._control.wake()

    # ---- what the camera is and did; counters count since create() or replug() ----

    @property
    def serial(self) -> str:
        return self._directory.name

    @property
    def width(self) -> int:
        """The sensor's width in pixels."""
        return self._control.get("sensor_width")

    @property
    def height(self) -> int:
        """The sensor's height in pixels."""
        return self._control.get("sensor_height")

    @property
    def color(self) -> bool:
        return bool(self._control.get("color"))

    @property
    def present(self) -> bool:
        """False while unplugged."""
        return bool(self._control.get("present"))

    @property
    def is_open(self) -> bool:
        """True while some living process has the camera open."""
        return self._control.is_held_by_producer()

    @property
    def is_acquiring(self) -> bool:
        """True from AcquisitionStart to AcquisitionStop: edges before and after are lost."""
        return bool(self._control.get("acquiring")) and self.is_open

    @property
    def edges(self) -> int:
        """Edges that ``edge`` gave, whether the camera listened or not."""
        return self._control.get("edges")

    @property
    def exposures(self) -> int:
        """Exposures that were started."""
        return self._control.get("exposures")

    @property
    def delivered(self) -> int:
        """Frames that reached a buffer, complete or not."""
        return self._control.get("delivered")

    @property
    def underruns(self) -> int:
        """Frames that found no buffer."""
        return self._control.get("underruns")

    @property
    def missed_triggers(self) -> int:
        """Triggers that came too soon after the last exposure."""
        return self._control.get("missed_triggers")

    @property
    def software_triggers(self) -> int:
        return self._control.get("software_triggers")

    @property
    def faults_injected(self) -> int:
        return self._control.get("faults_injected")

    @property
    def user_output(self) -> int:
        """Bit n is UserOutput n."""
        return self._control.get("user_output")

    def line_output(self) -> bool:
        """The level of Line2 now, whether or not a process has the camera open."""
        now_ns = time.monotonic_ns()
        active = any(fall_ns is None or now_ns < fall_ns for _, fall_ns in self.output_periods()[-1:])
        return active != bool(self._control.get("output_inverted"))

    def output_periods(self) -> list[tuple[int, int | None]]:
        """From when to when the source of Line2 was active, in ns of CLOCK_MONOTONIC, oldest first; at most the newest 512.

        The end of a period that the camera's timer ends is known from its beginning; None: the host holds it.
        """
        periods = self._control.get("output_periods")
        found = []
        for place in (number % OUTPUT_RING for number in range(max(0, periods - OUTPUT_RING), periods)):
            rise_ns, fall_ns = self._control.get("output_rise_ns", place), self._control.get("output_fall_ns", place)
            found.append((rise_ns, None if fall_ns == HELD_BY_HOST else fall_ns))
        return found
