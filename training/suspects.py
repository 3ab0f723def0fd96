"""Images whose score contradicts their label: good ones that look defective, and defective ones that look good. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from training.errors import TrainingError

FALSE_SUSPECTS = 1.0
"""Good training images that are suspected on average, if the logarithms of their scores are normal above the median: a look at
one image costs less than a model that has learned a defect."""
UPPER_QUANTILE = 0.8
"""Lower than that of the thresholds, so that the spread is that of good images even where a tenth of them are not."""
MIN_SPREAD = 0.05
_ZERO = 1e-6


@dataclass(frozen=True, slots=True)
class Suspect:
    """An image whose score lies on the wrong side of ``limit``: not below it although labelled good, below it although
    labelled defective."""

    name: str
    score: float
    limit: float
    labelled_good: bool

    @property
    def reason(self) -> str:
        if self.labelled_good:
            return f"labelled good, but scores {self.score:.4g}; good images stay below {self.limit:.4g}"
        return f"labelled defective, but scores {self.score:.4g}; half of the good images score {self.limit:.4g} or more"


def suspects(
    good: Mapping[str, float], test_good: Mapping[str, float] | None = None, defective: Mapping[str, float] | None = None
) -> list[Suspect]:
    """Images that may be mislabelled, by name: the strangest good ones first, then the most usual defective ones.

    ``good`` are the scores of the good training images, each by a bank that does not hold it; ``test_good`` and ``defective``
    those of labelled images by the model. A good image is suspected from ``outlier_limit`` on, a defective one below the median
    of ``good``. Raises TrainingError if ``good`` holds fewer than two images.
    """
    scores = np.array(list(good.values()))
    limit, middle = outlier_limit(scores), float(np.median(scores))
    labelled_good = dict(good) | dict(test_good or {})
    strange = [Suspect(name, score, limit, True) for name, score in labelled_good.items() if score >= limit]
    usual = [Suspect(name, score, middle, False) for name, score in (defective or {}).items() if score < middle]
    return sorted(strange, key=lambda each: -each.score) + sorted(usual, key=lambda each: each.score)


def outlier_limit(scores: NDArray[np.float64]) -> float:
    """The score that ``FALSE_SUSPECTS`` of so many good images reach: a prediction limit as in ``training.calibration``."""
    count = len(scores)
    if count < 2:
        raise TrainingError(f"{count} good images are too few to suspect any; add more")
    middle, upper = np.quantile(np.log(np.maximum(scores, _ZERO)), (0.5, UPPER_QUANTILE))
    spread = max(float(upper - middle) / NormalDist().inv_cdf(UPPER_QUANTILE), MIN_SPREAD)
    return float(np.exp(middle + stdtrit(count - 1, 1.0 - FALSE_SUSPECTS / count) * spread * np.sqrt(1.0 + 1.0 / count)))
