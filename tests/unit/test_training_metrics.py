"""The figures of an evaluation: counted by hand, and against plain implementations of their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from inspection.quality.curves import auroc, auroc_interval
from training.metrics import clopper_pearson, f1_max, false_reject_rate

Values = st.lists(st.integers(0, 12).map(float), min_size=1, max_size=12).map(np.array)


def test_auroc_counts_pairs_and_ties_half() -> None:
    assert auroc(np.array([1.0, 2.0]), np.array([3.0, 4.0])) == 1.0
    assert auroc(np.array([1.0, 3.0]), np.array([2.0, 3.0])) == (1 + 0 + 1 + 0.5) / 4


@given(Values, Values)
def test_auroc_is_the_share_of_pairs_in_order(good: np.ndarray, defective: np.ndarray) -> None:
    pairs = [1.0 if bad > fine else 0.5 if bad == fine else 0.0 for bad in defective for fine in good]
    assert auroc(good, defective) == pytest.approx(np.mean(pairs))


def test_f1_at_the_best_threshold_by_hand() -> None:
    # From 3 on: 3 caught, 1 false reject, 1 escape: 6 / (6 + 1 + 1).
    value, (low, high) = f1_max(np.array([1.0, 2.0, 3.5]), np.array([0.5, 3.0, 4.0, 5.0]))
    assert value == pytest.approx(6 / 8)
    share = clopper_pearson(3, 5)
    assert (low, high) == pytest.approx(tuple(2 * each / (1 + each) for each in share))


@given(Values, Values)
def test_f1_equals_the_best_of_all_thresholds(good: np.ndarray, defective: np.ndarray) -> None:
    best = 0.0
    for threshold in [*good, *defective]:
        caught, wrong = sum(defective >= threshold), sum(good >= threshold)
        if caught:
            precision, recall = caught / (caught + wrong), caught / len(defective)
            best = max(best, 2 * precision * recall / (precision + recall))
    value, (low, high) = f1_max(good, defective)
    assert value == pytest.approx(best)
    assert low <= value <= high


def test_false_rejects_at_zero_and_one_per_cent_escapes_by_hand() -> None:
    good = np.array([1.0, 2.0, 3.0, 10.0])
    assert false_reject_rate(good, np.array([3.0, 11.0]), 0)[0] == 0.5  # at 3 and from there on
    hundred = np.concatenate(([0.5], np.full(99, 5.0)))
    assert false_reject_rate(good, hundred, 0)[0] == 1.0
    assert false_reject_rate(good, hundred, 1)[0] == 0.25
    assert false_reject_rate(good, hundred[:99], 1)[0] == 1.0  # one of 99 is more than 1 %


@given(Values, Values, st.integers(0, 40))
def test_no_threshold_with_so_few_escapes_rejects_fewer_good_parts(good: np.ndarray, defective: np.ndarray, percent: int) -> None:
    allowed = [
        np.mean(good >= threshold)
        for threshold in [*good, *defective, 13.0]
        if np.sum(defective < threshold) * 100 <= percent * len(defective)
    ]
    rate, (low, high) = false_reject_rate(good, defective, percent)
    assert rate == pytest.approx(min(allowed))
    assert low <= rate <= high


def test_clopper_pearson_by_hand() -> None:
    assert clopper_pearson(0, 20) == pytest.approx((0.0, 1 - 0.025 ** (1 / 20)))
    assert clopper_pearson(20, 20) == pytest.approx((0.025 ** (1 / 20), 1.0))
    low, high = clopper_pearson(3, 50)
    assert binom.sf(2, 50, low) == pytest.approx(0.025)
    assert binom.cdf(3, 50, high) == pytest.approx(0.025)


def test_the_interval_of_an_auroc_covers_it_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    truth = 0.9214  # of two normal distributions two standard deviations apart
    covered = 0
    for _ in range(400):
        low, high = auroc_interval(auroc(rng.normal(0, 1, 25), rng.normal(2, 1, 25)), 25, 25)
        covered += low <= truth <= high
    assert 0.92 <= covered / 400 <= 0.995


def test_the_interval_of_a_perfect_auroc_narrows_with_more_parts() -> None:
    few, many = auroc_interval(1.0, 10, 10), auroc_interval(1.0, 100, 100)
    assert few[1] == many[1] == 1.0
    assert 0.6 < few[0] < many[0] < 1.0
    assert auroc_interval(0.0, 10, 10) == pytest.approx((0.0, 1 - few[0]))
