"""``station demo``: from nothing to a running line on a simulated camera, and what it did at the end."""

from __future__ import annotations

import math
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from rich.console import Console

from cameras.bus import Bus
from cameras.simulator.control import SimulatedCamera
from cameras.simulator.scenes import DEFECTS, Photo, load_folder, read_pixels, render, resize_to, write_dataset
from inspection import config as configuration
from inspection.cell import Cell, CellPart, Outcome
from inspection.config import Config, PlcConfig, prepare_directories
from inspection.deploying import deploy_artifact
from inspection.domain import Output
from inspection.errors import StationError
from inspection.messages import CellMessage
from inspection.plc.conveyor import Conveyor
from inspection.records.database import migrate, open_engine
from inspection.records.deployments import model_in_service
from inspection.starting import close_lots, free_port, open_lots, running_station
from inspection.summary import print_summary, summarize

CAMERA, SERIAL = "top", "SIM0001"
RENDERED_PRODUCT, UNNAMED_PRODUCT = "flange", "part"
# Of the rendered parts, this share has a defect.
_DEFECT_SHARE = 0.25
_SEED = 20_260
# On a busy machine a process may wait long for its turn; the demo shows detection, not a conveyor's geometry.
_DEADLINE_MS = 1_000.0
# Between parts on the belt in front of the simulated PLC, and by which share its speed goes up and down.
_PITCH_MM, _SPEED_CHANGE = 100.0, 0.3


def part_number(images: Path) -> str:
    """A name that the configuration takes, as like to that of the folder as can be."""
    plain = unicodedata.normalize("NFKD", images.name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_-]+", "-", plain).strip("-_")[:32].rstrip("-_") or UNNAMED_PRODUCT


