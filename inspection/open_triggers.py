"""What the line knows of the triggers that it owns. Lost with the process, and rebuilt from the recorder's answer."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from inspection.domain import Reason, provisional_serial
from inspection.messages import OutputDone, Ticket, TriggerRequest

# Outputs that are told again to a new recorder.
_OUTPUTS = 2_000


@dataclass
class Open:
    """A trigger whose row is not known to be durable. ``given_up`` holds why the line will not accept it any more, ``said_ns``
    when the recorder was told so last, and ``repeats`` how often it was told again.
    """

    ticket: Ticket
    reply_to: str
    given_up: Reason | None = None
    said_ns: int = 0
    repeats: int = 0


@dataclass
class State:
    """``requests`` and ``frames`` find a trigger by the name of its request, and by (camera, epoch, count)."""

    epoch: int
    last_trigger_id: int | None = None
    open: dict[int, Open] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)
    frames: dict[tuple[str, int, int], int] = field(default_factory=dict)
    outputs: deque[OutputDone] = field(default_factory=lambda: deque(maxlen=_OUTPUTS))

    def of_camera(self, camera: str) -> Iterator[Open]:
        """Exposed parts of a camera that may still be accepted."""
        return (
            opened
            for opened in self.open.values()
            if opened.ticket.camera == camera and opened.ticket.camera_epoch is not None and opened.given_up is None
        )

    def add(self, opened: Open) -> None:
        ticket = opened.ticket
        self.open[ticket.trigger_id] = opened
        self.requests[ticket.request_id] = ticket.trigger_id
        if ticket.camera_epoch is not None and ticket.trigger_count is not None:
            self.frames[ticket.camera, ticket.camera_epoch, ticket.trigger_count] = ticket.trigger_id

    def pop(self, trigger_id: int) -> Open | None:
        opened = self.open.pop(trigger_id, None)
        if opened is not None:
            ticket = opened.ticket
            self.requests.pop(ticket.request_id, None)
            if ticket.camera_epoch is not None and ticket.trigger_count is not None:
                self.frames.pop((ticket.camera, ticket.camera_epoch, ticket.trigger_count), None)
        return opened

    def ticket(
        self,
        request: TriggerRequest,
        exposure: tuple[int, int] | None,
        product: str | None,
        deadline_ms: float,
        now_ns: int,
        expose_until_ns: int,
    ) -> Ticket:
        """The next number, for this request. ``exposure``: the epoch and count of the frame that may decide it."""
        assert self.last_trigger_id is not None
        trigger_id = self.last_trigger_id = self.last_trigger_id + 1
        # A requester whose clock is ahead must not move the deadline.
        requested_ns = min(request.requested_ns, now_ns)
        camera_epoch, trigger_count = exposure or (None, None)
        return Ticket(
            trigger_id=trigger_id,
            line_epoch=self.epoch,
            request_id=request.request_id,
            lot=request.lot,
            serial=provisional_serial(trigger_id) if request.serial is None else request.serial,
            camera=request.camera,
            product=product,
            camera_epoch=camera_epoch,
            trigger_count=trigger_count,
            triggered_at=time.time() - (now_ns - requested_ns) / 1e9,
            requested_ns=requested_ns,
            issued_ns=now_ns,
            expose_until_ns=expose_until_ns,
            deadline_ms=deadline_ms,
            unnamed=request.serial is None,
        )
