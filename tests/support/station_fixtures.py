"""Fixtures for tests that run a whole station; a conftest.py takes them in by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from running_station import PRODUCT, RunningStation, scene


@pytest.fixture(scope="session")
def plate_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on the good parts that the stations show, in a process of its own as `station train` does it."""
    folder = tmp_path_factory.mktemp("plates")
    good = folder / "train" / "good"
    good.mkdir(parents=True)
    for number in range(1_000_000, 1_000_030):
        cv2.imwrite(str(good / f"{number}.png"), scene(number))
    models = folder / "models"
    command = [sys.executable, "-m", "training", "train", str(folder), "--out", str(models), "--product", PRODUCT]
    # The network's input is no larger than the frames, which keeps two cores free for the rest of the station.
    command += ["--size", "160"]
    subprocess.run(command, check=True, timeout=240)
    return next(models.iterdir())


@pytest.fixture
def station(tmp_path: Path, plate_model: Path) -> RunningStation:
    """Not started yet: tests enter it."""
    return RunningStation(tmp_path, plate_model)
