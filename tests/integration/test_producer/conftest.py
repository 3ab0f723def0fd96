"""Simulated cameras opened through harvesters, as a camera process does it."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from genicam.gentl import ACQ_STOP_FLAGS_LIST, GenericException
from harvesters.core import Harvester
from numpy.typing import NDArray

from cameras.frame import PixelFormat
from cameras.simulator import PRODUCER
from cameras.simulator.build_hook import build
from cameras.simulator.control import SimulatedCamera

BUFFERS = 16


@dataclass(frozen=True)
class Received:
    """One buffer, copied."""

    pixels: NDArray[Any]
    image: bytes
    frame_id: int
    timestamp_ns: int
    received_ns: int
    chunks: dict[str, float]


class Host:
    """One camera opened through harvesters; ``nodes`` is its node map."""

    def __init__(self, serial: str) -> None:
        before = signal.getsignal(signal.SIGINT)
        self.harvester = Harvester()
        self.harvester.add_file(str(PRODUCER))
        self.harvester.update()
        try:
            self.acquirer = self.harvester.create({"serial_number": serial})
        except GenericException:
            self.harvester.reset()
            raise
        finally:
            signal.signal(signal.SIGINT, before)
        self.acquirer.num_buffers = BUFFERS
        self.nodes = self.acquirer.remote_device.node_map

    def set(self, **features: Any) -> None:
        for name, value in features.items():
            getattr(self.nodes, name).value = value

    def read(self, feature: str) -> Any:
        return getattr(self.nodes, feature).value

    def start(self, **features: Any) -> None:
        """Set features and start; edges may follow each other after 0.1 ms unless the test says otherwise."""
        self.set(**{"AcquisitionFrameRate": 10000.0, **features})
        self.acquirer.start()

    def start_triggered(self, source: str = "Line1", **features: Any) -> None:
        self.start(TriggerMode="On", TriggerSource=source, **features)

    def receive(self, timeout_s: float = 5.0) -> Received:
        """The next complete buffer; a genicam exception if none comes."""
        buffer = self.acquirer.fetch(timeout=timeout_s)
        received_ns = time.monotonic_ns()
        assert buffer is not None
        component = buffer.payload.components[0]
        pixel_format = PixelFormat.named(component.data_format)
        image = component.data.tobytes()
        pixels = np.frombuffer(image, pixel_format.dtype).reshape(pixel_format.shape(component.width, component.height))
        received = Received(
            pixels=pixels,
            image=image,
            frame_id=buffer.frame_id,
            timestamp_ns=buffer.timestamp_ns,
            received_ns=received_ns,
            chunks=self._chunks() if self.nodes.ChunkModeActive.value else {},
        )
        buffer.queue()
        return received

    def _chunks(self) -> dict[str, float]:
        names = ("FrameID", "Timestamp", "CounterValue", "ExposureTime", "PayloadCRC32")
        return {name: getattr(self.nodes, f"Chunk{name}").value for name in names}

    def close(self) -> None:
        """The order that recovers from a lost camera as well."""
        try:
            self.acquirer.stop()
        except GenericException:
            for stream in self.acquirer.data_streams:
                stream.stop_acquisition(ACQ_STOP_FLAGS_LIST.ACQ_STOP_FLAGS_KILL)
        self.acquirer.destroy()
        self.harvester.reset()


@pytest.fixture(scope="session", autouse=True)
def _producer() -> None:
    """The tests are about the sources as they are now."""
    build()
    logging.getLogger("harvesters").setLevel(logging.CRITICAL)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of this test's cameras."""
    monkeypatch.setenv("STATION_SIMULATOR", str(tmp_path / "cameras"))
    return tmp_path / "cameras"


@pytest.fixture
def make_camera(root: Path) -> Iterator[Callable[..., SimulatedCamera]]:
    made = []

    def make(
        serial: str = "cam-1", width: int = 64, height: int = 48, color: bool = False, noise: float = 0.0
    ) -> SimulatedCamera:
        made.append(SimulatedCamera.create(root, serial, width, height, color, noise))
        return made[-1]

    yield make
    for camera in made:
        camera.close()


@pytest.fixture
def camera(make_camera: Callable[..., SimulatedCamera]) -> SimulatedCamera:
    """64 x 48 pixels, serial cam-1, monochrome."""
    return make_camera()


@pytest.fixture
def host(camera: SimulatedCamera) -> Iterator[Host]:
    """The camera ``cam-1``, opened."""
    host = Host(camera.serial)
    yield host
    host.close()


@pytest.fixture
def open_host() -> Iterator[Callable[[str], Host]]:
    """Opens cameras that the test closes, or that are closed after it. One Harvester at a time can use a producer."""
    opened: list[Host] = []

    def open_(serial: str) -> Host:
        opened.append(Host(serial))
        return opened[-1]

    yield open_
    for host in reversed(opened):
        if host.acquirer.is_valid():
            host.close()


@pytest.fixture
def scene() -> Callable[..., NDArray[Any]]:
    """Random pixels: scene(seed, shape=(48, 64), dtype=uint8)."""

    def make(seed: int, shape: tuple[int, ...] = (48, 64), dtype: type = np.uint8) -> NDArray[Any]:
        return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)

    return make


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    """Polls a condition that another thread will fulfil; fails after 5 s."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 5
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come about within 5 s"
            time.sleep(0.0005)

    return wait
