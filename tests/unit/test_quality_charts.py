"""Control charts against worked examples of textbooks, and against charts that other people wrote."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest
import shewhart

from inspection.quality.charts import Rule, ewma, laney, moving_range_sigma, nelson
from inspection.quality.pareto import REST, pareto

# Montgomery, "Introduction to Statistical Quality Control", example 7.1: cans that leak among 50, in 30 samples.
CANS = (12, 15, 8, 10, 4, 7, 16, 9, 14, 10, 5, 6, 17, 12, 22, 8, 10, 5, 13, 11, 20, 18, 24, 15, 9, 12, 7, 13, 9, 6)
# The same, table 9.1: twenty values of mean 10, ten of mean 11; and their EWMA of weight 0.1 (table 9.10).
VALUES = (9.45, 7.99, 9.29, 11.66, 12.16, 10.18, 8.04, 11.46, 9.20, 10.34, 9.03, 11.47, 10.51, 9.40, 10.08)
VALUES += (9.37, 10.62, 10.31, 8.52, 10.84, 10.90, 9.33, 12.29, 11.50, 10.60, 11.08, 10.38, 11.62, 11.31, 10.52)
SMOOTHED = {1: 9.945, 2: 9.7495, 3: 9.70355, 4: 9.8992, 5: 10.1253, 10: 10.0232, 20: 10.0108, 29: 10.6468, 30: 10.6341}
# NIST/SEMATECH e-Handbook, 6.3.2.4: EWMA of weight 0.3, mean 50, standard deviation 2.0539.
HANDBOOK = (
    52.0,
    47.0,
    53.0,
    49.3,
    50.1,
    47.0,
    51.0,
    50.1,
    51.2,
    50.5,
    49.6,
    47.6,
    49.9,
    51.3,
    47.8,
    51.2,
    52.6,
    52.4,
    53.6,
    52.1,
)


def test_mean_and_limits_of_a_p_chart_are_those_of_the_textbook() -> None:
    chart = laney([(leaking, 50) for leaking in CANS])
    assert chart.mean == pytest.approx(0.2313, abs=5e-5)
    # p′ widens the limits of the p chart by sigma_z.
    assert chart.mean + (chart.points[0].upper - chart.mean) / chart.sigma_z == pytest.approx(0.4102, abs=5e-5)
    # Samples 15 and 23 are beyond the p chart's limits.
    assert [number for number, point in enumerate(chart.points, 1) if abs(point.z) * chart.sigma_z > 3] == [15, 23]


@pytest.mark.parametrize("seed", range(5))
def test_limits_and_signals_of_p_prime_charts_are_those_of_another_implementation(seed: int) -> None:
    chance = np.random.default_rng(seed)
    trials = chance.integers(2_000, 20_000, 60)
    shares = np.clip(chance.normal(0.04, 0.01, 60), 0.001, None) + (np.arange(60) > 50) * 0.05 * (seed % 2)
    events = chance.binomial(trials, shares)
    ours = laney(list(zip(events.tolist(), trials.tolist(), strict=True)))
    theirs = shewhart.laney_p(events, size=trials, rules="nelson")
    assert ours.sigma_z == pytest.approx(theirs.stats["sigma_z"])
    assert ours.sigma_z > 1
    assert [point.lower for point in ours.points] == pytest.approx(theirs.table["lcl"].tolist())
    assert [point.upper for point in ours.points] == pytest.approx(theirs.table["ucl"].tolist())
    # They name all points of a run, we those that complete it, beside a mean without the points beyond the limits.
    beyond = any(signal.rule == "nelson_1" for signal in theirs.signals)
    assert beyond == bool(seed % 2)
    lengths = {"nelson_1": 1, "nelson_2": 9, "nelson_3": 6, "nelson_4": 14}
    expected = {
        (signal.rule, point)
        for signal in theirs.signals
        if signal.rule in lengths and (signal.rule == "nelson_1" or not beyond)
        for point in signal.points[lengths[signal.rule] - 1 :]
    }
    names = dict(zip(Rule, lengths, strict=True))
    found = {(names[rule], number) for number, point in enumerate(ours.points) for rule in point.rules}
    assert {each for each in found if each[0] == "nelson_1" or not beyond} == expected


def test_limits_are_never_narrower_than_chance() -> None:
    chart = laney([(50, 1_000)] * 12)
    assert (chart.sigma_z, chart.points[0].rules) == (1.0, ())
    assert chart.points[0].upper == pytest.approx(0.05 + 3 * (0.05 * 0.95 / 1_000) ** 0.5)


def test_lots_without_any_reject_or_with_nothing_else_have_no_signals() -> None:
    for events in (0, 40):
        assert all(point.rules == () and point.z == 0 for point in laney([(events, 40)] * 20).points)
    assert laney([]) is None
    assert laney([(1, 10)]).points[0].share == 0.1


def test_one_bad_lot_among_good_ones_is_beyond_the_limit() -> None:
    chart = laney([*[(50 + 5 * (-1) ** (number // 2), 1_000) for number in range(14)], (300, 1_000), (51, 1_000)])
    assert [(number, point.rules) for number, point in enumerate(chart.points) if point.rules] == [(14, (Rule.BEYOND_LIMIT,))]


def test_ewma_and_its_limits_are_those_of_the_textbook() -> None:
    points = ewma(VALUES, 10.0, 1.0, weight=0.1, width=2.7)
    for number, value in SMOOTHED.items():
        assert points[number - 1].value == pytest.approx(value, abs=6e-5)
    limits = [(round(points[number].lower, 2), round(points[number].upper, 2)) for number in (0, 1, 29)]
    assert limits == [(9.73, 10.27), (9.64, 10.36), (9.38, 10.62)]
    assert [number for number, point in enumerate(points, 1) if point.outside] == [29, 30]


def test_ewma_of_the_handbook() -> None:
    points = ewma(HANDBOOK, 50.0, 2.0539, weight=0.3)
    assert points[-1].value == pytest.approx(51.99, abs=5e-3)
    assert (points[-1].lower, points[-1].upper) == (pytest.approx(47.4115, abs=5e-3), pytest.approx(52.5884, abs=5e-3))
    assert not any(point.outside for point in points)


def test_what_never_varies_is_never_outside() -> None:
    assert not any(point.outside for point in ewma([0.1 + 0.2] * 30, 0.3, 0.0))


def test_sigma_by_moving_ranges() -> None:
    assert moving_range_sigma([1.0, 3.0, 2.0]) == pytest.approx(1.5 / 1.128379, rel=1e-6)


@pytest.mark.parametrize(
    ("z", "rule", "completes"),
    [
        ([0.1, 3.1, -3.1, 3.0], Rule.BEYOND_LIMIT, [1, 2]),
        ([-1.0, *[0.5, 0.2] * 5], Rule.NINE_ON_ONE_SIDE, [9, 10]),
        ([0.5] * 4 + [0.0] + [0.5] * 8, Rule.NINE_ON_ONE_SIDE, []),
        ([0.0, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.2], Rule.SIX_TRENDING, [6]),
        ([0.5, 0.4, 0.3, 0.2, 0.1, -0.1], Rule.SIX_TRENDING, [5]),
        ([0.1, 0.2, 0.3, 0.3, 0.4, 0.5, 0.6], Rule.SIX_TRENDING, []),
        ([(-1) ** number * 0.3 for number in range(15)], Rule.FOURTEEN_ALTERNATING, [13, 14]),
        ([(-1) ** number * 0.3 for number in range(13)], Rule.FOURTEEN_ALTERNATING, []),
    ],
)
def test_a_rule_is_completed_by_its_last_point(z: list[float], rule: Rule, completes: list[int]) -> None:
    assert [number for number, rules in enumerate(nelson(z)) if rule in rules] == completes


def test_a_pareto_sums_to_one_and_keeps_the_few_that_make_most() -> None:
    counts = {"scratch": 40, "dent": 30, "stain": 0, "burr": 20, "chip": 6, "dust": 4}
    bars = pareto(counts, most=4)
    assert [(bar.name, bar.count) for bar in bars] == [("scratch", 40), ("dent", 30), ("burr", 20), (REST, 10)]
    assert [bar.cumulative for bar in bars] == pytest.approx([0.4, 0.7, 0.9, 1.0])
    assert [len(list(group)) for _, group in groupby(pareto({"b": 1, "a": 1}), key=lambda bar: bar.share)] == [2]
    assert pareto({}) == () == pareto({"none": 0})