class Demo:
    """One run of the demo; the arguments are those of ``station demo``."""

    def __init__(
        self,
        images: Path | None,
        rate: float,
        parts: int | None,
        lots: int,
        exit_: bool,
        json: Path | None,
        data: Path,
        port: int,
        plc: bool,
    ) -> None:
        self._images = images.resolve() if images else None
        self._photos = load_folder(self._images) if self._images else None
        self._rate = rate
        self._parts = parts if parts is not None else (len(self._photos.test) if self._photos and exit_ else None)
        self._lots = lots
        self._exit = exit_
        self._json = json
        self._data = data.resolve()
        self._port = free_port(port)
        self._plc = plc
        self._product = part_number(self._images) if self._images else RENDERED_PRODUCT
        # With the summary on standard output, nothing else may be there.
        self._console = Console(stderr=json is not None and str(json) == "-")
        if not self._console.is_terminal:
            self._console.width = 140
        self._outcomes: list[Outcome] = []
        if exit_ and self._parts is None:
            raise StationError("--exit needs --parts N, or --images DIR whose test images are then shown once each")

    def run(self) -> None:
        config_path = self._write_config()
        config = configuration.load(config_path)
        prepare_directories(config)
        camera = self._simulate_camera(config)
        fit_s = self._ensure_model(config)
        stamp = f"{datetime.now(UTC):%y%m%d-%H%M%S}"
        lots = [f"{self._product}-{stamp}-{number + 1}" for number in range(self._lots)]
        try:
            with ExitStack() as stack:
                with self._console.status("starting the line …"):
                    stack.enter_context(running_station(config, config_path))
                open_lots(config, lots, self._product)
                self._console.print(f"[bold]The page is at {config.web.url}/[/bold]  (stop with Ctrl-C)")
                self._convey(config, camera, lots)
                close_lots(config, lots)
                self._finish(config, lots, fit_s)
        finally:
            camera.close()

    # --- before the line starts ---

    def _write_config(self) -> Path:
        self._data.mkdir(parents=True, exist_ok=True)
        pixel_format = "RGB8" if self._sensor()[2] else "Mono8"
        path = self._data / "station.toml"
        path.write_text(
            f"""# Written by `station demo`.
[station]
name = "demo"
data_dir = "."

[[cameras]]
name = "{CAMERA}"
serial = "{SERIAL}"
producer = "simulator"

[cameras.features]
PixelFormat = "{pixel_format}"
TriggerMode = "On"
TriggerSource = "Line1"
ExposureTime = 1000.0
AcquisitionFrameRate = 500.0
ChunkModeActive = true

[[products]]
part_number = "{self._product}"
camera = "{CAMERA}"
deadline_ms = {_DEADLINE_MS}

[line]
# A part stands still until its exposure is allowed: rather slow than lost on a busy machine.
expose_window_ms = 500

[web]
port = {self._port}
{self._plc_section() if self._plc else ""}""",
            encoding="utf-8",
        )
        return path

    def _plc_section(self) -> str:
        """A belt on which parts lie as far apart as the rate asks for, with the rejector where every verdict is in time."""
        fastest = self._rate * _PITCH_MM * (1 + _SPEED_CHANGE)
        distance = fastest * (_DEADLINE_MS + 200) / 1000 + 2 * _PITCH_MM
        return f"""
[plc]
port = {free_port(1502)}
camera = "{CAMERA}"
watchdog_ms = 1000
confirm_ms = 5000
rejector_distance_mm = {distance}
accept_window_mm = {_PITCH_MM}
max_speed_mm_per_s = {fastest}
actuator_ms = 20
"""

    def _sensor(self) -> tuple[int, int, bool]:
        if self._photos is None:
            return 960, 720, False
        first = read_pixels(self._photos.train_good[0])
        return first.shape[1], first.shape[0], first.ndim == 3

    def _simulate_camera(self, config: Config) -> SimulatedCamera:
        width, height, color = self._sensor()
        # A former demo may have left one of another size.
        shutil.rmtree(config.simulator_dir / SERIAL, ignore_errors=True)
        return SimulatedCamera.create(config.simulator_dir, SERIAL, width, height, color)

    def _ensure_model(self, config: Config) -> float | None:
        """Train a first model unless one is in service for this product already; seconds of fitting."""
        engine = open_engine(config.database_url)
        migrate(engine)
        with engine.connect() as connection:
            deployed = model_in_service(connection, config.station.name, self._product)
        engine.dispose()
        if deployed is not None:
            self._console.print(f"model {deployed.model[:12]} is in service for {self._product}")
            return None
        dataset = self._images
        if dataset is None:
            dataset = config.data_dir / "dataset"
            if not dataset.exists():
                self._console.print("rendering images of good parts …")
                write_dataset(dataset, seed=_SEED, good=60, test_good=0, per_defect=0)
        report = config.data_dir / "training.json"
        command = [sys.executable, "-m", "training", "train", str(dataset), "--out", str(config.models_dir), "--size", "320"]
        command += ["--product", self._product, "--json", str(report)]
        # Its progress goes where ours goes.
        done = subprocess.run(command, stdout=sys.stderr if self._console.stderr else None, check=False)
        if done.returncode != 0:
            raise StationError("no model could be trained; the reason stands above")
        trained = msgspec.json.decode(report.read_bytes())
        deploy_artifact(config, Path(trained["path"]), self._product, "demo", "first model of the demo")
        return float(trained["seconds"])

    # --- while it runs ---

    def _convey_by_plc(self, plc: PlcConfig, camera: SimulatedCamera, lots: list[str]) -> None:
        """The belt goes faster and slower; after Ctrl-C the parts on it still reach their bins."""

        def speed_mm_per_s(seconds: float) -> float:
            return self._rate * _PITCH_MM * (1 + _SPEED_CHANGE * math.sin(seconds * math.tau / 10))

        belt = Conveyor(plc, camera, _PITCH_MM, speed_mm_per_s)
        stopped = threading.Event()
        former = signal.signal(signal.SIGINT, lambda *_: stopped.set()), signal.signal(signal.SIGTERM, lambda *_: stopped.set())
        with self._console.status("waiting for the PLC's first trigger …") as status:

            def parts() -> Iterator[CellPart]:
                for part in self._scenes(lots):
                    if stopped.is_set():
                        return
                    yield part
                    accepted = sum(each.bin is Output.ACCEPT for each in belt.parts)
                    status.update(f"{len(belt.parts)} parts on the belt and in the bins, {accepted} of them accepted")

            belt.run(parts())
            if not self._exit and self._parts is not None:
                status.update(f"{self._parts} parts are done; the page stays until Ctrl-C")
                stopped.wait()
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), former, strict=True):
            signal.signal(number, handler)
        for each in belt.parts:
            outcome = Outcome(each.lot, each.serial, each.defect, 0, each.inspection_id, each.exposed, verdict=each.verdict)
            outcome.output = each.bin or Output.REJECT
            self._outcomes.append(outcome)

    def _convey(self, config: Config, camera: SimulatedCamera, lots: list[str]) -> None:
        if config.plc is not None:
            self._convey_by_plc(config.plc, camera, lots)
            return
        bus = Bus(config.run_dir, "cell", CellMessage)
        with self._console.status("waiting for the first part …") as status:
            cell = Cell(bus, camera, CAMERA, _DEADLINE_MS, lambda outcome: self._show(outcome, status))

            def stop(_signal: int, _frame: object) -> None:
                cell.running = False

            former = signal.signal(signal.SIGINT, stop), signal.signal(signal.SIGTERM, stop)
            cell.run(self._scenes(lots), self._rate)
            # Also after Ctrl-C: the parts on the conveyor get their rows.
            cell.running = True
            cell.run((), self._rate)
            if not self._exit and cell.running and self._parts is not None:
                status.update(f"{self._parts} parts are done; the page stays until Ctrl-C")
                while cell.running:
                    time.sleep(0.2)
            signal.signal(signal.SIGINT, former[0])
            signal.signal(signal.SIGTERM, former[1])
        bus.close()

    def _show(self, outcome: Outcome, status: Any) -> None:
        self._outcomes.append(outcome)
        reason = f" ({outcome.reason})" if outcome.reason else ""
        status.update(
            f"{len(self._outcomes)} parts, last {outcome.lot} {outcome.serial}: {outcome.verdict}{reason} → {outcome.output}"
            f"   accepted {sum(item.output == 'accept' for item in self._outcomes)}"
        )

    def _scenes(self, lots: list[str]) -> Iterator[CellPart]:
        """The parts in the order of the conveyor; lots follow one another if the number of parts is known, else they take
        turns.
        """
        source = self._rendered() if self._photos is None else self._photographed(self._photos.test)
        for number, (serial, pixels, defect) in enumerate(source):
            if number == self._parts:
                return
            lot = lots[number * len(lots) // self._parts] if self._parts is not None else lots[number // 50 % len(lots)]
            yield CellPart(lot, serial, pixels, defect)

    def _rendered(self) -> Iterator[tuple[str, np.ndarray, str | None]]:
        chance = random.Random(_SEED)  # noqa: S311  (a seeded demo)
        number = 0
        while True:
            number += 1
            defect = chance.choice(DEFECTS) if chance.random() < _DEFECT_SHARE else None
            serial = f"SN{number:06d}"
            yield serial, render(serial, _SEED + 1_000_000 + number, defect, chance.uniform(0.2, 1)).pixels, defect

    def _photographed(self, photos: tuple[Photo, ...]) -> Iterator[tuple[str, np.ndarray, str | None]]:
        """Test photographs in a seeded order; from the second round on, serials carry the round's number."""
        width, height, color = self._sensor()
        order = list(photos)
        random.Random(_SEED).shuffle(order)  # noqa: S311  (a seeded demo)
        turn = 0
        while True:
            turn += 1
            for photo in order:
                serial = f"{photo.defect or 'good'}-{photo.path.stem}" + (f"-{turn}" if turn > 1 else "")
                pixels = resize_to(read_pixels(photo.path), width, height)
                if pixels.ndim == 2 and color:
                    pixels = np.repeat(pixels[..., None], 3, axis=2)
                yield serial[:64], pixels, photo.defect

    # --- the end ---

    def _finish(self, config: Config, lots: list[str], fit_s: float | None) -> None:
        engine = open_engine(config.database_url, read_only=True)
        with engine.connect() as connection:
            summary = summarize(connection, lots, self._outcomes)
        engine.dispose()
        summary["fit_s"] = fit_s
        print_summary(self._console, summary)
        if self._json is None:
            return
        data = msgspec.json.format(msgspec.json.encode(summary))
        if str(self._json) == "-":
            sys.stdout.buffer.write(data + b"\n")
        else:
            self._json.write_bytes(data + b"\n")
