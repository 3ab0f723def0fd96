"""Score + thresholds → verdict: no input that is not clearly good passes a part."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspection.domain import Verdict
from inspection.verdict import decide

finite = st.floats(allow_nan=False, allow_infinity=False)
thresholds = st.tuples(finite, finite).map(sorted)


@given(finite, thresholds)
def test_a_part_passes_exactly_below_the_review_threshold(score: float, limits: list[float]) -> None:
    assert (decide(score, *limits) is Verdict.PASS) == (score < limits[0])


@given(finite, thresholds)
def test_a_part_fails_exactly_from_the_fail_threshold_on(score: float, limits: list[float]) -> None:
    verdict = decide(score, *limits)
    assert (verdict is Verdict.FAIL) == (score >= limits[0] and score >= limits[1])
    assert verdict is not Verdict.NOT_INSPECTED


@given(finite, finite, thresholds)
def test_a_stranger_part_never_gets_a_better_verdict(first: float, second: float, limits: list[float]) -> None:
    order = [Verdict.PASS, Verdict.REVIEW, Verdict.FAIL]
    low, high = sorted((first, second))
    assert order.index(decide(low, *limits)) <= order.index(decide(high, *limits))


@given(st.sampled_from([math.nan, math.inf, -math.inf]), st.integers(0, 2))
def test_values_that_are_not_finite_are_refused(value: float, position: int) -> None:
    arguments = [1.0, 2.0, 3.0]
    arguments[position] = value
    with pytest.raises(ValueError, match="finite"):
        decide(*arguments)


def test_thresholds_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match="must not be above"):
        decide(1.0, 3.0, 2.0)
