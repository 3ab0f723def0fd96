"""GenTL producers and the cameras behind them: are they there, and do they take what the configuration asks?"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from tempfile import TemporaryDirectory

import msgspec

from cameras.camera import FeatureValue, Survey
from cameras.frame import PixelFormat
from inspection.config import CameraConfig, Config
from inspection.doctor.findings import Finding, failure, not_checked, ok, warning
from inspection.doctor.running import Running

AREA = "cameras"
GENTL_PATH = "GENICAM_GENTL64_PATH"
# Cameras that do not answer are given up by their producers after some seconds each.
_PROBE_S = 60.0
# DEVICE_ACCESS_STATUS of GenTL 1.6: who has the device.
_TAKEN = {"3": "cannot be accessed", "4": "is used by another program", "5": "is open already", "6": "is open already"}
# Cameras round what they are given to the steps of their clocks.
_ROUNDING = 0.01


@dataclass(frozen=True, slots=True)
class CameraFacts:
    """A camera that was opened and told its features: which it refused and why, {name: value} of all features afterwards, and
    whether it proves which trigger a frame belongs to. ``trouble`` is why it could not be opened, or why a part of its
    settings is not accepted.
    """

    refused: dict[str, str] = field(default_factory=dict)
    features: dict[str, str] = field(default_factory=dict)
    counts_triggers: bool = False
    has_clock: bool = False
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class ProducerFacts:
    """What a producer lists, and the configured cameras of it by their names. ``trouble`` is why it could not be asked,
    whatever killed the process that did.
    """

    survey: Survey | None = None
    cameras: dict[str, CameraFacts] = field(default_factory=dict)
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What the probe is to ask a producer: cameras as (name, serial, features, accept output), to be opened."""

    producer: str
    cameras: tuple[tuple[str, str, dict[str, FeatureValue], dict[str, str | float] | None], ...] = ()


def producers(config: Config | None) -> dict[Path, list[CameraConfig]]:
    """Every producer of the environment and of the configuration, with its configured cameras."""
    found: dict[Path, list[CameraConfig]] = {}
    for camera in config.cameras if config is not None else ():
        found.setdefault(config.producer(camera).resolve(), []).append(camera)  # type: ignore[union-attr]
    for folder in gentl_folders():
        for file in sorted(folder.glob("*.cti")):
            found.setdefault(file.resolve(), [])
    return found


def gentl_folders() -> list[Path]:
    return [Path(folder) for folder in os.environ.get(GENTL_PATH, "").split(os.pathsep) if folder]


def probe(producer: Path, cameras: list[CameraConfig], simulated: bool) -> ProducerFacts:
    """Ask in a process of its own: producers crash and hang. Simulated cameras are new ones, which no station knows."""
    question = Question(
        str(producer),
        tuple(
            (each.name, each.serial, dict(each.features), each.accept_output.model_dump() if each.accept_output else None)
            for each in cameras
        ),
    )
    with TemporaryDirectory(prefix="doctor-") as folder:
        environment = os.environ | ({"STATION_SIMULATOR": folder} if simulated else {})
        command = [sys.executable, "-m", "inspection.doctor.camera_probe"]
        try:
            done = subprocess.run(
                command, input=msgspec.json.encode(question), env=environment, capture_output=True, timeout=_PROBE_S, check=False
            )
        except subprocess.TimeoutExpired:
            return ProducerFacts(trouble=f"did not answer within {_PROBE_S:.0f} s")
    if done.returncode < 0:
        return ProducerFacts(trouble=f"crashed the process that asked it ({Signals(-done.returncode).name})")
    try:
        return msgspec.json.decode(done.stdout, type=ProducerFacts)
    except msgspec.DecodeError:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        return ProducerFacts(trouble=f"could not be asked: {said[-1] if said else f'exit status {done.returncode}'}")


# --- judgement ---


def judge_gentl_path(value: str, missing: list[str], files: int) -> Finding:
    """The environment variable by which makers' SDKs tell where their producers are."""
    if not value:
        return ok(AREA, GENTL_PATH, "not set; the configuration names the producers")
    if missing:
        return warning(
            AREA, GENTL_PATH, f"{', '.join(missing)}: no such folder", f"take it out of {GENTL_PATH}, or install the SDK again"
        )
    if not files:
        return warning(AREA, GENTL_PATH, f"no .cti file in {value}", "install the camera maker's GenTL producer")
    return ok(AREA, GENTL_PATH, f"{files} producers")


def judge_producer(producer: Path, facts: ProducerFacts, configured: bool) -> Finding:
    """Does it load, and what does it list?"""
    check = f"producer {producer.name}"
    if facts.trouble is not None:
        say = failure if configured else warning
        todo = "install the camera maker's SDK again, in the version for this machine, and name its .cti file under `producer`"
        return say(AREA, check, facts.trouble, todo)
    assert facts.survey is not None
    if not facts.survey.producer:
        return failure(AREA, check, "loads, but does not open", "look into the SDK's own log; it may lack a licence or a driver")
    said, devices = facts.survey.producer, facts.survey.devices
    names = ", ".join(f"{each['serial_number']} ({each['vendor']} {each['model']})" for each in devices) or "no camera"
    where = f"{len(facts.survey.interfaces)} interfaces" if len(facts.survey.interfaces) != 1 else facts.survey.interfaces[0]
    found = f"{said['vendor']} {said['model']} {said['version']}, {said['tl_type']}; {where}; {names}"
    if not devices:
        return warning(AREA, check, found, "check power, cable, network address and driver of the cameras")
    return ok(AREA, check, found)


