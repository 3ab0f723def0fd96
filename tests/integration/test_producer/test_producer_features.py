"""The GenICam features: which there are, what they accept, and what the line sees of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from genicam.genapi import EAccessMode, GenericException
from genicam.gentl import ResourceInUseException

from cameras.simulator import PRODUCER
from cameras.simulator.control import SimulatedCamera

FEATURES = {
    "DeviceControl": (
        *("DeviceVendorName", "DeviceModelName", "DeviceSerialNumber", "DeviceTemperature"),
        *("TimestampLatch", "TimestampLatchValue"),
    ),
    "ImageFormatControl": (
        *("SensorWidth", "SensorHeight", "WidthMax", "HeightMax", "Width", "Height", "OffsetX", "OffsetY"),
        "PixelFormat",
    ),
    "TransportLayerControl": ("PayloadSize", "TLParamsLocked"),
    "AcquisitionControl": (
        *("AcquisitionMode", "AcquisitionStart", "AcquisitionStop", "AcquisitionFrameRate"),
        *("TriggerSelector", "TriggerMode", "TriggerSource", "TriggerSoftware", "ExposureTime"),
    ),
    "AnalogControl": ("Gain",),
    "DigitalIOControl": (
        *("LineSelector", "LineMode", "LineInverter", "LineSource", "LineStatus"),
        *("UserOutputSelector", "UserOutputValue"),
    ),
    "SoftwareSignalControl": ("SoftwareSignalSelector", "SoftwareSignalPulse"),
    "CounterAndTimerControl": (
        *("CounterSelector", "CounterEventSource", "CounterValue", "CounterReset", "MissedTriggerCount"),
        *("TimerSelector", "TimerDuration", "TimerTriggerSource"),
    ),
    "ChunkDataControl": (
        *("ChunkModeActive", "ChunkSelector", "ChunkEnable"),
        *("ChunkFrameID", "ChunkTimestamp", "ChunkCounterValue", "ChunkExposureTime", "ChunkPayloadCRC32"),
    ),
}
WRITABLE = {
    **{"Width": 16, "Height": 12, "OffsetX": 4, "OffsetY": 2, "PixelFormat": "Mono12", "AcquisitionMode": "SingleFrame"},
    **{"AcquisitionFrameRate": 55.5, "TriggerSelector": "FrameStart", "TriggerMode": "On", "TriggerSource": "Line1"},
    **{"ExposureTime": 123.5, "Gain": 6.0, "UserOutputSelector": "UserOutput1", "UserOutputValue": True},
    **{"CounterSelector": "Counter0", "CounterEventSource": "FrameTrigger", "ChunkModeActive": True},
    **{"ChunkSelector": "CounterValue", "ChunkEnable": False, "TLParamsLocked": 1},
    **{"LineSelector": "Line2", "LineMode": "Output", "LineInverter": True, "LineSource": "Timer0Active"},
    **{"SoftwareSignalSelector": "SoftwareSignal0", "TimerSelector": "Timer0", "TimerDuration": 25000.0},
    **{"TimerTriggerSource": "SoftwareSignal0"},
}
READABLE = {
    **{"DeviceVendorName": "inspection-station", "DeviceModelName": "SimulatedCamera", "DeviceSerialNumber": "cam-1"},
    **{"DeviceTemperature": 40.0, "SensorWidth": 64, "SensorHeight": 48, "WidthMax": 64, "HeightMax": 48},
    **{"PayloadSize": 64 * 48, "CounterValue": 0, "MissedTriggerCount": 0, "TimestampLatchValue": 0},
    **{"LineStatus": False},
}
COMMANDS = ("TimestampLatch", "AcquisitionStart", "AcquisitionStop", "TriggerSoftware", "CounterReset", "SoftwareSignalPulse")


def test_harvesters_own_core_tests_pass(make_camera: Callable[..., SimulatedCamera], root: Path) -> None:
    for serial in ("cam-1", "cam-2", "cam-3", "cam-4"):
        make_camera(serial)
    environment = os.environ | {"HARVESTERS_TEST_TARGET": str(PRODUCER), "STATION_SIMULATOR": str(root)}
    command = [sys.executable, "-m", "unittest", "harvesters.test.test_harvester_core"]
    outcome = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert outcome.returncode == 0, outcome.stderr[-3000:]
    assert re.search(r"^Ran 7\d tests", outcome.stderr, re.MULTILINE)


def test_the_description_has_exactly_these_features(host: Any) -> None:
    found = {category.node.name: tuple(f.node.name for f in category.features) for category in host.nodes.Root.features}
    assert found == FEATURES


def test_every_feature_is_readable_writable_or_a_command(host: Any) -> None:
    chunks = {name for name in FEATURES["ChunkDataControl"] if name not in WRITABLE}
    names = {name for category in FEATURES.values() for name in category}
    assert names == set(WRITABLE) | set(READABLE) | set(COMMANDS) | chunks
    for name, value in READABLE.items():
        assert getattr(host.nodes, name).value == value, name
        assert getattr(host.nodes, name).get_access_mode() == EAccessMode.RO, name
    for name, value in WRITABLE.items():
        getattr(host.nodes, name).value = value
        assert getattr(host.nodes, name).value == value, name
    for name in COMMANDS:
        getattr(host.nodes, name).execute()
        assert getattr(host.nodes, name).is_done(), name


@pytest.mark.parametrize(
    ("feature", "value"),
    [
        *(("Width", 0), ("Width", 65), ("Height", 49), ("OffsetX", 2), ("OffsetY", 1)),
        *(("ExposureTime", 0.5), ("Gain", -1.0), ("AcquisitionFrameRate", 0.01), ("PixelFormat", "Mono14")),
    ],
)
def test_values_out_of_range_are_refused(host: Any, feature: str, value: Any) -> None:
    before = getattr(host.nodes, feature).value
    with pytest.raises(GenericException):
        getattr(host.nodes, feature).value = value
    assert getattr(host.nodes, feature).value == before


def test_limits_of_size_and_offset_depend_on_each_other(host: Any) -> None:
    host.set(Width=40, Height=20)
    assert (host.nodes.OffsetX.max, host.nodes.OffsetY.max) == (24, 28)
    host.set(OffsetX=10, OffsetY=6)
    assert (host.nodes.Width.max, host.nodes.Height.max) == (54, 42)


def test_the_image_format_is_locked_while_acquiring(host: Any) -> None:
    host.start()
    for feature, value in (("Width", 32), ("PixelFormat", "RGB8"), ("ChunkModeActive", True)):
        with pytest.raises(GenericException):
            host.set(**{feature: value})
    host.set(ExposureTime=20.0)
    assert host.nodes.ExposureTime.value == 20.0


def test_payload_size_counts_format_region_and_enabled_chunks(host: Any) -> None:
    for pixel_format, factor in (("Mono8", 1), ("Mono12", 2), ("BayerRG8", 1), ("RGB8", 3)):
        host.set(PixelFormat=pixel_format)
        assert host.nodes.PayloadSize.value == 64 * 48 * factor
    host.set(PixelFormat="Mono8", Width=10, Height=5, ChunkModeActive=True)
    assert host.nodes.PayloadSize.value == 50 + 5 * 8
    host.set(ChunkSelector="PayloadCRC32", ChunkEnable=False)
    assert host.nodes.PayloadSize.value == 50 + 4 * 8


def test_the_latched_time_is_the_hosts_monotonic_clock(host: Any) -> None:
    before = time.monotonic_ns()
    host.nodes.TimestampLatch.execute()
    after = time.monotonic_ns()
    assert before <= host.nodes.TimestampLatchValue.value <= after


def test_user_outputs_are_seen_on_the_line(host: Any, camera: SimulatedCamera) -> None:
    host.set(UserOutputSelector="UserOutput1", UserOutputValue=True)
    assert camera.user_output == 0b10
    host.set(UserOutputSelector="UserOutput0", UserOutputValue=True)
    assert camera.user_output == 0b11
    host.set(UserOutputValue=False)
    assert camera.user_output == 0b10


PULSE = {"LineSelector": "Line2", "LineMode": "Output", "LineSource": "Timer0Active", "TimerSelector": "Timer0"}


def test_a_timed_output_ends_by_itself_at_the_time_that_was_set(host: Any, camera: SimulatedCamera) -> None:
    host.set(**PULSE, TimerDuration=30_000.0)
    host.nodes.SoftwareSignalPulse.execute()
    assert camera.output_periods() == [], "the timer does not wait for the signal"
    host.set(TimerTriggerSource="SoftwareSignal0")
    before = time.monotonic_ns()
    host.nodes.SoftwareSignalPulse.execute()
    after = time.monotonic_ns()
    host.nodes.SoftwareSignalPulse.execute()  # a running timer takes no trigger
    ((rise_ns, fall_ns),) = camera.output_periods()
    assert before <= rise_ns <= after
    assert fall_ns == rise_ns + 30_000_000
    while (now_ns := time.monotonic_ns()) < fall_ns:
        level = camera.line_output()
        assert level or time.monotonic_ns() >= fall_ns, now_ns
    assert not camera.line_output()
    assert not host.nodes.LineStatus.value
    host.set(LineInverter=True)
    assert camera.line_output()
    assert host.nodes.LineStatus.value


def test_an_output_that_the_host_holds_stays_when_the_host_is_gone(
    camera: SimulatedCamera, open_host: Callable[[str], Any]
) -> None:
    host = open_host("cam-1")
    host.set(LineSelector="Line2", LineMode="Output", LineSource="UserOutput1")
    assert not camera.line_output()
    host.set(UserOutputSelector="UserOutput1", UserOutputValue=True)
    host.close()
    assert not camera.is_open
    assert camera.line_output()
    assert camera.output_periods()[-1][1] is None
    open_host("cam-1")
    assert not camera.line_output()


def test_a_camera_that_is_unplugged_drives_no_output(host: Any, camera: SimulatedCamera) -> None:
    host.set(**PULSE, TimerTriggerSource="SoftwareSignal0", TimerDuration=10e6)
    host.nodes.SoftwareSignalPulse.execute()
    assert camera.line_output()
    camera.unplug()
    assert not camera.line_output()


def test_opening_again_loads_the_default_settings(camera: SimulatedCamera, open_host: Callable[[str], Any]) -> None:
    first = open_host("cam-1")
    first.set(Width=16, ExposureTime=77.0, UserOutputValue=True)
    first.close()
    assert not camera.is_open
    second = open_host("cam-1")
    assert (second.nodes.Width.value, second.nodes.ExposureTime.value) == (64, 1000.0)
    assert camera.is_open
    assert camera.user_output == 0


def test_a_colour_camera_starts_with_rgb(make_camera: Callable[..., SimulatedCamera], open_host: Callable[[str], Any]) -> None:
    make_camera("colour", color=True)
    assert open_host("colour").nodes.PixelFormat.value == "RGB8"


def test_cameras_are_listed_by_serial_and_only_directories_that_hold_one(
    make_camera: Callable[..., SimulatedCamera], root: Path, open_host: Callable[[str], Any]
) -> None:
    serials = [f"line-{number:02}" for number in range(20)]
    for serial in reversed(serials):
        make_camera(serial, 16, 8)
    (root / "not-a-camera").mkdir()
    (root / "file").touch()
    listed = [info.serial_number for info in open_host("line-07").harvester.device_info_list]
    assert listed == serials


OPEN_AND_WAIT = """
import sys
from harvesters.core import Harvester
harvester = Harvester()
harvester.add_file(sys.argv[1])
harvester.update()
acquirer = harvester.create({"serial_number": "cam-1"})
print("open", flush=True)
sys.stdin.read()
"""


def test_a_camera_is_open_in_one_process_at_a_time_until_that_dies(
    camera: SimulatedCamera, open_host: Callable[[str], Any], wait_until: Callable[[Callable[[], bool]], None]
) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", OPEN_AND_WAIT, PRODUCER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        assert camera.is_open
        with pytest.raises(ResourceInUseException):
            open_host("cam-1")
        other.kill()
    wait_until(lambda: not camera.is_open)
    assert open_host("cam-1").nodes.Width.value == 64
