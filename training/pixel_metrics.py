"""How well anomaly maps show where a defect is: pixel AUROC and AUPRO over all test images. Pure.

Pixels are counted at 65,536 levels of the score, so that images of any number and size are measured at full resolution
in constant memory.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

LEVELS = 65_536
FPR_LIMIT = 0.3


class PixelScores:
    """Counts of pixels by the level of their score; levels divide ``lowest`` … ``highest`` evenly."""

    def __init__(self, lowest: float, highest: float) -> None:
        self._lowest = lowest
        self._per_score = (LEVELS - 1) / max(highest - lowest, 1e-12)
        self._good = np.zeros(LEVELS, np.int64)
        self._defective = np.zeros(LEVELS, np.int64)
        self._overlap = np.zeros(LEVELS)
        self.regions = 0

    def add(self, anomaly_map: NDArray[np.float32], mask: NDArray[np.bool_]) -> None:
        """Count one image: its map, float32, and its defective pixels, bool, both (height, width)."""
        levels = ((anomaly_map - self._lowest) * self._per_score).round().clip(0, LEVELS - 1).astype(np.int32)
        self._good += np.bincount(levels[~mask], minlength=LEVELS)
        if not mask.any():
            return
        inside = levels[mask]
        self._defective += np.bincount(inside, minlength=LEVELS)
        count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        region = labels[mask]
        self._overlap += np.bincount(inside, weights=1.0 / np.bincount(region)[region], minlength=LEVELS)
        self.regions += count - 1

    def auroc(self) -> float:
        """Chance that a defective pixel scores higher than another one, ties counting half."""
        below = np.cumsum(self._good) - self._good
        pairs = self._defective @ (below + self._good / 2)
        return float(pairs / (self._defective.sum() * float(self._good.sum())))

    def aupro(self) -> float:
        """Area under the per-region overlap over the false-positive rate of pixels up to FPR_LIMIT, divided by it.

        The overlap of a region is the share of its pixels at or above the threshold; all connected regions (by edge or
        corner) of all masks count alike. Linear between thresholds. Bergmann et al., "The MVTec anomaly detection
        dataset", International Journal of Computer Vision 129, 2021, section 5.
        """
        fpr = np.concatenate(([0.0], np.cumsum(self._good[::-1]) / self._good.sum()))
        overlap = np.concatenate(([0.0], np.cumsum(self._overlap[::-1]) / self.regions))
        beyond = int(np.argmax(fpr >= FPR_LIMIT))
        share = (FPR_LIMIT - fpr[beyond - 1]) / (fpr[beyond] - fpr[beyond - 1])
        at_limit = overlap[beyond - 1] + share * (overlap[beyond] - overlap[beyond - 1])
        area = np.trapezoid([*overlap[:beyond], at_limit], [*fpr[:beyond], FPR_LIMIT])
        return float(area / FPR_LIMIT)
