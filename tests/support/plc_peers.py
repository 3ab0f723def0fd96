"""A PLC and a line around the handshake, with a clock that the test moves."""

from __future__ import annotations

import itertools
from dataclasses import replace

from cameras.messages import Heartbeat
from inspection.domain import Output, Reason, Verdict
from inspection.messages import OutputCommand, PlcMessage, TriggerAck, TriggerRequest
from inspection.plc.codes import Control, Status
from inspection.plc.confirmations import Fault
from inspection.plc.handshake import Handshake, Settings
from inspection.plc.registers import Inputs, Outputs

SETTINGS = Settings(
    camera="top",
    reply_to="plc",
    deadline_ms=300,
    expose_window_ms=50,
    watchdog_ms=200,
    confirm_ms=400,
    misses_to_stop=3,
)
LINE_LIVES = Heartbeat(process="line", at=0.0, state="", counters={})


class PlcBench:
    """``shown`` is what the PLC reads now; requests and faults are collected. Both sides live unless told otherwise."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        names = itertools.count(1)
        self.handshake = Handshake(settings, lambda: f"request-{next(names)}")
        self.now_ns = 10_000_000_000
        self.inputs = Inputs(control=Control.TRIGGER_ENABLE)
        self.requests: list[TriggerRequest] = []
        self.faults: list[Fault] = []
        self.shown = Outputs()
        self.plc_lives = self.line_lives = True

    def step(self, *heard: PlcMessage) -> Outputs:
        answer = self.handshake.step(self.now_ns, self.inputs, heard)
        self.requests += answer.requests
        self.faults += answer.faults
        self.shown = answer.outputs
        return self.shown

    def wait(self, ms: float) -> Outputs:
        """Time passes in steps of up to 20 ms."""
        while ms > 0:
            self.now_ns += int(min(ms, 20) * 1e6)
            ms -= 20
            if self.plc_lives:
                self.inputs = replace(self.inputs, heartbeat=(self.inputs.heartbeat + 1) & 0xFFFF)
            self.step(*([LINE_LIVES] if self.line_lives else []))
        return self.shown

    def start(self) -> None:
        """Until triggers are taken."""
        self.step()
        self.wait(SETTINGS.expose_window_ms + 40)
        assert Status.TRIGGER_READY in self.shown.status

    def set(self, *bits: Control) -> Outputs:
        for bit in bits:
            self.inputs = replace(self.inputs, control=self.inputs.control | bit)
        return self.step()

    def clear(self, *bits: Control) -> Outputs:
        for bit in bits:
            self.inputs = replace(self.inputs, control=self.inputs.control & ~bit)
        return self.step()

    def trigger(self, serial: str | None, lot: str | None = "L1") -> TriggerRequest | None:
        """Trigger rises; the request that follows, if one does."""
        before = len(self.requests)
        self.inputs = replace(self.inputs, lot=lot, serial=serial)
        self.set(Control.TRIGGER)
        return self.requests[-1] if len(self.requests) > before else None

    def part(self, serial: str, trigger_id: int, expose_ms: float = 50) -> TriggerRequest:
        """A part that was triggered, numbered and exposed."""
        request = self.trigger(serial)
        assert request is not None
        self.step(self.ack(request, trigger_id, expose_ms))
        self.clear(Control.TRIGGER)
        return request

    def part_without_serial(self, trigger_id: int) -> TriggerRequest:
        """Numbered and exposed, of a product whose code tells the serial."""
        request = self.trigger("")
        assert request is not None
        self.step(self.ack(request, trigger_id))
        self.clear(Control.TRIGGER)
        return request

    def ack(self, request: TriggerRequest, trigger_id: int, expose_ms: float | None = 50) -> TriggerAck:
        return TriggerAck(
            request_id=request.request_id,
            trigger_id=trigger_id,
            expose=expose_ms is not None,
            expose_until_ns=self.now_ns + int(expose_ms * 1e6) if expose_ms else 0,
        )

    def command(
        self,
        request: TriggerRequest,
        trigger_id: int,
        output: Output = Output.ACCEPT,
        verdict: Verdict = Verdict.PASS,
        reason: Reason | None = None,
        serial: str | None = None,
    ) -> OutputCommand:
        return OutputCommand(
            request_id=request.request_id,
            trigger_id=trigger_id,
            serial=serial or request.serial or f"?{trigger_id}",
            output=output,
            verdict=verdict,
            reason=reason,
            durable_ms=1.0,
            score=0.8125,
            model="0123456789abcdef" * 4,
        )

    def acknowledge(self) -> Outputs:
        self.set(Control.RESULTS_ACK)
        return self.clear(Control.RESULTS_ACK)

    def confirm(self, acquisition: int, output: int, step: int = 1) -> None:
        self.inputs = replace(
            self.inputs,
            confirmations=(self.inputs.confirmations + step) & 0xFFFF,
            confirmed_acquisition=acquisition,
            confirmed_output=output,
        )
        self.step()

    def kinds(self) -> list[str]:
        return [fault.kind for fault in self.faults]
