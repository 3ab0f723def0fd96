"""The process ``plc``: joins the PLC's registers and the bus. Frames of a protocol without authentication are parsed here, and
not in the process that owns the triggers.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Iterable

from cameras.beat import beat
from cameras.bus import Bus
from cameras.messages import FaultReport, Heartbeat
from inspection.config import PlcConfig
from inspection.messages import PlcMessage
from inspection.plc.codes import OfflineReason
from inspection.plc.handshake import Answer, Handshake, Settings
from inspection.plc.registers import Inputs, decode_inputs, encode
from inspection.plc.server import PlcServer

log = logging.getLogger(__name__)

_HEARTBEAT_S = 0.5
_RETRY_S = 1.0
# Watchdogs, repetitions and the inbox are looked at so often; what comes by either side is handled when it comes.
_TICK_S = 0.02


class PlcProcess:
    """One PLC. Until the address can be had, listening is tried again."""

    def __init__(self, config: PlcConfig, expose_window_ms: float, bus: Bus, serial_from_code: bool = False) -> None:
        self._config = config
        self._bus = bus
        settings = Settings(
            camera=config.camera,
            reply_to=bus.name,
            deadline_ms=config.deadline_ms,
            expose_window_ms=expose_window_ms,
            watchdog_ms=config.watchdog_ms,
            confirm_ms=config.confirm_ms,
            misses_to_stop=config.misses_to_stop,
            serial_from_code=serial_from_code,
        )
        self._handshake = Handshake(settings, lambda: uuid.uuid4().hex)
        self._server = PlcServer(config, self._written, self._read)
        self._inputs = Inputs()
        self._answer: Answer | None = None
        self._listening = False
        self._heartbeat_at = 0.0
        self._counters = {"triggers": 0.0, "faults": 0.0}
        self.running = True

    def run(self) -> None:
        # Says each frame that it cannot read; what is of use is logged and counted here.
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._bus.fileno(), self._receive)
        retry_at = 0.0
        try:
            while self.running:
                beat()
                if not self._listening and time.monotonic() >= retry_at:
                    retry_at = time.monotonic() + _RETRY_S
                    await self._listen()
                self._receive()
                self._beat()
                await asyncio.sleep(_TICK_S)
        finally:
            loop.remove_reader(self._bus.fileno())
            await self._server.stop()

    async def _listen(self) -> None:
        self._listening = await self._server.start()
        address = f"{self._config.host}:{self._config.port}"
        if self._listening:
            log.info("listening on %s", address)
        else:
            log.error("cannot listen on %s: is it this machine's, is it free, and is the port above 1023? Trying again", address)

    def _written(self, registers: list[int]) -> None:
        self._inputs = decode_inputs(registers)
        self._step()

    def _read(self) -> list[int]:
        return encode(self._step().outputs)

    def _receive(self) -> None:
        while heard := list(self._bus.receive(0)):
            self._step(heard)
        self._step()

    def _step(self, heard: Iterable[PlcMessage] = ()) -> Answer:
        answer = self._answer = self._handshake.step(time.monotonic_ns(), self._inputs, heard)
        for request in answer.requests:
            self._counters["triggers"] += not request.passed
            self._bus.send("line", request)
        for fault in answer.faults:
            self._counters["faults"] += fault.count
            log.warning("%s: %s", fault.kind, fault.detail, extra={"kind": fault.kind})
            report = FaultReport(at=time.time(), source="plc", kind=fault.kind, count=fault.count, detail=fault.detail)
            self._bus.send("recorder", report)
        return answer

    def _beat(self) -> None:
        now = time.monotonic()
        if now - self._heartbeat_at < _HEARTBEAT_S:
            return
        self._heartbeat_at = now
        assert self._answer is not None
        offline, error = self._answer.outputs.offline, self._answer.outputs.error
        state = "online" if offline is OfflineReason.ONLINE else f"offline, {offline.name.lower()}"
        if error:
            state += f", error {error.name.lower()}"
        if not self._listening:
            state = f"cannot listen on {self._config.host}:{self._config.port}"
        counters = {
            **self._counters,
            "pending": float(self._handshake.pending),
            "writes": float(self._server.writes),
            "clients": float(self._server.clients),
            "refused_clients": float(self._server.refused),
            "refused_messages": float(self._bus.refused),
        }
        ok = self._listening and offline in (OfflineReason.ONLINE, OfflineReason.SET_OFFLINE)
        self._bus.send("recorder", Heartbeat(process="plc", at=time.time(), state=state, counters=counters, ok=ok))
