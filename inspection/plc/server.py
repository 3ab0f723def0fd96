"""Modbus TCP by pymodbus: two blocks of registers, few clients, one writer. Modbus has no authentication: who may connect is
decided by address, and only what the handshake needs is answered.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from pymodbus.constants import ExcCodes
from pymodbus.pdu import ExceptionResponse
from pymodbus.server import ModbusTcpServer
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice

from inspection.config import PlcConfig
from inspection.plc.registers import HOLDING_COUNT, INPUT_COUNT

log = logging.getLogger(__name__)

_READ: Final = (3, 4)
_WRITE: Final = (6, 16)
# A PLC that was switched off leaves its connection half open: of more, the one that was silent longest is closed.
_CONNECTIONS: Final = 8
# Frames that came before the former one was answered, and answers that the client does not read.
_BACKLOG_BYTES: Final = 65_536


class PlcServer:
    """Call ``start`` until it is True. ``on_write`` gets all holding registers after each write, ``on_read`` gives the input
    registers; both are called in the event loop, before the frame is answered.
    """

    def __init__(self, config: PlcConfig, on_write: Callable[[list[int]], None], on_read: Callable[[], list[int]]) -> None:
        self._config = config
        self._on_write = on_write
        self._on_read = on_read
        self._server: _Server | None = None
        self._holding = [0] * HOLDING_COUNT
        self.writes = self.refused = 0

    async def start(self) -> bool:
        """Listen; False if the address cannot be had."""
        # Any unit identifier; bits are there because pymodbus wants all four blocks, and are not answered.
        bits = [SimData(0, count=16, values=False, datatype=DataType.BITS)]
        holding = [SimData(0, count=HOLDING_COUNT, datatype=DataType.REGISTERS)]
        inputs = [SimData(0, count=INPUT_COUNT, datatype=DataType.REGISTERS)]
        device = SimDevice(0, simdata=(bits, list(bits), holding, inputs), action=self._access)
        self._server = _Server(device, self)
        return await self._server.listen()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.shutdown()

    @property
    def clients(self) -> int:
        return len(self._server.active_connections) if self._server else 0

    async def _access(
        self, function: int, start: int, address: int, count: int, registers: list[int], values: list[int] | list[bool] | None
    ) -> ExcCodes | None:
        """pymodbus asks before it reads or writes; addresses are checked by then."""
        if values is not None:
            self.writes += 1
            self._holding[address : address + count] = [int(value) for value in values]
            self._on_write(list(self._holding))
        elif function == 4:
            registers[:INPUT_COUNT] = self._on_read()
        return None

    def admits(self, address: str) -> bool:
        client = ipaddress.ip_address(address.split("%", 1)[0])
        return any(client in network for network in self._config.allowed_clients)

    @property
    def address(self) -> tuple[str, int]:
        return self._config.host, self._config.port

    @property
    def writer_silent_s(self) -> float:
        """A writer that was silent for so long is replaced by the next one."""
        return self._config.watchdog_ms / 1000


class _Server(ModbusTcpServer):
    def __init__(self, device: SimDevice, owner: PlcServer) -> None:
        super().__init__(device, address=owner.address)
        self.owner = owner
        self.writer: _Connection | None = None

    def callback_new_connection(self) -> _Connection:
        return _Connection(self)

    def make_room(self, newcomer: _Connection) -> None:
        """The PLC that writes keeps its connection, however many others come."""
        others = [each for each in self.active_connections.values() if isinstance(each, _Connection) and each is not newcomer]
        if len(others) >= _CONNECTIONS:
            spare = [each for each in others if each is not self.writer or self.may_write(newcomer)]
            min(spare, key=lambda each: each.heard_s).close()

    def may_write(self, connection: _Connection) -> bool:
        writer = self.writer
        if writer is not None and writer is not connection and writer.is_active():
            return time.monotonic() - writer.wrote_s > self.owner.writer_silent_s
        return True


class _Connection(ServerRequestHandler):
    """One client. pymodbus answers one frame at a time and forgets what came behind it; here they wait for their turn."""

    def __init__(self, server: _Server) -> None:
        super().__init__(server, None, None, None)
        self._owner = server
        self._backlog = b""
        self._answering = False
        self.heard_s = self.wrote_s = time.monotonic()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        if peer is None or not self._owner.owner.admits(peer[0]):
            self._refuse(f"{peer} is not in allowed_clients")
        else:
            self._owner.make_room(self)

    def data_received(self, data: bytes) -> None:
        self.heard_s = time.monotonic()
        self._backlog += data
        transport: Any = self.transport
        if len(self._backlog) > _BACKLOG_BYTES or transport.get_write_buffer_size() > _BACKLOG_BYTES:
            self._refuse("it does not read its answers")
        self._next_frame()

    def _next_frame(self) -> None:
        while self.transport and not self._answering and len(self._backlog) >= 6:
            protocol, length = int.from_bytes(self._backlog[2:4], "big"), int.from_bytes(self._backlog[4:6], "big")
            if protocol != 0 or not 3 <= length <= 254:
                self._refuse(f"no Modbus TCP: {self._backlog[:16].hex()}")
                return
            if len(self._backlog) < 6 + length:
                return
            frame, self._backlog = self._backlog[: 6 + length], self._backlog[6 + length :]
            self.last_pdu, self.recv_buffer = None, b""
            super().data_received(frame)
            # A frame that is not understood is answered at once; any other one in handle_request.
            self._answering = self.last_pdu is not None

    async def handle_request(self) -> None:
        pdu = self.last_pdu
        refusal = None
        if pdu is not None and pdu.function_code not in _READ + _WRITE:
            refusal = ExceptionResponse(pdu.function_code & 0x7F, ExcCodes.ILLEGAL_FUNCTION)
        elif pdu is not None and pdu.function_code in _WRITE and not self._owner.may_write(self):
            refusal = ExceptionResponse(pdu.function_code, ExcCodes.DEVICE_BUSY)
        if pdu is not None and refusal is not None:
            refusal.transaction_id, refusal.dev_id = pdu.transaction_id, pdu.dev_id
            self.server_send(refusal, self.last_addr)
        else:
            before = self._owner.owner.writes
            await super().handle_request()
            if self._owner.owner.writes != before:
                self._owner.writer, self.wrote_s = self, time.monotonic()
        self._answering = False
        self._next_frame()

    def _refuse(self, why: str) -> None:
        self._owner.owner.refused += 1
        log.warning("a client is disconnected: %s", why)
        self._backlog = b""
        self.close()
