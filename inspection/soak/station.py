"""The station that is soaked: its processes, and what is around them that a fault can touch."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psutil

from cameras.simulator.control import SimulatedCamera
from inspection import config as configuration
from inspection.artifact import read_artifact, write_artifact
from inspection.bench.station import Sensor
from inspection.config import Config, prepare_directories
from inspection.deploying import deploy_artifact, register_artifact
from inspection.errors import StationError
from inspection.processes import process_names
from inspection.records.database import migrate, open_engine
from inspection.soak.receiver import SoakReceiver
from inspection.starting import free_port, ready, start_manager

PRODUCT, CAMERA, SERIAL = "soaked", "top", "SOAK0001"
MANAGER, TRAINER = "manager", "trainer"
WATCHDOG = "supervisor"
"""Who tells that it ends processes that hang, where there is one."""
DEADLINE_MS = 1_500.0
RING_SLOTS = 64
_EXPOSE_WINDOW_MS = 400.0
# On a machine that is busy with other things.
_START_S, _STOP_S = 240.0, 30.0
# A process whose heartbeat is older does not run well.
_FRESH_S = 3.0


@dataclass
class SoakStation:
    """``models`` are the two that may decide, as (digest, artifact directory). ``mounted`` is the folder with a file system of
    its own, if there is one. ``spoilt`` names what the optics do to every picture now.
    """

    config: Config
    config_path: Path
    camera: SimulatedCamera
    receiver: SoakReceiver
    models: tuple[tuple[str, Path], tuple[str, Path]]
    mounted: Path | None
    manager: subprocess.Popen[bytes]
    restarts: int = 0
    spoilt: str | None = None

    def keep_running(self) -> None:
        """What systemd does in production: a manager that ended is started again."""
        if self.manager.poll() is not None:
            self.restarts += 1
            self.manager = start_manager(self.config_path)

    def pid(self, name: str) -> int | None:
        """The process with this name, or None if it does not run now."""
        if name == MANAGER:
            return self.manager.pid if self.manager.poll() is None else None
        return self.pids().get(name)

    def pids(self) -> dict[str, int]:
        """All processes but the manager."""
        return pids_of(self.config_path)

    def states(self) -> dict[str, dict[str, Any]]:
        """What the processes say of themselves, those that said it just now."""
        try:
            processes = msgspec.json.decode(self.config.status_path.read_bytes())["processes"]
        except (OSError, msgspec.DecodeError):
            return {}
        now = time.time()
        return {name: each for name, each in processes.items() if now - each["at"] < _FRESH_S}

    def unhealthy(self) -> list[str]:
        """Processes that say that they are not well, or nothing, or that a killed manager left behind."""
        if self.manager.poll() is not None:
            return ["manager: ended"]
        fresh = self.states()
        children = {child.pid for child in psutil.Process(self.manager.pid).children()}
        former = [f"{name}: of a former manager" for name, pid in _processes_of(self.config_path) if pid not in children]
        silent = [f"{name}: silent" for name in process_names(self.config) if name != "web" and name not in fresh]
        # No PLC is connected to the gateway, which says so.
        return former + silent + [f"{name}: {each['state']}" for name, each in fresh.items() if name != "plc" and not each["ok"]]


def pids_of(config_path: Path) -> dict[str, int]:
    """{name: pid} of a station's processes."""
    return dict(_processes_of(config_path))


def _processes_of(config_path: Path) -> Iterator[tuple[str, int]]:
    """(name, pid), found by their command lines: those of a killed manager may still be there."""
    wanted = os.fsencode(config_path)
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted in arguments and arguments[2:4] == [b"inspection", b"process"]:
            yield arguments[4].decode(), int(entry.name)
        elif wanted in arguments and arguments[2:4] == [b"training", b"trainer"]:
            yield TRAINER, int(entry.name)


