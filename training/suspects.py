"""Images whose score contradicts their label: good ones that look defective, and defective ones that look good. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from training.calibration import location_and_spread

FALSE_ALARMS = 0.05
"""Chance that any of the images is suspected although all are good, if their scores are log-normal."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """An image whose score lies beyond ``limit``: above it although labelled good, below it although labelled defective."""

    name: str
    score: float
    limit: float
    labelled_good: bool


def suspects(
    good: Mapping[str, float], test_good: Mapping[str, float] | None = None, defective: Mapping[str, float] | None = None
) -> list[Suspect]:
    """Images that may be mislabelled, the strangest good ones first, then the most usual defective ones.

    ``good`` are the scores of the good training images (at least two), each by a bank that does not hold it; ``test_good`` and
    ``defective`` those of labelled images by the model. A good image is suspected above the median of ``good`` by more than one
    among so many should be, by their upper spread; a defective one below the median. Raises TrainingError if most scores of
    ``good`` are zero.
    """
    limit = outlier_limit(np.array(list(good.values())))
    middle = float(np.median(list(good.values())))
    labelled_good = dict(good) | (dict(test_good) if test_good else {})
    strange = [Suspect(name, score, limit, True) for name, score in labelled_good.items() if score >= limit]
    usual = [Suspect(name, score, middle, False) for name, score in (defective or {}).items() if score < middle]
    return sorted(strange, key=lambda each: -each.score) + sorted(usual, key=lambda each: each.score)


def outlier_limit(scores: np.ndarray) -> float:
    """The score that none of so many good images should reach, in units of the score.

    What is above the limit is set aside and the limit found again, until nothing more is: several defects among the good images
    would otherwise hide each other in the spread that they cause.
    """
    rest = np.sort(scores)
    while True:
        middle, spread = location_and_spread(rest)
        count = len(rest)
        quantile = stdtrit(count - 1, 1.0 - FALSE_ALARMS / count)
        limit = float(np.exp(middle + quantile * spread * np.sqrt(1.0 + 1.0 / count)))
        inside = rest[rest < limit]
        # At least half must be good: with fewer, nothing says which half is.
        if len(inside) == count or 2 * len(inside) < len(scores) or len(inside) < 3:
            return limit
        rest = inside
