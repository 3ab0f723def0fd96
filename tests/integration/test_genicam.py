"""Cameras of two producers behind the same class: ours, and genicam's own, which nobody here wrote."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import genicam
import numpy as np
import pytest

import cameras.simulator
from cameras.errors import CameraLost, CameraNotFound, FeatureError, ProducerNotFound
from cameras.frame import Frame, PixelFormat
from cameras.genicam import FeatureValue, GenicamCamera, list_devices
from cameras.simulator import PRODUCER
from cameras.simulator.control import SimulatedCamera

VIKY = Path(genicam.__file__).with_name("viky.cti")


@dataclass(frozen=True)
class Rig:
    """A producer with a camera that runs freely."""

    producer: Path
    serial: str
    listed: tuple[str, ...]
    formats: tuple[str, ...]
    settings: dict[str, FeatureValue] = field(default_factory=dict)

    def camera(self, **features: FeatureValue) -> GenicamCamera:
        return GenicamCamera(self.producer, self.serial, self.settings | features)


@pytest.fixture(params=["simulator", "viky"])
def rig(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    if request.param == "viky":
        yield Rig(VIKY, "1", ("0", "1", "2"), ("Mono8", "RGBa8"))
        return
    monkeypatch.setenv("STATION_SIMULATOR", str(tmp_path))
    simulated = [SimulatedCamera.create(tmp_path, serial, 240, 180) for serial in ("SIM1", "SIM2")]
    formats = ("Mono8", "Mono12", "BayerRG8", "RGB8")
    yield Rig(PRODUCER, "SIM1", ("SIM1", "SIM2"), formats, {"AcquisitionFrameRate": 200.0, "Gain": 0.0})
    for camera in simulated:
        camera.close()


def receive(camera: GenicamCamera, timeout_s: float = 5.0) -> Frame:
    """The next frame, which must come."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        frame = camera.fetch(0.05)
        if frame is not None:
            return frame
    raise AssertionError(f"no frame in {timeout_s} s")


# --- what every producer's camera does ---


def test_a_camera_is_opened_and_armed_again_and_again(rig: Rig) -> None:
    camera = rig.camera()
    for _ in range(3):
        camera.open()
        for _ in range(2):
            camera.arm()
            frames = []
            for _ in range(4):
                frame = receive(camera)
                frames.append((frame.frame_id, frame.trigger_count, frame.corrupt))
                camera.release()
            camera.disarm()
            first = frames[0][0]
            assert frames == [(first + step, step + 1, False) for step in range(4)]
        assert camera.incomplete_frames == 0
        camera.close()


def test_every_pixel_format_keeps_its_name_and_depth(rig: Rig) -> None:
    for name in rig.formats:
        pixel_format = PixelFormat.named(name)
        camera = rig.camera(PixelFormat=name)
        camera.open()
        camera.arm()
        frame = receive(camera)
        assert frame.pixel_format is pixel_format
        assert frame.pixels.dtype == pixel_format.dtype
        assert frame.pixels.shape == pixel_format.shape(frame.width, frame.height)
        assert frame.pixels.nbytes == pixel_format.nbytes(frame.width, frame.height)
        assert 0 < frame.received_ns <= time.monotonic_ns()
        camera.close()


def test_a_region_of_interest_gives_frames_of_its_size(rig: Rig) -> None:
    camera = rig.camera(Width=120, Height=104)
    camera.open()
    camera.arm()
    frame = receive(camera)
    assert (frame.width, frame.height) == (120, 104)
    camera.close()


def test_features_are_walked_and_tell_what_was_set(rig: Rig) -> None:
    camera = rig.camera(Width=120, Height=104, PixelFormat="Mono8")
    camera.open()
    features = {feature.name: feature for feature in camera.features()}
    assert features["Width"].value == "120"
    assert features["Height"].kind == "Integer"
    assert features["PixelFormat"].value == "Mono8"
    assert features["PixelFormat"].kind == "Enumeration"
    assert features["AcquisitionStart"].kind == "Command"
    assert features["AcquisitionStart"].value is None
    assert features["PayloadSize"].access == "read"
    assert all(feature.category and feature.access for feature in features.values())
    camera.close()


def test_an_unknown_feature_is_refused_by_its_name(rig: Rig) -> None:
    with pytest.raises(FeatureError, match=f"camera {rig.serial} has no feature 'ExposureTimme'.*--features"):
        rig.camera(ExposureTimme=100).open()
    camera = rig.camera()  # and nothing of the failed opening is left behind
    camera.open()
    camera.close()


