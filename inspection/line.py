"""The line process: numbers triggers, allows exposures, watches deadlines, commands the output.

It owns a trigger from the request until its row is durable: whatever dies meanwhile, it says again what is missing. A part is
accepted only when the recorder announced its durable ``pass`` before the deadline; anything else is a reject.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import dataclass, field

from cameras.bus import Bus
from cameras.messages import (
    Arm,
    CameraArmed,
    CameraLost,
    CameraReady,
    Desync,
    FaultReport,
    Heartbeat,
    SoftwareTrigger,
    TriggerLost,
)
from inspection.config import Config
from inspection.domain import LotState, Output, Reason, Verdict
from inspection.errors import Unavailable
from inspection.lane import Lane
from inspection.lookups import Lookups
from inspection.messages import (
    InspectorStarted,
    LineStarted,
    NotInspected,
    OutputCommand,
    OutputDone,
    Recorded,
    RecorderStarted,
    RecorderState,
    Ticket,
    TriggerAck,
    TriggerRequest,
)

log = logging.getLogger(__name__)

_HEARTBEAT_S = 0.5
_IDLE_S = 0.05
_HELLO_S = 1.0
# A row that is not durable so long after the line gave up on the part is asked for again.
_REPEAT_NS = 1_000_000_000
# Misses in a row after which the camera is armed anew: it may be frozen without saying so.
_MISSES = 3
# A request that waited longer than this in the queue is for a part that is gone.
_STALE_NS = 1_000_000_000
# Rows that wait for a recorder that is away. Past this, requests are left unanswered: the requester keeps and repeats them.
_OPEN_LIMIT = 4_096


@dataclass
class _Open:
    """A trigger whose row is not known to be durable. ``given_up`` holds why the line will not accept it any more."""

    ticket: Ticket
    reply_to: str
    given_up: Reason | None = None
    said_ns: int = 0


@dataclass
class _State:
    """What the process knows; lost with it, and rebuilt from the recorder's answer."""

    epoch: int
    last_trigger_id: int | None = None
    open: dict[int, _Open] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)
    frames: dict[tuple[str, int, int], int] = field(default_factory=dict)
    outputs: deque[OutputDone] = field(default_factory=lambda: deque(maxlen=2_000))


