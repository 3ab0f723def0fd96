"""The camera process on a simulated camera, with the line, the inspector and the recorder played by the test."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from camera_peers import SLOTS, Around
from exposing import HEIGHT, TRIGGERED, WIDTH, expose, random_scene
from peers import in_thread

import cameras.process
from cameras.camera import ClockMapping
from cameras.frame import Frame
from cameras.genicam import GenicamCamera
from cameras.messages import (
    Arm,
    CameraArmed,
    CameraLost,
    CameraReady,
    Desync,
    FaultReport,
    FrameRef,
    Heartbeat,
    Loss,
    SoftwareTrigger,
    TriggerLost,
)
from cameras.simulator import PRODUCER
from cameras.simulator.control import SimulatedCamera


@pytest.fixture
def around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Around]:
    monkeypatch.setenv("STATION_SIMULATOR", str(tmp_path))
    monkeypatch.setattr(cameras.process, "_HEARTBEAT_S", 0.05)
    monkeypatch.setattr(cameras.process, "_RETRY_S", 0.05)
    # Socket paths are short; pytest's are not.
    with tempfile.TemporaryDirectory(prefix="camera-") as run_dir:
        around = Around(Path(run_dir), tmp_path)
        yield around
        around.close()


@pytest.fixture
def armed(around: Around) -> Iterator[Around]:
    """The process runs and its camera is armed for epoch 1."""
    with in_thread(*around.process()):
        around.line.expect(CameraReady)
        around.arm(1)
        yield around


def lost_counts(around: Around, loss: Loss, *counts: int) -> TriggerLost:
    """The line hears of these counts, and the recorder of a fault with their number."""
    lost = around.line.expect(TriggerLost)
    assert (lost.camera, lost.camera_epoch, lost.trigger_counts, lost.loss) == ("top", 1, counts, loss)
    fault = around.recorder.expect(FaultReport)
    assert (fault.source, fault.kind, fault.count, fault.detail) == ("camera@top", loss.value, len(counts), lost.detail)
    return lost


# --- from ready to frames ---


def test_ready_is_repeated_until_the_line_arms_the_camera(around: Around) -> None:
    with in_thread(*around.process()):
        for _ in range(3):
            assert around.line.expect(CameraReady).camera == "top"
        assert around.recorder.expect(Heartbeat, lambda beat: beat.state == "ready").process == "camera@top"
        assert not around.simulated.is_acquiring
        around.arm(7)
        assert around.simulated.is_acquiring
        around.line.inbox.clear()
        for _ in range(3):
            around.recorder.expect(Heartbeat, lambda beat: beat.state == "armed")
        assert around.line.came(CameraReady) == []
    assert not around.simulated.is_open


def test_frames_lie_in_the_ring_and_name_their_trigger(armed: Around) -> None:
    for count in range(1, 3 * SLOTS):
        ref, edge_ns = armed.part(count)
        assert (ref.camera, ref.camera_epoch, ref.trigger_count, ref.frame_id) == ("top", 1, count, count)
        assert (ref.pixel_format, ref.width, ref.height, ref.exposure_us) == ("Mono8", WIDTH, HEIGHT, 100.0)
        assert abs(ref.exposed_ns - edge_ns) <= ref.clock_error_ns <= 1_000_000
        assert edge_ns < ref.received_ns
    counted = {"frames": 3.0 * SLOTS - 1, "ring_free": SLOTS}
    armed.recorder.expect(Heartbeat, lambda beat: counted.items() <= beat.counters.items())
    assert armed.line.came(TriggerLost) == []
    assert armed.recorder.came(FaultReport) == []


def test_a_new_epoch_counts_from_one_and_takes_no_frame_of_the_former(armed: Around) -> None:
    for count in range(1, 3):
        armed.part(count)
    armed.arm(2)
    for count in range(1, 3):
        ref, _ = armed.part(10 + count)
        assert (ref.camera_epoch, ref.trigger_count) == (2, count)
    assert armed.line.came(Desync) == []


def test_a_software_trigger_counts_only_for_the_epoch_it_was_meant_for(around: Around) -> None:
    camera = GenicamCamera(PRODUCER, "SIM1", TRIGGERED | {"TriggerSource": "Software"})
    with in_thread(*around.process(camera)):
        around.line.expect(CameraReady)
        around.arm(2)
        for epoch in (1, 2):
            around.line.send("camera@top", SoftwareTrigger(camera="top", camera_epoch=epoch, trigger_count=1))
        ref = around.inspector.expect(FrameRef)
        assert (ref.camera_epoch, ref.trigger_count) == (2, 1)
        assert around.simulated.software_triggers == 1


def test_a_camera_that_answers_and_delivers_nothing_is_opened_again(armed: Around) -> None:
    armed.part(1)
    armed.simulated.stall()
    expose(armed.simulated)
    # A frame came in this epoch: the camera is only armed anew.
    armed.line.send("camera@top", Arm(camera="top", camera_epoch=2, missed=True))
    armed.line.expect(CameraArmed, lambda said: said.camera_epoch == 2)
    expose(armed.simulated)
    armed.line.send("camera@top", Arm(camera="top", camera_epoch=3, missed=True))
    assert armed.line.expect(CameraLost).detail == "camera top answers, but delivers no frame: it is opened again"
    assert armed.recorder.expect(FaultReport).kind == "camera_lost"
    armed.line.expect(CameraReady)
    armed.inspector.inbox.clear()
    armed.arm(4)
    ref, _ = armed.part(2)
    assert (ref.camera_epoch, ref.trigger_count) == (4, 1)


def test_features_are_as_configured_again_after_the_camera_lost_its_power(around: Around) -> None:
    half = {"Width": WIDTH // 2, "OffsetX": WIDTH // 2, "PixelFormat": "Mono12", "ExposureTime": 50.0}
    camera = GenicamCamera(PRODUCER, "SIM1", TRIGGERED | half)
    with in_thread(*around.process(camera)):
        for epoch in (1, 2):
            around.line.expect(CameraReady)
            around.inspector.inbox.clear()
            around.arm(epoch)
            around.simulated.show(random_scene(epoch))
            expose(around.simulated)
            ref = around.inspector.expect(FrameRef)
            assert (ref.width, ref.height, ref.pixel_format, ref.exposure_us) == (WIDTH // 2, HEIGHT, "Mono12", 50.0)
            around.pixels(ref)
            around.release(ref)
            around.simulated.unplug()
            around.line.expect(CameraLost)
            around.simulated.replug()


# --- losses ---


def test_a_dropped_frame_is_reported_by_its_count(armed: Around) -> None:
    armed.simulated.fault("drop", at=2)
    armed.part(1)
    expose(armed.simulated)
    ref, _ = armed.part(3)
    assert (ref.trigger_count, ref.frame_id) == (3, 3)
    lost_counts(armed, Loss.FRAME_LOST, 2)


def test_an_incomplete_frame_is_a_lost_frame_and_counted(armed: Around) -> None:
    armed.simulated.fault("incomplete", at=2)
    armed.part(1)
    expose(armed.simulated)
    armed.part(3)
    assert lost_counts(armed, Loss.FRAME_LOST, 2).detail.endswith("incomplete frames in this epoch: 1")
    armed.recorder.expect(Heartbeat, lambda beat: beat.counters["incomplete"] == 1)


def test_a_corrupt_frame_is_reported_and_not_published(armed: Around) -> None:
    armed.simulated.fault("corrupt", at=2)
    armed.part(1)
    expose(armed.simulated)
    ref, _ = armed.part(3)
    assert ref.trigger_count == 3
    assert "checksum of frame 2" in lost_counts(armed, Loss.FRAME_CORRUPT, 2).detail
    assert armed.line.came(TriggerLost) == []


def test_edges_that_come_too_soon_are_missed_triggers(around: Around) -> None:
    with in_thread(*around.process(GenicamCamera(PRODUCER, "SIM1", TRIGGERED | {"AcquisitionFrameRate": 20.0}))):
        around.line.expect(CameraReady)
        around.arm(1)
        around.simulated.edge()
        around.simulated.edge()
        around.simulated.edge()
        assert around.inspector.expect(FrameRef).trigger_count == 1
        until_ns = time.monotonic_ns() + 60_000_000
        while time.monotonic_ns() < until_ns:
            around.recorder.came(Heartbeat)
        around.simulated.edge()
        ref = around.inspector.expect(FrameRef)
        assert (ref.trigger_count, ref.frame_id) == (4, 2)
        lost_counts(around, Loss.TRIGGER_MISSED, 2, 3)


def test_a_frame_that_comes_twice_is_a_desync(armed: Around) -> None:
    armed.simulated.fault("duplicate_id", at=2)
    armed.part(1)
    expose(armed.simulated)
    desync = armed.line.expect(Desync)
    assert (desync.camera, desync.camera_epoch) == ("top", 1)
    assert "frame id went from 1 to 1 at trigger count 2" in desync.detail
    assert armed.recorder.expect(FaultReport).kind == "desync"
    # Nothing of the epoch decides any more, though its counts go on as they should.
    expose(armed.simulated)
    exposed_at = time.time()
    # The loop has come round, with the frame.
    for _ in range(2):
        armed.recorder.expect(Heartbeat, lambda beat: beat.at > exposed_at)
    armed.arm(2)
    assert armed.inspector.came(FrameRef) == []
    ref, _ = armed.part(3)
    assert (ref.camera_epoch, ref.trigger_count) == (2, 1)


def test_a_full_ring_loses_new_frames_and_overwrites_none(armed: Around) -> None:
    refs = []
    for number in range(1, SLOTS + 2):
        armed.simulated.show(random_scene(number))
        expose(armed.simulated)
        if number <= SLOTS:
            refs.append(armed.inspector.expect(FrameRef))
    lost_counts(armed, Loss.RING_FULL, SLOTS + 1)
    for number, ref in enumerate(refs, 1):
        np.testing.assert_array_equal(armed.pixels(ref), random_scene(number))
    armed.release(refs[2])
    ref, _ = armed.part(SLOTS + 2)
    assert (ref.trigger_count, ref.slot) == (SLOTS + 2, refs[2].slot)
    assert armed.line.came(TriggerLost) == []


# --- the camera comes and goes ---


@pytest.mark.parametrize("how", ["error", "silent"])
def test_an_unplugged_camera_is_served_again_after_the_replug(armed: Around, how: str) -> None:
    armed.part(1)
    armed.simulated.unplug(how)
    assert armed.line.expect(CameraLost).camera == "top"
    assert "SIM1" in armed.recorder.expect(FaultReport, lambda fault: fault.kind == "camera_lost").detail
    armed.recorder.expect(Heartbeat, lambda beat: beat.state.startswith("lost: camera") and not beat.ok)
    # Attempts to open go on; an order that comes meanwhile is for the camera that is gone.
    armed.line.send("camera@top", Arm(camera="top", camera_epoch=2))
    for _ in range(3):
        armed.line.expect(CameraLost, lambda lost: "not listed" in lost.detail)
    armed.simulated.replug()
    armed.line.expect(CameraReady)
    assert not armed.simulated.is_acquiring
    armed.arm(3)
    ref, _ = armed.part(2)
    assert (ref.camera_epoch, ref.trigger_count) == (3, 1)
    # One loss is one fault, however many attempts it took.
    assert armed.recorder.came(FaultReport) == []
    armed.recorder.inbox.clear()
    beat = armed.recorder.expect(Heartbeat)
    assert (beat.state, beat.ok, beat.counters["reconnections"]) == ("armed", True, 1)


def test_a_camera_unplugged_before_it_was_armed_is_noticed(around: Around) -> None:
    with in_thread(*around.process()):
        around.line.expect(CameraReady)
        around.simulated.unplug("silent")
        around.line.expect(CameraLost)
        around.simulated.replug()
        around.line.inbox.clear()
        around.line.expect(CameraReady)


def test_a_camera_that_is_not_there_yet_is_waited_for(around: Around) -> None:
    with in_thread(*around.process(GenicamCamera(PRODUCER, "SIM2", TRIGGERED))):
        assert "'SIM2' is not listed by simcam.cti (it lists SIM1)" in around.line.expect(CameraLost).detail
        SimulatedCamera.create(around.simulator_dir, "SIM2", WIDTH, HEIGHT).close()
        around.line.expect(CameraReady)


def test_a_setting_that_the_camera_refuses_is_said(around: Around) -> None:
    with in_thread(*around.process(GenicamCamera(PRODUCER, "SIM1", {"Gain": 480.0}))):
        assert "refuses Gain = 480.0" in around.line.expect(CameraLost).detail
        assert "refuses Gain = 480.0" in around.recorder.expect(FaultReport).detail


# --- the clock ---


class DriftingCamera(GenicamCamera):
    """Its clock gains 1 % on the host's: in a second as much as a real one in some minutes."""

    def clock(self) -> ClockMapping | None:
        clock = super().clock()
        return dataclasses.replace(clock, offset_ns=clock.offset_ns - self._gained(time.monotonic_ns())) if clock else None

    def fetch(self, timeout_s: float) -> Frame | None:
        frame = super().fetch(timeout_s)
        return dataclasses.replace(frame, timestamp_ns=frame.timestamp_ns + self._gained(frame.timestamp_ns)) if frame else None

    def _gained(self, host_ns: int) -> int:
        return host_ns // 100


@pytest.mark.parametrize("pause_s", [0.01, 0.15], ids=["busy", "quiet"])
def test_a_drifting_clock_is_followed(around: Around, monkeypatch: pytest.MonkeyPatch, pause_s: float) -> None:
    monkeypatch.setattr(cameras.process, "_CLOCK_S", 0.1)
    with in_thread(*around.process(DriftingCamera(PRODUCER, "SIM1", TRIGGERED))):
        around.line.expect(CameraReady)
        around.arm(1)
        until = time.monotonic() + 0.8
        worst_ms = 0.0
        while time.monotonic() < until:
            ref, edge_ns = around.part(1)
            worst_ms = max(worst_ms, abs(ref.exposed_ns - edge_ns) / 1e6)
            time.sleep(pause_s)
        assert worst_ms < 4, "8 ms were gained"
