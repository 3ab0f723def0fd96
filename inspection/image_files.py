"""Image files that people have: PNG, JPEG, BMP and TIFF, at their depth, as frames."""

from __future__ import annotations

import struct
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
    Image.DecompressionBombWarning,
)
"""What Pillow raises for files that are damaged, or larger than its limit of 89 megapixels."""

_FORMATS = {
    "L": PixelFormat.Mono8,
    "RGB": PixelFormat.RGB8,
    "RGBA": PixelFormat.RGBa8,
    "I;16": PixelFormat.Mono16,
}


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
    """The image, its pixels not read yet. Raises one of DAMAGED."""
    with warnings.catch_warnings():
        # Odd metadata is no reason to refuse pixels; a size that may exhaust the memory is.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(BytesIO(file) if isinstance(file, bytes) else file, formats=FILE_FORMATS) as image:
            yield image
