"""Parts that can be told apart to the bit: every serial has its own image, made again from its number whenever it is checked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inspection.cell import CellPart

Pixels = NDArray[np.uint8]
_BITS = 40


@dataclass(frozen=True)
class Scenes:
    """``pixels`` gives the image of a part by its number; ``defect`` what is wrong with it, if so."""

    pixels: Callable[[int], Pixels]
    defect: Callable[[int], str | None]

    def part(self, lot: str, number: int, spoilt: str | None) -> CellPart:
        """``spoilt`` names what the optics do to the picture; it stands as the part's defect then."""
        return CellPart(lot, serial(number), self._shown(number, spoilt), spoilt or self.defect(number))

    def digest(self, serial: str, defect: str | None) -> str:
        """Of the image that was shown for this serial."""
        return digest(self._shown(int(serial.removeprefix("SN")), defect))

    def _shown(self, number: int, defect: str | None) -> Pixels:
        pixels = self.pixels(number)
        return SPOILT[defect](pixels) if defect in SPOILT else pixels


def serial(number: int) -> str:
    return f"SN{number:09d}"


def digest(pixels: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def numbered(scenes: Sequence[CellPart]) -> Scenes:
    """A few rendered parts over and over, each time with the part's number in the lowest bits of its first pixels."""

    def pixels(number: int) -> Pixels:
        image = np.array(scenes[number % len(scenes)].pixels, np.uint8)
        bits = number >> np.arange(_BITS) & 1
        image[0, :_BITS] = (image[0, :_BITS] & 0xFE) | bits.astype(np.uint8)
        return image

    return Scenes(pixels, lambda number: scenes[number % len(scenes)].defect)


def _blurred(pixels: Pixels) -> Pixels:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), pixels.shape[1] / 25), np.uint8)


# The lowest bits stay, so that the last part's picture cannot be taken for this one's.
SPOILT: dict[str, Callable[[Pixels], Pixels]] = {
    "black": lambda pixels: np.bitwise_and(pixels, np.uint8(3)),
    "saturated": lambda pixels: np.bitwise_or(pixels, np.uint8(0xFC)),
    "blurred": _blurred,
}
"""What dirt, a dead lamp or a moved lens make of a picture. No part may pass on such a picture."""
