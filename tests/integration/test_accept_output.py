"""The camera's digital output as accept signal: set up, pulsed for the part that it is for, and low in every other case."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import genicam
import pytest
from camera_peers import Around
from exposing import TRIGGERED
from peers import in_thread

import cameras.process
from cameras.accept_output import AcceptOutput
from cameras.errors import FeatureError
from cameras.genicam import GenicamCamera
from cameras.messages import Accept, AcceptDone, CameraReady, FaultReport, Heartbeat
from cameras.simulator import PRODUCER

OUTPUT = AcceptOutput(line="Line2", timer="Timer0", signal="SoftwareSignal0", pulse_ms=40)
VIKY = Path(genicam.__file__).with_name("viky.cti")
LATER_NS = 5_000_000_000


@pytest.fixture
def around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Around]:
    monkeypatch.setenv("STATION_SIMULATOR", str(tmp_path))
    monkeypatch.setattr(cameras.process, "_HEARTBEAT_S", 0.05)
    monkeypatch.setattr(cameras.process, "_RETRY_S", 0.05)
    # Socket paths are short; pytest's are not.
    with tempfile.TemporaryDirectory(prefix="output-") as run_dir:
        around = Around(Path(run_dir), tmp_path)
        yield around
        around.close()


@pytest.fixture
def armed(around: Around) -> Iterator[Around]:
    """The process runs with an accept output, armed for epoch 1."""
    with in_thread(*around.process(GenicamCamera(PRODUCER, "SIM1", TRIGGERED, OUTPUT))):
        around.line.expect(CameraReady)
        around.arm(1)
        yield around


def accept(around: Around, count: int, *, epoch: int = 1, in_ns: int = LATER_NS) -> AcceptDone:
    """What the line orders, and the answer."""
    until_ns = time.monotonic_ns() + in_ns
    around.line.send("camera@top", Accept(camera="top", camera_epoch=epoch, trigger_count=count, until_ns=until_ns))
    return around.line.expect(AcceptDone, lambda done: (done.camera_epoch, done.trigger_count) == (epoch, count))


def until_low(around: Around) -> None:
    until = time.monotonic() + 5
    while around.simulated.line_output():
        assert time.monotonic() < until, around.simulated.output_periods()


def test_each_accept_is_one_pulse_which_the_camera_ends(armed: Around) -> None:
    assert not armed.simulated.line_output()
    for count in (1, 3):
        asked_ns = time.monotonic_ns()
        done = accept(armed, count)
        rise_ns, fall_ns = armed.simulated.output_periods()[-1]
        assert done.begun_ns is not None
        assert asked_ns <= rise_ns <= done.begun_ns
        assert fall_ns == rise_ns + 40_000_000
        until_low(armed)
    assert len(armed.simulated.output_periods()) == 2
    # Frames come as before.
    assert armed.part(1)[0].trigger_count == 1


@pytest.mark.parametrize(
    ("order", "why"),
    [
        ({"count": 5, "in_ns": -1_000_000}, "too late"),
        ({"count": 5, "epoch": 7}, "armed anew"),
        ({"count": 4}, "count 4 was accepted already"),
        ({"count": 3}, "count 4 was accepted already"),
    ],
)
def test_an_accept_that_could_be_taken_for_another_part_is_refused(armed: Around, order: dict[str, int], why: str) -> None:
    accept(armed, 4)
    until_low(armed)
    assert accept(armed, **order).begun_ns is None
    assert len(armed.simulated.output_periods()) == 1
    fault = armed.recorder.expect(FaultReport)
    assert (fault.source, fault.kind) == ("camera@top", "accept_not_given")
    assert why in fault.detail


def test_a_camera_that_is_not_armed_signals_nothing(around: Around) -> None:
    with in_thread(*around.process(GenicamCamera(PRODUCER, "SIM1", TRIGGERED, OUTPUT))):
        around.line.expect(CameraReady)
        assert accept(around, 1).begun_ns is None
        assert around.simulated.output_periods() == []


def test_an_unplugged_camera_drives_no_output_and_signals_again_when_it_is_back(armed: Around) -> None:
    assert accept(armed, 1).begun_ns is not None
    armed.simulated.unplug()
    assert not armed.simulated.line_output()
    armed.recorder.expect(Heartbeat, lambda beat: beat.state.startswith("lost"))
    armed.simulated.replug()
    armed.line.inbox.clear()
    armed.line.expect(CameraReady)
    armed.arm(2)
    assert accept(armed, 1, epoch=2).begun_ns is not None
    until_low(armed)
    assert len(armed.simulated.output_periods()) == 2


def test_what_was_left_over_on_the_line_is_low_once_the_camera_is_open(around: Around) -> None:
    left_over = TRIGGERED | {
        **{"LineSelector": "Line2", "LineMode": "Output", "LineInverter": True, "LineSource": "UserOutput0"},
        **{"UserOutputSelector": "UserOutput0", "UserOutputValue": True},
    }
    camera = GenicamCamera(PRODUCER, "SIM1", left_over, OUTPUT)
    camera.open()
    try:
        assert not around.simulated.line_output()
        camera.accept()
        assert around.simulated.line_output()
    finally:
        camera.close()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"timer": "Timer7"}, "refuses TimerSelector = 'Timer7'"),
        ({"line": "Line1"}, "refuses LineSelector = 'Line1'"),
        ({"signal": "SoftwareSignal9"}, "refuses SoftwareSignalSelector = 'SoftwareSignal9'"),
        ({"pulse_ms": 60_000.0}, "refuses TimerDuration"),
    ],
)
def test_a_camera_that_cannot_end_the_pulse_itself_is_refused(around: Around, change: dict[str, object], said: str) -> None:
    camera = GenicamCamera(PRODUCER, "SIM1", TRIGGERED, dataclasses.replace(OUTPUT, **change))  # type: ignore[arg-type]
    with pytest.raises(FeatureError, match=said) as error:
        camera.open()
    assert "so that the pulse ends even if this computer dies" in str(error.value)
    assert not around.simulated.line_output()


def test_a_camera_without_timers_is_refused() -> None:
    camera = GenicamCamera(VIKY, "1", accept_output=OUTPUT)
    with pytest.raises(FeatureError, match=r"has no feature 'TimerSelector'; .*; accept_output needs a line that a timer"):
        camera.open()
