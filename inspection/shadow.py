"""The challenger in the inspector: judges copies of live frames when no live part waits, without effect on any part."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from cameras.frame import Frame
from cameras.messages import FrameRef
from inspection.detector import Detector
from inspection.logs import about
from inspection.messages import ShadowInspected, Ticket
from inspection.verdict import decide

log = logging.getLogger(__name__)

LIMIT = 8
"""Copies that may wait. Frames that come while so many wait are dropped, and counted."""
PATIENCE = 3
"""So many times in succession a challenger may take longer than a part had to spare: once may be the machine's fault."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A frame that was judged, for the challenger. ``spare_ms`` were left of the part's deadline when it was."""

    trigger_id: int
    product: str
    ref: FrameRef
    frame: Frame
    deadline_ms: float
    spare_ms: float


class Shadow:
    """``challenger`` gives the detector of a product's challenger, or None.

    The inspector copies and keeps each frame that it has judged, and asks for a verdict when no part is on its way. One that
    is asked for then waits for one verdict of a challenger at most: a challenger for which there is no time is suspended until
    it is started again. ``suspensions`` says so; the inspector's main loop reports and removes them.
    """

    def __init__(self, challenger: Callable[[str], Detector | None]) -> None:
        self._challenger = challenger
        self._waiting: deque[Copy] = deque()
        self._slow: Counter[str] = Counter()
        self._suspended: dict[str, Detector] = {}
        self.suspensions: deque[str] = deque()
        self.counters = {"shadow_inspected": 0.0, "shadow_dropped": 0.0, "shadow_errors": 0.0}

    def __bool__(self) -> bool:
        """Does a frame wait?"""
        return bool(self._waiting)

    @property
    def suspended(self) -> int:
        """Challengers for which there was no time, and which were not started again."""
        return sum(self._challenger(product) is detector for product, detector in self._suspended.items())

    def copy(self, ticket: Ticket, ref: FrameRef, frame: Frame) -> Copy | None:
        """A copy of a frame, if its product has a challenger and there is room for it. Raises nothing: the part comes first."""
        product = ticket.product or ""
        try:
            if self._running(product) is None:
                return None
            if len(self._waiting) >= LIMIT:
                self.counters["shadow_dropped"] += 1
                return None
            spare_ms = ticket.deadline_ms - (time.monotonic_ns() - ticket.requested_ns) / 1e6
            copied = replace(frame, pixels=frame.pixels.copy())
            return Copy(ticket.trigger_id, product, ref, copied, ticket.deadline_ms, spare_ms)
        except Exception:  # such as no memory for it
            log.exception("trigger %d could not be copied for the challenger", ticket.trigger_id, extra=about(ticket))
            self.counters["shadow_errors"] += 1
            return None

    def keep(self, copy: Copy | None) -> None:
        """Let a copy wait, once it is sure that its slot held that frame all the time."""
        if copy is not None:
            self._waiting.append(copy)

    def inspect(self) -> ShadowInspected | None:
        """The challenger's verdict on the frame that waits longest; None if the challenger was stopped or failed."""
        waiting = self._waiting.popleft()
        detector = self._running(waiting.product)
        if detector is None:
            self.counters["shadow_dropped"] += 1
            return None
        started = time.perf_counter()
        try:
            score = detector.inspect(waiting.frame).score
            verdict = decide(score, detector.review_threshold, detector.fail_threshold)
        except Exception:  # whatever is wrong with a challenger, the line goes on
            fields = {"trigger_id": waiting.trigger_id, "product": waiting.product, "model": detector.digest}
            log.exception("the challenger could not judge trigger %d", waiting.trigger_id, extra=fields)
            self.counters["shadow_errors"] += 1
            return None
        inspect_ms = (time.perf_counter() - started) * 1e3
        self.counters["shadow_inspected"] += 1
        self._suspend_if_slow(waiting, detector, inspect_ms)
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
            inspect_ms=inspect_ms,
            decided_at=time.time(),
        )

    def _running(self, product: str) -> Detector | None:
        detector = self._challenger(product)
        return None if detector is self._suspended.get(product) else detector

    def _suspend_if_slow(self, copy: Copy, detector: Detector, inspect_ms: float) -> None:
        self._slow[copy.product] = self._slow[copy.product] + 1 if inspect_ms > copy.spare_ms else 0
        if inspect_ms <= copy.deadline_ms and self._slow[copy.product] < PATIENCE:
            return
        self._slow[copy.product] = 0
        self._suspended[copy.product] = detector
        self.suspensions.append(
            f"challenger {detector.digest[:12]} of product {copy.product} took {inspect_ms:.0f} ms, and a part had "
            f"{max(copy.spare_ms, 0.0):.0f} ms to spare: it would make parts late; stop it, and start a faster one"
        )
