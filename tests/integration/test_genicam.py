"""Cameras of two producers behind the same class: ours, and genicam's own, which nobody here wrote."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import genicam
import numpy as np
import pytest
from exposing import receive

from cameras.camera import FeatureValue
from cameras.errors import CameraLost, CameraNotFound, FeatureError, ProducerNotFound
from cameras.frame import PixelFormat
from cameras.genicam import GenicamCamera, list_devices, survey
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


@pytest.mark.parametrize(
    ("name", "value"), [("Width", 1_000_000), ("PixelFormat", "Mono99"), ("Width", "wide"), ("PayloadSize", 5)]
)
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
    found = survey(rig.producer)
    assert (found.devices, len(found.interfaces)) == (devices, 1)
    assert found.producer["vendor"] == devices[0]["vendor"]


def test_a_living_camera_answers_and_a_closed_one_is_lost(rig: Rig) -> None:
    camera = rig.camera()
    camera.open()
    camera.check()
    camera.close()
    camera.close()
    for use in (
        camera.check,
        camera.arm,
        camera.disarm,
        camera.clock,
        camera.features,
        camera.software_trigger,
        lambda: camera.fetch(0.01),
    ):
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
