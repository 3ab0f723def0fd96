"""Writes rendered parts as a folder in the MVTec-AD layout: what a station without photographs learns from."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cameras.simulator.scenes.defects import DEFECTS
from cameras.simulator.scenes.errors import SceneError
from cameras.simulator.scenes.part import render

# Fast lossless PNG: a level above 1 takes several times as long and saves a few percent on noisy images.
PNG_FLAGS = (cv2.IMWRITE_PNG_COMPRESSION, 1)


def write_dataset(
    out: Path, seed: int, good: int = 60, test_good: int = 20, per_defect: int = 6, width: int = 960, height: int = 720
) -> None:
    """Write ``good`` training images, ``test_good`` good test images, and ``per_defect`` masked images of each defect.

    Severities are spread evenly over 0..1. The same arguments give the same files. SceneError if ``out`` is not empty:
    images of another seed would mix with these.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SceneError(f"{out} exists and is not an empty folder; give a new one")
    number = 0
    for folder, defect, count in (
        ("train/good", None, good),
        ("test/good", None, test_good),
        *((f"test/{defect}", defect, per_defect) for defect in DEFECTS),
    ):
        (out / folder).mkdir(parents=True)
        if defect is not None:
            (out / "ground_truth" / defect).mkdir(parents=True)
        for index in range(count):
            severity = index / (count - 1) if count > 1 else 0.5
            scene = render(f"S{number:06d}", seed + number, defect, severity, width, height)
            number += 1
            _write_png(out / folder / f"{index:03d}.png", scene.pixels)
            if defect is not None:
                _write_png(out / "ground_truth" / defect / f"{index:03d}_mask.png", scene.mask)


def _write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    _, encoded = cv2.imencode(".png", pixels, PNG_FLAGS)
    path.write_bytes(encoded.tobytes())
