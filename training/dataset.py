"""Images of a product from a folder in the MVTec-AD layout.

``train/good/*``, ``test/good/*``, ``test/<defect>/*`` and, where masks exist, ``ground_truth/<defect>/<stem>_mask.png``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cameras.frame import Frame
from inspection.domain import MIN_IMAGES as MIN_IMAGES
from inspection.image_files import UnreadableFile, frame_of
from training.errors import TrainingError, UnreadableImage

GOOD = "good"
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})


@dataclass(frozen=True, slots=True)
class TrainingImage:
    """One good image: its name, the SHA-256 of its file, and how to read it (UnreadableImage if that fails)."""

    name: str
    sha256: str
    read: Callable[[], Frame]


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image of ``test/<label>``: its file, its label (``good`` or the defect) and the file of its mask, if it has one."""

    path: Path
    label: str
    mask: Path | None

    @property
    def name(self) -> str:
        return f"{self.label}/{self.path.name}"

    @property
    def good(self) -> bool:
        return self.label == GOOD


def good_images(dataset_dir: Path) -> list[TrainingImage]:
    """The images in ``dataset_dir/train/good``, by name. Raises TrainingError if there are none."""
    folder = dataset_dir / "train" / "good"
    if not folder.is_dir():
        raise TrainingError(f"{dataset_dir} has no folder train/good; put the good images of the product there (MVTec-AD layout)")
    return images_in(folder)


def images_in(folder: Path) -> list[TrainingImage]:
    """The images in ``folder/train/good`` if there is such a folder, else in ``folder``, by name.

    Raises TrainingError if there are none.
    """
    inner = folder / "train" / "good"
    folder = inner if inner.is_dir() else folder
    paths = image_paths(folder) if folder.is_dir() else []
    if not paths:
        raise TrainingError(f"{folder} holds no images ({', '.join(sorted(SUFFIXES))}); put the good images there")
    return [TrainingImage(path.name, file_sha256(path), partial(read_frame, path)) for path in paths]


def labelled_images(dataset_dir: Path) -> list[LabelledImage]:
    """The images in ``dataset_dir/test/*``, by label and name; an empty list if there are none."""
    images = []
    for folder in sorted(path for path in (dataset_dir / "test").glob("*") if path.is_dir()):
        for path in image_paths(folder):
            mask = dataset_dir / "ground_truth" / folder.name / f"{path.stem}_mask.png"
            images.append(LabelledImage(path, folder.name, mask if mask.is_file() else None))
    return images


def image_paths(folder: Path) -> list[Path]:
    """The image files directly in ``folder``, by name; hidden ones belong to the file system, such as ``._part.png``."""
    return sorted(
        path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, which need not fit into memory. Raises UnreadableImage if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UnreadableImage(f"{path}: {error.strerror}; check its permissions or remove it") from error


def read_frame(path: Path) -> Frame:
    """An image file as a frame (``inspection.image_files``). Raises UnreadableImage as ``frame_of`` raises UnreadableFile."""
    try:
        return frame_of(path, str(path))
    except UnreadableFile as error:
        raise UnreadableImage(str(error)) from error


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Defective pixels of a mask file, bool (height, width). Raises UnreadableImage as ``read_frame`` does."""
    pixels = read_frame(path).pixels
    return (pixels if pixels.ndim == 2 else pixels[..., :3].max(-1)) != 0
