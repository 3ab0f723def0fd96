"""Regions of a frame as pixels, and regions that an anomaly map suggests. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from inspection.domain import Box

MOST = 100
"""Regions of one label at most."""
_COARSE_PX = 0.75
"""A suggested outline may leave the map's own by so many pixels: it has far fewer points then."""


def mask_of(regions: Iterable[Box], width: int, height: int) -> NDArray[np.bool_]:
    """The pixels of the regions, bool (height, width): of each its polygon, outline included, or else its whole rectangle."""
    mask = np.zeros((height, width), np.uint8)
    for box in regions:
        if box.polygon is None:
            mask[box.y : box.y + box.height, box.x : box.x + box.width] = 1
        else:
            # One at a time: polygons that are filled together cancel out where they overlap.
            cv2.fillPoly(mask, [np.array(box.polygon, np.int32)], 1)
    return mask.astype(np.bool_)


def suggested(values: NDArray[np.uint16], level: float, width: int, height: int) -> tuple[Box, ...]:
    """Where a map is at or above a level, as polygons in a frame of that size, the largest first, at most MOST.

    ``values`` is a stored map, uint16 (rows, columns); ``level`` a share of its full scale. Holes are filled.
    """
    above = cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR) >= max(level, 0.0) * 65535
    outlines, _ = cv2.findContours(above.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    simple = [cv2.approxPolyDP(outline, _COARSE_PX, closed=True).reshape(-1, 2) for outline in outlines]
    found = [Box.around([(int(x), int(y)) for x, y in outline]) for outline in simple if len(outline) >= 3]
    return tuple(sorted(found, key=lambda box: -box.width * box.height)[:MOST])
