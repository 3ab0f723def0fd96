"""Frames and maps made viewable: 8 bit by the pixel format's full scale, colour from Bayer mosaics, maps as heat maps.

Maps are stored as 16-bit gray, value = score / (2 × fail threshold) × 65535: mid-scale is the fail threshold.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from cameras.frame import PixelFormat
from inspection.errors import StationError
from inspection.png import decode_png

Pixels = NDArray[np.uint8]

THUMBNAIL_WIDTH = 320

# Position (1 = twice the fail threshold), red, green, blue, opacity: nothing well below it, amber towards the threshold,
# red at and beyond it. Opacity grows with the score too, so that it is not told by colour alone.
_RAMP = np.array(
    [
        (0.00, 255, 214, 70, 0.00),
        (0.43, 255, 214, 70, 0.00),
        (0.50, 255, 150, 25, 0.62),
        (0.58, 250, 110, 20, 0.70),
        (0.75, 215, 20, 40, 0.80),
        (1.00, 140, 0, 110, 0.90),
    ]
)
_LEVELS = np.linspace(0, 1, 256)
_HEAT = np.stack(
    [np.interp(_LEVELS, _RAMP[:, 0], _RAMP[:, 1 + channel] * scale) for channel, scale in enumerate((1, 1, 1, 255))],
    axis=1,
)
_HEAT_RGBA = np.round(_HEAT).astype(np.uint8)


def view(pixels: NDArray[np.generic], pixel_format: PixelFormat) -> Pixels:
    """A frame as people see it: uint8, (height, width) gray or (height, width, 3) RGB."""
    image = pixels.astype(pixel_format.dtype, copy=False)
    if pixel_format.is_bayer:
        image = cv2.cvtColor(image, cv2.COLOR_BayerRGGB2RGB)
    if pixel_format is PixelFormat.RGBa8:
        image = image[:, :, :3]
    return cv2.convertScaleAbs(image, alpha=255 / pixel_format.full_scale).astype(np.uint8, copy=False)


def thumbnail(pixels: Pixels) -> Pixels:
    """At most THUMBNAIL_WIDTH wide, in proportion."""
    height, width = pixels.shape[:2]
    if width <= THUMBNAIL_WIDTH:
        return pixels
    size = (THUMBNAIL_WIDTH, max(1, round(height * THUMBNAIL_WIDTH / width)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def decode_map(data: bytes) -> NDArray[np.uint16]:
    """The values of a stored map, (height, width) uint16; StationError if the bytes are no map."""
    values = decode_png(data)
    if values is None or values.dtype != np.uint16 or values.ndim != 2:
        raise StationError("the stored map cannot be decoded; its file is damaged")
    return values.astype(np.uint16, copy=False)


def heat_map(values: NDArray[np.uint16], width: int, height: int) -> Pixels:
    """A map as (height, width, 4) RGBA uint8, transparent where the score is low: to be laid over the frame."""
    resized = cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)
    return _HEAT_RGBA[cv2.convertScaleAbs(resized, alpha=255 / 65535)]


def overlay(frame: Pixels, heat: Pixels) -> Pixels:
    """A view of a frame with the heat map of its size laid over it: (height, width, 3) RGB uint8."""
    base = frame if frame.ndim == 3 else frame[:, :, np.newaxis]
    opacity = heat[:, :, 3:].astype(np.float32) / 255
    return np.round(base * (1 - opacity) + heat[:, :, :3] * opacity).astype(np.uint8)


def png(pixels: Pixels) -> bytes:
    """PNG file of gray, RGB or RGBA pixels; fast rather than small, because it is made on request."""
    return cv2.imencode(".png", _for_encoder(pixels), [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


def jpeg(pixels: Pixels) -> bytes:
    """JPEG file of gray or RGB pixels."""
    return cv2.imencode(".jpg", _for_encoder(pixels))[1].tobytes()


def _for_encoder(pixels: Pixels) -> Pixels:
    # OpenCV's encoders take blue first.
    if pixels.ndim == 2:
        return pixels
    code = cv2.COLOR_RGBA2BGRA if pixels.shape[2] == 4 else cv2.COLOR_RGB2BGR
    return cv2.cvtColor(pixels, code).astype(np.uint8, copy=False)
