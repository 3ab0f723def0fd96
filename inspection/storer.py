"""Stores images off the critical path: a thread of the recorder that encodes, writes and gives ring slots back."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections import deque

import numpy as np

from cameras.errors import RingError
from cameras.frame import PixelFormat
from cameras.messages import FaultReport, FrameRef
from cameras.ring import SlotState
from inspection.domain import Image, ImageKind, Verdict
from inspection.images import MAP_FORMAT, ImageStore, encode_map
from inspection.messages import Inspected
from inspection.png import encode_png
from inspection.rings import Rings

log = logging.getLogger(__name__)

# Below this share of free slots the images of passed parts are given up, so that the next parts can be inspected.
_PRESSURE = 0.25
_NICE = 5


class Storer:
    """``store`` and ``release`` are called by the recorder; ``stored`` and ``faults`` are emptied by it. Every slot handed in
    is freed.
    """

    def __init__(self, images: ImageStore, rings: Rings, keep_pass_share: float) -> None:
        self._images = images
        self._rings = rings
        self._keep_pass_share = keep_pass_share
        self._queue: queue.SimpleQueue[tuple[int, Inspected] | None] = queue.SimpleQueue()
        self.stored: deque[tuple[int, Image]] = deque()
        self.faults: deque[FaultReport] = deque()
        self._thread = threading.Thread(target=self._run, name="storer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        return self._queue.qsize()

    def store(self, seq: int, message: Inspected) -> None:
        """Keep the frame and the map of a recorded inspection."""
        if message.verdict is Verdict.PASS and not self._keeps_pass(seq):
            self.release(message)
        else:
            self._queue.put((seq, message))

    def release(self, message: Inspected) -> None:
        """Free a frame that is not kept."""
        self._free(message.frame)

    def close(self) -> None:
        """Store what waits, then stop."""
        self._queue.put(None)
        self._thread.join()

    def _keeps_pass(self, seq: int) -> bool:
        """Every n-th by sequence number, so that the share holds over any stretch of parts."""
        share = self._keep_pass_share
        return int(seq * share) != int((seq - 1) * share)

    def _run(self) -> None:
        # Of this thread alone: encoding waits while a part is judged or recorded.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while (item := self._queue.get()) is not None:
            seq, message = item
            try:
                self._keep(seq, message)
            except (OSError, RingError) as error:
                self._fault("image_lost", f"images of inspection {seq}: {error}")
            except Exception as error:
                log.exception("images of inspection %d are lost", seq)
                self._fault("image_lost", f"images of inspection {seq}: {type(error).__name__}: {error}")
            finally:
                self._free(message.frame)

    def _keep(self, seq: int, message: Inspected) -> None:
        frame = message.frame
        ring = self._rings.get(frame.ring)
        if message.verdict is Verdict.PASS and ring.free_slots() < ring.slots * _PRESSURE:
            self._fault("image_skipped", f"frame of passed inspection {seq}: the ring is nearly full")
            return
        pixel_format = PixelFormat.named(frame.pixel_format)
        pixels = ring.pixels(frame.slot, frame.slot_seq, SlotState.STORING, pixel_format, frame.width, frame.height)
        data = encode_png(pixels)
        # RingError if the slot was taken back meanwhile: then these may be another frame's pixels.
        ring.release(frame.slot, frame.slot_seq, SlotState.STORING)
        self.stored.append((seq, self._images.put(data, ImageKind.FRAME, frame.width, frame.height, frame.pixel_format)))
        anomaly_map = np.frombuffer(message.map_f16, "<f2").reshape(message.map_height, message.map_width)
        data = encode_map(anomaly_map, message.fail_threshold)
        self.stored.append((seq, self._images.put(data, ImageKind.MAP, message.map_width, message.map_height, MAP_FORMAT)))

    def _free(self, frame: FrameRef) -> None:
        try:
            self._rings.get(frame.ring).release(frame.slot, frame.slot_seq, SlotState.STORING)
        except RingError:
            log.debug("slot %d of %s was free already", frame.slot, frame.ring)

    def _fault(self, kind: str, detail: str) -> None:
        self.faults.append(FaultReport(at=time.time(), source="recorder", kind=kind, count=1, detail=detail))
