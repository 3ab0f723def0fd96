"""Frame → network input, the same code when a model is trained and when it decides.

Every pixel format ends as three channels in RGB order, scaled by the format's full scale and never by the image's own
maximum, so a dark frame stays dark and 10, 12 or 16 bits keep their depth.
"""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from cameras.errors import UnsupportedPixelFormat
from cameras.frame import Frame, PixelFormat

Pixels = NDArray[np.integer[Any] | np.floating[Any]]
"""What OpenCV's type hints take; here always uint8 or uint16."""

STRIDE = 16
"""The features used come from strides 8 and 16; sides are multiples of 16 so that both grids fit the input evenly."""


def input_size(width: int, height: int, longer_side: int) -> tuple[int, int]:
    """Network input (width, height) in pixels for frames of this size: their aspect ratio, in multiples of ``STRIDE``."""
    scale = longer_side / max(width, height)
    return max(STRIDE, round(width * scale / STRIDE) * STRIDE), max(STRIDE, round(height * scale / STRIDE) * STRIDE)


def network_input(frame: Frame, width: int, height: int) -> NDArray[np.float32]:
    """The frame as float32 of shape (1, 3, height, width), RGB, 1.0 at the pixel format's full scale.

    Raises UnsupportedPixelFormat if the pixels do not have the shape and dtype that the pixel format states.
    """
    pixels, pixel_format = frame.pixels, frame.pixel_format
    shaped = pixels.ndim >= 2 and pixels.size > 0 and pixels.shape == pixel_format.shape(frame.width, frame.height)
    if not shaped or pixels.dtype != pixel_format.dtype:
        raise UnsupportedPixelFormat(
            f"a {pixel_format.name} frame must hold {pixel_format.dtype} pixels in {pixel_format.channels} channel(s), "
            f"this one holds {pixels.dtype} of shape {pixels.shape}; check the camera's PixelFormat"
        )
    small = _shrink(_rgb_or_mono(cast(Pixels, pixels), pixel_format), width, height)
    scaled = small.astype(np.float32) * np.float32(1.0 / pixel_format.full_scale)
    if scaled.ndim == 2:
        return np.repeat(scaled[np.newaxis, np.newaxis], 3, axis=1)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[np.newaxis])


def _rgb_or_mono(pixels: Pixels, pixel_format: PixelFormat) -> Pixels:
    """Bayer demosaiced to RGB and alpha dropped, in the dtype of the frame; one channel stays one channel."""
    if pixel_format.is_bayer:
        # GenICam names a mosaic by its first row (RG / GB); OpenCV's older names take the second row and column.
        return cv2.cvtColor(pixels, cv2.COLOR_BayerRGGB2RGB)
    return pixels[..., :3] if pixel_format.channels == 4 else pixels


def _shrink(pixels: Pixels, width: int, height: int) -> Pixels:
    """Area-averaged to (height, width) in the dtype of the frame.

    Halving first is 2 to 10 times faster than one area resize by a fraction, and no float image of full size exists.
    """
    pixels = np.ascontiguousarray(pixels)
    while pixels.shape[1] >= 2 * width and pixels.shape[0] >= 2 * height:
        half_height, half_width = pixels.shape[0] // 2, pixels.shape[1] // 2
        pixels = cv2.resize(pixels[: 2 * half_height, : 2 * half_width], (half_width, half_height), interpolation=cv2.INTER_AREA)
    enlarging = pixels.shape[1] < width or pixels.shape[0] < height
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR if enlarging else cv2.INTER_AREA)
