"""Photographs of a product from a folder in the MVTec-AD layout (Bergmann et al., IJCV 129, 2021).

``train/good/*``, ``test/good/*``, ``test/<defect>/*`` and, where drawn, ``ground_truth/<defect>/<stem>_mask.png``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from cameras.simulator.scenes.errors import SceneError

Pixels = NDArray[np.uint8 | np.uint16]

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff"})


@dataclass(frozen=True, slots=True)
class Photo:
    """One test image; ``defect`` is None for a good part, ``mask_path`` None where no mask was drawn."""

    path: Path
    defect: str | None
    mask_path: Path | None


@dataclass(frozen=True, slots=True)
class PhotoSet:
    """The images of one product, each tuple sorted by folder and name."""

    train_good: tuple[Path, ...]
    test: tuple[Photo, ...]

    @property
    def defects(self) -> tuple[str, ...]:
        """Names of the defects that the test images show."""
        return tuple(sorted({photo.defect for photo in self.test if photo.defect is not None}))


def load_folder(path: Path) -> PhotoSet:
    """The images below ``path``; none is opened. SceneError if ``train/good`` or the test images are missing."""
    if not path.is_dir():
        raise SceneError(f"{path} is not a folder; give a folder with train/good and test in it")
    train_good = _images(path / "train" / "good")
    if not train_good:
        raise SceneError(f"{path / 'train' / 'good'} holds no images; put images of good parts there")
    test = path / "test"
    folders = sorted(folder for folder in test.iterdir() if folder.is_dir()) if test.is_dir() else []
    photos = tuple(
        Photo(image, None, None)
        if folder.name == "good"
        else Photo(image, folder.name, _mask(path / "ground_truth" / folder.name / f"{image.stem}_mask.png"))
        for folder in folders
        for image in _images(folder)
    )
    if not photos:
        raise SceneError(f"{test} holds no images; put test images in {test / 'good'} and {test}/<defect>")
    return PhotoSet(train_good, photos)


def read_pixels(path: Path) -> Pixels:
    """The image: grey as H×W uint8 or uint16, colour as RGB H×W×3 of the same depths. SceneError if it cannot be read.

    The depth of the file is kept, never rescaled; an alpha channel is dropped.
    """
    try:
        encoded = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise SceneError(f"{path} cannot be read: {error.strerror}; check that it exists and is readable") from error
    try:
        decoded = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED) if encoded.size else None
    except cv2.error as error:
        raise SceneError(f"{path} is not a readable image ({error.err}); replace or remove it") from error
    if decoded is None:
        raise SceneError(f"{path} is not a readable image; replace or remove it")
    if decoded.dtype not in (np.uint8, np.uint16):
        raise SceneError(f"{path} has pixels of type {decoded.dtype}; convert it to 8 or 16 bit")
    if decoded.ndim == 3:
        decoded = cv2.cvtColor(decoded, cv2.COLOR_BGRA2RGB if decoded.shape[2] == 4 else cv2.COLOR_BGR2RGB)
    return cast(Pixels, decoded)


def resize_to(pixels: Pixels, width: int, height: int) -> Pixels:
    """The image at the sensor's size, by area averaging; it is stretched where its aspect ratio is another one."""
    if pixels.shape[:2] == (height, width):
        return pixels
    return cast(Pixels, cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA))


def _images(folder: Path) -> tuple[Path, ...]:
    if not folder.is_dir():
        return ()
    return tuple(sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file()))


def _mask(path: Path) -> Path | None:
    return path if path.is_file() else None
