"""Thresholds with a stated risk, and what a threshold can claim. Pure.

Scores are raw scores, larger is stranger. A part is stopped from a threshold on (score >= threshold): a good part that is
stopped is a false reject, a defective one that is not is an escape.

Two guarantees must not be mixed up. The conformal p-value (``inspection.detector.p_value``) stops at most a share e of good
parts at p <= e *on average over all sets of calibration parts* that might have been taken; with the one set there is, the
share may be larger. A threshold by ``highest_scores`` keeps its rate with this very set, except in 1 - confidence of all
sets: by the same ranks, a stricter one (Vovk, "Conditional validity of inductive conformal predictors", Machine Learning 92,
2013). With n parts, p is never below 1/(n + 1), but a claim of 0.5 % at 95 % needs 598 parts, not 199.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit
from scipy.stats import mannwhitneyu

from inspection.errors import StationError
from inspection.quality.bounds import after_looking, events_allowed, shows, trials_needed, upper_bound

Scores = NDArray[np.float64]
Basis = Literal["distribution-free", "model-based"]

UPPER_QUANTILE = 0.9
MIN_SPREAD = 0.05
"""Logarithms of scores of good parts vary by at least this: images taken in one go vary less than the next weeks will."""
_ZERO = 1e-6


@dataclass(frozen=True, slots=True)
class Claim:
    """What ``events`` (false rejects, or escapes) in ``parts`` labelled parts show, with ``confidence``.

    ``bound`` is the share that is not exceeded. ``holds`` says whether ``wished`` is shown; if not, ``further_parts`` more
    labelled parts without one more event would show it.
    """

    events: int
    parts: int
    confidence: float
    bound: float
    wished: float
    holds: bool
    further_parts: int


@dataclass(frozen=True, slots=True)
class Limit:
    """A threshold for "false rejects at most ``rate``".

    ``distribution-free``: shown with ``confidence`` by ``parts`` good parts, whatever the distribution of their scores.
    ``model-based``: the rate that is expected if the logarithms are normal above their median; no confidence is claimed, and
    ``further_parts`` more good parts are needed until a distribution-free claim can be made.
    """

    threshold: float
    rate: float
    confidence: float
    basis: Basis
    parts: int
    further_parts: int

    @property
    def rule(self) -> str:
        if self.basis == "distribution-free":
            kept = f"at most {percent(self.rate)} of good parts with {percent(self.confidence)} confidence"
            return f"{kept}, by rank among {self.parts}"
        return (
            f"{percent(self.rate)} of good parts expected, model-based (log-normal) from {self.parts}; "
            f"{self.further_parts} more for a claim with {percent(self.confidence)} confidence"
        )


@dataclass(frozen=True, slots=True)
class ClaimedThresholds:
    """Review and fail threshold with the claim behind each; ``escapes`` is what labelled defective parts show at review."""

    review_limit: Limit
    fail_limit: Limit
    escapes: Claim | None

    @property
    def review(self) -> float:
        return self.review_limit.threshold

    @property
    def fail(self) -> float:
        """Never below the review threshold, which may rest on another basis."""
        return max(self.fail_limit.threshold, self.review_limit.threshold)

    @property
    def rule(self) -> str:
        return f"review: {self.review_limit.rule}; fail: {self.fail_limit.rule}"


def thresholds_for(
    scores_good: ArrayLike,
    review_rate: float,
    fail_rate: float,
    confidence: float = 0.95,
    scores_defective: ArrayLike | None = None,
    wished_escapes: float = 0.01,
) -> ClaimedThresholds:
    """Thresholds that stop, and fail, at most these shares of good parts.

    ``scores_good`` (n,) are of parts that the model did not learn from. Raises StationError if the rates or the confidence are
    not between 0 and 1, if more is to be failed than stopped, if there are fewer than two scores or most are zero.
    """
    if fail_rate > review_rate:
        raise StationError(
            f"{percent(fail_rate)} of good parts failed but {percent(review_rate)} stopped: "
            "failed parts are stopped too; swap the rates"
        )
    review = false_reject_limit(scores_good, review_rate, confidence)
    fail = false_reject_limit(scores_good, fail_rate, confidence)
    escapes = None if scores_defective is None else escapes_at(review.threshold, scores_defective, wished_escapes, confidence)
    return ClaimedThresholds(review, fail, escapes)


def false_reject_limit(scores_good: ArrayLike, rate: float, confidence: float = 0.95) -> Limit:
    """The lowest threshold with "false rejects at most ``rate``" shown by rank, or else the model-based one.

    Raises as ``thresholds_for`` does.
    """
    _check_shares(rate, confidence)
    scores = np.sort(_scores(scores_good))
    allowed = events_allowed(len(scores), rate, confidence)
    if allowed is not None:
        # Stopped is what scores at or above, so the threshold lies above the score that is to pass.
        threshold = float(np.nextafter(scores[len(scores) - 1 - allowed], np.inf))
        return Limit(threshold, rate, confidence, "distribution-free", len(scores), 0)
    further = trials_needed(0, rate, confidence) - len(scores)
    return Limit(model_based_limit(scores, rate), rate, confidence, "model-based", len(scores), further)


def model_based_limit(scores_good: ArrayLike, rate: float) -> float:
    """Prediction limit for one further good part, where there are too few to be sure.

    Logarithms are taken as normal above their median, with the spread that their 90 % quantile shows; median +
    t(n-1, 1-rate) · spread · sqrt(1 + 1/n) (Hahn & Meeker, "Statistical intervals", 1991, section 4.8).
    """
    middle, spread = location_and_spread(scores_good)
    count = len(_scores(scores_good))
    return float(np.exp(middle + stdtrit(count - 1, 1.0 - rate) * spread * np.sqrt(1.0 + 1.0 / count)))


def location_and_spread(scores_good: ArrayLike) -> tuple[float, float]:
    """Median of the logarithms and their spread above it (as a standard deviation), by the 90 % quantile, at least MIN_SPREAD.

    Raises StationError for fewer than two scores, or if most are zero.
    """
    scores = _scores(scores_good)
    if len(scores) < 2 or np.median(scores) < _ZERO:
        raise StationError(
            f"{len(scores)} scores of good parts, most of them zero or too few; calibrate on images of different good parts"
        )
    middle, upper = np.quantile(np.log(np.maximum(scores, _ZERO)), (0.5, UPPER_QUANTILE))
    return float(middle), max(float(upper - middle) / NormalDist().inv_cdf(UPPER_QUANTILE), MIN_SPREAD)


def escape_limit(scores_defective: ArrayLike, rate: float, confidence: float = 0.95) -> float | None:
    """The highest threshold with "escapes at most ``rate``" shown by rank; None if there are too few defective parts."""
    _check_shares(rate, confidence)
    scores = np.sort(_scores(scores_defective))
    allowed = events_allowed(len(scores), rate, confidence)
    return None if allowed is None else float(scores[allowed])


def false_rejects_at(threshold: float, scores_good: ArrayLike, wished: float, confidence: float = 0.95) -> Claim:
    """What good parts show at a threshold that was not chosen by their scores."""
    scores = _scores(scores_good)
    return claim(int(np.count_nonzero(scores >= threshold)), len(scores), wished, confidence)


def false_rejects_after_looking(threshold: float, scores_good: ArrayLike, wished: float, confidence: float = 0.95) -> Claim:
    """What good parts show at a threshold that was chosen by the same scores, as a model's own thresholds are.

    ``further_parts`` counts good parts that neither the model nor its thresholds have seen.
    """
    scores = _scores(scores_good)
    events = int(np.count_nonzero(scores >= threshold))
    asked = after_looking(events, confidence)
    holds = shows(events, len(scores), wished, asked)
    further = 0 if holds else trials_needed(0, wished, confidence)
    return Claim(events, len(scores), confidence, upper_bound(events, len(scores), asked), wished, holds, further)


def escapes_at(threshold: float, scores_defective: ArrayLike, wished: float, confidence: float = 0.95) -> Claim:
    """What defective parts show at a threshold that was not chosen by their scores."""
    scores = _scores(scores_defective)
    return claim(int(np.count_nonzero(scores < threshold)), len(scores), wished, confidence)


def claim(events: int, parts: int, wished: float, confidence: float) -> Claim:
    """What ``events`` in ``parts`` show about a wished rate. Raises StationError if a share is not between 0 and 1."""
    _check_shares(wished, confidence)
    holds = shows(events, parts, wished, confidence)
    further = 0 if holds else trials_needed(events, wished, confidence) - parts
    return Claim(events, parts, confidence, upper_bound(events, parts, confidence), wished, holds, further)


def p_higher(calibration: ArrayLike, later: ArrayLike) -> float:
    """How unlikely it is that later good parts score so much higher than those of the calibration by chance.

    One-sided test of Mann & Whitney (1947). If it is small, light, parts or camera have changed since, and what the calibration
    shows is not about the later parts.
    """
    return float(mannwhitneyu(_scores(later), _scores(calibration), alternative="greater").pvalue)


def percent(share: float) -> str:
    """A share in words: 0.005 → ``0.5 %``, with the digits it has and no more than three of them."""
    return f"{share * 100:.3g} %"


def _check_shares(*shares: float) -> None:
    for share in shares:
        if not 0.0 < share < 1.0:
            raise StationError(f"{share} is no rate or confidence between 0 and 1; write 0.5 % as 0.005")


def _scores(values: ArrayLike | Sequence[float]) -> Scores:
    scores = np.asarray(values, np.float64).ravel()
    if not np.isfinite(scores).all():
        raise StationError("scores must be finite; train the model again")
    return scores


def read_share(option: str, text: str) -> float:
    """``0.5%`` or ``0.5 %`` as 0.005. Without the sign, 0.5 could be meant as either."""
    number, sign, rest = text.strip().partition("%")
    try:
        value = float(number) / 100 if sign and not rest else 0.0
    except ValueError:
        value = 0.0
    if not 0.0 < value < 1.0:
        raise StationError(f"{option} {text}: write a share between 0% and 100% with its sign, such as 0.5%")
    return value
