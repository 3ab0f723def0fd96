"""The laser marking: a Data Matrix (ECC 200, ISO/IEC 16022) of the serial, the serial in words, the part number."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import zxingcpp

from cameras.simulator.scenes.errors import SceneError
from cameras.simulator.scenes.layers import MARKING, Layers, Plane

PART_NUMBER = "FL-204 / C"
SYMBOL_SIDE = 132  # design units, with the quiet zone
MAX_MODULES = 28  # with the quiet zone; a larger symbol has modules too small to be read in this image


def marking_box(layers: Layers) -> tuple[slice, slice]:
    """Rows and columns of the marked area, in pixels."""
    left, top = layers.xy(MARKING[0], MARKING[1])
    right, bottom = layers.xy(MARKING[2], MARKING[3])
    return slice(round(top), round(bottom)), slice(round(left), round(right))


def draw_marking(serial: str, layers: Layers) -> Plane:
    """Darkness of the marking, float32 0..1, of the shape of ``marking_box``. SceneError if the serial does not fit."""
    rows, columns = marking_box(layers)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    ink = np.zeros((height, width), np.uint8)
    symbol = _symbol(serial)
    side = round(SYMBOL_SIDE * layers.scale)
    # Area sampling from a fine raster keeps modules equally wide at any scale.
    fine = np.repeat(np.repeat(symbol, 16, axis=0), 16, axis=1)
    left = (width - side) // 2
    ink[:side, left : left + side] = cv2.resize(fine, (side, side), interpolation=cv2.INTER_AREA)
    _print(ink, serial, top=side + 22 * layers.scale, text_height=21 * layers.scale)
    _print(ink, PART_NUMBER, top=side + 74 * layers.scale, text_height=17 * layers.scale)
    return ink.astype(np.float32) / np.float32(255)


@lru_cache(maxsize=256)
def _symbol(serial: str) -> np.ndarray:
    """Modules of the Data Matrix with its quiet zone, uint8, 255 where the laser marks."""
    try:
        # Square only: a rectangular symbol would have smaller modules in the same field.
        barcode = zxingcpp.create_barcode(serial, zxingcpp.BarcodeFormat.DataMatrix, force_square=True)
    except ValueError as error:
        raise SceneError(f"serial {serial!r} cannot be marked: {error}; give 1 to 40 characters") from error
    symbol = 255 - np.array(zxingcpp.write_barcode_to_image(barcode, scale=1, add_quiet_zones=True))
    if symbol.shape[0] > MAX_MODULES:
        raise SceneError(f"serial {serial!r} is too long to be marked readably; give at most 40 characters")
    return symbol


def _print(ink: np.ndarray, text: str, top: float, text_height: float) -> None:
    """Draw one centred line of text, made narrower where it would not fit."""
    font, thickness = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(text_height / 10))
    (width, height), _ = cv2.getTextSize(text, font, 1.0, thickness)
    size = min(text_height / height, (ink.shape[1] - 4) / width)
    x = round((ink.shape[1] - width * size) / 2)
    cv2.putText(ink, text, (x, round(top + text_height)), font, size, 255, thickness, cv2.LINE_AA)
