"""The camera process: one camera, from GenTL buffer to FrameRef.

Its loop: open the camera, wait until the line arms it, then fetch, check, copy into the ring and tell the inspector. When the
camera is lost everything is let go, and the loop begins again.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path

from cameras.beat import beat
from cameras.bus import Bus
from cameras.camera import Camera, ClockMapping
from cameras.errors import CameraError, CameraLost
from cameras.fault_kinds import FaultKind
from cameras.frame import Frame
from cameras.messages import (
    Accept,
    AcceptDone,
    Arm,
    CameraArmed,
    CameraReady,
    Desync,
    FaultReport,
    FrameRef,
    Heartbeat,
    Loss,
    SoftwareTrigger,
    TriggerLost,
)
from cameras.messages import CameraLost as CameraLostMessage
from cameras.ring import Ring
from cameras.sequence import FrameSequence

log = logging.getLogger(__name__)

INBOX_MESSAGES = Arm | SoftwareTrigger | Accept

# A camera that delivered nothing for this long is asked whether it lives.
_QUIET_S = 0.1
# How long one wait for a frame may take: commands wait as long.
_FETCH_S = 0.005
_HEARTBEAT_S = 0.5
# Camera clocks drift by up to 100 ppm: 0.5 ms between two readings.
_CLOCK_S = 5.0
_CLOCK_DRIFT = 1e-4
_RETRY_S = 0.5
# Within it a producer has found, opened or let go of a camera, however it is connected.
_OPENING_S = 60.0


@dataclass
class Counters:
    """Since the process started."""

    frames: int = 0
    lost_frames: int = 0
    missed_triggers: int = 0
    corrupt: int = 0
    ring_full: int = 0
    desyncs: int = 0
    accepts: int = 0
    accepts_refused: int = 0
    reconnections: int = 0

    def as_dict(self) -> dict[str, float]:
        return {name: float(value) for name, value in vars(self).items()}


@dataclass
class _Epoch:
    """What belongs to one arming of the camera. ``accepted`` is the last trigger count that was signalled as accepted.

    ``out_of_step``: a frame's id and count contradicted each other.
    """

    number: int
    accepted: int = 0
    frames: int = 0
    sequence: FrameSequence = field(default_factory=FrameSequence)
    incomplete_before: int = 0
    out_of_step: bool = False


class CameraProcess:
    """Serves one camera until told to stop. ``line`` and ``inspector`` are the inbox names of those processes."""

    def __init__(self, name: str, camera: Camera, bus: Bus, ring_dir: Path, ring_slots: int) -> None:
        self._name = name
        self._camera = camera
        self._bus = bus
        self._ring_dir = ring_dir
        self._ring_slots = ring_slots
        self._ring: Ring | None = None
        self._epoch: _Epoch | None = None
        self._clock: ClockMapping | None = None
        self._clock_at = 0.0
        self._clock_asked_at = 0.0
        self._heartbeat_at = 0.0
        self._state = "starting"
        self._lost_because = ""
        self.counters = Counters()
        self.running = True

    def run(self) -> None:
        """Until ``running`` is false: connect, serve, and start again whenever the camera is lost."""
        while self.running:
            try:
                beat(_OPENING_S)
                self._camera.open()
                self._clock = None
                self._read_clock()
                self._state = "ready"
                log.info("camera %s is open", self._name)
                self._serve()
            except CameraError as error:
                self._lost(error)
            finally:
                beat(_OPENING_S)
                self._camera.close()

    def _serve(self) -> None:
        quiet_since = time.monotonic()
        while self.running:
            beat()
            self._obey()
            self._beat()
            if time.monotonic() - self._clock_asked_at > _CLOCK_S:
                self._read_clock()
            if self._epoch is None:
                time.sleep(_FETCH_S)
            else:
                frame = self._camera.fetch(_FETCH_S)
                if frame is not None:
                    self._accept(frame)
                    self._camera.release()
                    quiet_since = time.monotonic()
                    continue
            if time.monotonic() - quiet_since > _QUIET_S:
                self._camera.check()
                quiet_since = time.monotonic()

    def _obey(self) -> None:
        for message in self._bus.receive(0):
            if isinstance(message, Arm):
                self._arm(message)
            elif isinstance(message, Accept):
                self._signal_accept(message)
            elif self._epoch is not None and message.camera_epoch == self._epoch.number:
                self._camera.software_trigger()

    def _signal_accept(self, accept: Accept) -> None:
        """Begin the pulse for a part, unless it could be taken for another part's."""
        epoch, late_ns = self._epoch, time.monotonic_ns() - accept.until_ns
        refused = None
        if epoch is None or epoch.number != accept.camera_epoch:
            refused = "the camera was armed anew since"
        elif accept.trigger_count <= epoch.accepted:
            refused = f"count {epoch.accepted} was accepted already"
        elif late_ns > 0:
            refused = f"it came {late_ns / 1e6:.1f} ms too late"
        else:
            epoch.accepted = accept.trigger_count
            self._camera.accept()
        begun_ns = None if refused else time.monotonic_ns()
        self._bus.send(
            "line",
            AcceptDone(
                camera=self._name, camera_epoch=accept.camera_epoch, trigger_count=accept.trigger_count, begun_ns=begun_ns
            ),
        )
        which = f"the accept of trigger count {accept.trigger_count} in epoch {accept.camera_epoch}"
        if begun_ns is None:
            self.counters.accepts_refused += 1
            self._fault(
                FaultKind.ACCEPT_NOT_GIVEN, 1, f"{which} was not signalled: {refused}", trigger_counts=(accept.trigger_count,)
            )
        else:
            self.counters.accepts += 1
            if begun_ns > accept.until_ns:
                self._fault(FaultKind.ACCEPT_LATE, 1, f"{which} began up to {(begun_ns - accept.until_ns) / 1e6:.1f} ms too late")

    def _arm(self, arm: Arm) -> None:
        number = arm.camera_epoch
        if self._epoch is not None:
            if arm.missed and self._epoch.frames == 0:
                raise CameraLost(f"camera {self._name} answers, but delivers no frame: it is opened again")
            self._camera.disarm()
        self._read_clock()
        self._camera.arm()
        self._epoch = _Epoch(number, incomplete_before=self._camera.incomplete_frames)
        self._state = "armed"
        exact = self._camera.counts_triggers and self._clock is not None
        delay_ns = self._camera.trigger_delay_ns
        armed = CameraArmed(camera=self._name, camera_epoch=number, exact=exact, trigger_delay_ns=delay_ns)
        self._bus.send("inspector", armed)
        self._bus.send("line", armed)

    def _accept(self, frame: Frame) -> None:
        epoch = self._epoch
        assert epoch is not None
        assert frame.trigger_count is not None
        epoch.frames += 1
        if epoch.out_of_step:
            return
        step = epoch.sequence.observe(frame.frame_id, frame.trigger_count)
        if step.desync is not None:
            # The line arms the camera anew; until then, no frame of this epoch is to decide anything.
            epoch.out_of_step = True
            self.counters.desyncs += 1
            self._fault(FaultKind.DESYNC, 1, step.desync)
            self._bus.send("line", Desync(camera=self._name, camera_epoch=epoch.number, detail=step.desync))
            return
        if step.loss is Loss.FRAME_LOST:
            incomplete = self._camera.incomplete_frames - epoch.incomplete_before
            self.counters.lost_frames += len(step.lost)
            self._lose(
                epoch,
                step.lost,
                step.loss,
                f"no frame for trigger counts {step.lost}; incomplete frames in this epoch: {incomplete}",
            )
        elif step.loss is not None:
            self.counters.missed_triggers += len(step.lost)
            self._lose(epoch, step.lost, step.loss, f"the camera was triggered faster than it can expose, counts {step.lost}")
        if frame.corrupt:
            self.counters.corrupt += 1
            self._lose(
                epoch, (frame.trigger_count,), Loss.FRAME_CORRUPT, f"checksum of frame {frame.frame_id} does not match its pixels"
            )
            return
        self._publish(epoch, frame, frame.trigger_count)

    def _publish(self, epoch: _Epoch, frame: Frame, count: int) -> None:
        if self._ring is None or frame.pixels.nbytes > self._ring.slot_bytes:
            self._ring = Ring.create(self._ring_dir, self._name, self._ring_slots, frame.pixels.nbytes)
        slot = self._ring.acquire()
        if slot is None:
            self.counters.ring_full += 1
            self._lose(
                epoch, (count,), Loss.RING_FULL, f"all {self._ring.slots} ring slots are held by the inspector and the recorder"
            )
            return
        self._ring.write(slot, frame.pixels)
        self.counters.frames += 1
        exposed_ns, error_ns = self._exposed(frame)
        self._bus.send(
            "inspector",
            FrameRef(
                camera=self._name,
                camera_epoch=epoch.number,
                ring=self._ring.path.name,
                slot=slot,
                slot_seq=self._ring.publish(slot),
                pixel_format=frame.pixel_format.name,
                width=frame.width,
                height=frame.height,
                frame_id=frame.frame_id,
                trigger_count=count,
                timestamp_ns=frame.timestamp_ns,
                exposed_ns=exposed_ns,
                clock_error_ns=error_ns,
                received_ns=frame.received_ns,
                exposure_us=frame.exposure_us,
            ),
        )

    def _exposed(self, frame: Frame) -> tuple[int, int]:
        """Start of the exposure on the host's clock and its error, ns; without a camera clock, the arrival bounds it."""
        if self._clock is None or frame.timestamp_ns == 0:
            return frame.received_ns, 0
        drift_ns = int((time.monotonic() - self._clock_at) * 1e9 * _CLOCK_DRIFT)
        return frame.timestamp_ns + self._clock.offset_ns, self._clock.error_ns + drift_ns

    def _read_clock(self) -> None:
        """A reading that was too slow to tell anything leaves the former one in place."""
        clock = self._camera.clock()
        self._clock_asked_at = time.monotonic()
        if clock is not None:
            self._clock, self._clock_at = clock, self._clock_asked_at

    def _lose(self, epoch: _Epoch, counts: tuple[int, ...], loss: Loss, detail: str) -> None:
        self._bus.send(
            "line", TriggerLost(camera=self._name, camera_epoch=epoch.number, trigger_counts=counts, loss=loss, detail=detail)
        )
        self._fault(FaultKind(loss), len(counts), detail, camera_epoch=epoch.number, trigger_counts=counts)

    def _lost(self, error: CameraError) -> None:
        """Tell everybody once, then wait a moment: the next attempt to open is the reconnection."""
        if self._state != "lost":
            self._fault(FaultKind.CAMERA_LOST, 1, str(error))
        self._state = "lost"
        self._lost_because = str(error)
        self._epoch = None
        self.counters.reconnections += isinstance(error, CameraLost)
        self._bus.send("line", CameraLostMessage(camera=self._name, detail=str(error)))
        self._beat(force=True)
        beat(_OPENING_S)
        self._camera.close()
        time.sleep(_RETRY_S)
        # Commands that came meanwhile were meant for the camera that is gone.
        for _ in self._bus.receive(0):
            pass

    def _fault(self, kind: FaultKind, count: int, detail: str, **fields: object) -> None:
        log.warning("%s: %s", kind, detail, extra={"kind": kind, "camera": self._name, **fields})
        report = FaultReport(at=time.time(), source=f"camera@{self._name}", kind=kind, count=count, detail=detail)
        self._bus.send("recorder", report)

    def _beat(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if not force and now - self._heartbeat_at < _HEARTBEAT_S:
            return
        self._heartbeat_at = now
        if self._state == "ready":
            self._bus.send("line", CameraReady(camera=self._name))
        counters = self.counters.as_dict()
        if self._ring is not None:
            counters["ring_free"] = float(self._ring.free_slots())
        counters["incomplete"] = float(self._camera.incomplete_frames)
        state = f"lost: {self._lost_because}" if self._state == "lost" else self._state
        beat = Heartbeat(
            process=f"camera@{self._name}", at=time.time(), state=state, counters=counters, ok=self._state == "armed"
        )
        self._bus.send("recorder", beat)
