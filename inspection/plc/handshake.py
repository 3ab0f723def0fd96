"""The handshake with the PLC: what it wrote and what the line said in; registers, requests and faults out.

Pure: no sockets, and the time is an argument, in ns of CLOCK_MONOTONIC. ACCEPT is shown for a part only if the line commanded it
for this part before the deadline for an accept, and while the line and the PLC are alive; nothing else accepts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cameras.fault_kinds import FaultKind
from inspection.domain import Output, Verdict, provisional_serial
from inspection.messages import OutputCommand, PlcMessage, TriggerAck, TriggerRequest
from inspection.plc.codes import LATE, PLC_WAS_AWAY, REASON_CODES, VERDICT_CODES, Control, ErrorCode, OfflineReason, Status
from inspection.plc.confirmations import Confirmations, Fault
from inspection.plc.parts import LIMIT, Part, Pending
from inspection.plc.registers import Inputs, Outputs
from inspection.plc.results import Result, Results, thousandfold

# The line's heartbeat comes every half second.
_LINE_SILENT_NS = 2_000_000_000
_ALL = Control(sum(Control))


@dataclass(frozen=True, slots=True)
class Settings:
    """``deadline_ms`` is the one for an accept; ``confirm_ms`` counts from it, None asks for no confirmation.
    ``serial_from_code``: a trigger may leave the serial to the code on the part.
    """

    camera: str
    reply_to: str
    deadline_ms: float
    expose_window_ms: float
    watchdog_ms: float
    confirm_ms: float | None
    misses_to_stop: int
    serial_from_code: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What follows from one step."""

    outputs: Outputs
    requests: list[TriggerRequest]
    faults: list[Fault]


@dataclass
class _Bits:
    """What stays until something changes it."""

    missed: bool = False
    overrun: bool = False
    completed: bool = False
    stop: bool = False
    error: ErrorCode = ErrorCode.NONE
    acquisition_id: int = 0


