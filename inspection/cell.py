"""The simulated cell: conveyor, trigger sensor and PLC in front of simulated cameras.

It does what a PLC does with the station: asks for a trigger, raises the edge when it is allowed, waits for the output, rejects
by default, and keeps each request until its result is known. It counts for itself, so that records can be compared with it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cameras.bus import Bus
from cameras.errors import CameraError
from cameras.simulator.control import SimulatedCamera
from inspection.domain import Output, Reason, Verdict
from inspection.messages import OutputCommand, TriggerAck, TriggerRequest

_REPEAT_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, eq=False)
class CellPart:
    """A part on the conveyor. ``defect`` is the truth, which the station does not know; None is a good part."""

    lot: str
    serial: str
    pixels: NDArray[np.generic]
    defect: str | None


@dataclass
class Outcome:
    """What the cell saw of one part. ``output`` is what the rejector did: reject until an accept came in time."""

    lot: str
    serial: str
    defect: str | None
    requested_ns: int
    trigger_id: int | None = None
    exposed: bool = False
    output: Output = Output.REJECT
    verdict: Verdict | None = None
    reason: Reason | None = None
    durable_ms: float | None = None


@dataclass
class _Pending:
    request: TriggerRequest
    outcome: Outcome
    asked_ns: int
    repeated: bool = False


@dataclass
class Cell:
    """One camera's stretch of conveyor. ``on_outcome`` is called once for each part, when its result is known.

    ``reject_after_ms``: when the part is at the rejector; an accept that comes later finds the part rejected. Without
    ``names_serials`` the code on the part is to tell the serial.
    """

    bus: Bus
    camera: SimulatedCamera
    camera_name: str
    reject_after_ms: float
    on_outcome: Callable[[Outcome], None] = lambda outcome: None
    running: bool = True
    names_serials: bool = True
    _pending: dict[str, _Pending] = field(default_factory=dict)

    def run(self, parts: Iterable[CellPart], rate: float, in_flight: int | None = None) -> None:
        """Convey the parts at ``rate`` parts per second, or slower if the line is slow to allow an exposure; then wait for all
        results. With ``in_flight``, a part comes only when fewer are between trigger and result.
        """
        # Edges that a former cell was allowed must be over before the first request.
        self._listen_until(time.monotonic_ns() + 100_000_000)
        upcoming: Iterator[CellPart] = iter(parts)
        next_ns = time.monotonic_ns()
        while self.running:
            part = next(upcoming, None)
            if part is None:
                break
            while self.running and not self._show(part):
                self._listen(0.05)
            self._listen_until(next_ns)
            while in_flight is not None and len(self._pending) >= in_flight and self.running:
                self._listen(0.05)
            self._convey(part)
            next_ns = max(next_ns + int(1e9 / rate), time.monotonic_ns())
        while self._pending and self.running:
            self._listen_until(time.monotonic_ns() + 20_000_000)

    def _show(self, part: CellPart) -> bool:
        """False as long as the simulated sensor has no room: its process hangs, and the belt stands still."""
        try:
            self.camera.show(part.pixels)
        except CameraError:
            return False
        return True

    def _convey(self, part: CellPart) -> None:
        now_ns = time.monotonic_ns()
        request = TriggerRequest(
            request_id=uuid.uuid4().hex,
            lot=part.lot,
            serial=part.serial if self.names_serials else None,
            camera=self.camera_name,
            reply_to=self.bus.name,
            requested_ns=now_ns,
        )
        outcome = Outcome(part.lot, part.serial, part.defect, now_ns)
        self._pending[request.request_id] = _Pending(request, outcome, now_ns)
        self.bus.send("line", request)
        # The part stands before the camera until the line answers, but not longer than a part may.
        until_ns = now_ns + int(self.reject_after_ms * 1e6)
        while outcome.trigger_id is None and request.request_id in self._pending and time.monotonic_ns() < until_ns:
            self._listen(0.005)

    def _listen_until(self, until_ns: int) -> None:
        while (left_ns := until_ns - time.monotonic_ns()) > 0:
            self._listen(min(left_ns / 1e9, 0.05))

    def _listen(self, timeout_s: float) -> None:
        for message in self.bus.receive(timeout_s):
            if isinstance(message, TriggerAck):
                self._acknowledged(message)
            elif isinstance(message, OutputCommand):
                self._command(message)
        self._repeat()

    def _acknowledged(self, ack: TriggerAck) -> None:
        pending = self._pending.get(ack.request_id)
        if pending is None:
            return
        first = pending.outcome.trigger_id is None
        pending.outcome.trigger_id = ack.trigger_id
        now_ns = time.monotonic_ns()
        here = now_ns - pending.outcome.requested_ns <= self.reject_after_ms * 1e6
        if ack.expose and first and here and not pending.repeated and now_ns <= ack.expose_until_ns:
            self.camera.edge()
            pending.outcome.exposed = True

    def _command(self, command: OutputCommand) -> None:
        pending = self._pending.pop(command.request_id, None)
        if pending is None:
            return
        outcome = pending.outcome
        outcome.trigger_id = command.trigger_id
        outcome.verdict, outcome.reason, outcome.durable_ms = command.verdict, command.reason, command.durable_ms
        in_time = time.monotonic_ns() - outcome.requested_ns <= self.reject_after_ms * 1e6
        if command.output is Output.ACCEPT and in_time:
            outcome.output = Output.ACCEPT
        self.on_outcome(outcome)

    def _repeat(self) -> None:
        """Requests without a result: the part is gone and rejected, its record is asked for until it is there."""
        now_ns = time.monotonic_ns()
        for pending in self._pending.values():
            due_ns = pending.asked_ns + _REPEAT_NS + (0 if pending.repeated else int(self.reject_after_ms * 1e6))
            if now_ns < due_ns:
                continue
            request = pending.request
            pending.asked_ns, pending.repeated = now_ns, True
            self.bus.send(
                "line",
                TriggerRequest(
                    request_id=request.request_id,
                    lot=request.lot,
                    serial=request.serial,
                    camera=request.camera,
                    reply_to=request.reply_to,
                    requested_ns=request.requested_ns,
                    passed=True,
                ),
            )
