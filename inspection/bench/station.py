"""A station that is measured: the real processes on simulated cameras, on a model of rendered parts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import msgspec
import numpy as np
import psutil
from numpy.typing import NDArray

from cameras.simulator.control import SimulatedCamera
from cameras.simulator.scenes import read_pixels, render, write_dataset
from inspection import config as configuration
from inspection.artifact import read_artifact, write_artifact
from inspection.cell import CellPart
from inspection.config import Config, prepare_directories
from inspection.deploying import deploy_artifact
from inspection.errors import ModelError, StationError
from inspection.records.database import migrate, open_engine
from inspection.scheduling import beside_inspection
from inspection.starting import free_port, running_station

PRODUCT = "flange"
DEADLINE_MS = 2_000.0
_GOOD_IMAGES, _SCENES, _DEFECT_EVERY = 12, 16, 8


@dataclass(frozen=True, slots=True)
class Sensor:
    width: int
    height: int
    pixel_format: str

    @property
    def color(self) -> bool:
        return self.pixel_format != "Mono8"

    def __str__(self) -> str:
        return f"{self.width} × {self.height} {self.pixel_format}"


@dataclass(frozen=True, slots=True)
class BenchStation:
    """A station while it runs; ``processes`` is its supervisor, ``cameras`` are the handles of its simulated cameras, ``scenes``
    the parts for each of them, without end: never the same twice in a row, which would look like a camera that is stuck.
    """

    config: Config
    processes: subprocess.Popen[bytes]
    cameras: Sequence[SimulatedCamera]
    scenes: Sequence[Iterator[CellPart]]

    def by_name(self) -> dict[str, psutil.Process]:
        """Its processes by the names of their tasks."""
        found = {}
        for process in psutil.Process(self.processes.pid).children(recursive=True):
            arguments = process.cmdline()
            if arguments[1:2] == ["-m"] and len(arguments) > 4:
                found[arguments[4] if arguments[3] == "process" else arguments[3]] = process
        return found


@contextmanager
def bench_station(
    directory: Path, model: Path, sensor: Sensor, cameras: int, records: Config | None = None
) -> Iterator[BenchStation]:
    """A station with so many cameras, all of whose products are judged by ``model``; its data are deleted afterwards. They begin
    as a copy of the SQLite records and images of the station ``records``, which does not run.
    """
    with ExitStack() as stack:
        # Under the data directory, whose disk is the one to measure.
        run_dir = Path(stack.enter_context(TemporaryDirectory(prefix="run-", dir=directory)))
        scenes = bench_scenes(sensor)
        config_path = _write_config(run_dir, sensor, cameras)
        config = configuration.load(config_path)
        prepare_directories(config)
        if records is not None:
            shutil.copyfile(records.data_dir / "station.db", config.data_dir / "station.db")
            shutil.copytree(records.image_dir, config.image_dir, dirs_exist_ok=True)
            # Else the first commits wait until the copy is written.
            os.sync()
        simulated = [_simulated(config, camera.serial, sensor) for camera in config.cameras]
        for camera in simulated:
            stack.callback(camera.close)
        migrate(open_engine(config.database_url))
        _deploy(config, model)
        processes = stack.enter_context(running_station(config, config_path))
        stack.enter_context(beside_inspection())
        yield BenchStation(config, processes, simulated, [cycle(scenes) for _ in simulated])


def bench_scenes(sensor: Sensor) -> list[CellPart]:
    """Parts for that sensor to see, one in eight with a scratch; they have no lot and no serial yet."""
    return [
        CellPart(
            "",
            "",
            _shown(render(f"S{number}", 5_000 + number, _defect(number), 0.7, sensor.width, sensor.height).pixels, sensor),
            _defect(number),
        )
        for number in range(_SCENES)
    ]


def _defect(number: int) -> str | None:
    return "scratch" if number % _DEFECT_EVERY == _DEFECT_EVERY - 1 else None


def _shown(pixels: NDArray[np.uint8], sensor: Sensor) -> NDArray[np.uint8]:
    return np.repeat(pixels[..., None], 3, axis=2) if sensor.color else pixels


def bench_model(directory: Path, sensor: Sensor) -> Path:
    """A model of rendered parts at this sensor's size, in the smallest design; trained once for each version of the station."""
    home = directory / f"{sensor.width}x{sensor.height}{f'-{sensor.pixel_format}' if sensor.color else ''}"
    report = home / "training.json"
    if not _readable(report):
        dataset = home / "dataset"
        if not dataset.exists():
            write_dataset(dataset, 0, good=_GOOD_IMAGES, test_good=0, per_defect=0, width=sensor.width, height=sensor.height)
            if sensor.color:
                _through_a_mosaic(dataset)
        command = [sys.executable, "-m", "training", "train", str(dataset), "--out", str(home / "models"), "--size", "320"]
        done = subprocess.run(
            [*command, "--product", PRODUCT, "--json", str(report)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise StationError(f"no model could be trained: {done.stderr.strip()[-500:]}")
    return Path(msgspec.json.decode(report.read_bytes())["path"])


def _through_a_mosaic(dataset: Path) -> None:
    """Images as the camera sees them: of a grey scene, the mosaic is the image itself."""
    for path in (dataset / "train" / "good").iterdir():
        mosaic = read_pixels(path)
        cv2.imwrite(str(path), cv2.cvtColor(mosaic, cv2.COLOR_BayerRGGB2BGR))


def _readable(report: Path) -> bool:
    try:
        read_artifact(Path(msgspec.json.decode(report.read_bytes())["path"]))
    except (OSError, ModelError):
        return False
    return True


def _write_config(directory: Path, sensor: Sensor, cameras: int) -> Path:
    path = directory / "station.toml"
    names = [f"camera{number + 1}" for number in range(cameras)]
    each = "\n".join(
        f"""
[[cameras]]
name = "{name}"
serial = "BENCH{name}"
ring_slots = 64

[cameras.features]
PixelFormat = "{sensor.pixel_format}"
TriggerMode = "On"
TriggerSource = "Line1"
ExposureTime = 1000.0
AcquisitionFrameRate = 500.0
ChunkModeActive = true

[[products]]
part_number = "{PRODUCT}-{name}"
camera = "{name}"
deadline_ms = {DEADLINE_MS}
"""
        for name in names
    )
    head = '[station]\nname = "bench"\ndata_dir = "."\n'
    tail = f"\n[line]\nexpose_window_ms = 1000\n\n[web]\nport = {free_port(8090)}\n"
    path.write_text(head + each + tail, encoding="utf-8")
    return path


def _simulated(config: Config, serial: str, sensor: Sensor) -> SimulatedCamera:
    return SimulatedCamera.create(config.simulator_dir, serial, sensor.width, sensor.height, sensor.color)


def _deploy(config: Config, model: Path) -> None:
    """One model for each camera's product, of the same network."""
    artifact = read_artifact(model)
    for product in config.products:
        manifest = msgspec.structs.replace(artifact.manifest, product=product.part_number)
        path, _ = write_artifact(config.models_dir, manifest, artifact.files)
        deploy_artifact(config, path, product.part_number, "bench", "benchmark", override="what is measured is the line")
