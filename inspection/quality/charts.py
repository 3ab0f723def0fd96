"""Control charts: Laney's p′ for shares, EWMA for means, and Nelson's rules for what is no chance. Pure.

Laney, "Improved Control Charts for Attributes", Quality Engineering 14, 2002; Roberts, Technometrics 1, 1959, as in Montgomery,
"Introduction to Statistical Quality Control", chapter 9; Nelson, Journal of Quality Technology 16, 1984.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import pi, sqrt

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

D2 = 2 / sqrt(pi)
"""Mean range of two normal values in standard deviations, 1.128."""
LIMIT = 3.0
_SAME_SIDE, _TREND, _ALTERNATING = 9, 6, 14


class Rule(StrEnum):
    """Nelson's rules 1 to 4: what a point completes that chance hardly makes."""

    BEYOND_LIMIT = "beyond_limit"
    NINE_ON_ONE_SIDE = "nine_on_one_side"
    SIX_TRENDING = "six_trending"
    FOURTEEN_ALTERNATING = "fourteen_alternating"


RULE_WORDS = {
    Rule.BEYOND_LIMIT: "beyond the control limit",
    Rule.NINE_ON_ONE_SIDE: "the ninth in a row on one side of the mean",
    Rule.SIX_TRENDING: "the sixth in a row that rises or falls",
    Rule.FOURTEEN_ALTERNATING: "the fourteenth in a row that goes up and down in turn",
}


@dataclass(frozen=True, slots=True)
class ShareLimits:
    """One point of a p′ chart. ``z``: its distance from the mean in the chart's standard deviations, 0.0 where they are none."""

    share: float
    lower: float
    upper: float
    z: float
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class ShareChart:
    """A p′ chart. ``sigma_z`` says how much more the shares vary than chance alone lets them: 1.0 for chance alone."""

    mean: float
    sigma_z: float
    points: tuple[ShareLimits, ...]


@dataclass(frozen=True, slots=True)
class Smoothed:
    """One point of an EWMA chart; ``outside``: -1 below the lower limit, 1 above the upper, 0 between."""

    value: float
    lower: float
    upper: float
    outside: int


def laney(counts: Sequence[tuple[int, int]]) -> ShareChart | None:
    """The p′ chart of (events, trials), in the order of time; None for no counts. Every count has at least one trial.

    Limits are ``mean ± 3 sqrt(mean (1 - mean) / trials) sigma_z``. They are never narrower than those of a p chart: with few
    points sigma_z comes out below 1 by chance, and parts that are inspected one by one have no reason to vary less than chance.
    Runs are looked for beside the mean without the points beyond the limits, or one bad lot would put all others on one side.
    """
    if not counts:
        return None
    events, trials = np.array(counts, np.float64).T
    mean = float(events.sum() / trials.sum())
    sigma = np.sqrt(mean * (1 - mean) / trials)
    shares = events / trials
    z = np.divide(shares - mean, sigma, out=np.zeros_like(shares), where=sigma > 0)
    sigma_z = max(1.0, moving_range_sigma(z)) if len(z) > 1 else 1.0
    width = LIMIT * sigma * sigma_z
    z /= sigma_z
    usual = np.abs(z) <= LIMIT
    usual_mean = events[usual].sum() / trials[usual].sum() if usual.any() else mean
    runs = nelson(np.divide(shares - usual_mean, sigma, out=np.zeros_like(shares), where=sigma > 0))
    rules = [
        (*([Rule.BEYOND_LIMIT] if not inside else []), *(rule for rule in of_runs if rule is not Rule.BEYOND_LIMIT))
        for inside, of_runs in zip(usual, runs, strict=True)
    ]
    columns = (shares, np.maximum(0, mean - width), np.minimum(1, mean + width), z)
    points = zip(*(column.tolist() for column in columns), rules, strict=True)
    return ShareChart(mean, sigma_z, tuple(ShareLimits(*point) for point in points))


def moving_range_sigma(values: Sequence[float] | Values) -> float:
    """The standard deviation of values in a row (two at least), by the mean of their moving ranges."""
    return float(np.abs(np.diff(values)).mean() / D2)


def ewma(
    values: Sequence[float], mean: float, sigma: float, weight: float = 0.2, width: float = LIMIT, mean_of: int | None = None
) -> tuple[Smoothed, ...]:
    """The exponentially weighted moving average of values with this mean and standard deviation while nothing happens.

    ``mean_of``: the mean is itself one of so many values, and the limits allow for that; None if it is known.
    """
    smoothed, points = mean, []
    for number, value in enumerate(values, 1):
        smoothed = weight * value + (1 - weight) * smoothed
        variance = weight / (2 - weight) * (1 - (1 - weight) ** (2 * number)) + (1 / mean_of if mean_of else 0.0)
        half = width * sigma * sqrt(variance)
        # What rounding alone puts outside is not: values that never vary have limits of no width.
        beyond = abs(smoothed - mean) - half > 1e-9 * max(abs(mean), abs(smoothed))
        points.append(Smoothed(smoothed, mean - half, mean + half, (1 if smoothed > mean else -1) if beyond else 0))
    return tuple(points)


def nelson(z: Sequence[float] | Values) -> tuple[tuple[Rule, ...], ...]:
    """Which of Nelson's rules 1 to 4 each point completes; ``z`` in standard deviations from the mean, in the order of time."""
    found = []
    side = trend = alternating = 0
    for number, value in enumerate(z):
        rules = [Rule.BEYOND_LIMIT] if abs(value) > LIMIT else []
        step = float(np.sign(value - z[number - 1])) if number else 0.0
        before = float(np.sign(z[number - 1] - z[number - 2])) if number > 1 else 0.0
        side = _run(side, value != 0, number > 0 and np.sign(value) == np.sign(z[number - 1]))
        # Six points in a row make five steps.
        trend = _run(trend, step != 0, step == before)
        alternating = _run(alternating, step != 0, step == -before)
        if side >= _SAME_SIDE:
            rules.append(Rule.NINE_ON_ONE_SIDE)
        if trend >= _TREND - 1:
            rules.append(Rule.SIX_TRENDING)
        if alternating >= _ALTERNATING - 1:
            rules.append(Rule.FOURTEEN_ALTERNATING)
        found.append(tuple(rules))
    return tuple(found)


def _run(length: int, counts: bool, goes_on: bool) -> int:
    """How long a run is with one more: none if it does not count, one that begins, or one that goes on."""
    return 0 if not counts else length + 1 if goes_on else 1
