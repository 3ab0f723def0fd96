"""The serial that a part carries as a Data Matrix or QR code, read from its frame."""

from __future__ import annotations

import re

import cv2
import numpy as np
import zxingcpp
from numpy.typing import NDArray

from cameras.frame import Frame

_KINDS = zxingcpp.BarcodeFormats([zxingcpp.BarcodeFormat.DataMatrix, zxingcpp.BarcodeFormat.QRCode])


def read_serials(frame: Frame, pattern: re.Pattern[str]) -> list[str]:
    """What ``pattern`` finds in the codes of the frame, each once: its first group, or all that it matches. Codes that it does
    not match belong to something else, such as the box.
    """
    found = (pattern.fullmatch(code.text) for code in zxingcpp.read_barcodes(_gray(frame), formats=_KINDS))
    serials = (match[1] if pattern.groups else match[0] for match in found if match)
    return list(dict.fromkeys(serial or "" for serial in serials))


def may_name(text: str) -> bool:
    """Can this be the serial of a part whose trigger named none? Records hold 64 characters; ``?`` begins provisional ones."""
    return re.fullmatch(r"(?!\?)[^\x00-\x1f\x7f]{1,64}", text) is not None


def _gray(frame: Frame) -> NDArray[np.uint8]:
    """(height, width) uint8 by the format's full scale: codes are black and white."""
    pixels = cv2.convertScaleAbs(np.asarray(frame.pixels), alpha=255 / frame.pixel_format.full_scale)
    if frame.pixel_format.is_bayer:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BayerRGGB2GRAY)
    elif pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels[..., :3], cv2.COLOR_RGB2GRAY)
    return pixels.astype(np.uint8, copy=False)
