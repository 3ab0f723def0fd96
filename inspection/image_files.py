"""Image files that people have: PNG, JPEG, BMP and TIFF, at their depth, as frames."""

from __future__ import annotations

import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from cameras.frame import Frame, PixelFormat
from inspection.errors import StationError

FILE_FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
"""Pillow's decoders that are used, whatever the file's name says: others would start programs or read what no camera sends."""
MAX_PIXELS = 89 * 10**6
"""More may exhaust the memory. Pillow itself warns from about here on, and refuses twice as many."""
DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow raises for files that are damaged, and ``open_image`` for those that are too large."""

_FORMATS = {
    "L": PixelFormat.Mono8,
    "RGB": PixelFormat.RGB8,
    "RGBA": PixelFormat.RGBa8,
    "I;16": PixelFormat.Mono16,
}

# Filters of warnings are those of the process: of two threads that change them, one would leave the other's behind.
_one_at_a_time = threading.Lock()


class UnreadableFile(StationError):
    """The image file is missing, damaged or of a kind that is not read."""


def frame_of(file: Path | bytes, name: str) -> Frame:
    """An image file, or its bytes, as a frame: 8-bit grey, RGB or RGBA, or 16-bit grey, at its depth.

    Raises UnreadableFile, which ``name`` begins, if the file is missing, truncated, damaged or holds other pixels. Pillow is used
    because it refuses files that end early; OpenCV fills the missing part with grey.
    """
    try:
        with open_image(file) as image:
            # Palettes and the like have no counterpart among camera pixel formats.
            decoded = image if image.mode in _FORMATS else image.convert("RGB") if image.mode in "1PCMYK" else None
            if decoded is None:
                raise UnreadableFile(f"{name}: pixels of kind {image.mode} are not read; save as 8-bit RGB or 8/16-bit grey")
            pixels = np.array(decoded)
    except DAMAGED as error:
        raise UnreadableFile(f"{name}: {error or 'damaged'}; take the image again or remove it") from error
    return Frame(pixels, _FORMATS[decoded.mode], frame_id=0, timestamp_ns=0, received_ns=0)


@contextmanager
def open_image(file: Path | bytes) -> Iterator[Image.Image]:
    """The image, its pixels not read yet; one at a time in a process. Raises one of DAMAGED."""
    with _one_at_a_time, warnings.catch_warnings():
        # Odd metadata is no reason to refuse pixels.
        warnings.simplefilter("ignore")
        with Image.open(BytesIO(file) if isinstance(file, bytes) else file, formats=FILE_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width}×{image.height} pixels are more than {MAX_PIXELS / 1e6:g} megapixels")
            yield image
