"""The inspector process: pairs frames with tickets, judges, and hands the frame on to the recorder."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from cameras.beat import beat
from cameras.bus import Bus
from cameras.errors import RingError
from cameras.fault_kinds import FaultKind
from cameras.frame import Frame, PixelFormat
from cameras.messages import CameraArmed, Desync, FaultReport, FrameRef, Heartbeat, Loss, TriggerLost
from cameras.ring import Ring, SlotState
from inspection.codes import may_name, read_serials
from inspection.detector import Detection, Detector
from inspection.domain import Reason, Verdict
from inspection.logs import about
from inspection.messages import Inspected, InspectorStarted, RegionBox, Ticket
from inspection.optics_watch import OpticsWatch
from inspection.pairing import Extra, Pair, Pairing
from inspection.rings import Orphans, Rings
from inspection.shadow import Shadow
from inspection.verdict import decide

log = logging.getLogger(__name__)

_HEARTBEAT_S = 0.5
_IDLE_S = 0.02
# A model that was refused is looked at again after this time: its artifact may have been restored.
_RETRY_S = 10.0
# Parts whose judging times tell how long the next one takes at least.
_RECENT = 20


class ModelShelf:
    """The detectors in service, or the challengers, by product, kept up to date by a thread so that loading one never delays
    a part.

    ``in_service`` returns {product: (model digest, artifact directory)}; it is asked every second. ``refusals`` says
    which models could not be loaded; the inspector's main loop reports and removes them. ``refused`` products have another
    model than they should.
    """

    def __init__(self, in_service: Callable[[], dict[str, tuple[str, Path]]]) -> None:
        self._in_service = in_service
        self.refusals: deque[str] = deque()
        self._detectors: dict[str, Detector] = {}
        self._failed: dict[str, tuple[str, float]] = {}
        self.refused = 0
        self.refresh()
        threading.Thread(target=self._watch, daemon=True, name="models").start()

    def detector(self, product: str | None) -> Detector | None:
        return self._detectors.get(product or "")

    def models(self) -> dict[str, str]:
        # A list, because the thread may take a product away meanwhile.
        return {product: detector.digest for product, detector in list(self._detectors.items())}

    def refresh(self) -> None:
        """Load what was newly deployed; a model that cannot be loaded leaves the former one in service, and is reported once."""
        wanted = self._in_service()
        for product in self._detectors.keys() - wanted.keys():
            del self._detectors[product]
        for product, (digest, path) in wanted.items():
            current = self._detectors.get(product)
            refused, again_at = self._failed.get(product, ("", 0.0))
            if (current is not None and current.digest == digest) or (refused == digest and time.monotonic() < again_at):
                continue
            try:
                self._detectors[product] = Detector.load(path, expected_digest=digest)
                self._failed.pop(product, None)
                log.info(
                    "product %s is inspected with model %s", product, digest[:12], extra={"product": product, "model": digest}
                )
            except Exception as error:  # noqa: BLE001  (whatever is wrong with a model, the line goes on)
                self._failed[product] = digest, time.monotonic() + _RETRY_S
                if refused != digest:
                    self.refusals.append(f"model {digest[:12]} for product {product}: {error}")
        loaded = self.models()
        self.refused = sum(loaded.get(product) != digest for product, (digest, _) in wanted.items())

    def _watch(self) -> None:
        while True:
            time.sleep(1.0)
            try:
                self.refresh()
            except Exception:
                log.exception("the deployments could not be read; the models in service stay")


class InspectorProcess:
    """One process for all cameras of the station. ``serial_codes`` tells by product how parts carry their serial, if they
    do; ``software_triggered`` names the cameras whose edges are the station's own.
    """

    def __init__(
        self,
        bus: Bus,
        rings: Rings,
        models: ModelShelf,
        challengers: ModelShelf,
        serial_codes: Mapping[str, re.Pattern[str]] | None = None,
        software_triggered: Collection[str] = (),
    ) -> None:
        self._bus = bus
        self._rings = rings
        self._models = models
        self._challengers = challengers
        self._serial_codes = serial_codes or {}
        self._shadow = Shadow(challengers.detector)
        self._optics = OpticsWatch()
        self._pairing = Pairing(time.monotonic_ns(), software_triggered)
        self._pairs: deque[Pair] = deque()
        self._judged_ms: deque[float] = deque(maxlen=_RECENT)
        self._heartbeat_at = 0.0
        self._counters = {"inspected": 0.0, "late": 0.0, "extra_frames": 0.0, "errors": 0.0, "unfit_images": 0.0}
        self.running = True

    def run(self) -> None:
        orphans = Orphans(self._rings, SlotState.READY)
        self._bus.send("line", InspectorStarted(at=time.time()))
        while self.running:
            beat()
            for message in self._bus.receive(0 if self._pairs or self._may_judge_copy() else _IDLE_S):
                self._take(message)
            self._sort(self._pairing.expire(time.monotonic_ns()))
            if self._pairs:
                self._inspect(self._pairs.popleft())
            elif self._may_judge_copy() and (judged := self._shadow.inspect()) is not None:
                self._bus.send("recorder", judged)
            for orphan in orphans.free():
                self._fault(FaultKind.FRAME_LOST, f"no message came for {orphan}")
            self._beat()

    def _may_judge_copy(self) -> bool:
        """Has the inspector time for a challenger? A part whose frame is to come would wait for the end of it."""
        return bool(self._shadow) and not self._pairs and not self._pairing.expected(time.monotonic_ns())

    def _take(self, message: Ticket | FrameRef | CameraArmed) -> None:
        if isinstance(message, CameraArmed):
            self._sort(self._pairing.armed(message.camera, message.camera_epoch, message.trigger_delay_ns))
        else:
            self._sort(self._pairing.ticket(message) if isinstance(message, Ticket) else self._pairing.frame(message))

    def _sort(self, outcomes: Sequence[Pair | Extra]) -> None:
        for outcome in outcomes:
            if isinstance(outcome, Pair):
                self._pairs.append(outcome)
            else:
                self._discard(outcome)

    def _inspect(self, pair: Pair) -> None:
        ticket, ref = pair.ticket, pair.frame
        started_ns = time.monotonic_ns()
        elapsed_ms = (started_ns - ticket.requested_ns) / 1e6
        if would_be_late(elapsed_ms, ticket.deadline_ms, self._judged_ms, others_wait=bool(self._pairs)):
            self._counters["late"] += 1
            self._lose(pair, Loss.DEADLINE, "the frame's turn came too late for its deadline")
            return
        detector = self._models.detector(ticket.product)
        if detector is None:
            self._lose(
                pair, Loss.NO_MODEL, f"no model is in service for product {ticket.product}; deploy one with `station deploy`"
            )
            return
        try:
            ring = self._rings.get(ref.ring)
            frame = _frame(ring, ref)
            detection = detector.inspect(frame)
            verdict = decide(detection.score, detector.review_threshold, detector.fail_threshold)
            unfit = self._optics.refusal(ref.camera, frame, detection.optics, detector.manifest.optics)
            serial, refused = (None, Reason.OPTICS) if unfit else self._read_serial(ticket, frame)
            # Before the slot is the recorder's, who may free it for another frame.
            copy = self._shadow.copy(ticket, ref, frame)
            ring.hand_over(ref.slot, ref.slot_seq)
            self._shadow.keep(copy)
        except RingError as error:
            self._lose(pair, Loss.FRAME_LOST, str(error), held=False)
            return
        except Exception as error:
            log.exception("trigger %d could not be judged", ticket.trigger_id, extra=about(ticket, model=detector.digest))
            self._counters["errors"] += 1
            self._lose(pair, Loss.DETECTOR_ERROR, f"{type(error).__name__}: {error}")
            return
        self._counters["inspected"] += 1
        self._judged_ms.append((time.monotonic_ns() - started_ns) / 1e6)
        self._bus.send("recorder", _inspected(pair, detector, detection, verdict, serial, refused, unfit, started_ns))
        self._tell_optics(ticket, detector, detection, unfit)

    def _tell_optics(self, ticket: Ticket, detector: Detector, detection: Detection, unfit: str | None) -> None:
        usual = detector.manifest.optics
        if unfit:
            self._counters["unfit_images"] += 1
            self._fault(FaultKind.OPTICS, f"trigger {ticket.trigger_id}, camera {ticket.camera}: {unfit}")
        elif usual is not None:
            for drift in self._optics.drifts(ticket.product or "", detector.digest, detection.optics.figures, usual):
                self._fault(FaultKind.OPTICS_DRIFT, drift)

    def _read_serial(self, ticket: Ticket, frame: Frame) -> tuple[str | None, Reason | None]:
        """The serial of a part whose trigger named none; and why a verdict must not be applied: the part carries no serial,
        several, or another one than the trigger named.
        """
        pattern = self._serial_codes.get(ticket.product or "")
        if pattern is None:
            return None, Reason.SERIAL_UNREAD if ticket.unnamed else None
        serials = [serial for serial in read_serials(frame, pattern) if not ticket.unnamed or may_name(serial)]
        if ticket.unnamed and len(serials) == 1:
            return serials[0], None
        if not ticket.unnamed and serials == [ticket.serial]:
            return None, None
        refused = Reason.SERIAL_MISMATCH if serials else Reason.SERIAL_UNREAD
        shown = ", ".join(repr(serial) for serial in serials) or "nothing that can be read"
        named = "no serial" if ticket.unnamed else f"serial {ticket.serial!r}"
        self._fault(FaultKind(refused), f"trigger {ticket.trigger_id} names {named}, the part shows {shown}", **about(ticket))
        return None, refused

    def _lose(self, pair: Pair, loss: Loss, detail: str, *, held: bool = True) -> None:
        """No verdict for this frame: say why, and give the slot back unless it is not ours any more."""
        ref = pair.frame
        lost = TriggerLost(
            camera=ref.camera, camera_epoch=ref.camera_epoch, trigger_counts=(ref.trigger_count,), loss=loss, detail=detail
        )
        self._bus.send("line", lost)
        self._fault(FaultKind(loss), detail, **about(pair.ticket, camera=ref.camera))
        if held:
            self._release(ref)

    def _discard(self, extra: Extra) -> None:
        ref = extra.frame
        if not extra.stale:
            self._counters["extra_frames"] += 1
            detail = f"frame {ref.frame_id} of camera {ref.camera}: {extra.detail}"
            self._fault(FaultKind.EXTRA_FRAME, detail, camera=ref.camera)
            self._bus.send("line", Desync(camera=ref.camera, camera_epoch=ref.camera_epoch, detail=detail))
        self._release(ref)

    def _release(self, ref: FrameRef) -> None:
        try:
            self._rings.get(ref.ring).release(ref.slot, ref.slot_seq, SlotState.READY)
        except RingError as error:
            log.info("slot not released: %s", error)

    def _fault(self, kind: FaultKind, detail: str, **fields: object) -> None:
        log.warning("%s: %s", kind, detail, extra={"kind": kind, **fields})
        self._bus.send("recorder", FaultReport(at=time.time(), source="inspector", kind=kind, count=1, detail=detail))

    def _beat(self) -> None:
        now = time.monotonic()
        if now - self._heartbeat_at < _HEARTBEAT_S:
            return
        self._heartbeat_at = now
        for shelf, kind in ((self._models, FaultKind.MODEL_REFUSED), (self._challengers, FaultKind.CHALLENGER_REFUSED)):
            while shelf.refusals:
                self._fault(kind, shelf.refusals.popleft())
        while self._shadow.suspensions:
            self._fault(FaultKind.CHALLENGER_SUSPENDED, self._shadow.suspensions.popleft())
        models = self._models.models()
        state = ", ".join(f"{product}: {digest[:12]}" for product, digest in sorted(models.items())) or "no model in service"
        counters = {
            **self._counters,
            **self._shadow.counters,
            "waiting": float(len(self._pairs) + len(self._pairing)),
            "models_refused": float(self._models.refused),
            "challengers_refused": float(self._challengers.refused),
            "challengers_suspended": float(self._shadow.suspended),
        }
        beat = Heartbeat(process="inspector", at=time.time(), state=state, counters=counters, ok=bool(models))
        self._bus.send("recorder", beat)


def would_be_late(elapsed_ms: float, deadline_ms: float, judged_ms: Collection[float], *, others_wait: bool) -> bool:
    """Would the verdict come after the deadline, even if judging takes as little as it took for any recent part?

    The line rejects such a part in any case. Under overload, judging it would only make those late that wait behind it. If none
    waits, it is judged while there is any time left: or nothing would tell that judging has become faster.
    """
    needed_ms = min(judged_ms, default=0.0) if others_wait else 0.0
    return elapsed_ms + needed_ms > deadline_ms


def _frame(ring: Ring, ref: FrameRef) -> Frame:
    pixel_format = PixelFormat.named(ref.pixel_format)
    return Frame(
        pixels=ring.pixels(ref.slot, ref.slot_seq, SlotState.READY, pixel_format, ref.width, ref.height),
        pixel_format=pixel_format,
        frame_id=ref.frame_id,
        timestamp_ns=ref.timestamp_ns,
        received_ns=ref.received_ns,
        trigger_count=ref.trigger_count,
        exposure_us=ref.exposure_us,
    )


def _inspected(
    pair: Pair,
    detector: Detector,
    detection: Detection,
    verdict: Verdict,
    serial: str | None,
    refused: Reason | None,
    unfit: str | None,
    started_ns: int,
) -> Inspected:
    ticket, ref = pair.ticket, pair.frame
    decided_ns, decided_at = time.monotonic_ns(), time.time()
    timings = {
        "expose": (ref.exposed_ns - ticket.requested_ns) / 1e6,
        "transfer": (ref.received_ns - ref.exposed_ns) / 1e6,
        "queue": (started_ns - ref.received_ns) / 1e6,
        **detection.timings_ms,
        "total": (decided_ns - ticket.requested_ns) / 1e6,
    }
    anomaly_map = np.ascontiguousarray(detection.anomaly_map, dtype="<f2")
    return Inspected(
        trigger_id=ticket.trigger_id,
        verdict=verdict,
        score=detection.score,
        p_value=detection.p_value,
        review_threshold=detector.review_threshold,
        fail_threshold=detector.fail_threshold,
        model=detector.digest,
        proposed_class=detection.proposed_class,
        regions=tuple(
            RegionBox(x=box.x, y=box.y, width=box.width, height=box.height, score=box.score, area=box.area)
            for box in detection.regions
        ),
        frame=ref,
        map_width=anomaly_map.shape[1],
        map_height=anomaly_map.shape[0],
        map_f16=anomaly_map.tobytes(),
        acquired_at=decided_at - (decided_ns - ref.exposed_ns) / 1e9,
        decided_at=decided_at,
        timings_ms={name: round(value, 3) for name, value in timings.items()},
        refused=refused,
        serial=serial,
        optics=dict(detection.optics.figures),
        detail=unfit,
    )
