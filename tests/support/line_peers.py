"""A line process in a thread, with the PLC, the camera, the inspector and the recorder played by the test."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from peers import Peer, in_thread

import inspection.line
from cameras.bus import Bus
from cameras.messages import Arm, CameraArmed, CameraReady, Heartbeat
from cameras.process import INBOX_MESSAGES
from inspection.config import AcceptOutputConfig, CameraConfig, Config, LineConfig, ProductConfig
from inspection.domain import LotState, Output, Reason, Verdict
from inspection.line import LineProcess
from inspection.lookups import Lookups, RecordedRequest
from inspection.messages import (
    CellMessage,
    InspectorMessage,
    LineMessage,
    LineStarted,
    NotInspected,
    OutputCommand,
    OutputDone,
    Recorded,
    RecorderMessage,
    RecorderState,
    Ticket,
    TriggerAck,
    TriggerRequest,
)

WINDOW_MS = 60.0
MAX_OPEN = 4
LAST_TRIGGER_ID = 41


def config(deadline_ms: float, source: str, window_ms: float, pulse_ms: float | None = None) -> Config:
    output = None if pulse_ms is None else AcceptOutputConfig(line="Line2", pulse_ms=pulse_ms)
    return Config(
        cameras=(CameraConfig(name="top", serial="SIM1", features={"TriggerSource": source}, accept_output=output),),
        products=(
            ProductConfig(part_number="plate", camera="top", deadline_ms=deadline_ms),
            ProductConfig(part_number="coded", camera="top", deadline_ms=deadline_ms, serial_code=".+", serial_from="code"),
        ),
        line=LineConfig(expose_window_ms=window_ms, max_open=MAX_OPEN),
    )


class LinePeers:
    """``lots``, ``requests`` and ``challenge_due`` are what the records would say to the line."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.cell = Peer(run_dir, "cell", CellMessage)
        self.camera = Peer(run_dir, "camera@top", INBOX_MESSAGES)
        self.inspector = Peer(run_dir, "inspector", InspectorMessage)
        self.recorder = Peer(run_dir, "recorder", RecorderMessage)
        self.lots = {
            "L": (LotState.OPEN, "plate"),
            "coded": (LotState.OPEN, "coded"),
            "closed": (LotState.CLOSED, "plate"),
            "held": (LotState.HELD, "plate"),
        }
        self.requests: dict[str, RecordedRequest] = {}
        self.challenge_due: Callable[[str, str], bool] = lambda _lot, _product: False
        self._numbers = itertools.count(1)
        self._seqs = itertools.count(1)

    @contextmanager
    def line(
        self, *, deadline_ms: float = 5_000, source: str = "Line1", window_ms: float = WINDOW_MS, pulse_ms: float | None = None
    ) -> Iterator[None]:
        """The process runs; nothing has been said to it yet."""
        bus = Bus(self.run_dir, "line", LineMessage)
        configured = config(deadline_ms, source, window_ms, pulse_ms)
        self.process = LineProcess(configured, bus, Lookups(self.lots.get, self.requests.get, self.challenge_due))
        with in_thread(self.process, bus):
            yield

    @contextmanager
    def armed_line(
        self, *, deadline_ms: float = 5_000, source: str = "Line1", window_ms: float = WINDOW_MS, pulse_ms: float | None = None
    ) -> Iterator[None]:
        """The process runs, knows where numbering goes on, and its camera is armed."""
        with self.line(deadline_ms=deadline_ms, source=source, window_ms=window_ms, pulse_ms=pulse_ms):
            self.tell_last_trigger()
            self.arm()
            yield

    def tell_last_trigger(self, last_trigger_id: int = LAST_TRIGGER_ID) -> None:
        epoch = self.recorder.expect(LineStarted).line_epoch
        self.recorder.send("line", RecorderState(line_epoch=epoch, last_trigger_id=last_trigger_id))

    def arm(self) -> Arm:
        """The camera says that it is ready, and does what the line then orders."""
        self.camera.send("line", CameraReady(camera="top"))
        return self.confirm_arm()

    def confirm_arm(self) -> Arm:
        """Obey the order, and the next one if the line gave it before it heard that the camera is ready."""
        while True:
            order = self.camera.expect(Arm)
            self.camera.send("line", CameraArmed(camera="top", camera_epoch=order.camera_epoch))
            try:
                self.expect_state("top: armed", 2)
            except AssertionError:
                continue
            return order

    def expect_state(self, state: str, timeout_s: float = 20) -> None:
        """From now on the line reports this state."""
        self.recorder.came(Heartbeat)
        self.recorder.inbox = [message for message in self.recorder.inbox if not isinstance(message, Heartbeat)]
        self.recorder.expect(Heartbeat, lambda beat: beat.state == state, timeout_s)

    def ask(
        self,
        *,
        lot: str = "L",
        camera: str = "top",
        request_id: str | None = None,
        passed: bool = False,
        age_ms: float = 0,
        named: bool = True,
    ) -> TriggerRequest:
        """Send the request for one part."""
        number = next(self._numbers)
        request = TriggerRequest(
            request_id=request_id or f"R{number}",
            lot=lot,
            serial=f"S{number}" if named else None,
            camera=camera,
            reply_to="cell",
            requested_ns=time.monotonic_ns() - int(age_ms * 1e6),
            passed=passed,
        )
        self.cell.send("line", request)
        return request

    def ack(self, request: TriggerRequest) -> TriggerAck:
        return self.cell.expect(TriggerAck, lambda ack: ack.request_id == request.request_id)

    def exposed(self) -> Ticket:
        """One part that is allowed its exposure: the ticket that recorder and inspector got."""
        request = self.ask()
        ack = self.ack(request)
        assert ack.expose
        ticket = self.recorder.expect(Ticket)
        assert self.inspector.expect(Ticket) == ticket
        assert (ticket.trigger_id, ticket.request_id, ticket.serial) == (ack.trigger_id, request.request_id, request.serial)
        assert ticket.expose_until_ns == ack.expose_until_ns
        return ticket

    def refused(self, request: TriggerRequest, reason: Reason) -> Ticket:
        """The request is numbered and recorded, and never exposed; returns its ticket."""
        ack = self.ack(request)
        assert not ack.expose
        ticket = self.recorder.expect(Ticket)
        assert (ticket.trigger_id, ticket.camera_epoch, ticket.trigger_count) == (ack.trigger_id, None, None)
        assert self.given_up(ticket) is reason
        assert self.inspector.came(Ticket) == []
        return ticket

    def given_up(self, ticket: Ticket) -> Reason:
        return self.recorder.expect(NotInspected, lambda message: message.trigger_id == ticket.trigger_id).reason

    def record(self, ticket: Ticket, verdict: Verdict, reason: Reason | None = None, serial: str | None = None) -> None:
        """What the recorder says once the row is durable."""
        row = Recorded(
            seq=next(self._seqs),
            trigger_id=ticket.trigger_id,
            serial=serial or ticket.serial,
            verdict=verdict,
            reason=reason,
            durable_ns=time.monotonic_ns(),
        )
        self.recorder.send("line", row)

    def output(self, ticket: Ticket) -> Output:
        """What was commanded for a part, the same to the PLC and to the recorder."""
        command = self.cell.expect(OutputCommand)
        assert (command.request_id, command.trigger_id) == (ticket.request_id, ticket.trigger_id)
        done = self.recorder.expect(OutputDone)
        assert (done.trigger_id, done.output) == (ticket.trigger_id, command.output)
        return command.output

    def answer_comes_last(self) -> None:
        """Returns when everything that was said to the cell before has arrived there."""
        self.ack(self.ask(lot="barrier"))

    def tickets(self) -> list[Ticket]:
        """Every ticket that the recorder has been sent until now and that was not taken."""
        self.answer_comes_last()
        self.recorder.expect(Ticket, lambda ticket: ticket.lot == "barrier")
        return self.recorder.came(Ticket)

    def until_ended(self) -> None:
        """The main loop ends by itself: the line's heartbeats stop."""
        until = time.monotonic() + 5
        while self.recorder.came(Heartbeat):
            assert time.monotonic() < until, "the line goes on"
            self.recorder.inbox = []
            time.sleep(0.1)

    def close(self) -> None:
        for peer in (self.cell, self.camera, self.inspector, self.recorder):
            peer.close()


@contextmanager
def line_peers(monkeypatch: pytest.MonkeyPatch) -> Iterator[LinePeers]:
    """With heartbeats, greetings and repetitions that come soon."""
    monkeypatch.setattr(inspection.line, "_HEARTBEAT_S", 0.02)
    monkeypatch.setattr(inspection.line, "_HELLO_S", 0.05)
    # Socket paths are short; pytest's are not.
    with tempfile.TemporaryDirectory(prefix="line-") as run_dir:
        peers = LinePeers(Path(run_dir))
        yield peers
        peers.close()
