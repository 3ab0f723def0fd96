"""Which frame decides which trigger: pure, fed by the inspector.

The line tells with each ticket the only (camera, epoch, trigger count) that may decide it, before the edge is allowed; the camera
counts edges. So pairing is equality of keys, and what remains is to recognise frames that nobody asked for: those without a
ticket, and those exposed at a time when their ticket had not been issued or was over.
"""

from __future__ import annotations

from dataclasses import dataclass

from cameras.messages import FrameRef
from inspection.messages import Ticket

# Ticket and frame travel on different sockets; a frame may be first, by the time a busy machine needs to schedule a process.
_HOLD_NS = 250_000_000
# Tickets without a frame are the line's to close; they are forgotten here long after.
_FORGET_NS = 60_000_000_000

_Key = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Pair:
    ticket: Ticket
    frame: FrameRef


@dataclass(frozen=True, slots=True)
class Extra:
    """A frame that belongs to no trigger. ``stale``: of a former epoch, expected and harmless."""

    frame: FrameRef
    stale: bool
    detail: str


class Pairing:
    """Tickets and frames that wait for each other. Frames from before ``started_ns`` may have had their ticket in a former
    inspector.
    """

    def __init__(self, started_ns: int = 0) -> None:
        self._started_ns = started_ns
        self._tickets: dict[_Key, Ticket] = {}
        self._frames: dict[_Key, FrameRef] = {}
        self._epochs: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._tickets) + len(self._frames)

    def armed(self, camera: str, epoch: int) -> list[Extra]:
        """A new epoch: whatever still waits of former ones will find no partner."""
        self._epochs[camera] = epoch
        for key in [key for key in self._tickets if key[0] == camera and key[1] < epoch]:
            del self._tickets[key]
        stale = [key for key in self._frames if key[0] == camera and key[1] < epoch]
        return [Extra(self._frames.pop(key), True, "of a former epoch") for key in stale]

    def ticket(self, ticket: Ticket) -> Pair | Extra | None:
        """A trigger that was allowed an exposure."""
        assert ticket.camera_epoch is not None
        assert ticket.trigger_count is not None
        key = (ticket.camera, ticket.camera_epoch, ticket.trigger_count)
        frame = self._frames.pop(key, None)
        if frame is not None:
            return _judge(ticket, frame)
        if ticket.camera_epoch >= self._epochs.get(ticket.camera, 0):
            self._tickets[key] = ticket
        return None

    def frame(self, frame: FrameRef) -> Pair | Extra | None:
        """A frame that the camera published."""
        if frame.camera_epoch < self._epochs.get(frame.camera, 0):
            return Extra(frame, True, "of a former epoch")
        key = (frame.camera, frame.camera_epoch, frame.trigger_count)
        ticket = self._tickets.pop(key, None)
        if ticket is not None:
            return _judge(ticket, frame)
        former = self._frames.pop(key, None)
        self._frames[key] = frame
        return Extra(former, False, "two frames for one trigger count") if former is not None else None

    def expected(self, now_ns: int) -> bool:
        """Is a part on its way: a frame without its ticket, or a ticket whose frame may still come in time?"""
        return bool(self._frames) or any(
            now_ns - ticket.requested_ns <= ticket.deadline_ms * 1e6 for ticket in self._tickets.values()
        )

    def expire(self, now_ns: int) -> list[Extra]:
        """Frames that waited too long for a ticket."""
        for key in [key for key, ticket in self._tickets.items() if now_ns - ticket.issued_ns > _FORGET_NS]:
            del self._tickets[key]
        late = [key for key, frame in self._frames.items() if now_ns - frame.received_ns > _HOLD_NS]
        return [self._unclaimed(self._frames.pop(key)) for key in late]

    def _unclaimed(self, frame: FrameRef) -> Extra:
        former = frame.received_ns < self._started_ns
        return Extra(frame, former, f"no trigger was issued for count {frame.trigger_count}")


def _judge(ticket: Ticket, frame: FrameRef) -> Pair | Extra:
    if frame.exposed_ns + frame.clock_error_ns < ticket.issued_ns:
        early_ms = (ticket.issued_ns - frame.exposed_ns) / 1e6
        return Extra(frame, False, f"exposed {early_ms:.1f} ms before trigger {ticket.trigger_id} was issued")
    # Without a camera clock the arrival stands for the exposure: rather a good frame too late than a neighbour's in time.
    if frame.exposed_ns - frame.clock_error_ns > ticket.expose_until_ns:
        late_ms = (frame.exposed_ns - ticket.expose_until_ns) / 1e6
        return Extra(frame, False, f"exposed {late_ms:.1f} ms after the exposure window of trigger {ticket.trigger_id}")
    return Pair(ticket, frame)