@contextmanager
def soak_station(directory: Path, model: Path, sensor: Sensor, mount_bytes: int, keep_pass_share: float) -> Iterator[SoakStation]:
    """A running station in an empty ``directory``, whose camera shows parts that ``model`` judges.

    The images lie on a file system in memory of ``mount_bytes`` where one can be mounted, which needs root. StationError if the
    line does not start.
    """
    with ExitStack() as stack:
        receiver = SoakReceiver()
        stack.callback(receiver.close)
        config_path = _write_config(directory, sensor, receiver, keep_pass_share)
        config = configuration.load(config_path)
        shutil.rmtree(config.run_dir, ignore_errors=True)
        prepare_directories(config)
        stack.callback(shutil.rmtree, config.run_dir, ignore_errors=True)
        mounted = config.image_dir if _mount(config.image_dir, mount_bytes) else None
        if mounted is not None:
            stack.callback(_unmount, mounted)
        camera = SimulatedCamera.create(config.simulator_dir, SERIAL, sensor.width, sensor.height, sensor.color)
        stack.callback(camera.close)
        migrate(open_engine(config.database_url))
        models = _deploy(config, model)
        station = SoakStation(config, config_path, camera, receiver, models, mounted, start_manager(config_path))
        stack.callback(_stop, station)
        _wait_until_ready(station)
        yield station


def _write_config(directory: Path, sensor: Sensor, receiver: SoakReceiver, keep_pass_share: float) -> Path:
    secret = directory / "mes.secret"
    secret.touch(mode=0o600)
    secret.write_text(receiver.secret)
    path = directory / "station.toml"
    path.write_text(
        f"""# Written by `station soak`.
[station]
name = "soak"
data_dir = "data"

[[cameras]]
name = "{CAMERA}"
serial = "{SERIAL}"
ring_slots = {RING_SLOTS}

[cameras.features]
PixelFormat = "{sensor.pixel_format}"
TriggerMode = "On"
TriggerSource = "Line1"
ExposureTime = 1000.0
AcquisitionFrameRate = 1000.0
ChunkModeActive = true

[[products]]
part_number = "{PRODUCT}"
camera = "{CAMERA}"
deadline_ms = {DEADLINE_MS}

[line]
expose_window_ms = {_EXPOSE_WINDOW_MS}

[images]
keep_pass_share = {keep_pass_share}
# The file system is small.
min_free_gb = 0.02

[web]
port = {free_port(0)}

[plc]
port = {free_port(0)}
camera = "{CAMERA}"
rejector_distance_mm = 4000
accept_window_mm = 10
max_speed_mm_per_s = 1000
actuator_ms = 20

[[receivers]]
kind = "http"
name = "mes"
url = "http://127.0.0.1:{receiver.port}/events"
secret_file = "mes.secret"
""",
        encoding="utf-8",
    )
    return path


def _deploy(config: Config, model: Path) -> tuple[tuple[str, Path], tuple[str, Path]]:
    """The model, and one that differs from it by name alone: which of them decides changes no verdict."""
    artifact = read_artifact(model)
    made = []
    for rule in ("in service", "in reserve"):
        thresholds = msgspec.structs.replace(artifact.manifest.thresholds, rule=rule)
        manifest = msgspec.structs.replace(artifact.manifest, product=PRODUCT, thresholds=thresholds)
        path, digest = write_artifact(config.models_dir, manifest, artifact.files)
        register_artifact(config, path, PRODUCT)
        made.append((digest, path))
    deploy_artifact(config, made[0][1], PRODUCT, "soak", "soak", override="what is soaked is the line")
    return made[0], made[1]


def _wait_until_ready(station: SoakStation) -> None:
    until = time.monotonic() + _START_S
    while not ready(station.config):
        if time.monotonic() > until or station.manager.poll() is not None:
            raise StationError(f"the line did not start; see the files in {station.config.log_dir}")
        time.sleep(0.1)


def _stop(station: SoakStation) -> None:
    """Also processes that a fault left stopped."""
    for pid in [*station.pids().values(), station.manager.pid]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    station.manager.send_signal(signal.SIGTERM)
    try:
        station.manager.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(station.manager.pid, signal.SIGKILL)
        station.manager.wait()


def _mount(folder: Path, nbytes: int) -> bool:
    """False where that is not permitted."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={nbytes}", "tmpfs", str(folder)]
    return os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0


def _unmount(folder: Path) -> None:
    # Lazily: whatever still has a file open there ends with the station.
    subprocess.run(["umount", "-l", str(folder)], check=False)
