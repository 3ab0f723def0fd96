"""What only a simulated camera can be made to do, through the class that serves real ones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from exposing import HEIGHT, TRIGGERED, WIDTH, expose, random_scene, receive

import cameras.simulator
from cameras.errors import CameraLost, CameraNotFound
from cameras.frame import Frame
from cameras.genicam import GenicamCamera
from cameras.simulator import PRODUCER
from cameras.simulator.control import SimulatedCamera


@pytest.fixture
def simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedCamera]:
    monkeypatch.setenv("STATION_SIMULATOR", str(tmp_path))
    camera = SimulatedCamera.create(tmp_path, "SIM1", WIDTH, HEIGHT)
    yield camera
    camera.close()


@pytest.fixture
def triggered(simulated: SimulatedCamera) -> Iterator[GenicamCamera]:
    """Open and armed, as the camera process has it."""
    camera = GenicamCamera(PRODUCER, "SIM1", TRIGGERED)
    camera.open()
    camera.arm()
    yield camera
    camera.close()


def photograph(simulated: SimulatedCamera, camera: GenicamCamera) -> Frame:
    """One edge and its frame."""
    simulated.edge()
    return receive(camera)


def test_pixels_are_those_of_the_scene_at_full_depth(simulated: SimulatedCamera) -> None:
    shown = random_scene(1, dtype=np.uint16)
    expected = {
        "Mono8": shown >> 8,
        "Mono12": shown >> 4,
        "RGB8": np.repeat((shown >> 8)[..., None], 3, 2),
        "BayerRG8": shown >> 8,
    }
    simulated.show(shown)
    for name, pixels in expected.items():
        camera = GenicamCamera(PRODUCER, "SIM1", TRIGGERED | {"PixelFormat": name})
        camera.open()
        camera.arm()
        np.testing.assert_array_equal(photograph(simulated, camera).pixels, pixels)
        camera.close()


def test_the_region_of_interest_is_cut_where_it_was_asked_for(simulated: SimulatedCamera) -> None:
    simulated.show(random_scene(2))
    camera = GenicamCamera(PRODUCER, "SIM1", TRIGGERED | {"Width": 33, "Height": 21, "OffsetX": 6, "OffsetY": 8})
    camera.open()
    camera.arm()
    np.testing.assert_array_equal(photograph(simulated, camera).pixels, random_scene(2)[8:29, 6:39])
    camera.close()


def test_each_frame_shows_its_own_scene_until_it_is_released(simulated: SimulatedCamera, triggered: GenicamCamera) -> None:
    for number in range(40):  # more than there are buffers
        simulated.show(random_scene(number))
        frame = photograph(simulated, triggered)
        np.testing.assert_array_equal(frame.pixels, random_scene(number))
        assert not frame.pixels.flags.writeable
        triggered.release()
    assert simulated.underruns == 0


def test_every_feature_of_the_description_is_walked(triggered: GenicamCamera) -> None:
    xml = Path(cameras.simulator.__file__).with_name("simcam.xml").read_text()
    listed = {
        category: re.findall(r"<pFeature>(\w+)<", body)
        for category, body in re.findall(r'<Category Name="(\w+)">(.*?)</Category>', xml, re.S)
    }
    expected = {(category, name) for category in listed.pop("Root") for name in listed[category]}
    assert {(feature.category, feature.name) for feature in triggered.features()} == expected


def test_the_camera_clock_is_the_hosts_within_its_stated_error(triggered: GenicamCamera) -> None:
    # The simulated camera's clock is the host's monotonic one, so that the true offset is 0.
    for _ in range(20):
        clock = triggered.clock()
        assert clock is not None
        assert abs(clock.offset_ns) <= clock.error_ns <= 1_000_000


def test_time_stamps_are_those_of_the_edges(simulated: SimulatedCamera, triggered: GenicamCamera) -> None:
    for _ in range(5):
        edge_ns = simulated.edge()
        frame = receive(triggered)
        assert frame.timestamp_ns == edge_ns < frame.received_ns


def test_chunks_tell_count_and_exposure(simulated: SimulatedCamera, triggered: GenicamCamera) -> None:
    for number in range(1, 4):
        frame = photograph(simulated, triggered)
        assert (frame.frame_id, frame.trigger_count, frame.exposure_us) == (number, number, 100.0)


def test_without_chunks_frames_are_counted_by_their_ids(simulated: SimulatedCamera) -> None:
    camera = GenicamCamera(PRODUCER, "SIM1", TRIGGERED | {"ChunkModeActive": False})
    camera.open()
    camera.arm()
    simulated.fault("drop", at=2)
    simulated.edge()
    first = receive(camera)
    assert (first.frame_id, first.trigger_count, first.exposure_us, first.corrupt) == (1, 1, None, False)
    camera.release()
    expose(simulated)
    expose(simulated)
    assert (receive(camera).frame_id, simulated.faults_injected) == (3, 1)
    camera.close()


def test_lost_frames_leave_a_gap_in_ids_and_counts(simulated: SimulatedCamera, triggered: GenicamCamera) -> None:
    simulated.fault("drop", at=2)
    for _ in range(3):
        expose(simulated)
    frames = [receive(triggered) for _ in range(2)]
    assert [(frame.frame_id, frame.trigger_count) for frame in frames] == [(1, 1), (3, 3)]


def test_missed_triggers_leave_a_gap_in_counts_alone(simulated: SimulatedCamera) -> None:
    camera = GenicamCamera(PRODUCER, "SIM1", TRIGGERED | {"AcquisitionFrameRate": 10.0})
    camera.open()
    camera.arm()
    started = simulated.edge()
    simulated.edge()  # 0.1 s too early
    while time.monotonic_ns() < started + 110_000_000:
        time.sleep(0.005)
    simulated.edge()
    frames = []
    for _ in range(2):
        frame = receive(camera)
        frames.append((frame.frame_id, frame.trigger_count))
    assert frames == [(1, 1), (2, 3)]
    assert simulated.missed_triggers == 1
    camera.close()


def test_a_frame_that_fails_its_checksum_is_corrupt(simulated: SimulatedCamera, triggered: GenicamCamera) -> None:
    simulated.show(random_scene(3))
    simulated.fault("corrupt", at=2)
    assert [photograph(simulated, triggered).corrupt for _ in range(3)] == [False, True, False]


def test_incomplete_frames_are_counted_and_not_delivered(simulated: SimulatedCamera, triggered: GenicamCamera) -> None:
    simulated.fault("incomplete", at=2)
    for _ in range(4):
        expose(simulated)
    assert [receive(triggered).frame_id for _ in range(3)] == [1, 3, 4]
    assert triggered.incomplete_frames == 1
    triggered.close()
    triggered.open()
    assert triggered.incomplete_frames == 0


def test_nothing_comes_without_a_trigger(triggered: GenicamCamera) -> None:
    assert triggered.fetch(0.02) is None


def test_a_software_trigger_exposes_once(simulated: SimulatedCamera) -> None:
    camera = GenicamCamera(PRODUCER, "SIM1", TRIGGERED | {"TriggerSource": "Software"})
    camera.open()
    camera.arm()
    simulated.show(random_scene(4))
    for count in range(1, 4):
        camera.software_trigger()
        frame = receive(camera)
        assert frame.trigger_count == count
        np.testing.assert_array_equal(frame.pixels, random_scene(4))
    assert simulated.software_triggers == 3
    camera.close()


def test_frames_that_were_not_fetched_are_gone_after_disarming(simulated: SimulatedCamera, triggered: GenicamCamera) -> None:
    simulated.show(random_scene(5))
    for _ in range(3):
        expose(simulated)
    triggered.disarm()
    triggered.arm()
    simulated.show(random_scene(6))
    frame = photograph(simulated, triggered)
    assert (frame.frame_id, frame.trigger_count) == (1, 1)
    np.testing.assert_array_equal(frame.pixels, random_scene(6))


# --- lost cameras ---


@pytest.mark.parametrize("how", ["error", "silent"])
@pytest.mark.parametrize("times", [1, 3])
def test_an_unplugged_camera_is_lost_and_comes_back_in_the_same_process(
    simulated: SimulatedCamera, triggered: GenicamCamera, how: str, times: int
) -> None:
    for number in range(times):
        simulated.show(random_scene(number))
        np.testing.assert_array_equal(photograph(simulated, triggered).pixels, random_scene(number))
        simulated.unplug(how)
        with pytest.raises(CameraLost, match="SIM1"):
            triggered.check()
        triggered.close()
        with pytest.raises(CameraNotFound, match=r"'SIM1' is not listed .*it lists none.*check power, cable"):
            triggered.open()
        simulated.replug()
        triggered.open()
        triggered.arm()


def test_a_camera_unplugged_with_an_error_fails_while_fetching(simulated: SimulatedCamera, triggered: GenicamCamera) -> None:
    simulated.unplug("error")
    with pytest.raises(CameraLost, match="camera SIM1 stopped delivering"):
        receive(triggered)


def test_a_silently_unplugged_camera_only_delivers_nothing(simulated: SimulatedCamera, triggered: GenicamCamera) -> None:
    simulated.unplug("silent")
    assert triggered.fetch(0.02) is None


@pytest.mark.parametrize("use", ["check", "arm", "disarm", "clock", "features", "software_trigger"])
@pytest.mark.parametrize("how", ["error", "silent"])
def test_whatever_is_asked_of_an_unplugged_camera_it_is_lost(
    simulated: SimulatedCamera, triggered: GenicamCamera, how: str, use: str
) -> None:
    if use == "arm":
        triggered.disarm()
    simulated.unplug(how)
    with pytest.raises(CameraLost, match="camera SIM1"):
        getattr(triggered, use)()


def test_a_camera_that_another_process_holds_is_lost_until_it_is_free(simulated: SimulatedCamera) -> None:
    hold = (
        "import sys; from pathlib import Path; from cameras.genicam import GenicamCamera; from cameras.simulator import PRODUCER;"
        "camera = GenicamCamera(PRODUCER, 'SIM1'); camera.open(); print('open', flush=True); sys.stdin.read()"
    )
    camera = GenicamCamera(PRODUCER, "SIM1")
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ)
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(CameraLost, match="camera SIM1 could not be opened"):
            camera.open()
        holder.kill()
        holder.wait()
    camera.open()
    camera.close()
