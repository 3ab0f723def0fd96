"""What one image file holds, as far as a check of many files needs to know."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cameras.frame import PixelFormat
from training.dataset import DAMAGED, file_sha256, open_image, read_frame
from training.errors import UnreadableImage

BLANK_RANGE = 0.01
"""Pixels that differ by no more than this share of full scale show nothing: a covered lens, no light, far too much."""
_ORIENTATION = 0x0112
_UPRIGHT = 1


@dataclass(frozen=True, slots=True)
class Picture:
    """A readable image file.

    ``pixels_sha256`` is of the pixels alone, grey if all channels agree: the same picture in another lossless format has the
    same. ``largest`` is the largest pixel value.
    """

    name: str
    folder: str
    sha256: str
    pixels_sha256: str
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
    try:
        with open_image(path) as image:
            # Pillow names the pixels in the file, such as "RGB;16B", nowhere but in what its decoder is told.
            stored = str([tile[3] for tile in getattr(image, "tile", ())])
            turned = image.getexif().get(_ORIENTATION, _UPRIGHT) != _UPRIGHT
            pages = getattr(image, "n_frames", 1)
    except DAMAGED as error:
        raise UnreadableImage(f"{path}: {error or 'damaged'}; take the image again or remove it") from error
    pixels = frame.pixels
    lowest, highest = pixels.min(axis=(0, 1)), pixels.max(axis=(0, 1))
    full_scale = frame.pixel_format.full_scale
    if pixels.ndim == 3:
        pixels = pixels[..., :3]
        if np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 0], pixels[..., 2]):
            pixels = pixels[..., 0]
    return Picture(
        name=path.relative_to(root).as_posix(),
        folder=path.parent.relative_to(root).as_posix(),
        sha256=file_sha256(path),
        pixels_sha256=hashlib.sha256(str(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest(),
        width=frame.width,
        height=frame.height,
        pixel_format=frame.pixel_format,
        largest=int(highest.max()),
        blank=bool(np.all(highest.astype(int) - lowest.astype(int) <= BLANK_RANGE * full_scale)),
        reduced=";16" in stored and frame.pixel_format is not PixelFormat.Mono16,
        turned=turned,
        pages=pages,
    )
