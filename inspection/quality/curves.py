"""How well scores tell defective parts from good ones: AUROC, how sure it is, and the ROC. Pure.

Scores are float64 (n,), larger is stranger; a part is stopped from a threshold on (score >= threshold).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import rankdata

from inspection.quality.intervals import CONFIDENCE, Interval

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RocPoint:
    """Shares of good parts that are stopped and of defective parts that are caught, from ``threshold`` on."""

    threshold: float
    false_rejects: float
    caught: float


def auroc(good: Scores, defective: Scores) -> float:
    """Chance that a defective part scores higher than a good one, ties counting half (Mann & Whitney, 1947)."""
    ranks = rankdata(np.concatenate((defective, good)))[: len(defective)]
    return float((ranks.sum() - len(defective) * (len(defective) + 1) / 2) / (len(defective) * len(good)))


def auroc_interval(value: float, good: int, defective: int) -> Interval:
    """Score interval of an AUROC from so many good and defective parts, meaningful at 1.0 too.

    Newcombe, "Confidence intervals for an effect size measure based on the Mann–Whitney statistic, part 2", Statistics
    in Medicine 25, 2006, method 5.
    """
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    others = (good + defective) / 2 - 1

    def outside(truth: float) -> float:
        spread = 1 + others * (1 - truth) / (2 - truth) + others * truth / (1 + truth)
        return abs(value - truth) - z * math.sqrt(truth * (1 - truth) * spread / (good * defective))

    nearby = 1e-9
    low = brentq(outside, 0.0, value - nearby) if value > nearby else 0.0
    high = brentq(outside, value + nearby, 1.0) if value < 1 - nearby else 1.0
    return float(low), float(high)


def roc(good: Scores, defective: Scores, limit: int = 500) -> tuple[RocPoint, ...]:
    """The corners of the ROC, from the highest score down, at most ``limit`` of them; at least one part of each kind."""
    thresholds = np.unique(np.concatenate((good, defective)))[::-1]
    stopped = len(good) - np.searchsorted(np.sort(good), thresholds)
    caught = len(defective) - np.searchsorted(np.sort(defective), thresholds)
    # Between two corners the curve goes straight up, straight on, or (where scores are equal) along one diagonal.
    up, along = np.diff(caught, prepend=0), np.diff(stopped, prepend=0)
    kinds = (up > 0) * 2 + (along > 0)
    ends = np.append((kinds[1:] != kinds[:-1]) | (kinds[1:] == 3), True)
    corners = np.flatnonzero(ends)
    if len(corners) > limit:
        corners = corners[np.linspace(0, len(corners) - 1, limit).astype(int)]
    return tuple(
        RocPoint(float(thresholds[index]), float(stopped[index]) / len(good), float(caught[index]) / len(defective))
        for index in corners
    )
