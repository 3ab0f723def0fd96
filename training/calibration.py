"""Thresholds from scores of good images alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from inspection.artifact import Thresholds
from inspection.errors import StationError
from inspection.quality import claims
from inspection.quality.claims import thresholds_for
from training.errors import TrainingError
from training.network import strangest_patches


@dataclass(frozen=True, slots=True)
class FalseRejects:
    """The share of good parts that may be stopped at most, and how sure that has to be once there are parts enough to be sure.

    A twentieth of them may be failed, the others are for review.
    """

    share: float = 0.02
    confidence: float = 0.95

    @property
    def failed(self) -> float:
        return self.share / 20


FALSE_REJECTS = FalseRejects()
MIN_IMAGE_SPREAD = 0.2
"""Distances of mean features vary by at least this (as a fraction): light and noise move them before any patch looks strange."""


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
    """Scale and exponent that bring whole-image distances (n,) of good images to half the spread of their patch scores (n,).

    Half: the distance of the mean features is meant for what no patch shows, a missing part or wrong light, and not to
    outvote the patches among images that are all but good.
    """
    middle, spread = location_and_spread(patch_scores)
    image_middle, image_spread = location_and_spread(image_distances)
    exponent = 0.5 * spread / max(image_spread, MIN_IMAGE_SPREAD)
    return float(np.exp(middle - exponent * image_middle)), exponent


def thresholds(scores: NDArray[np.float64], false_rejects: FalseRejects = FALSE_REJECTS) -> Thresholds:
    """Review and fail threshold from the scores of good images (at least two) that the model did not learn from.

    By rank where there are enough images for that, else log-normal prediction limits; the rule says which
    (``inspection.quality.claims``). Raises TrainingError if most scores are zero, StationError if a share is not between 0 and 1.
    """
    location_and_spread(scores)
    limits = thresholds_for(scores, false_rejects.share, false_rejects.failed, false_rejects.confidence)
    return Thresholds(limits.review, limits.fail, limits.rule)


def location_and_spread(scores: NDArray[np.float64]) -> tuple[float, float]:
    """Median and upper spread (as a standard deviation) of the logarithms: neither the strangest few images, which may not be
    good at all, nor the lower half decide.

    Raises TrainingError if most scores are zero.
    """
    try:
        return claims.location_and_spread(scores)
    except StationError as error:
        raise TrainingError("the good images are copies of one another; take images of different good parts") from error
