"""A simulated PLC with its conveyor, in front of a simulated camera: trigger sensor, rejector with two bins, encoder.

It does what a PLC does, over Modbus TCP, scan by scan: reads the input registers in one frame, runs its program, writes the
holding registers in one frame. Parts are tracked by the position of the belt. The rejector rejects unless it has power: a part
is accepted only if its own accept (serial and acquisition id agree) was read before it came to the rejector. It counts for
itself, so that records can be compared with it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException

from cameras.simulator.control import SimulatedCamera
from inspection.cell import CellPart
from inspection.config import PlcConfig
from inspection.domain import Output, Verdict
from inspection.plc.codes import OUTPUT_CODES, VERDICT_CODES, Control, Status
from inspection.plc.registers import INPUT_COUNT, Inputs, Outputs, decode_outputs, encode

_VERDICTS = {code: verdict for verdict, code in VERDICT_CODES.items()}
# A PLC scans its program so often.
_SCAN_S = 0.002
_TIMEOUT_S = 0.5
_RECONNECT_S = 0.1
# More parts are never between trigger sensor and rejector.
_ON_BELT = 200


@dataclass
class Conveyed:
    """One part, as the PLC knows it. ``bin`` is where it fell; ``accept_read`` that its accept was read in time;
    ``serial_shown`` the serial that its result named.
    """

    lot: str
    serial: str
    defect: str | None
    entered_mm: float
    triggered: bool = False
    exposed: bool = False
    acquisition_id: int | None = None
    inspection_id: int | None = None
    verdict: Verdict | None = None
    reason: int = 0
    serial_shown: str | None = None
    accept_read: bool = False
    bin: Output | None = None
    confirmed: bool = False


@dataclass
class Conveyor:
    """``speed_mm_per_s`` gives the belt's speed by the seconds since the start; a part enters every ``pitch_mm``, and the
    camera sees it until the next one comes.

    ``stops`` counts stop requests, after each of which errors are cleared and the belt goes on; ``strangers`` results of parts
    that are not on the belt. Without ``names_serials`` the codes on the parts are to tell the serials, and a result is known by
    its acquisition id alone.
    """

    config: PlcConfig
    camera: SimulatedCamera
    pitch_mm: float
    speed_mm_per_s: Callable[[float], float]
    running: bool = True
    names_serials: bool = True
    parts: list[Conveyed] = field(default_factory=list)
    stops: int = 0
    strangers: int = 0
    _image: Inputs = field(default_factory=lambda: Inputs(control=Control.TRIGGER_ENABLE | Control.BUFFER_RESULTS_ENABLE))
    _shown: Outputs | None = None
    _station: tuple[int, float] = (-1, 0.0)
    _position_mm: float = 0.0
    _before_camera: Conveyed | None = None
    _confirmations: deque[Conveyed] = field(default_factory=deque)

    def run(self, parts: Iterable[CellPart]) -> None:
        """Convey the parts, and return when each has fallen into a bin and all was confirmed, or the station is away."""
        client = ModbusTcpClient(self.config.host, port=self.config.port, timeout=_TIMEOUT_S, retries=0)
        try:
            self._run(client, iter(parts))
        finally:
            client.close()

    def _run(self, client: ModbusTcpClient, upcoming: Iterator[CellPart]) -> None:
        while self.running and not (self._shown and Status.TRIGGER_READY in self._shown.status):
            self._exchange(client)  # the belt starts when the station is ready
        started = before = time.monotonic()
        next_mm, part = 0.0, next(upcoming, None)
        while self.running and (part is not None or self._busy()):
            now = time.monotonic()
            speed = self.speed_mm_per_s(now - started)
            self._position_mm += speed * (now - before)
            before = now
            self._exchange(client)
            if part is not None and self._position_mm >= next_mm:
                self._enter(part)
                next_mm = self._position_mm + self.pitch_mm
                part = next(upcoming, None)
            self._at_the_camera()
            self._read_result()
            self._at_the_rejector(speed)
            self._confirm()
            self._answer_stop()
        self._exchange(client)  # what was set last

    def _busy(self) -> bool:
        return any(part.bin is None for part in self.parts[-_ON_BELT:]) or bool(self._confirmations and self._shown)

    def _exchange(self, client: ModbusTcpClient) -> None:
        """One scan: write what the program set, read what the station shows; None if it is not there."""
        scanned = time.monotonic()
        self._image = replace(self._image, heartbeat=(self._image.heartbeat + 1) & 0xFFFF)
        try:
            if not client.connected and not client.connect():
                raise ModbusException("not connected")
            written = client.write_registers(0, encode(self._image))
            answer = client.read_input_registers(0, count=INPUT_COUNT)
            if written.isError() or answer.isError():
                raise ModbusException(f"{written}, {answer}")
            self._shown = decode_outputs(answer.registers)
        except (ModbusException, OSError):
            client.close()
            self._station_is_away()
            time.sleep(_RECONNECT_S)
            return
        if self._shown.heartbeat != self._station[0]:
            self._station = self._shown.heartbeat, scanned
        elif scanned - self._station[1] > self.config.watchdog_ms / 1000:
            self._station_is_away()
        time.sleep(max(0.0, _SCAN_S - (time.monotonic() - scanned)))

    def _station_is_away(self) -> None:
        """Its heartbeat stopped: parts on the belt are rejected, whatever was read for them, and none is triggered."""
        self._shown = None
        for part in self.parts[-_ON_BELT:]:
            if part.bin is None:
                part.accept_read = False
                part.acquisition_id = None
        self._before_camera = None
        self._image = replace(self._image, control=self._image.control & ~(Control.TRIGGER | Control.RESULTS_ACK))

    # --- the program ---

    def _control(self, bit: Control, on: bool) -> None:
        control = self._image.control | bit if on else self._image.control & ~bit
        self._image = replace(self._image, control=control)

    def _enter(self, part: CellPart) -> None:
        """A part is at the trigger sensor and before the camera; the one before it is out of the camera's view."""
        self._give_up()
        self.camera.show(part.pixels)
        self._before_camera = Conveyed(part.lot, part.serial, part.defect, self._position_mm)
        self.parts.append(self._before_camera)

    def _give_up(self) -> None:
        self._before_camera = None
        self._control(Control.TRIGGER, False)

    def _at_the_camera(self) -> None:
        part, shown = self._before_camera, self._shown
        if part is None or shown is None:
            return
        if not part.triggered:
            if Status.TRIGGER_READY in shown.status:
                part.triggered = True
                self._image = replace(self._image, lot=part.lot, serial=part.serial if self.names_serials else "")
                self._control(Control.TRIGGER, True)
        elif Status.TRIGGER_ACK in shown.status:
            part.acquisition_id = shown.acquisition_id
            if Status.EXPOSE in shown.status:
                self.camera.edge()
                part.exposed = True
            self._give_up()

    def _read_result(self) -> None:
        shown = self._shown
        if shown is None:
            return
        if Status.RESULTS_VALID not in shown.status:
            self._control(Control.RESULTS_ACK, False)
        elif Control.RESULTS_ACK not in self._image.control:
            self._control(Control.RESULTS_ACK, True)
            self._note(shown)

    def _note(self, shown: Outputs) -> None:
        """A result belongs to the part with its serial and its acquisition id, or to none that is here."""
        for part in reversed(self.parts):
            same_serial = part.serial == shown.serial or not self.names_serials
            if same_serial and part.acquisition_id == shown.inspection_id & 0xFFFF:
                part.serial_shown = shown.serial
                part.inspection_id, part.verdict, part.reason = shown.inspection_id, _VERDICTS[shown.verdict], shown.reason
                part.accept_read = part.bin is None and Status.PASS in shown.status
                return
        self.strangers += 1

    def _at_the_rejector(self, speed: float) -> None:
        """The last moment at which the rejector can still be moved for a part."""
        until_mm = self.config.rejector_distance_mm - self.config.accept_window_mm - speed * self.config.actuator_ms / 1000
        for part in self.parts[-_ON_BELT:]:
            if part.bin is None and self._position_mm - part.entered_mm >= until_mm:
                part.bin = Output.ACCEPT if part.accept_read else Output.REJECT
                if part.acquisition_id is not None:
                    self._confirmations.append(part)

    def _confirm(self) -> None:
        """One in a scan: the registers hold one."""
        if self._confirmations and self._shown is not None and Status.ONLINE in self._shown.status:
            part = self._confirmations.popleft()
            assert part.bin is not None
            assert part.acquisition_id is not None
            self._image = replace(
                self._image,
                confirmations=(self._image.confirmations + 1) & 0xFFFF,
                confirmed_acquisition=part.acquisition_id,
                confirmed_output=OUTPUT_CODES[part.bin],
            )
            part.confirmed = True

    def _answer_stop(self) -> None:
        """As an operator does it, who looks and lets the line go on."""
        stop = self._shown is not None and Status.STOP_REQUEST in self._shown.status
        if stop and Control.CLEAR_ERROR not in self._image.control:
            self.stops += 1
        self._control(Control.CLEAR_ERROR, stop)