class LineProcess:
    """Serves every camera of the station and any number of requesters."""

    def __init__(self, config: Config, bus: Bus, lookups: Lookups) -> None:
        self._config = config
        self._bus = bus
        self._lookups = lookups
        now_ns = time.monotonic_ns()
        self._window_ns = int(config.line.expose_window_ms * 1e6)
        # The former line may have allowed edges until just now.
        self._lanes = {camera.name: Lane(camera.name, now_ns + self._window_ns) for camera in config.cameras}
        self._state = _State(epoch=now_ns)
        self._waiting: deque[TriggerRequest] = deque()
        self._hello_at = 0.0
        self._heartbeat_at = 0.0
        self._counters = {"triggers": 0.0, "accepted": 0.0, "rejected": 0.0, "deadline_misses": 0.0, "unanswered": 0.0}
        self.running = True

    def run(self) -> None:
        while self.running:
            self._say_hello()
            for message in self._bus.receive(_IDLE_S if not self._state.open else 0.002):
                self._handle(message)
            self._watch_deadlines()
            self._arm_cameras()
            self._beat()

    def _say_hello(self) -> None:
        """Until the recorder has told where the numbering goes on."""
        if self._state.last_trigger_id is None and time.monotonic() - self._hello_at > _HELLO_S:
            self._hello_at = time.monotonic()
            self._bus.send("recorder", LineStarted(line_epoch=self._state.epoch, at=time.time()))

    def _handle(self, message: object) -> None:
        match message:
            case TriggerRequest():
                self._request(message)
            case Recorded():
                self._recorded(message)
            case TriggerLost():
                self._trigger_lost(message)
            case Desync():
                self._desync(message)
            case CameraReady():
                self._camera_ready(message.camera)
            case CameraArmed():
                lane = self._lanes.get(message.camera)
                if lane is not None and lane.armed(message.camera_epoch, message.exact):
                    log.info("camera %s is armed, epoch %d", message.camera, message.camera_epoch)
            case CameraLost():
                self._camera_lost(message)
            case RecorderState():
                self._start(message)
            case RecorderStarted():
                self._say_all_again()
            case InspectorStarted():
                self._send_tickets("inspector")

    # --- a trigger's life ---

    def _request(self, request: TriggerRequest) -> None:
        state = self._state
        if state.last_trigger_id is None:
            if len(self._waiting) < self._config.line.max_open:
                self._waiting.append(request)  # else the requester repeats it
            return
        known = state.requests.get(request.request_id)
        if known is not None:
            self._ack(request, known, None)
            return
        if request.passed and self._answer_from_records(request):
            return
        if len(state.open) >= _OPEN_LIMIT:
            self._counters["unanswered"] += 1
            return
        now_ns = time.monotonic_ns()
        # A requester whose clock is ahead must not move the deadline.
        requested_ns = min(request.requested_ns, now_ns)
        lot = self._lookups.lot(request.lot)
        refusal = self._refusal(request, lot, now_ns)
        trigger_id = state.last_trigger_id + 1
        state.last_trigger_id = trigger_id
        expose_until_ns = now_ns + self._window_ns
        camera_epoch, count = (None, None) if refusal else self._lanes[request.camera].expose(expose_until_ns)
        product = lot[1] if lot else None
        recipe = self._config.product(product) if product else None
        ticket = Ticket(
            trigger_id=trigger_id,
            line_epoch=state.epoch,
            request_id=request.request_id,
            lot=request.lot,
            serial=request.serial,
            camera=request.camera,
            product=product,
            camera_epoch=camera_epoch,
            trigger_count=count,
            triggered_at=time.time() - (now_ns - requested_ns) / 1e9,
            requested_ns=requested_ns,
            issued_ns=now_ns,
            expose_until_ns=expose_until_ns,
            deadline_ms=recipe.deadline_ms if recipe else self._config.products[0].deadline_ms,
        )
        opened = _Open(ticket, request.reply_to)
        state.open[trigger_id] = opened
        state.requests[request.request_id] = trigger_id
        self._counters["triggers"] += 1
        self._bus.send("recorder", ticket)
        if refusal:
            self._ack(request, trigger_id, None)
            self._give_up(opened, refusal)
            return
        assert camera_epoch is not None
        assert count is not None
        state.frames[request.camera, camera_epoch, count] = trigger_id
        self._bus.send("inspector", ticket)
        if self._config.camera(request.camera).software_triggered:
            software = SoftwareTrigger(camera=request.camera, camera_epoch=camera_epoch, trigger_count=count)
            self._bus.send(f"camera@{request.camera}", software)
            self._ack(request, trigger_id, None)
        else:
            self._ack(request, trigger_id, expose_until_ns)

    def _refusal(self, request: TriggerRequest, lot: tuple[LotState, str] | None, now_ns: int) -> Reason | None:
        """Why this part cannot be exposed, if so."""
        if request.passed or now_ns - request.requested_ns > _STALE_NS:
            return Reason.LINE_DOWN
        if lot is None:
            return Reason.UNKNOWN_LOT
        if lot[0] is not LotState.OPEN:
            return Reason.HELD_LOT if lot[0] is LotState.HELD else Reason.CLOSED_LOT
        lane = self._lanes.get(request.camera)
        if lane is None or not lane.ready:
            return Reason.DESYNC if lane is not None and lane.state.startswith("desync") else Reason.CAMERA_LOST
        if len(self._state.open) >= self._config.line.max_open or lane.busy(now_ns):
            return Reason.OVERLOAD
        return None

    def _ack(self, request: TriggerRequest, trigger_id: int, expose_until_ns: int | None) -> None:
        self._bus.send(
            request.reply_to,
            TriggerAck(
                request_id=request.request_id,
                trigger_id=trigger_id,
                expose=expose_until_ns is not None,
                expose_until_ns=expose_until_ns or 0,
            ),
        )

    def _answer_from_records(self, request: TriggerRequest) -> bool:
        """A repeated request may have been numbered, and even decided, by a former line process."""
        try:
            known = self._lookups.request(request.request_id)
        except Unavailable as error:
            log.error("request %s is left unanswered, it will be repeated: %s", request.request_id, error)
            return True
        if known is None or known.verdict is None:
            return False
        command = OutputCommand(
            request_id=request.request_id,
            trigger_id=known.trigger_id,
            output=known.output or Output.REJECT,
            verdict=known.verdict,
            reason=known.reason,
            durable_ms=(time.monotonic_ns() - request.requested_ns) / 1e6,
        )
        self._bus.send(request.reply_to, command)
        return True

    def _give_up(self, opened: _Open, reason: Reason) -> None:
        """The part is rejected whatever comes; the recorder is asked for its row until it is durable."""
        if opened.given_up is None:
            opened.given_up = reason
        opened.said_ns = time.monotonic_ns()
        self._bus.send(
            "recorder", NotInspected(trigger_id=opened.ticket.trigger_id, reason=opened.given_up, decided_at=time.time())
        )

    def _recorded(self, recorded: Recorded) -> None:
        opened = self._state.open.pop(recorded.trigger_id, None)
        if opened is None:
            return
        ticket = opened.ticket
        self._state.requests.pop(ticket.request_id, None)
        lane = self._lanes.get(ticket.camera)
        if lane is not None and ticket.camera_epoch is not None and ticket.trigger_count is not None:
            self._state.frames.pop((ticket.camera, ticket.camera_epoch, ticket.trigger_count), None)
            if recorded.verdict is not Verdict.NOT_INSPECTED:
                lane.misses = 0
                lane.edge_came(ticket.camera_epoch, ticket.trigger_count)
        in_time = time.monotonic_ns() - ticket.requested_ns <= ticket.deadline_ms * 1e6
        accept = recorded.verdict is Verdict.PASS and opened.given_up is None and in_time
        output = Output.ACCEPT if accept else Output.REJECT
        self._counters["accepted" if accept else "rejected"] += 1
        command = OutputCommand(
            request_id=ticket.request_id,
            trigger_id=ticket.trigger_id,
            output=output,
            verdict=recorded.verdict,
            reason=recorded.reason,
            durable_ms=(recorded.durable_ns - ticket.requested_ns) / 1e6,
            score=recorded.score,
            model=recorded.model,
        )
        self._bus.send(opened.reply_to, command)
        done = OutputDone(trigger_id=ticket.trigger_id, output=output)
        self._state.outputs.append(done)
        self._bus.send("recorder", done)

    def _trigger_lost(self, message: TriggerLost) -> None:
        for count in message.trigger_counts:
            trigger_id = self._state.frames.get((message.camera, message.camera_epoch, count))
            if trigger_id is not None:
                self._give_up(self._state.open[trigger_id], Reason(message.loss.value))

    def _watch_deadlines(self) -> None:
        now_ns = time.monotonic_ns()
        for opened in list(self._state.open.values()):
            if opened.given_up is not None:
                if now_ns - opened.said_ns > _REPEAT_NS:
                    self._bus.send("recorder", opened.ticket)
                    self._give_up(opened, opened.given_up)
            elif now_ns - opened.ticket.requested_ns > opened.ticket.deadline_ms * 1e6:
                self._counters["deadline_misses"] += 1
                self._give_up(opened, Reason.DEADLINE)
                lane = self._lanes.get(opened.ticket.camera)
                if lane is None or opened.ticket.camera_epoch != lane.epoch or not lane.ready:
                    continue
                lane.misses += 1
                if lane.misses >= _MISSES:
                    self._fault(
                        "deadline_misses", f"{_MISSES} verdicts in a row were late or missing; camera {lane.camera} is armed anew"
                    )
                    lane.rearm("arming after missed deadlines")

    # --- other processes come and go ---

    def _start(self, answer: RecorderState) -> None:
        if self._state.last_trigger_id is not None or answer.line_epoch != self._state.epoch:
            return
        self._state.last_trigger_id = answer.last_trigger_id
        log.info("numbering goes on after trigger %d", answer.last_trigger_id)
        while self._waiting:
            self._request(self._waiting.popleft())

    def _say_all_again(self) -> None:
        """The recorder is new: what it had not committed is gone."""
        self._send_tickets("recorder")
        for opened in self._state.open.values():
            if opened.given_up is not None:
                self._give_up(opened, opened.given_up)
        for done in self._state.outputs:
            self._bus.send("recorder", done)

    def _send_tickets(self, peer: str) -> None:
        for opened in self._state.open.values():
            if peer == "recorder" or (opened.given_up is None and opened.ticket.camera_epoch is not None):
                self._bus.send(peer, opened.ticket)

    def _camera_ready(self, camera: str) -> None:
        lane = self._lanes.get(camera)
        if lane is None:
            return
        if lane.ready:
            # Armed as far as the line knows: the camera process is a new one, and the exposures died with the old.
            self._give_up_exposed(camera, Reason.CAMERA_LOST)
        lane.camera_ready()

    def _camera_lost(self, message: CameraLost) -> None:
        lane = self._lanes.get(message.camera)
        if lane is None:
            return
        if lane.ready:
            log.warning("camera %s is lost: %s", message.camera, message.detail)
        lane.lost(f"lost: {message.detail}")
        self._give_up_exposed(message.camera, Reason.CAMERA_LOST)

    def _desync(self, message: Desync) -> None:
        lane = self._lanes.get(message.camera)
        if lane is None or lane.epoch != message.camera_epoch:
            return
        log.warning("camera %s is out of step: %s", message.camera, message.detail)
        lane.rearm("desync")
        self._give_up_exposed(message.camera, Reason.DESYNC)
        self._fault("desync", message.detail)

    def _give_up_exposed(self, camera: str, reason: Reason) -> None:
        for opened in self._state.open.values():
            if opened.ticket.camera == camera and opened.ticket.camera_epoch is not None and opened.given_up is None:
                self._give_up(opened, reason)

    def _arm_cameras(self) -> None:
        for lane in self._lanes.values():
            epoch = lane.arming_due(time.monotonic_ns())
            if epoch is not None:
                self._bus.send(f"camera@{lane.camera}", Arm(camera=lane.camera, camera_epoch=epoch))

    def _fault(self, kind: str, detail: str) -> None:
        self._bus.send("recorder", FaultReport(at=time.time(), source="line", kind=kind, count=1, detail=detail))

    def _beat(self) -> None:
        now = time.monotonic()
        if now - self._heartbeat_at < _HEARTBEAT_S:
            return
        self._heartbeat_at = now
        states = ", ".join(f"{lane.camera}: {lane.state}" for lane in self._lanes.values())
        counters = {**self._counters, "open": float(len(self._state.open)), "refused_messages": float(self._bus.refused)}
        ok = all(lane.ready for lane in self._lanes.values())
        heartbeat = Heartbeat(process="line", at=time.time(), state=states, counters=counters, ok=ok)
        self._bus.send("recorder", heartbeat)
        if self._config.plc is not None and self._state.last_trigger_id is not None:
            self._bus.send("plc", heartbeat)  # the PLC is shown Online as long as triggers are numbered
