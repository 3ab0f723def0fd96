"""Stores images off the critical path: a thread of the recorder that encodes, writes and gives ring slots back."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Mapping

import numpy as np

from cameras.beat import beat
from cameras.errors import RingError
from cameras.fault_kinds import FaultKind
from cameras.frame import PixelFormat
from cameras.messages import FaultReport, FrameRef
from cameras.ring import SlotState
from inspection.domain import Image, ImageKind, Verdict
from inspection.images import MAP_FORMAT, ImageStore, encode_map
from inspection.messages import Inspected
from inspection.png import encode_png
from inspection.retention import Room
from inspection.rings import Rings
from inspection.scheduling import compute_anywhere, in_background
from inspection.waiting_images import WaitingImage, WaitingImages

log = logging.getLogger(__name__)

# Below this share of free slots, images of passed parts are given up, the oldest first, so that the next parts can be inspected.
_PRESSURE = 0.25
# Encoding takes tens of milliseconds, and the slowest of disks some seconds.
_STUCK_S = 60.0
# Without room every part is a fault, and their rows must not take the room that is left: they are counted for so long.
_TOLD_EVERY_S = 2.0


class Storer:
    """``store`` and ``release`` are called by the recorder; ``stored`` and ``faults`` are emptied by it. Every slot handed in
    is freed.
    """

    def __init__(self, images: ImageStore, rings: Rings, keep_pass_share: float, room: Room) -> None:
        self.images = images
        self._rings = rings
        self._keep_pass_share = keep_pass_share
        self._room = room
        self.without_room = 0
        self._untold: dict[FaultKind, FaultReport] = {}
        self._told_at = float("-inf")
        self._waiting = WaitingImages()
        self.stored: deque[tuple[int, Image]] = deque()
        self.faults: deque[FaultReport] = deque()
        self._began: float | None = None
        self._thread = threading.Thread(target=self._run, name="storer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def waiting_frames(self) -> set[tuple[str, int, int]]:
        """(ring's name, slot, frame) of the images that wait."""
        return self._waiting.frames()

    @property
    def stuck(self) -> bool:
        """Does one image take so long that it will never be stored?"""
        began = self._began
        return began is not None and time.monotonic() - began > _STUCK_S

    def store(self, seq: int, verdict: Verdict, message: Inspected, part: Mapping[str, object]) -> None:
        """Keep the frame and the map of a recorded inspection, whose verdict is not that of the message if it came too late;
        ``part`` are the fields of log lines about it.
        """
        if not self._thread.is_alive():
            # Nothing would be stored any more, and no slot freed.
            raise RuntimeError("the thread that stores images has ended; the recorder must start again")
        if self.keeps(seq, verdict):
            self._waiting.put(WaitingImage(seq, verdict, message, part))
            self._relieve(message.frame.ring)
        else:
            self.release(message)

    def release(self, message: Inspected) -> None:
        """Free a frame that is not kept."""
        self._free(message.frame)

    def close(self) -> None:
        """Store what waits, then stop."""
        self._waiting.end()
        while self._thread.is_alive():
            if not self.stuck:
                beat()
            self._thread.join(1)

    def keeps(self, seq: int, verdict: Verdict) -> bool:
        """Are the images of this inspection to be stored? Of passed ones every n-th by sequence number, so that the share holds
        over any stretch of parts.
        """
        share = self._keep_pass_share if verdict is Verdict.PASS else 1.0
        return int(seq * share) != int((seq - 1) * share)

    def _run(self) -> None:
        compute_anywhere()
        while True:
            try:
                image = self._waiting.take(_TOLD_EVERY_S if self._untold else None)
            except queue.Empty:
                self._tell()
                continue
            if image is None:
                break
            seq, message, part = image.seq, image.message, image.part
            self._began = time.monotonic()
            try:
                self._keep(seq, image.verdict, message, part)
            except RingError as error:
                self._fault(FaultKind.IMAGE_LOST, f"images of inspection {seq}: {error}", part)
            except OSError as error:
                self._no_room(FaultKind.IMAGE_LOST, f"images of inspection {seq}: {error}", part)
            except Exception as error:
                log.exception("images of inspection %d are lost", seq, extra={**part})
                self._fault(FaultKind.IMAGE_LOST, f"images of inspection {seq}: {type(error).__name__}: {error}", part)
            finally:
                self._free(message.frame)
                self._began = None
            if time.monotonic() - self._told_at >= _TOLD_EVERY_S:
                self._tell()
        self._tell()

    def _relieve(self, name: str) -> None:
        """Free slots of a ring that is nearly full, without waiting for the image that is being stored."""
        try:
            ring = self._rings.get(name)
        except RingError:
            return  # its camera made another; what waits will say so
        while ring.free_slots() < ring.slots * _PRESSURE and (image := self._waiting.give_up(name)) is not None:
            self._free(image.message.frame)
            self._fault(FaultKind.IMAGE_SKIPPED, f"frame of passed inspection {image.seq}: the ring is nearly full", image.part)

    def _keep(self, seq: int, verdict: Verdict, message: Inspected, part: Mapping[str, object]) -> None:
        frame = message.frame
        ring = self._rings.get(frame.ring)
        refusal = self._room.refusal(verdict)
        if refusal is not None:
            kind = FaultKind.NO_ROOM if verdict is Verdict.PASS else FaultKind.IMAGE_LOST
            self._no_room(kind, f"images of inspection {seq}: {refusal}", part)
            return
        pixel_format = PixelFormat.named(frame.pixel_format)
        pixels = ring.pixels(frame.slot, frame.slot_seq, SlotState.STORING, pixel_format, frame.width, frame.height)
        with in_background():
            data = encode_png(pixels)
        # RingError if the slot was taken back meanwhile: then these may be another frame's pixels.
        ring.release(frame.slot, frame.slot_seq, SlotState.STORING)
        self.stored.append((seq, self.images.put(data, ImageKind.FRAME, frame.width, frame.height, frame.pixel_format)))
        anomaly_map = np.frombuffer(message.map_f16, "<f2").reshape(message.map_height, message.map_width)
        data = encode_map(anomaly_map, message.fail_threshold)
        self.stored.append((seq, self.images.put(data, ImageKind.MAP, message.map_width, message.map_height, MAP_FORMAT)))

    def _free(self, frame: FrameRef) -> None:
        try:
            self._rings.get(frame.ring).release(frame.slot, frame.slot_seq, SlotState.STORING)
        except RingError:
            log.debug("slot %d of %s was free already", frame.slot, frame.ring)

    def _no_room(self, kind: FaultKind, detail: str, part: Mapping[str, object]) -> None:
        log.warning("%s: %s", kind, detail, extra={"kind": kind, **part})
        self.without_room += 1
        before = self._untold.get(kind)
        count = 1 + (before.count if before is not None else 0)
        self._untold[kind] = FaultReport(at=time.time(), source="recorder", kind=kind, count=count, detail=detail)

    def _tell(self) -> None:
        if self._untold:
            self.faults.extend(self._untold.values())
            self._untold = {}
            self._told_at = time.monotonic()

    def _fault(self, kind: FaultKind, detail: str, part: Mapping[str, object]) -> None:
        log.warning("%s: %s", kind, detail, extra={"kind": kind, **part})
        self.faults.append(FaultReport(at=time.time(), source="recorder", kind=kind, count=1, detail=detail))