@pytest.mark.parametrize(("name", "value"), [("Width", 1_000_000), ("PixelFormat", "Mono99"), ("Width", "wide"), ("PayloadSize", 5)])
def test_a_refused_value_says_which_one(rig: Rig, name: str, value: FeatureValue) -> None:
    with pytest.raises(FeatureError, match=f"camera {rig.serial} refuses {name} = {value!r}: .+"):
        rig.camera(**{name: value}).open()
    camera = rig.camera()
    camera.open()
    camera.close()


def test_an_unknown_serial_number_is_answered_with_those_that_are_listed(rig: Rig) -> None:
    with pytest.raises(CameraNotFound, match=f"'SN-X' is not listed by {rig.producer.name} .*{', '.join(rig.listed)}"):
        GenicamCamera(rig.producer, "SN-X").open()
    camera = rig.camera()
    camera.open()
    camera.close()


def test_devices_are_listed(rig: Rig) -> None:
    devices = list_devices(rig.producer)
    assert tuple(sorted(device["serial_number"] for device in devices)) == rig.listed
    assert all(device["vendor"] and device["model"] and device["tl_type"] for device in devices)


def test_a_living_camera_answers_and_a_closed_one_is_lost(rig: Rig) -> None:
    camera = rig.camera()
    camera.open()
    camera.check()
    camera.close()
    camera.close()
    for use in (camera.check, camera.arm, camera.disarm, camera.clock, camera.features, camera.software_trigger, lambda: camera.fetch(0.01)):
        with pytest.raises(CameraLost, match=f"camera {rig.serial}"):
            use()


def test_interrupts_stay_with_the_program(rig: Rig) -> None:
    def handler(_signal: int, _frame: object) -> None: ...

    before = signal.signal(signal.SIGINT, handler)
    try:
        camera = rig.camera()
        camera.open()
        camera.arm()
        assert signal.getsignal(signal.SIGINT) is handler
        camera.close()
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


# --- producers that are none ---


def test_a_missing_producer_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "vendor.cti"
    for use in (lambda: list_devices(missing), lambda: GenicamCamera(missing, "1").open()):
        with pytest.raises(ProducerNotFound, match=f"{re.escape(str(missing))} does not exist; set `producer`"):
            use()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is no GenTL producer; set `producer`"),
        (b"no library", "is no GenTL producer; set `producer`"),
        (Path(np.linalg._umath_linalg.__file__).read_bytes(), "is no GenTL producer; set `producer`"),
        (b"no library, though it names GCInitLib", "cannot be used: .*; is it built for this machine"),
        (VIKY.read_bytes()[:1_000], "is no GenTL producer; set `producer`"),
    ],
    ids=["empty", "text", "another library", "text with the name", "cut short"],
)
def test_a_file_that_is_no_producer_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "vendor.cti"
    file.write_bytes(content)
    for use in (lambda: list_devices(file), lambda: GenicamCamera(file, "1").open()):
        with pytest.raises(ProducerNotFound, match=f"{re.escape(str(file))} {says}"):
            use()


# --- what only a simulated camera can be made to do ---


@pytest.fixture
def simulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedCamera]:
    monkeypatch.setenv("STATION_SIMULATOR", str(tmp_path))
    camera = SimulatedCamera.create(tmp_path, "SIM1", 64, 48)
    yield camera
    camera.close()


TRIGGERED: dict[str, FeatureValue] = {
    "AcquisitionFrameRate": 10_000.0,
    "ExposureTime": 100.0,
    "Gain": 20.0,
    "TriggerMode": "On",
    "TriggerSource": "Line1",
    "ChunkModeActive": True,
}


@pytest.fixture
def triggered(simulated: SimulatedCamera) -> Iterator[GenicamCamera]:
    """Open and armed, as the camera process has it."""
    camera = GenicamCamera(PRODUCER, "SIM1", TRIGGERED)
    camera.open()
    camera.arm()
    yield camera
    camera.close()


