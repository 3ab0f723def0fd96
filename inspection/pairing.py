"""Which frame decides which trigger: pure, fed by the inspector.

The line tells with each ticket the only (camera, epoch, trigger count) that may decide it, before the edge is allowed; the camera
counts edges. So pairing is equality of keys, and what remains is to recognise frames that nobody asked for: those without a
ticket, and those exposed at a time when their ticket had not been issued or was over.

One such frame, and the counts of the epoch are those of other parts: an edge too many, or one that was allowed and never raised.
Frames behind it may well be exposed within the window of the part before. So frames are taken in the order of their counts, and
after a frame that nobody asked for no frame of its epoch decides anything.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from cameras.messages import FrameRef
from inspection.messages import Ticket

# Ticket and frame travel on different sockets; a frame may be first, by the time a busy machine needs to schedule a process.
_HOLD_NS = 250_000_000
# Tickets without a frame are the line's to close; they are forgotten here long after.
_FORGET_NS = 60_000_000_000

_OUT_OF_STEP = "of an epoch that is out of step"

_Key = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Pair:
    ticket: Ticket
    frame: FrameRef


@dataclass(frozen=True, slots=True)
class Extra:
    """A frame that decides nothing. ``stale``: the line knows already, its epoch is over or out of step."""

    frame: FrameRef
    stale: bool
    detail: str


class Pairing:
    """Tickets and frames that wait for each other. Frames from before ``started_ns`` may have had their ticket in a former
    inspector. Edges of cameras that are ``software_triggered`` are the station's own.
    """

    def __init__(self, started_ns: int = 0, software_triggered: Collection[str] = ()) -> None:
        self._started_ns = started_ns
        self._software_triggered = software_triggered
        self._tickets: dict[_Key, Ticket] = {}
        self._frames: dict[_Key, FrameRef] = {}
        self._epochs: dict[str, int] = {}
        self._trigger_delay_ns: dict[str, int] = {}
        # Of each camera the epoch in which a frame came that nobody had asked for.
        self._spoilt: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._tickets) + len(self._frames)

    def armed(self, camera: str, epoch: int, trigger_delay_ns: int = 0) -> list[Extra]:
        """A new epoch: whatever still waits of former ones will find no partner."""
        self._epochs[camera] = epoch
        self._trigger_delay_ns[camera] = trigger_delay_ns
        return self._drop(camera, epoch - 1, "of a former epoch")

    def ticket(self, ticket: Ticket) -> list[Pair | Extra]:
        """A trigger that was allowed an exposure; which frames that decides."""
        assert ticket.camera_epoch is not None
        assert ticket.trigger_count is not None
        camera, epoch = ticket.camera, ticket.camera_epoch
        if epoch < self._epochs.get(camera, 0) or epoch == self._spoilt.get(camera):
            return []
        self._tickets[camera, epoch, ticket.trigger_count] = ticket
        return self._matched(camera, epoch)

    def frame(self, frame: FrameRef) -> list[Pair | Extra]:
        """A frame that the camera published; which frames that decides."""
        camera, epoch = frame.camera, frame.camera_epoch
        if epoch < self._epochs.get(camera, 0):
            return [Extra(frame, True, "of a former epoch")]
        if epoch == self._spoilt.get(camera):
            return [Extra(frame, True, _OUT_OF_STEP)]
        key = (camera, epoch, frame.trigger_count)
        former = self._frames.pop(key, None)
        self._frames[key] = frame
        if former is not None:
            return self._spoil(Extra(former, False, "two frames for one trigger count"))
        return self._matched(camera, epoch)

    def _matched(self, camera: str, epoch: int) -> list[Pair | Extra]:
        """Frames that have their ticket, in the order of their counts; one without holds up those behind it."""
        found: list[Pair | Extra] = []
        for key in sorted(key for key in self._frames if key[:2] == (camera, epoch)):
            ticket = self._tickets.pop(key, None)
            if ticket is None:
                break
            judged = _judge(ticket, self._frames.pop(key))
            if isinstance(judged, Pair) and self._is_the_next_part_s(key, judged.frame):
                judged = Extra(judged.frame, False, f"exposed after the part behind trigger {ticket.trigger_id} was asked for")
            if isinstance(judged, Extra):
                return found + self._spoil(judged)
            found.append(judged)
        return found

    def _is_the_next_part_s(self, key: _Key, frame: FrameRef) -> bool:
        """A part's edge is raised, or given up, before the next part is asked for, whatever its window.

        Not so where the station raises the edges itself. Without a camera clock the next part waits for the window anyway.
        """
        camera, epoch, count = key
        following = self._tickets.get((camera, epoch, count + 1))
        if following is None or camera in self._software_triggered or frame.clock_error_ns == 0:
            return False
        raised_ns = frame.exposed_ns - self._trigger_delay_ns.get(camera, 0)
        return raised_ns - frame.clock_error_ns > following.requested_ns

    def _spoil(self, extra: Extra) -> list[Pair | Extra]:
        """A frame that nobody asked for, and all of its epoch that waits."""
        camera, epoch = extra.frame.camera, extra.frame.camera_epoch
        self._spoilt[camera] = epoch
        return [extra, *self._drop(camera, epoch, _OUT_OF_STEP)]

    def _drop(self, camera: str, epoch: int, detail: str) -> list[Extra]:
        """Tickets and frames up to this epoch; the line knows already why."""
        for key in [key for key in self._tickets if key[0] == camera and key[1] <= epoch]:
            del self._tickets[key]
        stale = [key for key in self._frames if key[0] == camera and key[1] <= epoch]
        return [Extra(self._frames.pop(key), True, detail) for key in stale]

    def expected(self, now_ns: int) -> bool:
        """Is a part on its way: a frame without its ticket, or a ticket whose frame may still come in time?"""
        return bool(self._frames) or any(
            now_ns - ticket.requested_ns <= ticket.deadline_ms * 1e6 for ticket in self._tickets.values()
        )

    def expire(self, now_ns: int) -> list[Pair | Extra]:
        """Frames that waited too long for a ticket, and what that decides of those behind them."""
        for key in [key for key, ticket in self._tickets.items() if now_ns - ticket.issued_ns > _FORGET_NS]:
            del self._tickets[key]
        found: list[Pair | Extra] = []
        for camera, epoch in {key[:2] for key in self._frames}:
            while (first := self._first(camera, epoch)) is not None and now_ns - first.received_ns > _HOLD_NS:
                del self._frames[camera, epoch, first.trigger_count]
                unclaimed = f"no trigger was issued for count {first.trigger_count}"
                if first.received_ns < self._started_ns:
                    found += [Extra(first, True, unclaimed), *self._matched(camera, epoch)]
                else:
                    found += self._spoil(Extra(first, False, unclaimed))
        return found

    def _first(self, camera: str, epoch: int) -> FrameRef | None:
        """The frame that holds up the others of its epoch, having no ticket."""
        waiting = [key for key in self._frames if key[:2] == (camera, epoch)]
        return self._frames[min(waiting)] if waiting else None


def _judge(ticket: Ticket, frame: FrameRef) -> Pair | Extra:
    if frame.exposed_ns + frame.clock_error_ns < ticket.issued_ns:
        early_ms = (ticket.issued_ns - frame.exposed_ns) / 1e6
        return Extra(frame, False, f"exposed {early_ms:.1f} ms before trigger {ticket.trigger_id} was issued")
    # Without a camera clock the arrival stands for the exposure: rather a good frame too late than a neighbour's in time.
    if frame.exposed_ns - frame.clock_error_ns > ticket.expose_until_ns:
        late_ms = (frame.exposed_ns - ticket.expose_until_ns) / 1e6
        return Extra(frame, False, f"exposed {late_ms:.1f} ms after the exposure window of trigger {ticket.trigger_id}")
    return Pair(ticket, frame)
