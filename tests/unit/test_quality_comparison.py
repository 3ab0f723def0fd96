"""Figures of two models on the same parts, against cases that were computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from inspection.quality.comparison import Paired, Share, Wish, figures, paired
from inspection.quality.curves import RocPoint, auroc, roc


def test_figures_of_a_model_at_its_thresholds() -> None:
    good, defective = [0.1, 0.2, 0.3, 0.5], [0.4, 0.6, 0.9]
    seen = figures(good, defective, 0.5, 0.8)
    # A score on a threshold is beyond it.
    assert (seen.false_rejects.events, seen.false_rejects.parts) == (1, 4)
    assert (seen.escapes.events, seen.escapes.parts) == (1, 3)
    assert (seen.to_review.events, seen.to_review.parts) == (2, 7)
    # Clopper & Pearson for 1 of 4: the solutions of 1 - (1-p)^4 = 0.025 and (1-p)^4 + 4p(1-p)^3 = 0.025.
    assert seen.false_rejects.low == pytest.approx(1 - 0.975**0.25)
    high = seen.false_rejects.high
    assert (1 - high) ** 4 + 4 * high * (1 - high) ** 3 == pytest.approx(0.025)
    # Of the twelve pairs the defective part scores higher in eleven.
    assert seen.auroc == pytest.approx(11 / 12)
    assert 0 < seen.auroc_low < 11 / 12 < seen.auroc_high < 1
    assert seen.roc == (
        RocPoint(0.6, 0.0, 2 / 3),
        RocPoint(0.5, 0.25, 2 / 3),
        RocPoint(0.4, 0.25, 1.0),
        RocPoint(0.1, 1.0, 1.0),
    )


def test_without_parts_of_a_kind_nothing_is_claimed_of_it() -> None:
    seen = figures([0.1, 0.2], [], 0.5, 0.8)
    assert seen.escapes == Share(0, 0, None, None)
    assert (seen.escapes_claim, seen.auroc, seen.auroc_low, seen.roc) == (None, None, None, ())
    assert seen.false_rejects_claim is not None
    empty = figures([], [], 0.5, 0.8)
    assert (empty.false_rejects_claim, empty.to_review.low) == (None, None)


def test_a_claim_needs_so_many_labels_more() -> None:
    """None of 59 shows 5 % at 95 %: 0.95 ** 59 < 0.05 <= 0.95 ** 58."""
    wish = Wish(false_rejects=0.05, escapes=0.05)
    assert figures([0.1] * 59, [], 0.5, 0.8, wish).false_rejects_claim.holds
    few = figures([0.1] * 58, [0.9] * 20, 0.5, 0.8, wish)
    assert (few.false_rejects_claim.holds, few.false_rejects_claim.further_parts) == (False, 1)
    assert (few.escapes_claim.holds, few.escapes_claim.further_parts) == (False, 39)


def test_thresholds_that_were_chosen_by_these_parts_claim_less() -> None:
    """Without an event half of the risk is left: 0.95 ** 71 > 0.025 >= 0.95 ** 72."""
    wish = Wish(false_rejects=0.05)
    claims = [figures([0.1] * count, [], 0.5, 0.8, wish, looked=True).false_rejects_claim for count in (59, 71, 72)]
    assert [claim.holds for claim in claims] == [False, False, True]
    assert claims[0].further_parts == 59, "of others: these have been looked at"
    assert claims[0].bound == pytest.approx(1 - 0.025 ** (1 / 59))


def test_whether_one_of_two_models_is_wrong_more_often_by_chance() -> None:
    """Five heads in five throws, either way: 2 / 32."""
    assert paired([True] * 5 + [False] * 90, [False] * 95) == Paired(5, 0, pytest.approx(2 / 32))
    assert paired([True, True, False, False, True], [True, False, True, False, False]) == Paired(2, 1, 1.0)
    # 1 + 8 heads of 9, either way: 2 * 10 / 512.
    wrong = [True] * 8 + [False]
    assert paired(wrong, [not each for each in wrong]).by_chance == pytest.approx(20 / 512)
    assert paired([], []) == Paired(0, 0, 1.0)
    assert paired([True, False], [True, False]) == Paired(0, 0, 1.0)


SCORES = st.lists(st.integers(0, 30).map(float), min_size=1, max_size=60).map(np.array)


@given(SCORES, SCORES)
def test_the_corners_of_a_roc_have_its_area(good: np.ndarray, defective: np.ndarray) -> None:
    corners = roc(good, defective)
    x = [0.0, *(point.false_rejects for point in corners)]
    y = [0.0, *(point.caught for point in corners)]
    assert (x[-1], y[-1]) == (1.0, 1.0)
    assert np.trapezoid(y, x) == pytest.approx(auroc(good, defective))


def test_a_roc_of_many_scores_is_thinned_from_end_to_end() -> None:
    random = np.random.default_rng(0)
    corners = roc(random.normal(0, 1, 5_000), random.normal(0.1, 1, 5_000), limit=50)
    assert len(corners) == 50
    assert (corners[-1].false_rejects, corners[-1].caught) == (1.0, 1.0)


# Few different values, so that ties are frequent.
SCORES = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=30)


@given(SCORES, SCORES)
def test_auroc_is_that_of_scikit_learn(good: list[float], bad: list[float]) -> None:
    expected = roc_auc_score([0] * len(good) + [1] * len(bad), good + bad)
    assert auroc(np.array(good), np.array(bad)) == pytest.approx(expected)