def scene(seed: int, shape: tuple[int, ...] = (48, 64), dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def expose(simulated: SimulatedCamera, camera: GenicamCamera) -> Frame:
    """One edge and its frame."""
    simulated.edge()
    return receive(camera)


def test_pixels_are_those_of_the_scene_at_full_depth(simulated: SimulatedCamera) -> None:
    shown = scene(1, dtype=np.uint16)
    expected = {"Mono8": shown >> 8, "Mono12": shown >> 4, "RGB8": np.repeat((shown >> 8)[..., None], 3, 2), "BayerRG8": shown >> 8}
    simulated.show(shown)
    for name, pixels in expected.items():
        camera = GenicamCamera(PRODUCER, "SIM1", TRIGGERED | {"PixelFormat": name})
        camera.open()
        camera.arm()
        np.testing.assert_array_equal(expose(simulated, camera).pixels, pixels)
        camera.close()


def test_the_region_of_interest_is_cut_where_it_was_asked_for(simulated: SimulatedCamera) -> None:
    simulated.show(scene(2))
    camera = GenicamCamera(PRODUCER, "SIM1", TRIGGERED | {"Width": 33, "Height": 21, "OffsetX": 6, "OffsetY": 8})
    camera.open()
    camera.arm()
    np.testing.assert_array_equal(expose(simulated, camera).pixels, scene(2)[8:29, 6:39])
    camera.close()


def test_each_frame_shows_its_own_scene_until_it_is_released(simulated: SimulatedCamera, triggered: GenicamCamera) -> None:
    for number in range(40):  # more than there are buffers
        simulated.show(scene(number))
        frame = expose(simulated, triggered)
        np.testing.assert_array_equal(frame.pixels, scene(number))
        assert not frame.pixels.flags.writeable
        triggered.release()
    assert simulated.underruns == 0


def test_every_feature_of_the_description_is_walked(triggered: GenicamCamera) -> None:
    xml = Path(cameras.simulator.__file__).with_name("simcam.xml").read_text()
    listed = {category: re.findall(r"<pFeature>(\w+)<", body) for category, body in re.findall(r'<Category Name="(\w+)">(.*?)</Category>', xml, re.S)}
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
        frame = expose(simulated, triggered)
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
    for edge in range(2):
        wait_for_exposure(simulated, 2 + edge)
    assert (receive(camera).frame_id, simulated.faults_injected) == (3, 1)
    camera.close()


def wait_for_exposure(simulated: SimulatedCamera, number: int) -> None:
    """Give an edge, and return when it has become the ``number``-th exposure, after the sensor's cycle."""
    simulated.edge()
    until = time.monotonic() + 5
    while simulated.exposures < number:
        assert time.monotonic() < until, "the edge started no exposure"
        time.sleep(0.0005)
    time.sleep(0.0005)  # the sensor's cycle is 0.1 ms


def test_lost_frames_leave_a_gap_in_ids_and_counts(simulated: SimulatedCamera, triggered: GenicamCamera) -> None:
    simulated.fault("drop", at=2)
    for number in range(1, 4):
        wait_for_exposure(simulated, number)
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
    simulated.show(scene(3))
    simulated.fault("corrupt", at=2)
    assert [expose(simulated, triggered).corrupt for _ in range(3)] == [False, True, False]


def test_incomplete_frames_are_counted_and_not_delivered(simulated: SimulatedCamera, triggered: GenicamCamera) -> None:
    simulated.fault("incomplete", at=2)
    for number in range(1, 5):
        wait_for_exposure(simulated, number)
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
    simulated.show(scene(4))
    for count in range(1, 4):
        camera.software_trigger()
        frame = receive(camera)
        assert frame.trigger_count == count
        np.testing.assert_array_equal(frame.pixels, scene(4))
    assert simulated.software_triggers == 3
    camera.close()


def test_frames_that_were_not_fetched_are_gone_after_disarming(simulated: SimulatedCamera, triggered: GenicamCamera) -> None:
    simulated.show(scene(5))
    for number in range(1, 4):
        wait_for_exposure(simulated, number)
    triggered.disarm()
    triggered.arm()
    simulated.show(scene(6))
    frame = expose(simulated, triggered)
    assert (frame.frame_id, frame.trigger_count) == (1, 1)
    np.testing.assert_array_equal(frame.pixels, scene(6))


# --- lost cameras ---


@pytest.mark.parametrize("how", ["error", "silent"])
@pytest.mark.parametrize("times", [1, 3])
def test_an_unplugged_camera_is_lost_and_comes_back_in_the_same_process(
    simulated: SimulatedCamera, triggered: GenicamCamera, how: str, times: int
) -> None:
    for number in range(times):
        simulated.show(scene(number))
        np.testing.assert_array_equal(expose(simulated, triggered).pixels, scene(number))
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
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ)) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(CameraLost, match="camera SIM1 could not be opened"):
            camera.open()
        holder.kill()
        holder.wait()
    camera.open()
    camera.close()
