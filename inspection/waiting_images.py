"""What waits to be stored: what must be kept comes before the images of passed parts, which may be given up."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from inspection.domain import Verdict
from inspection.messages import Inspected


@dataclass(frozen=True, slots=True)
class WaitingImage:
    """``part``: the fields of log lines about it."""

    seq: int
    verdict: Verdict
    message: Inspected
    part: Mapping[str, object]


class WaitingImages:
    """Filled by one thread and emptied by another."""

    def __init__(self) -> None:
        self._kept: deque[WaitingImage] = deque()
        self._passed: deque[WaitingImage] = deque()
        self._ended = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._kept) + len(self._passed)

    def frames(self) -> set[tuple[str, int, int]]:
        """(ring's name, slot, frame) of each."""
        with self._changed:
            frames = [image.message.frame for image in (*self._kept, *self._passed)]
        return {(frame.ring, frame.slot, frame.slot_seq) for frame in frames}

    def put(self, image: WaitingImage) -> None:
        with self._changed:
            (self._passed if image.verdict is Verdict.PASS else self._kept).append(image)
            self._changed.notify()

    def end(self) -> None:
        """Nothing comes any more: ``take`` gives what is left, then None."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def take(self, timeout_s: float | None) -> WaitingImage | None:
        """The next to store, waited for. ``queue.Empty`` if none came in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self) or self._ended, timeout_s):
                raise queue.Empty
            found = self._kept or self._passed
            return found.popleft() if found else None

    def give_up(self, ring: str) -> WaitingImage | None:
        """The oldest of that ring which may be given up; None if there is none."""
        with self._changed:
            for image in self._passed:
                if image.message.frame.ring == ring:
                    self._passed.remove(image)
                    return image
        return None
