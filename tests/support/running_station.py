"""A whole station for tests: real processes under the process manager, a simulated camera, and a cell that counts for itself."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from cameras.bus import Bus
from cameras.frame import PixelFormat
from cameras.simulator.control import SimulatedCamera
from inspection import config as configuration
from inspection.cell import Cell, CellPart, Outcome
from inspection.commands import CloseLot, OpenLot, Reply
from inspection.config import prepare_directories
from inspection.deploying import deploy_artifact
from inspection.domain import LotSummary
from inspection.images import ImageStore, decode_frame
from inspection.messages import CellMessage
from inspection.processes import end_with_parent
from inspection.recorder_client import ZmqRecorderClient
from inspection.records.database import open_engine
from inspection.records.queries import lot_summary
from inspection.soak.checks import Findings, check_images, check_lot, lot_rows
from inspection.soak.scenes import digest
from inspection.soak.station import pids_of

PRODUCT = "plate"
# Small, so that two cores judge 50 of them a second with time to spare.
WIDTH, HEIGHT = 160, 120


def scene(number: int) -> NDArray[np.uint8]:
    """A good part, different for every number: a plate in its place and light, with its number as a pattern of blocks."""
    random = np.random.default_rng(number)
    image = np.full((HEIGHT, WIDTH), 90, np.float64) + random.normal(0, 8, (HEIGHT, WIDTH))
    top, left = 20 + random.integers(-3, 4), 30 + random.integers(-3, 4)
    image[top : top + 80, left : left + 100] += 50
    image[top + 15 : top + 30, left + 15 : left + 45] -= 70
    image *= random.uniform(0.85, 1.15)
    for bit in range(24):
        row, column = divmod(bit, 12)
        image[105 + row * 6 : 110 + row * 6, 10 + column * 7 : 15 + column * 7] += 25 if number >> bit & 1 else 15
    return np.clip(image, 0, 255).astype(np.uint8)


class RunningStation:
    """Started by ``with``; everything it made in shared memory is removed at the end."""

    def __init__(
        self,
        directory: Path,
        model: Path,
        *,
        deadline_ms: float = 3_000,
        features: dict[str, str] | None = None,
        size: tuple[int, int] = (WIDTH, HEIGHT),
        color: bool = False,
        database_url: str | None = None,
        camera_config: str = "",
        extra_config: str = "",
    ) -> None:
        self.directory = directory
        self.deadline_ms = deadline_ms
        self.config_path = directory / "station.toml"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        extra = "\n".join(f'{name} = "{value}"' for name, value in (features or {"PixelFormat": "Mono8"}).items())
        self.config_path.write_text(
            f"""
[station]
name = "test"
data_dir = "data"
{f'database_url = "{database_url}"' if database_url else ""}

[[cameras]]
name = "top"
serial = "SIM0001"
ring_slots = 256

[cameras.features]
{extra}
TriggerMode = "On"
TriggerSource = "Line1"
ExposureTime = 1000.0
AcquisitionFrameRate = 1000.0
ChunkModeActive = true

{camera_config}

[[products]]
part_number = "{PRODUCT}"
camera = "top"
deadline_ms = {deadline_ms}

[line]
expose_window_ms = 400

[web]
port = {port}

