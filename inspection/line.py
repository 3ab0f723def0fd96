"""The line process: numbers triggers, allows exposures, watches deadlines, commands the output.

It owns a trigger from the request until its row is durable: whatever dies meanwhile, it says again what is missing. A part is
accepted only when the recorder announced its durable ``pass`` before the deadline; anything else is a reject.
"""

from __future__ import annotations

import logging
import time
from collections import deque

from cameras.beat import beat
from cameras.bus import Bus
from cameras.fault_kinds import FaultKind
from cameras.messages import (
    Accept,
    AcceptDone,
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
from inspection.config import Config, ProductConfig
from inspection.domain import LotState, Output, Reason, Verdict
from inspection.errors import Unavailable
from inspection.lane import Lane
from inspection.logs import about
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
from inspection.open_triggers import Open, State

log = logging.getLogger(__name__)

_HEARTBEAT_S = 0.5
_IDLE_S = 0.05
_HELLO_S = 1.0
# A row that is not durable so long after the line gave up on the part is asked for again, then after twice the time each, so
# often doubled: a recorder that cannot keep up would otherwise get more to do the longer it takes, and never catch up.
_REPEAT_NS, _DOUBLED_MOST = 1_000_000_000, 5
# Misses in a row after which the camera is armed anew: it may be frozen without saying so.
_MISSES = 3
# A request that waited longer than this in the queue is for a part that is gone.
_STALE_NS = 1_000_000_000
# After the last deadline, a line that is to stop waits so long for rows.
_FINISH_S = 2.0
# Rows that wait for a recorder that is away. Past this, requests are left unanswered: the requester keeps and repeats them.
_OPEN_LIMIT = 4_096


class LineProcess:
    """Serves every camera of the station and any number of requesters."""

    def __init__(self, config: Config, bus: Bus, lookups: Lookups) -> None:
        self._config = config
        self._bus = bus
        self._lookups = lookups
        now_ns = time.monotonic_ns()
        self._window_ns = int(config.line.expose_window_ms * 1e6)
        # The former line may have allowed edges until just now.
        self._lanes = {
            camera.name: Lane(camera.name, now_ns + self._window_ns, pulse_ns=camera.pulse_ns) for camera in config.cameras
        }
        self._state = State(epoch=now_ns)
        self._waiting: deque[TriggerRequest] = deque()
        self._hello_at = 0.0
        self._heartbeat_at = 0.0
        self._counters = {"triggers": 0.0, "accepted": 0.0, "rejected": 0.0, "deadline_misses": 0.0, "unanswered": 0.0}
        self._finish_by: float | None = None
        self.running = True

    def finish(self) -> None:
        """Number no more triggers, and end when those that are open have their rows, or should have them long since."""
        longest_ms = max(product.deadline_ms for product in self._config.products)
        self._finish_by = self._finish_by or time.monotonic() + longest_ms / 1000 + _FINISH_S

    def run(self) -> None:
        while self.running and not self._finished():
            beat()
            self._say_hello()
            for message in self._bus.receive(_IDLE_S if not self._state.open else 0.002):
                self._handle(message)
            self._watch_deadlines()
            self._arm_cameras()
            self._beat()

    def _finished(self) -> bool:
        return self._finish_by is not None and (not self._state.open or time.monotonic() > self._finish_by)

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
                if lane is not None and lane.armed(message.camera_epoch, message.exact, time.monotonic_ns()):
                    log.info("camera %s is armed, epoch %d", message.camera, message.camera_epoch)
            case CameraLost():
                self._camera_lost(message)
            case AcceptDone():
                lane = self._lanes.get(message.camera)
                if lane is not None:
                    lane.accept_done(message.camera_epoch, message.trigger_count, message.begun_ns)
            case RecorderState():
                self._start(message)
            case RecorderStarted():
                self._say_all_again(message)
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
        if len(state.open) >= _OPEN_LIMIT or self._finish_by is not None:
            self._counters["unanswered"] += 1
            return
        now_ns = time.monotonic_ns()
        lot = self._lookups.lot(request.lot)
        product = lot[1] if lot else None
        recipe = self._config.product(product) if product else None
        refusal = self._refusal(request, lot, recipe, now_ns)
        expose_until_ns = now_ns + self._window_ns
        exposure = None if refusal else self._lanes[request.camera].expose(now_ns, expose_until_ns)
        deadline_ms = recipe.deadline_ms if recipe else self._config.products[0].deadline_ms
        ticket = state.ticket(request, exposure, product, deadline_ms, now_ns, expose_until_ns)
        opened = Open(ticket, request.reply_to)
        state.add(opened)
        self._counters["triggers"] += 1
        self._bus.send("recorder", ticket)
        if refusal:
            self._ack(request, ticket.trigger_id, None)
            self._give_up(opened, refusal)
            return
        assert exposure is not None
        self._bus.send("inspector", ticket)
        if self._config.camera(request.camera).software_triggered:
            software = SoftwareTrigger(camera=request.camera, camera_epoch=exposure[0], trigger_count=exposure[1])
            self._bus.send(f"camera@{request.camera}", software)
            self._ack(request, ticket.trigger_id, None)
        else:
            self._ack(request, ticket.trigger_id, expose_until_ns)

    def _refusal(
        self, request: TriggerRequest, lot: tuple[LotState, str] | None, recipe: ProductConfig | None, now_ns: int
    ) -> Reason | None:
        """Why this part cannot be exposed, if so."""
        if request.passed or now_ns - request.requested_ns > _STALE_NS:
            return Reason.LINE_DOWN
        if lot is None:
            return Reason.UNKNOWN_LOT
        if lot[0] is not LotState.OPEN:
            return Reason.HELD_LOT if lot[0] is LotState.HELD else Reason.CLOSED_LOT
        if request.serial is None and (recipe is None or recipe.serial_from != "code"):
            return Reason.SERIAL_UNREAD
        if self._lookups.challenge_due(request.lot, lot[1]):
            return Reason.CHALLENGE_DUE
        lane = self._lanes.get(request.camera)
        if lane is None or not lane.ready:
            return Reason.DESYNC if lane is not None and lane.state.startswith("desync") else Reason.CAMERA_LOST
        if len(self._state.open) >= self._config.line.max_open or lane.busy(now_ns) or self._signals(lane, now_ns):
            return Reason.OVERLOAD
        return None

    def _signals(self, lane: Lane, now_ns: int) -> bool:
        """A pulse on the accept output is that of the part which was exposed last: may one still come, or be on?"""
        return lane.pulse_ns > 0 and (lane.signals(now_ns) or any(self._state.of_camera(lane.camera)))

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
            fields = {"lot": request.lot, "serial": request.serial, "camera": request.camera}
            log.error("request %s is left unanswered, it will be repeated: %s", request.request_id, error, extra=fields)
            return True
        if known is None or known.verdict is None:
            return False
        command = OutputCommand(
            request_id=request.request_id,
            trigger_id=known.trigger_id,
            serial=known.serial,
            output=known.output or Output.REJECT,
            verdict=known.verdict,
            reason=known.reason,
            durable_ms=(time.monotonic_ns() - request.requested_ns) / 1e6,
        )
        self._bus.send(request.reply_to, command)
        return True

    def _give_up(self, opened: Open, reason: Reason, detail: str = "") -> None:
        """The part is rejected whatever comes; the recorder is asked for its row until it is durable."""
        if opened.given_up is None:
            opened.given_up = reason
            ticket = opened.ticket
            fields = about(ticket, camera=ticket.camera, product=ticket.product, kind=reason.value)
            log.warning("the part is rejected, not inspected: %s", detail or reason.value, extra=fields)
        opened.said_ns = time.monotonic_ns()
        self._bus.send(
            "recorder", NotInspected(trigger_id=opened.ticket.trigger_id, reason=opened.given_up, decided_at=time.time())
        )

    def _recorded(self, recorded: Recorded) -> None:
        opened = self._state.pop(recorded.trigger_id)
        if opened is None:
            return
        ticket = opened.ticket
        lane = self._lanes.get(ticket.camera)
        judged = recorded.verdict is not Verdict.NOT_INSPECTED
        if judged and lane is not None and ticket.camera_epoch is not None and ticket.trigger_count is not None:
            lane.misses = 0
            lane.edge_came(ticket.camera_epoch, ticket.trigger_count)
        in_time = time.monotonic_ns() - ticket.requested_ns <= ticket.deadline_ms * 1e6
        accept = recorded.verdict is Verdict.PASS and opened.given_up is None and in_time and self._signal_accept(ticket)
        output = Output.ACCEPT if accept else Output.REJECT
        self._counters["accepted" if accept else "rejected"] += 1
        command = OutputCommand(
            request_id=ticket.request_id,
            trigger_id=ticket.trigger_id,
            serial=recorded.serial,
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

    def _signal_accept(self, ticket: Ticket) -> bool:
        """Have the camera signal the accept, if it has an output for that; False if it cannot any more."""
        lane = self._lanes.get(ticket.camera)
        if lane is None or lane.pulse_ns == 0:
            return True
        epoch, count = ticket.camera_epoch, ticket.trigger_count
        if epoch is not None and count is not None and epoch == lane.epoch:
            until_ns = ticket.requested_ns + int(ticket.deadline_ms * 1e6)
            accept = Accept(camera=ticket.camera, camera_epoch=epoch, trigger_count=count, until_ns=until_ns)
            if self._bus.send(f"camera@{ticket.camera}", accept):
                lane.accept(epoch, count)
                return True
        detail = f"trigger {ticket.trigger_id}, serial {ticket.serial}: the camera was armed anew since, or takes no messages"
        self._fault(FaultKind.ACCEPT_NOT_GIVEN, detail, **about(ticket, camera=ticket.camera))
        return False

    def _trigger_lost(self, message: TriggerLost) -> None:
        for count in message.trigger_counts:
            trigger_id = self._state.frames.get((message.camera, message.camera_epoch, count))
            if trigger_id is not None:
                self._give_up(self._state.open[trigger_id], Reason(message.loss.value), message.detail)

    def _watch_deadlines(self) -> None:
        now_ns = time.monotonic_ns()
        for opened in list(self._state.open.values()):
            if opened.given_up is not None:
                if now_ns - opened.said_ns > _REPEAT_NS << min(opened.repeats, _DOUBLED_MOST):
                    opened.repeats += 1
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
                        FaultKind.DEADLINE_MISSES,
                        f"{_MISSES} verdicts in a row were late or missing; camera {lane.camera} is armed anew",
                        camera=lane.camera,
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

    def _say_all_again(self, recorder: RecorderStarted) -> None:
        """The recorder is new: what it had not committed is gone."""
        given = self._state.last_trigger_id
        if given is not None and recorder.last_trigger_id > given:
            log.error("numbers up to %d are passed over, and the last one here is %d", recorder.last_trigger_id, given)
            self.running = False
            return
        self._send_tickets("recorder")
        for opened in self._state.open.values():
            opened.repeats = 0
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
            log.warning("camera %s is lost: %s", message.camera, message.detail, extra={"camera": message.camera})
        lane.lost(f"lost: {message.detail}")
        self._give_up_exposed(message.camera, Reason.CAMERA_LOST, message.detail)

    def _desync(self, message: Desync) -> None:
        lane = self._lanes.get(message.camera)
        if lane is None or lane.epoch != message.camera_epoch:
            return
        lane.rearm("desync")
        self._give_up_exposed(message.camera, Reason.DESYNC, message.detail)
        self._fault(FaultKind.DESYNC, message.detail, camera=message.camera)

    def _give_up_exposed(self, camera: str, reason: Reason, detail: str = "") -> None:
        for opened in self._state.of_camera(camera):
            self._give_up(opened, reason, detail)

    def _arm_cameras(self) -> None:
        for lane in self._lanes.values():
            epoch = lane.arming_due(time.monotonic_ns())
            if epoch is not None:
                arm = Arm(camera=lane.camera, camera_epoch=epoch, missed=lane.misses >= _MISSES)
                self._bus.send(f"camera@{lane.camera}", arm)

    def _fault(self, kind: FaultKind, detail: str, **fields: object) -> None:
        log.warning("%s: %s", kind, detail, extra={"kind": kind, **fields})
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
        if self._config.plc is not None and self._state.last_trigger_id is not None and self._finish_by is None:
            self._bus.send("plc", heartbeat)  # the PLC is shown Online as long as triggers are numbered
