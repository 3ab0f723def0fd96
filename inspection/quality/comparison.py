"""What two models make of the same labelled parts, and what that shows. Pure.

Scores are float64 (n,), larger is stranger. A part passes below the review threshold: a good part that does not is a false
reject, a defective one that does an escape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betainc

from inspection.quality.bounds import after_looking, shows, trials_needed, upper_bound
from inspection.quality.claims import Claim, claim
from inspection.quality.curves import RocPoint, auroc, auroc_interval, roc
from inspection.quality.intervals import clopper_pearson


@dataclass(frozen=True, slots=True)
class Wish:
    """Shares of good parts stopped and of defective parts passed that shall not be exceeded, and how sure that has to be."""

    false_rejects: float = 0.02
    escapes: float = 0.01
    confidence: float = 0.95


WISH = Wish()


@dataclass(frozen=True, slots=True)
class Share:
    """``events`` in ``parts``, with the exact 95 % interval; None where there are no parts."""

    events: int
    parts: int
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Figures:
    """What one model makes of labelled parts at these thresholds.

    ``to_review`` counts good and defective parts between the thresholds. The claims are None where there is no part of the
    kind; ``looked``: the thresholds were chosen with an eye on these very parts, so the claims ask more of them. AUROC and ROC
    are there with at least one part of each kind.
    """

    review_threshold: float
    fail_threshold: float
    looked: bool
    false_rejects: Share
    escapes: Share
    to_review: Share
    false_rejects_claim: Claim | None
    escapes_claim: Claim | None
    auroc: float | None
    auroc_low: float | None
    auroc_high: float | None
    roc: tuple[RocPoint, ...]


@dataclass(frozen=True, slots=True)
class Paired:
    """Parts that only one of two models gets wrong, and how likely so uneven a number is if they were equally good.

    The exact test of McNemar, Psychometrika 12, 1947.
    """

    only_model: int
    only_other: int
    by_chance: float


def figures(
    good: ArrayLike, defective: ArrayLike, review_threshold: float, fail_threshold: float, wish: Wish = WISH, looked: bool = False
) -> Figures:
    """Figures of one model from its scores of good and of defective parts, float64 (n,) each."""
    ok, bad = np.asarray(good, np.float64), np.asarray(defective, np.float64)
    false_rejects = int(np.count_nonzero(ok >= review_threshold))
    escapes = int(np.count_nonzero(bad < review_threshold))
    between = sum(int(np.count_nonzero((scores >= review_threshold) & (scores < fail_threshold))) for scores in (ok, bad))
    shown = _claim_after_looking if looked else claim
    area = auroc(ok, bad) if len(ok) and len(bad) else None
    low, high = (None, None) if area is None else auroc_interval(area, len(ok), len(bad))
    return Figures(
        review_threshold=review_threshold,
        fail_threshold=fail_threshold,
        looked=looked,
        false_rejects=share(false_rejects, len(ok)),
        escapes=share(escapes, len(bad)),
        to_review=share(between, len(ok) + len(bad)),
        false_rejects_claim=shown(false_rejects, len(ok), wish.false_rejects, wish.confidence) if len(ok) else None,
        escapes_claim=shown(escapes, len(bad), wish.escapes, wish.confidence) if len(bad) else None,
        auroc=area,
        auroc_low=low,
        auroc_high=high,
        roc=() if area is None else roc(ok, bad),
    )


def share(events: int, parts: int) -> Share:
    """A share with its exact interval."""
    if parts == 0:
        return Share(events, parts, None, None)
    return Share(events, parts, *clopper_pearson(events, parts))


def paired(wrong: Sequence[bool], other_wrong: Sequence[bool]) -> Paired:
    """Of the same parts, in the same order: which model gets them wrong."""
    only_model = sum(mine and not others for mine, others in zip(wrong, other_wrong, strict=True))
    only_other = sum(others and not mine for mine, others in zip(wrong, other_wrong, strict=True))
    fewer, both = min(only_model, only_other), only_model + only_other
    # P(X <= fewer) of a fair coin thrown ``both`` times, for both tails.
    tail = float(betainc(both - fewer, fewer + 1, 0.5)) if both > fewer else 1.0
    return Paired(only_model, only_other, min(1.0, 2.0 * tail))


def _claim_after_looking(events: int, parts: int, wished: float, confidence: float) -> Claim:
    """As ``claim``, valid for any threshold that somebody may have chosen by these parts; more labels must be of others."""
    asked = after_looking(events, confidence)
    plain = claim(events, parts, wished, confidence)
    holds = shows(events, parts, wished, asked)
    further = 0 if holds else trials_needed(0, wished, confidence)
    return replace(plain, bound=upper_bound(events, parts, asked), holds=holds, further_parts=further)
