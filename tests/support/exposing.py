"""A simulated camera in the hands of a test: how it is set, what it shows, and one exposure at a time."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cameras.camera import Camera, FeatureValue
from cameras.frame import Frame
from cameras.simulator.control import SimulatedCamera

WIDTH, HEIGHT = 64, 48
# As bright as nominal, and ready again after 0.1 ms.
TRIGGERED: dict[str, FeatureValue] = {
    "AcquisitionFrameRate": 10_000.0,
    "ExposureTime": 100.0,
    "Gain": 20.0,
    "TriggerMode": "On",
    "TriggerSource": "Line1",
    "ChunkModeActive": True,
}


def random_scene(seed: int, shape: tuple[int, ...] = (HEIGHT, WIDTH), dtype: type = np.uint8) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def receive(camera: Camera, timeout_s: float = 5.0) -> Frame:
    """The next frame, which must come."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        frame = camera.fetch(0.05)
        if frame is not None:
            return frame
    raise AssertionError(f"no frame in {timeout_s} s")


def expose(simulated: SimulatedCamera) -> int:
    """One edge; returns its time stamp when it has become an exposure and the sensor is ready for the next."""
    exposures = simulated.exposures
    timestamp_ns = simulated.edge()
    until = time.monotonic() + 5
    while simulated.exposures == exposures:
        assert time.monotonic() < until, "the edge started no exposure"
        time.sleep(0.0005)
    time.sleep(0.0005)
    return timestamp_ns