{extra_config}
"""
        )
        self.config = configuration.load(self.config_path)
        self.size, self.color = size, color
        self.set_up()
        deploy_artifact(self.config, model, PRODUCT, "test", "test", override="what is tested is the line")
        self.url = f"http://127.0.0.1:{port}"
        self.shown: dict[str, str] = {}
        self.outcomes: list[Outcome] = []

    def set_up(self) -> None:
        """A fresh run directory with a camera: before the first start, and before another one."""
        shutil.rmtree(self.config.run_dir, ignore_errors=True)
        prepare_directories(self.config)
        self.camera = SimulatedCamera.create(self.config.simulator_dir, "SIM0001", *self.size, self.color)

    def start(self) -> None:
        # NiceGUI does not serve where it sees this.
        environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
        self.manager = subprocess.Popen(
            [sys.executable, "-m", "inspection", "run", str(self.config_path)],
            start_new_session=True,
            preexec_fn=end_with_parent,
            env=environment,
        )

    def stop(self) -> None:
        """SIGTERM, and wait for the end; ``start`` may follow."""
        self.manager.send_signal(signal.SIGTERM)
        self.manager.wait(60)

    def __enter__(self) -> RunningStation:
        self.start()
        self.bus = Bus(self.config.run_dir, "cell", CellMessage)
        self.recorder = ZmqRecorderClient(self.config.commands_address)
        try:
            self.wait_until(self.ready, 90, "the station to be ready")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.manager.send_signal(signal.SIGTERM)
        try:
            self.manager.wait(30)
        finally:
            if self.manager.poll() is None:
                os.killpg(self.manager.pid, signal.SIGKILL)
                self.manager.wait()
            self.bus.close()
            self.recorder.close()
            self.camera.close()
            shutil.rmtree(self.config.run_dir, ignore_errors=True)

    # --- its state ---

    def states(self) -> dict[str, str]:
        try:
            processes = msgspec.json.decode(self.config.status_path.read_bytes())["processes"]
        except (OSError, msgspec.DecodeError):
            return {}
        return {name: process["state"] for name, process in processes.items() if time.monotonic() - process["heard_s"] < 3}

    def ready(self) -> bool:
        states = self.states()
        return states.get("line") == "top: armed" and PRODUCT in states.get("inspector", "") and self._page_answers()

    def _page_answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.config.web.port)) == 0

    def wait_until(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        until = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > until:
                logs = "\n".join(f"== {log.name}\n{log.read_text()[-2000:]}" for log in sorted(self.config.log_dir.glob("*.log")))
                raise AssertionError(f"waited {timeout_s} s for {what}; states {self.states()}\n{logs}")
            time.sleep(0.05)

    def pid(self, name: str) -> int | None:
        """The process with this name, found by its command line."""
        return pids_of(self.config_path).get(name)

    def kill(self, name: str) -> None:
        """kill -9."""
        pid = self.pid(name)
        assert pid is not None, f"process {name} does not run"
        os.kill(pid, signal.SIGKILL)

    # --- parts ---

    def open_lot(self, lot: str) -> Reply:
        return self.recorder.execute(OpenLot(lot=lot, product=PRODUCT))

    def close_lot(self, lot: str) -> Reply:
        return self.recorder.execute(CloseLot(lot=lot))

    def parts(self, lot: str, numbers: Iterable[int]) -> Iterator[CellPart]:
        """Good parts with all different images; what is shown for each serial is remembered."""
        for number in numbers:
            pixels = scene(number)
            serial = f"SN{number:06d}"
            self.shown[serial] = digest(pixels)
            yield CellPart(lot, serial, pixels, None)

    def convey(self, parts: Iterable[CellPart], rate: float) -> list[Outcome]:
        """Run the parts through; returns when every one has its result."""
        before = len(self.outcomes)
        cell = Cell(self.bus, self.camera, "top", self.deadline_ms, self.outcomes.append)
        cell.run(parts, rate)
        return self.outcomes[before:]

    # --- what is recorded ---

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        engine = open_engine(self.config.database_url, read_only=True)
        try:
            with engine.connect() as connection:
                yield connection
        finally:
            engine.dispose()

    def summary(self, lot: str) -> LotSummary:
        with self._reading() as connection:
            return lot_summary(connection, lot)

    def rows(self, lot: str) -> list[dict[str, Any]]:
        """Inspection rows by sequence number, each with ``frame_sha256`` of its stored frame or None."""
        with self._reading() as connection:
            return lot_rows(connection, lot)

    def stored_digest(self, sha256: str) -> str:
        """Digest of the pixels in a stored frame."""
        return digest(decode_frame(ImageStore(self.config.image_dir).read(sha256), PixelFormat.Mono8))

    def check_invariants(self, lot: str) -> None:
        """What must hold after any fault, once every part has its result."""
        self.wait_until(lambda: self.summary(lot).open_triggers == 0, 30, "all triggers to be closed")
        findings = Findings()
        with self._reading() as connection:
            check_lot(connection, lot, [outcome for outcome in self.outcomes if outcome.lot == lot], findings)
        assert not findings.violations, "\n".join(findings.violations)

    def check_images(self, lot: str, least: int = 0) -> None:
        """The image stored for a serial is the image shown for it, once at least so many are stored."""
        self.wait_until(lambda: len(self._stored(lot)) >= least, 30, f"{least} images to be stored")
        findings = Findings()
        check_images(self._reading, ImageStore(self.config.image_dir), self.rows(lot), self.shown.__getitem__, findings)
        assert not findings.violations, "\n".join(findings.violations)

    def _stored(self, lot: str) -> list[dict[str, Any]]:
        return [row for row in self.rows(lot) if row["frame_sha256"] is not None]
