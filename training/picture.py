"""What one image file holds, as far as a check of many files needs to know."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cameras.frame import PixelFormat
from inspection.image_files import DAMAGED, open_image
from training.dataset import file_sha256, read_frame

BLANK_RANGE = 0.01
"""Pixels that differ by no more than this share of full scale show nothing: a covered lens, no light, far too much."""
SKETCH = 32
LOW_BITS = 4096
"""16-bit files without a larger value hold 10 or 12 bits, as cameras send them and as they are not read."""
_ORIENTATION = 0x0112
_UPRIGHT = 1


@dataclass(frozen=True, slots=True)
class Picture:
    """A readable image file.

    ``pixels_sha256`` is of the pixels alone, grey if all channels agree: the same picture in another lossless format has the
    same. ``sketch`` is what remains of the picture without detail, float32 (1024,), grey, 1.0 at full scale. ``largest`` is the
    largest pixel value.
    """

    name: str
    folder: str
    sha256: str
    pixels_sha256: str
    sketch: NDArray[np.float32]
    width: int
    height: int
    pixel_format: PixelFormat
    largest: int
    blank: bool
    reduced: bool
    """More than 8 bits for each colour in the file, of which 8 are read."""
    turned: bool
    """The file asks viewers to turn the picture; training and cameras do not."""
    pages: int

    @property
    def short(self) -> str:
        return self.name.rpartition("/")[2]


def read_picture(root: Path, path: Path) -> Picture:
    """Read a file under ``root`` once. Raises UnreadableImage if it cannot be read as an image."""
    frame = read_frame(path)
    stored, turned, pages = _metadata(path)
    pixels = frame.pixels
    lowest, highest = pixels.min(axis=(0, 1)), pixels.max(axis=(0, 1))
    full_scale = frame.pixel_format.full_scale
    if frame.pixel_format is PixelFormat.Mono16 and highest < LOW_BITS:
        full_scale = 1023 if highest < 1024 else 4095
    if pixels.ndim == 3:
        pixels = pixels[..., :3]
        if np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 0], pixels[..., 2]):
            pixels = pixels[..., 0]
    small = cv2.resize(np.asarray(pixels, pixels.dtype), (SKETCH, SKETCH), interpolation=cv2.INTER_AREA)
    grey = np.asarray(small if small.ndim == 2 else cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
    sketch = grey.astype(np.float32).ravel() / np.float32(full_scale)
    return Picture(
        name=path.relative_to(root).as_posix(),
        folder=path.parent.relative_to(root).as_posix(),
        sha256=file_sha256(path),
        pixels_sha256=hashlib.sha256(str(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest(),
        sketch=sketch,
        width=frame.width,
        height=frame.height,
        pixel_format=frame.pixel_format,
        largest=int(highest.max()),
        blank=bool(np.all(highest.astype(int) - lowest.astype(int) <= BLANK_RANGE * full_scale)),
        reduced=";16" in stored and frame.pixel_format is not PixelFormat.Mono16,
        turned=turned,
        pages=pages,
    )


def _metadata(path: Path) -> tuple[str, bool, int]:
    """Pillow's names of the pixels in the file, such as ``RGB;16B``, whether it is to be turned, and its pages.

    Metadata may be damaged where the pixels are not: then as if there were none.
    """
    with suppress(*DAMAGED), open_image(path) as image:
        # The pixels as stored are named nowhere but in what the decoder is told.
        stored = str([tile[3] for tile in getattr(image, "tile", ())])
        turned = image.getexif().get(_ORIENTATION, _UPRIGHT) != _UPRIGHT
        return stored, turned, getattr(image, "n_frames", 1)
    return "", False, 1