class Handshake:
    """One PLC, one camera. ``new_id`` names requests, each once for ever."""

    def __init__(self, settings: Settings, new_id: Callable[[], str]) -> None:
        self._settings = settings
        self._new_id = new_id
        self._bits = _Bits()
        self._misses = 0
        self._pending = Pending()
        self._results = Results()
        self._confirmations = Confirmations()
        # What was true before the PLC was first heard is unknown: no bit has an edge until it was seen low.
        self._control = _ALL
        self._heartbeat: int | None = None
        # When each was last heard; None: it is not there.
        self._plc_ns: int | None = None
        self._line_ns: int | None = None
        self._ready_ns = 0
        # The part of the last trigger that was taken, and whether Trigger is still held for it.
        self._last: Part | None = None
        self._held = False
        self._requests: list[TriggerRequest] = []
        self._faults: list[Fault] = []

    @property
    def pending(self) -> int:
        """Parts without a result."""
        return len(self._pending)

    def step(self, now_ns: int, inputs: Inputs, heard: Iterable[PlcMessage] = ()) -> Answer:
        """``inputs``: the registers as they stand; ``heard``: what the line said since the last step, in order."""
        self._requests, self._faults = [], []
        self._watch_plc(inputs, now_ns)
        if self._plc_ns is not None:
            self._read_control(inputs, now_ns)
        for message in heard:
            self._line_ns = now_ns
            if isinstance(message, TriggerAck):
                self._numbered(message, now_ns)
            elif isinstance(message, OutputCommand):
                self._command(message, now_ns, Control.BUFFER_RESULTS_ENABLE in inputs.control)
        self._results.acknowledge(False, Control.RESULTS_ACK in inputs.control)
        # A line that is away is not asked: what it missed would wait for it, a request more each second.
        if self._offline(now_ns) is not OfflineReason.LINE_DOWN:
            self._requests += self._pending.repeats(now_ns)
        if self._settings.confirm_ms is not None:
            self._read_confirmation(inputs, now_ns)
        for fault in self._faults:
            self._bits.error = fault.error or self._bits.error
        return Answer(self._outputs(now_ns), self._requests, self._faults)

    # --- the PLC ---

    def _watch_plc(self, inputs: Inputs, now_ns: int) -> None:
        """Its heartbeat stopped: all outputs are dropped, and parts on the conveyor are rejected, for it may have lost them."""
        if self._plc_ns is not None and now_ns - self._plc_ns > self._settings.watchdog_ms * 1e6:
            self._plc_ns = None
            self._control = _ALL
            self._held = False
            self._results.void()
            self._pending.void()
            detail = (
                f"the PLC's heartbeat did not change for {self._settings.watchdog_ms:g} ms: parts on the conveyor are rejected"
            )
            self._faults.append(Fault(FaultKind.PLC_HEARTBEAT, detail, ErrorCode.PLC_HEARTBEAT))
        if inputs.heartbeat == self._heartbeat:
            return
        if self._heartbeat is not None:  # what stands there first may be old
            if self._plc_ns is None:
                self._ready_ns = now_ns + int(self._settings.expose_window_ms * 1e6)
            self._plc_ns = now_ns
        self._heartbeat = inputs.heartbeat

    def _read_control(self, inputs: Inputs, now_ns: int) -> None:
        ready = self._ready(now_ns)
        risen = inputs.control & ~self._control
        self._control = inputs.control
        if Control.CLEAR_ERROR in risen:
            self._bits.missed = self._bits.overrun = self._bits.stop = False
            self._bits.error, self._misses = ErrorCode.NONE, 0
        if Control.TRIGGER not in inputs.control:
            self._held = False
            if self._last is not None and self._last.trigger_id is None:
                self._last.given_up = True
        elif Control.TRIGGER in risen:
            # It was shown, and this very write does not take it back.
            self._trigger(ready and not self._not_ready(now_ns), inputs, now_ns)
        self._results.acknowledge(Control.RESULTS_ACK in risen, Control.RESULTS_ACK in inputs.control)

    def _trigger(self, ready: bool, inputs: Inputs, now_ns: int) -> None:
        if not ready:
            self._bits.missed = True
            detail = f"trigger for serial {inputs.serial} while Trigger Ready was 0: {self._not_ready(now_ns)}"
            self._faults.append(Fault(FaultKind.MISSED_ACQUISITION, detail, ErrorCode.MISSED_ACQUISITION))
        elif not inputs.lot or not (inputs.serial or (inputs.serial == "" and self._settings.serial_from_code)):
            self._bits.missed = True
            detail = f"lot {inputs.lot!r}, serial {inputs.serial!r}: write 1 to 64 printable ASCII characters, then trigger"
            self._faults.append(Fault(FaultKind.INVALID_PART, detail, ErrorCode.INVALID_PART))
        else:
            request = TriggerRequest(
                request_id=self._new_id(),
                lot=inputs.lot,
                serial=inputs.serial or None,
                camera=self._settings.camera,
                reply_to=self._settings.reply_to,
                requested_ns=now_ns,
            )
            self._last = Part(request, now_ns + int(self._settings.deadline_ms * 1e6), now_ns)
            self._pending.add(self._last)
            self._held, self._bits.missed = True, False
            self._requests.append(request)

    def _read_confirmation(self, inputs: Inputs, now_ns: int) -> None:
        if self._plc_ns is None or now_ns < self._ready_ns:
            self._confirmations.begin(inputs)
        else:
            self._faults += self._confirmations.read(inputs)
        self._faults += self._confirmations.overdue(now_ns)

    # --- the line ---

    def _numbered(self, ack: TriggerAck, now_ns: int) -> None:
        part = self._pending.get(ack.request_id)
        if part is None or part.trigger_id == ack.trigger_id:
            return
        first, part.trigger_id = part.trigger_id is None, ack.trigger_id
        if part is self._last:
            self._bits.acquisition_id = ack.trigger_id & 0xFFFF
        if not first:
            part.void = True  # the line forgot it and numbered it again: the PLC knows it by another number
            return
        if ack.expose:
            part.allow_exposure(ack.expose_until_ns)
        if self._settings.confirm_ms is not None:
            due_ns = part.deadline_ns + int(self._settings.confirm_ms * 1e6)
            serial = part.request.serial or provisional_serial(ack.trigger_id)
            self._confirmations.expect(ack.trigger_id, serial, due_ns)

    def _command(self, command: OutputCommand, now_ns: int, buffered: bool) -> None:
        part = self._pending.pop(command.request_id)
        if part is None:
            return
        late = now_ns > part.deadline_ns
        passed = command.output is Output.ACCEPT and command.verdict is Verdict.PASS
        accept = passed and not late and not part.void and part.trigger_id == command.trigger_id
        part.trigger_id, part.resolved = command.trigger_id, True
        reason = REASON_CODES[command.reason] if command.reason else LATE if late else PLC_WAS_AWAY if part.void else 0
        result = Result(
            inspection_id=command.trigger_id,
            # A code may say what the registers cannot hold; the PLC knows such a part by its Acquisition ID.
            serial=command.serial.encode("ascii", "replace").decode("ascii"),
            verdict=VERDICT_CODES[command.verdict],
            reason=reason,
            score_x1000=thousandfold(command.score),
            model=(command.model or "")[:8],
            accept=accept,
            deadline_ns=part.deadline_ns,
        )
        self._confirmations.commanded(command.trigger_id, Output.ACCEPT if accept else Output.REJECT)
        self._bits.completed = not self._bits.completed
        if passed and not accept:
            detail = f"trigger {command.trigger_id}, serial {result.serial}: its accept came too late, and was not given"
            self._faults.append(Fault(FaultKind.ACCEPT_NOT_GIVEN, detail))
        dropped = self._results.add(result, buffered, now_ns)
        if dropped is not None:
            self._bits.overrun = True
            detail = f"trigger {dropped.inspection_id}, serial {dropped.serial}: its result was not acknowledged in time"
            self._faults.append(Fault(FaultKind.RESULTS_BUFFER_OVERRUN, detail, ErrorCode.RESULTS_BUFFER_OVERRUN))
        self._count_miss(late or command.verdict is Verdict.NOT_INSPECTED)

    def _count_miss(self, miss: bool) -> None:
        self._misses = self._misses + 1 if miss else 0
        if self._misses >= self._settings.misses_to_stop and not self._bits.stop:
            self._bits.stop = True
            detail = f"{self._misses} results in a row were late or not inspected: the PLC is asked to stop"
            self._faults.append(Fault(FaultKind.STOP_REQUEST, detail, ErrorCode.STOP_REQUEST))

    # --- what is shown ---

    def _offline(self, now_ns: int) -> OfflineReason:
        if self._plc_ns is None:
            return OfflineReason.PLC_HEARTBEAT
        if self._line_ns is None or now_ns - self._line_ns > _LINE_SILENT_NS:
            return OfflineReason.LINE_DOWN
        return OfflineReason.SET_OFFLINE if Control.SET_OFFLINE in self._control else OfflineReason.ONLINE

    def _not_ready(self, now_ns: int) -> str:
        """Why no trigger is taken; empty if one is."""
        offline, last = self._offline(now_ns), self._last
        if offline is not OfflineReason.ONLINE:
            return f"offline, {offline.name.lower()}"
        if now_ns < self._ready_ns:
            return "the exposure window of a former part may still be open"
        if Control.TRIGGER_ENABLE not in self._control:
            return "Trigger Enable was 0"
        if last is not None and last.trigger_id is None and now_ns <= last.deadline_ns:
            return "the last trigger is not numbered yet"
        return "too many parts wait for their rows" if self.pending >= LIMIT else ""

    def _ready(self, now_ns: int) -> bool:
        return Control.TRIGGER not in self._control and not self._not_ready(now_ns)

    def _outputs(self, now_ns: int) -> Outputs:
        bits, shown, last = self._bits, self._results.shown, self._last
        offline = self._offline(now_ns)
        online = offline is OfflineReason.ONLINE
        acked = self._held and last is not None and last.trigger_id is not None
        accept = online and shown is not None and shown.accept and now_ns <= shown.deadline_ns
        if accept and shown is not None:
            self._confirmations.accepted(shown.inspection_id)
        status = {
            Status.TRIGGER_READY: self._ready(now_ns),
            Status.TRIGGER_ACK: acked,
            Status.EXPOSE: online and acked and last is not None and not last.resolved and now_ns <= last.expose_until_ns,
            Status.EXPOSURE_COMPLETE: last is not None and last.exposed(now_ns),
            Status.MISSED_ACQUISITION: bits.missed,
            Status.ONLINE: online,
            Status.SYSTEM_BUSY: self.pending > 0,
            Status.INSPECTION_COMPLETED: bits.completed,
            Status.RESULTS_BUFFER_OVERRUN: bits.overrun,
            Status.RESULTS_VALID: shown is not None,
            Status.PASS: accept,
            Status.ERROR: bits.error is not ErrorCode.NONE,
            Status.STOP_REQUEST: bits.stop,
        }
        return Outputs(
            status=Status(sum(flag for flag, on in status.items() if on)),
            heartbeat=now_ns // 100_000_000 & 0xFFFF,
            error=bits.error,
            offline=offline,
            acquisition_id=bits.acquisition_id,
            results_queued=self._results.waiting,
            inspection_id=shown.inspection_id & 0xFFFF_FFFF if shown else 0,
            verdict=shown.verdict if shown else 0,
            reason=shown.reason if shown else 0,
            score_x1000=shown.score_x1000 if shown else 0,
            model=shown.model if shown else "",
            serial=shown.serial if shown else "",
        )
