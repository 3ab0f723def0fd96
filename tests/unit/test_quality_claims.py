"""Claims hold as often as they say: against published numbers, and by simulation with fixed seeds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom

from inspection.detector import p_value
from inspection.errors import StationError
from inspection.quality.bounds import after_looking, events_allowed, shows, trials_needed, upper_bound
from inspection.quality.claims import (
    claim,
    escape_limit,
    escapes_at,
    false_reject_limit,
    false_rejects_after_looking,
    false_rejects_at,
    model_based_limit,
    p_higher,
    percent,
    thresholds_for,
)
from training.calibration import FALSE_REJECTS, thresholds

RATES = st.floats(0.001, 0.3)
CONFIDENCES = st.floats(0.5, 0.999)

# Scores as a function of a uniform variable: the share above a threshold is then known exactly.
DISTRIBUTIONS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "even": lambda u: 1 + u,
    "heavy tail": lambda u: (1 - u) ** -0.8,
    "two kinds of part": lambda u: np.where(u < 0.97, 1 + 0.1 * u, 3 + u),
}


@pytest.mark.parametrize(
    ("rate", "confidence", "parts"), [(0.005, 0.95, 598), (0.01, 0.95, 299), (0.05, 0.95, 59), (0.1, 0.9, 22), (0.01, 0.99, 459)]
)
def test_fewest_parts_without_an_event_are_those_of_the_published_tables(rate: float, confidence: float, parts: int) -> None:
    assert trials_needed(0, rate, confidence) == parts
    assert events_allowed(parts, rate, confidence) == 0
    assert events_allowed(parts - 1, rate, confidence) is None


def test_events_allowed_are_those_of_the_published_tables() -> None:
    # Wilks' sample sizes for the 95 % quantile at 95 %: first, second, third … largest value.
    assert [trials_needed(events, 0.05, 0.95) for events in range(5)] == [59, 93, 124, 153, 181]


@given(st.integers(0, 40), RATES, CONFIDENCES)
def test_trials_needed_are_the_fewest(events: int, rate: float, confidence: float) -> None:
    needed = trials_needed(events, rate, confidence)
    assert shows(events, needed, rate, confidence)
    assert not shows(events, needed - 1, rate, confidence)


@given(st.integers(1, 2000), RATES, CONFIDENCES)
def test_events_allowed_are_the_most(trials: int, rate: float, confidence: float) -> None:
    allowed = events_allowed(trials, rate, confidence)
    if allowed is None:
        assert not shows(0, trials, rate, confidence)
    else:
        assert shows(allowed, trials, rate, confidence)
        assert not shows(allowed + 1, trials, rate, confidence)


@given(st.integers(0, 50), st.integers(1, 400), CONFIDENCES)
def test_the_upper_bound_is_where_so_few_events_become_unlikely(events: int, trials: int, confidence: float) -> None:
    bound = upper_bound(events, trials, confidence)
    if events >= trials:
        assert bound == 1.0
    else:
        assert binom.cdf(events, trials, bound) == pytest.approx(1 - confidence, abs=1e-9)


@pytest.mark.parametrize("shape", DISTRIBUTIONS)
@pytest.mark.parametrize(("parts", "rate"), [(60, 0.05), (700, 0.005), (300, 0.02)])
def test_a_threshold_by_rank_keeps_its_rate_with_its_confidence_whatever_the_distribution(
    shape: str, parts: int, rate: float
) -> None:
    rng = np.random.default_rng(parts)
    kept = 0
    for _ in range(1500):
        uniform = rng.random(parts)
        limit = false_reject_limit(DISTRIBUTIONS[shape](uniform), rate, 0.9)
        assert limit.basis == "distribution-free"
        # The share of all good parts at or above the threshold: one minus the largest uniform value that passes.
        passing = uniform[DISTRIBUTIONS[shape](uniform) < limit.threshold].max()
        kept += 1 - passing <= rate
    assert kept / 1500 >= 0.9 - 3 * np.sqrt(0.9 * 0.1 / 1500)
    assert kept < 1500, "a threshold that is never wrong stops too few parts"


def test_a_threshold_for_escapes_keeps_its_rate_with_its_confidence() -> None:
    rng = np.random.default_rng(11)
    kept = 0
    for _ in range(1500):
        # Even scores: the share of all defective parts below a threshold is the threshold.
        limit = escape_limit(rng.random(200), 0.04, 0.9)
        assert limit is not None
        kept += limit <= 0.04
    assert 0.9 - 3 * np.sqrt(0.9 * 0.1 / 1500) <= kept / 1500 < 1


@pytest.mark.parametrize("true_rate", [0.0, 0.01, 0.04])
def test_bounds_of_escapes_cover_the_truth_with_their_confidence(true_rate: float) -> None:
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(2000):
        defective = np.where(rng.random(120) < true_rate, 0.5, 2.0)
        covered += escapes_at(1.0, defective, 0.01, 0.9).bound >= true_rate
    assert covered / 2000 >= 0.9 - 3 * np.sqrt(0.9 * 0.1 / 2000)


@pytest.mark.parametrize("spread", [0.05, 0.3])
@pytest.mark.parametrize("parts", [20, 60, 300])
def test_what_calibration_parts_show_of_their_own_thresholds_holds_although_these_were_chosen_by_them(
    parts: int, spread: float
) -> None:
    rng = np.random.default_rng(parts)
    covered = {"model's own": 0, "the one that looks best": 0}
    for _ in range(1000):
        uniform = np.sort(rng.random(parts))
        heavy = np.exp(spread * ((1 - uniform) ** -0.5 - 1))
        limits = {"model's own": thresholds(heavy).review}
        # The most flattering choice: the threshold whose observed share is furthest below the true one.
        events = np.arange(parts)
        flattering = int(np.argmax((1 - uniform[::-1]) / np.maximum(events, 0.3)))
        limits["the one that looks best"] = float(np.nextafter(heavy[::-1][flattering], np.inf))
        for name, limit in limits.items():
            truth = (1 + np.log(limit) / spread) ** -2
            covered[name] += false_rejects_after_looking(limit, heavy, 0.02, 0.9).bound >= truth
    for name, count in covered.items():
        assert count / 1000 >= 0.9 - 3 * np.sqrt(0.9 * 0.1 / 1000), name


def test_the_risks_of_all_counts_together_are_the_risk_that_was_stated() -> None:
    assert sum(1 - after_looking(events, 0.95) for events in range(100_000)) == pytest.approx(0.05, rel=1e-4)


def test_the_conformal_p_value_keeps_its_rate_on_average_but_not_with_confidence() -> None:
    rng = np.random.default_rng(3)
    shares = []
    for _ in range(600):
        calibration = np.sort(rng.random(199))
        # p <= 0.005 exactly where a score is above all 199.
        assert p_value(float(calibration[-1]) + 1e-9, tuple(calibration)) == 0.005
        shares.append(1 - calibration[-1])
    assert np.mean(shares) == pytest.approx(0.005, rel=0.15)
    assert np.mean(np.array(shares) > 0.005) > 0.3
    assert false_reject_limit(calibration, 0.005).basis == "model-based"


def test_too_few_parts_give_the_calibrated_limit_by_its_name_and_how_many_are_missing() -> None:
    scores = np.random.default_rng(1).lognormal(0, 0.2, 40)
    limits = thresholds_for(scores, FALSE_REJECTS.share, FALSE_REJECTS.failed)
    calibrated = thresholds(scores)
    assert (limits.review, limits.fail) == pytest.approx((calibrated.review, calibrated.fail))
    assert limits.fail_limit.further_parts == 2995 - 40
    assert limits.rule == (
        "review: 2 % of good parts expected, model-based (log-normal) from 40; 109 more for a claim with 95 % confidence; "
        "fail: 0.1 % of good parts expected, model-based (log-normal) from 40; 2955 more for a claim with 95 % confidence"
    )


def test_many_parts_give_a_threshold_by_rank_and_the_fail_threshold_is_never_the_lower() -> None:
    # One part in a hundred is far off: by rank it passes 1 %, and the log-normal limit knows nothing of it.
    scores = np.concatenate((np.random.default_rng(1).normal(1, 0.01, 292), np.linspace(5, 6, 8)))
    limits = thresholds_for(scores, 0.012, 0.0001)
    assert limits.review_limit.basis == "distribution-free"
    assert limits.review_limit.threshold > 5 > limits.fail_limit.threshold
    assert limits.fail == limits.review
    assert np.count_nonzero(scores >= limits.review) == events_allowed(300, 0.012, 0.95)


def test_claims_say_what_is_shown_and_what_is_missing() -> None:
    defective = np.concatenate((np.full(2, 0.5), np.full(98, 2.0)))
    shown = escapes_at(1.0, defective, 0.01)
    assert (shown.events, shown.parts, shown.holds) == (2, 100, False)
    assert shown.further_parts == 628 - 100
    assert shown.bound == pytest.approx(0.0616, abs=1e-4)
    assert claim(2, 628, 0.01, 0.95).holds
    assert thresholds_for(np.linspace(0.5, 0.9, 50), 0.02, 0.001, scores_defective=defective).escapes is not None
    good = false_rejects_at(1.0, np.full(598, 0.9), 0.005)
    assert (good.holds, good.further_parts) == (True, 0)
    assert claim(0, 0, 0.01, 0.95).bound == 1.0


def test_a_part_that_scores_the_threshold_is_stopped() -> None:
    assert false_rejects_at(1.0, [1.0], 0.1).events == 1
    assert escapes_at(1.0, [1.0], 0.1).events == 0
    scores = np.arange(1.0, 60.0)
    assert escape_limit(scores, 0.05) == 1.0
    assert escapes_at(1.0, scores, 0.05).holds
    assert escape_limit(scores[:58], 0.05) is None
    limit = false_reject_limit(scores, 0.05)
    assert false_rejects_at(limit.threshold, scores, 0.05).events == 0
    assert limit.threshold == np.nextafter(59.0, 60.0)


def test_later_parts_are_said_to_differ_only_if_they_score_higher() -> None:
    rng = np.random.default_rng(5)
    calibration = rng.lognormal(0, 0.2, 60)
    assert p_higher(calibration, rng.lognormal(0.2, 0.2, 40)) < 0.001
    assert p_higher(calibration, rng.lognormal(-0.2, 0.2, 40)) > 0.9
    alarms = [p_higher(rng.lognormal(0, 0.2, 60), rng.lognormal(0, 0.2, 40)) < 0.05 for _ in range(300)]
    assert 0.01 < np.mean(alarms) < 0.1


@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        (lambda: thresholds_for([1.0, 2.0], 0.001, 0.02), "swap the rates"),
        (lambda: false_reject_limit([1.0, 2.0], 0.5, 95), "95 is no rate"),
        (lambda: false_reject_limit([1.0, 2.0], 0.0), "0.005"),
        (lambda: model_based_limit([0.0, 0.0, 1.0], 0.01), "different good parts"),
        (lambda: model_based_limit([1.0], 0.01), "different good parts"),
        (lambda: escapes_at(1.0, [np.nan], 0.01), "finite"),
    ],
)
def test_mistakes_are_explained(mistake: Callable[[], object], says: str) -> None:
    with pytest.raises(StationError, match=says):
        mistake()


@pytest.mark.parametrize(("share", "text"), [(0.005, "0.5 %"), (0.95, "95 %"), (0.0616, "6.16 %"), (1.0, "100 %"), (0.0, "0 %")])
def test_shares_are_written_with_the_digits_they_have(share: float, text: str) -> None:
    assert percent(share) == text
