"""Fixtures for tests that run a whole station; a conftest.py takes them in by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from filelock import FileLock
from running_station import PRODUCT, RunningStation, scene


@pytest.fixture(scope="session")
def plate_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on the good parts that the stations show, in a process of its own as `station train` does it.

    Once, also where several processes run tests, and for several runs that share STATION_TEST_MODELS.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder = Path(os.environ.get("STATION_TEST_MODELS", folder))
    folder /= "plates"
    with FileLock(folder.with_suffix(".lock")):
        models = folder / "models"
        if not models.exists():
            _train_plate_model(folder, models)
    return next(models.iterdir())


def _train_plate_model(folder: Path, models: Path) -> None:
    good = folder / "train" / "good"
    good.mkdir(parents=True)
    for number in range(1_000_000, 1_000_030):
        cv2.imwrite(str(good / f"{number}.png"), scene(number))
    command = [sys.executable, "-m", "training", "train", str(folder), "--out", str(models), "--product", PRODUCT]
    # The network's input is no larger than the frames, which keeps two cores free for the rest of the station.
    command += ["--size", "160"]
    subprocess.run(command, check=True, timeout=240)


@pytest.fixture
def station(tmp_path: Path, plate_model: Path) -> RunningStation:
    """Not started yet: tests enter it."""
    return RunningStation(tmp_path, plate_model)