def judge_held(camera: CameraConfig, running: Running) -> Finding | None:
    """A camera that the running station holds is not opened: its own process says how it is. None if it is free."""
    process = f"camera@{camera.name}"
    if process not in running.pids:
        return None
    check = f"camera {camera.name}"
    state, well = running.states.get(process, ("no heartbeat", False))
    if well:
        return ok(AREA, check, f"held by the running station: {state}; stop it to have the settings checked")
    return failure(AREA, check, f"held by the running station: {state}", "look into its log; the page Live says what to do")


def judge_camera(camera: CameraConfig, producer: ProducerFacts) -> Iterator[Finding]:
    """Is it there and free, and does it take its settings?"""
    check = f"camera {camera.name}"
    if producer.survey is None:
        yield not_checked(AREA, check, "its producer cannot be used")
        return
    device = next((each for each in producer.survey.devices if each["serial_number"] == camera.serial), None)
    if device is None:
        there = ", ".join(each["serial_number"] for each in producer.survey.devices) or "none"
        yield failure(
            AREA,
            check,
            f"no camera with the serial number {camera.serial}; there are: {there}",
            "check power and cable, and `serial` in the configuration",
        )
        return
    facts = producer.cameras.get(camera.name)
    if device["access_status"] in _TAKEN and (facts is None or facts.trouble is not None):
        yield failure(AREA, check, f"{camera.serial} {_TAKEN[device['access_status']]}", "end the program that holds the camera")
        return
    if facts is None or (facts.trouble is not None and not facts.features):
        yield failure(
            AREA, check, facts.trouble if facts and facts.trouble else "was not opened", "check power, cable and driver"
        )
        return
    yield ok(AREA, check, f"{device['vendor']} {device['model']} {device['version']}, serial {camera.serial}, opened")
    yield from _judge_settings(camera, facts)
    yield from _judge_triggers(camera, facts)


def _judge_settings(camera: CameraConfig, facts: CameraFacts) -> Iterator[Finding]:
    check = f"camera {camera.name}: features"
    for name, why in facts.refused.items():
        yield failure(AREA, f"{check}: {name}", why, f"correct {name} under [cameras.features]; names are those of the camera")
    if not facts.refused and facts.trouble is not None:
        yield failure(AREA, check, facts.trouble, "correct the section of the camera in the configuration")
    other = {
        name: facts.features[name]
        for name, value in camera.features.items()
        if name in facts.features and name not in facts.refused and not same(value, facts.features[name])
    }
    for name, value in other.items():
        yield warning(
            AREA,
            f"{check}: {name}",
            f"asked for {camera.features[name]}, the camera took {value}",
            "another feature limits it, or its order matters: set what it depends on before it",
        )
    taken = len(camera.features) - len(facts.refused) - len(other)
    if taken and not facts.refused and not other and facts.trouble is None:
        yield ok(AREA, check, f"all {taken} accepted and read back")
    pixel_format = facts.features.get("PixelFormat")
    if pixel_format is not None and pixel_format not in PixelFormat.__members__:
        yield failure(
            AREA,
            f"camera {camera.name}: PixelFormat",
            f"{pixel_format}, which the station does not read",
            f"set PixelFormat to one of {', '.join(PixelFormat.__members__)}",
        )


def _judge_triggers(camera: CameraConfig, facts: CameraFacts) -> Iterator[Finding]:
    check, features = f"camera {camera.name}: trigger", facts.features
    if features.get("TriggerMode") != "On":
        yield failure(
            AREA,
            check,
            "the camera runs freely: no frame would belong to a part",
            'set TriggerSelector = "FrameStart", TriggerMode = "On" and TriggerSource under [cameras.features]',
        )
    elif "TriggerSource" not in camera.features:
        yield warning(
            AREA,
            check,
            f"TriggerSource is not set; the camera has {features.get('TriggerSource')} now",
            "set TriggerSource: what a camera starts with may be changed by another program",
        )
    else:
        by = "by the station" if camera.software_triggered else f"by {features.get('TriggerSource')}"
        yield ok(AREA, check, f"{by}, {features.get('TriggerActivation', 'activation as the camera has it')}")
    check = f"camera {camera.name}: proof of frames"
    lacks = [
        name
        for name, there in (("a trigger counter in the chunk data", facts.counts_triggers), ("TimestampLatch", facts.has_clock))
        if not there
    ]
    if not lacks:
        yield ok(AREA, check, "trigger counter in the chunk data and the camera's clock: each frame proves its trigger")
        return
    yield warning(
        AREA,
        check,
        f"without {' and '.join(lacks)}: one exposure at a time, at most one part in expose_window_ms",
        "set ChunkModeActive = true and enable its CounterValue if the camera has them; else keep parts that far apart",
    )


def same(asked: FeatureValue, read: str) -> bool:
    """Does a feature say what it was told? Numbers but for rounding."""
    if isinstance(asked, bool):
        return read.lower() in (("1", "true") if asked else ("0", "false"))
    if isinstance(asked, str):
        return read == asked
    try:
        return abs(float(read) - asked) <= _ROUNDING * abs(asked)
    except ValueError:
        return False


def numbers(features: Mapping[str, str], *names: str) -> float | None:
    """The first of these features that there is."""
    for name in names:
        try:
            return float(features[name])
        except (KeyError, ValueError):
            continue
    return None
