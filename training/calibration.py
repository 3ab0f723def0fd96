"""Thresholds from scores of good images alone."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import stdtrit

from inspection.artifact import Thresholds
from training.errors import TrainingError
from training.network import strangest_patches

REVIEW_RATE = 0.02
"""Share of good parts that the review threshold is meant to stop."""
FAIL_RATE = 0.001
"""Share of good parts that the fail threshold is meant to stop."""
UPPER_QUANTILE = 0.9
MIN_SPREAD = 0.05
"""Scores of good parts vary by at least this (as a fraction): images taken in one go vary less than the next weeks will."""
MIN_IMAGE_SPREAD = 0.2
"""Likewise for the distance of mean features, which light and sensor noise move before any patch looks strange."""
_ZERO = 1e-6


def folds(count: int, parts: int = 5) -> NDArray[np.int64]:
    """The fold (0 … parts-1) of each of ``count`` images, int64.

    Folds are contiguous: images that were taken one after the other are alike, and scoring one with a bank that holds
    its neighbour would make good parts look more usual than they are.
    """
    return np.arange(count) * parts // count


def common_units(good_scores: Sequence[NDArray[np.float64]]) -> list[tuple[float, float]]:
    """Scale and exponent for each level that give its scores of good images the median and spread of the first level's.

    So brought, the largest of a part's scores is the one that is least usual among good parts.
    """
    reference, reference_spread = location_and_spread(good_scores[0])
    units = [(1.0, 1.0)]
    for scores in good_scores[1:]:
        middle, spread = location_and_spread(scores)
        exponent = reference_spread / spread
        units.append((float(np.exp(reference - exponent * middle)), exponent))
    return units


def patch_scores(distances: torch.Tensor) -> NDArray[np.float64]:
    """Scores, float64 (n,), of the strangest patches in distances, float32 (n, rows, columns)."""
    return strangest_patches(distances).double().numpy()


def combined(levels: Sequence[torch.Tensor], units: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    """The largest of the scores, float64 (n,), of all levels' distances, float32 (n, rows, columns), in common units."""
    brought = zip(levels, units, strict=True)
    return np.asarray(np.max([patch_scores(scale * level**exponent) for level, (scale, exponent) in brought], 0))


def whole_image_scale(patch_scores: NDArray[np.float64], image_distances: NDArray[np.float64]) -> tuple[float, float]:
    """Scale and exponent that bring whole-image distances of good images to half the spread of their patch scores.

    Half: the distance of the mean features is meant for what no patch shows, a missing part or wrong light, and not to
    outvote the patches among images that are all but good.
    """
    middle, spread = location_and_spread(patch_scores)
    image_middle, image_spread = location_and_spread(image_distances)
    exponent = 0.5 * spread / max(image_spread, MIN_IMAGE_SPREAD)
    return float(np.exp(middle - exponent * image_middle)), exponent


def thresholds(scores: NDArray[np.float64]) -> Thresholds:
    """Review and fail threshold from the scores of good images (at least two).

    The logarithms of the scores are taken as normal above their median, with the spread that their 90 % quantile shows:
    neither the strangest few images, which may not be good at all, nor the lower half decide. The thresholds are
    one-sided prediction limits for one further good part, median + t(n-1, 1-rate) · spread · sqrt(1 + 1/n) with
    Student's t because n may be small (Hahn & Meeker, "Statistical intervals", 1991, section 4.8).
    """
    count = len(scores)
    middle, spread = location_and_spread(scores)

    def limit(rate: float) -> float:
        return float(np.exp(middle + stdtrit(count - 1, 1.0 - rate) * spread * np.sqrt(1.0 + 1.0 / count)))

    return Thresholds(
        review=limit(REVIEW_RATE),
        fail=limit(FAIL_RATE),
        rule=f"log-normal prediction limits from median and {UPPER_QUANTILE:.0%} quantile, "
        f"spread at least {MIN_SPREAD:.0%}, stopping {REVIEW_RATE:.1%} and {FAIL_RATE:.1%} of good parts",
    )


def location_and_spread(scores: NDArray[np.float64]) -> tuple[float, float]:
    """Median and upper spread (as a standard deviation) of the logarithms.

    Raises TrainingError if most scores are zero.
    """
    if np.median(scores) < _ZERO:
        raise TrainingError("the good images are copies of one another; take images of different good parts")
    middle, upper = np.quantile(np.log(np.maximum(scores, _ZERO)), (0.5, UPPER_QUANTILE))
    return float(middle), max(float(upper - middle) / NormalDist().inv_cdf(UPPER_QUANTILE), MIN_SPREAD)
