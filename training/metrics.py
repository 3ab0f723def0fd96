"""How well scores tell defective parts from good ones, and how sure that is. Pure.

Scores are float64 (n,), larger is stranger; a part is rejected from a threshold on (score >= threshold).
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import rankdata

from inspection.quality.intervals import CONFIDENCE, Interval, clopper_pearson

Scores = NDArray[np.float64]


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


def f1_max(good: Scores, defective: Scores) -> tuple[float, Interval]:
    """The F1 of rejecting defective parts at the threshold that is best for it, and its interval at that threshold.

    F1 rises with TP / (TP + FP + FN), which is a proportion (Hand, Christen & Kirielle, "F*", Machine Learning 110,
    2021): the interval is that proportion's, expressed as F1.
    """
    thresholds = np.unique(np.concatenate((good, defective)))
    caught = len(defective) - np.searchsorted(np.sort(defective), thresholds)
    false_rejects = len(good) - np.searchsorted(np.sort(good), thresholds)
    best = int(np.argmax(2 * caught / (caught + false_rejects + len(defective))))
    hits, concerned = int(caught[best]), int(false_rejects[best]) + len(defective)
    low, high = (2 * share / (1 + share) for share in clopper_pearson(hits, concerned))
    return 2 * hits / (hits + concerned), (low, high)


def false_reject_rate(good: Scores, defective: Scores, escapes_percent: int) -> tuple[float, Interval]:
    """Share of good parts rejected where at most so many per cent of the defective ones escape, and its interval.

    The threshold is the highest that lets no more escape: with fewer than 100 defective parts, 1 % allows none. The
    interval is that of the share at this threshold; that the threshold comes from few defective parts is not in it.
    """
    threshold = np.sort(defective)[len(defective) * escapes_percent // 100]
    rejected = int(np.count_nonzero(good >= threshold))
    return rejected / len(good), clopper_pearson(rejected, len(good))
