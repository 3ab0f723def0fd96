"""What the inspector remembers of optics from one frame to the next: is the image a new one, and where are the figures going?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cameras.frame import Frame
from inspection.artifact import OpticsRanges
from inspection.optics import RULES, Figures, Optics, strain, troubles

_WEIGHT = 0.02
"""Of the newest frame in the smoothed strain: fifty parts or so decide, and no single one."""
_FEWEST = 50
_ALARM, _CALM = 0.6, 0.4
"""Said when this much of the way to a limit is used up, and again only after it was back below the other."""


class OpticsWatch:
    """For all cameras and products of the inspector."""

    def __init__(self) -> None:
        self._samples: dict[str, NDArray[np.generic]] = {}
        self._strains: dict[tuple[str, str], dict[str, float]] = {}
        self._seen: dict[tuple[str, str], int] = {}
        self._alarmed: set[tuple[str, str, str]] = set()

    def refusal(self, camera: str, frame: Frame, optics: Optics, usual: OpticsRanges | None) -> str | None:
        """Why this frame tells nothing about the part, in words; None if it may be judged.

        A sensor has noise: two frames in a row whose raw samples are equal are one image that was sent twice.
        """
        former = self._samples.get(camera)
        self._samples[camera] = optics.sample
        found = troubles(frame, optics.figures, usual)
        if not found and former is not None and np.array_equal(former, optics.sample):
            found = ["frozen: the same pixels as the frame before"]
        return "; ".join(found) or None

    def drifts(self, product: str, model: str, figures: Figures, usual: OpticsRanges) -> Iterator[str]:
        """Figures that have come most of the way to a limit over many frames of this product, each said once."""
        key = (product, model)
        self._seen[key] = seen = self._seen.get(key, 0) + 1
        smoothed = self._strains.setdefault(key, {})
        # The mean at first, so that the first frame is not worth fifty.
        weight = max(_WEIGHT, 1 / seen)
        for name in RULES:
            before = smoothed.get(name, 0.0)
            smoothed[name] = now = before + weight * (strain(name, figures[name], usual) - before)
            said = (*key, name)
            if abs(now) < _CALM:
                self._alarmed.discard(said)
            elif abs(now) > _ALARM and seen >= _FEWEST and said not in self._alarmed:
                self._alarmed.add(said)
                limits = usual.figures[name]
                limit = limits.upper if now > 0 else limits.lower
                yield (
                    f"{name} of product {product} is {abs(now):.0%} of the way from the {limits.median:.3g} of good images to "
                    f"{limit:.3g}, where frames are refused; look at lamp, lens, focus and exposure before it is there"
                )
