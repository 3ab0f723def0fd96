"""The challenger in the inspector: judges copies of live frames when no live part waits, without effect on any part."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from cameras.frame import Frame
from cameras.messages import FrameRef
from inspection.detector import Detector
from inspection.messages import ShadowInspected, Ticket
from inspection.verdict import decide

log = logging.getLogger(__name__)

LIMIT = 8
"""Copies that may wait. Frames that come while so many wait are dropped, and counted."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A frame that was judged, for the challenger."""

    trigger_id: int
    product: str
    ref: FrameRef
    frame: Frame


class Shadow:
    """``challenger`` gives the detector of a product's challenger, or None.

    The inspector copies and keeps each frame that it has judged, and asks for a verdict when it has nothing else to do: a live
    part waits for one verdict of a challenger at most.
    """

    def __init__(self, challenger: Callable[[str], Detector | None]) -> None:
        self._challenger = challenger
        self._waiting: deque[Copy] = deque()
        self.counters = {"shadow_inspected": 0.0, "shadow_dropped": 0.0, "shadow_errors": 0.0}

    def __bool__(self) -> bool:
        """Does a frame wait?"""
        return bool(self._waiting)

    def copy(self, ticket: Ticket, ref: FrameRef, frame: Frame) -> Copy | None:
        """A copy of a frame, if its product has a challenger and there is room for it."""
        product = ticket.product or ""
        if self._challenger(product) is None:
            return None
        if len(self._waiting) >= LIMIT:
            self.counters["shadow_dropped"] += 1
            return None
        return Copy(ticket.trigger_id, product, ref, replace(frame, pixels=frame.pixels.copy()))

    def keep(self, copy: Copy | None) -> None:
        """Let a copy wait, once it is sure that its slot held that frame all the time."""
        if copy is not None:
            self._waiting.append(copy)

    def inspect(self) -> ShadowInspected | None:
        """The challenger's verdict on the frame that waits longest; None if the challenger was stopped or failed."""
        waiting = self._waiting.popleft()
        detector = self._challenger(waiting.product)
        if detector is None:
            return None
        started = time.perf_counter()
        try:
            score = detector.inspect(waiting.frame).score
            verdict = decide(score, detector.review_threshold, detector.fail_threshold)
        except Exception:  # whatever is wrong with a challenger, the line goes on
            log.exception("the challenger could not judge trigger %d", waiting.trigger_id)
            self.counters["shadow_errors"] += 1
            return None
        self.counters["shadow_inspected"] += 1
        return ShadowInspected(
            trigger_id=waiting.trigger_id,
            camera=waiting.ref.camera,
            camera_epoch=waiting.ref.camera_epoch,
            trigger_count=waiting.ref.trigger_count,
            model=detector.digest,
            verdict=verdict,
            score=score,
            review_threshold=detector.review_threshold,
            fail_threshold=detector.fail_threshold,
            inspect_ms=(time.perf_counter() - started) * 1e3,
            decided_at=time.time(),
        )
