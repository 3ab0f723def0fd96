"""What stopping by scores costs, and how sure that is: F1 and false rejects, beside AUROC (``inspection.quality.curves``). Pure.

Scores are float64 (n,), larger is stranger; a part is rejected from a threshold on (score >= threshold).
"""

from __future__ import annotations

import numpy as np

from inspection.quality.curves import Scores
from inspection.quality.intervals import Interval, clopper_pearson


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
