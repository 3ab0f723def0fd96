"""Where the figures of ``inspection.optics`` go over time: a lamp that dims or a lens that gets dirty is seen days before. Pure.

The slope is the median of all slopes between two groups of frames (Sen, JASA 63, 1968), which a few strange frames or one lot of
another shade do not turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from scipy import stats

from inspection.artifact import FigureRange, OpticsRanges
from inspection.optics import RULES

GROUP = 20
"""Frames in a group, at least."""
MOST_GROUPS, FEWEST_GROUPS = 60, 8
AHEAD = timedelta(days=60)
"""Limits that are further away at the present pace are not foretold."""


@dataclass(frozen=True, slots=True)
class OpticsGroup:
    """So many frames in a row, the first at ``at``: median, and what nine in ten lie between."""

    at: datetime
    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class FigureTrend:
    """One figure of the optics. Beyond ``lower`` or ``upper`` frames are refused; None: there is no such limit.

    ``limit_at``: when the median will be there if it goes on as in this time; None if it does not move, or not so soon.
    """

    figure: str
    groups: tuple[OpticsGroup, ...]
    usual: float | None
    lower: float | None
    upper: float | None
    limit_at: datetime | None
    statement: str


@dataclass(frozen=True, slots=True)
class OpticsTrend:
    """Of the model that judged last, in whose good images the limits were found; ``frames`` of the sample told their optics."""

    model: str
    frames: int
    figures: tuple[FigureTrend, ...]


def optics_trend(model: str, taken: Sequence[tuple[datetime, Mapping[str, float]]], usual: OpticsRanges | None) -> OpticsTrend:
    """The trends of figures that were taken in the order of time. ``usual`` is None for a model without limits."""
    size = max(GROUP, -(-len(taken) // MOST_GROUPS))
    # What does not fill a group is left out at the old end.
    starts = range(len(taken) % size, len(taken), size)
    found = []
    for name in RULES:
        groups = []
        for start in starts:
            values = [figures.get(name, np.nan) for _, figures in taken[start : start + size]]
            if not np.isnan(values).any():
                low, median, high = np.quantile(values, (0.05, 0.5, 0.95))
                groups.append(OpticsGroup(taken[start][0], float(median), float(low), float(high)))
        limits = usual.figures.get(name) if usual else None
        found.append(_trend(name, tuple(groups), limits))
    return OpticsTrend(model, len(taken), tuple(found))


def _trend(name: str, groups: tuple[OpticsGroup, ...], limits: FigureRange | None) -> FigureTrend:
    usual = limits.median if limits else None
    lower, upper = (limits.lower, limits.upper) if limits else (None, None)
    limit_at, statement = None, ""
    if len(groups) >= FEWEST_GROUPS:
        limit_at, statement = _foretold(name, groups, lower, upper)
    return FigureTrend(name, groups, usual, lower, upper, limit_at, statement)


def _foretold(
    name: str, groups: tuple[OpticsGroup, ...], lower: float | None, upper: float | None
) -> tuple[datetime | None, str]:
    rule = RULES[name]
    days = np.array([(group.at - groups[0].at).total_seconds() / 86_400 for group in groups])
    values = np.array([rule.scaled(group.median) for group in groups])
    if days[-1] == 0:
        return None, ""
    slope, intercept, slowest, fastest = stats.theilslopes(values, days, 0.99)
    if slowest <= 0 <= fastest:
        return None, ""
    limit = upper if slope > 0 else lower
    moves = f"{name} {'rises' if slope > 0 else 'falls'}"
    if limit is None:
        return None, ""
    at = groups[0].at + timedelta(days=min((rule.scaled(limit) - intercept) / slope, 36_500))
    if at > groups[-1].at + AHEAD:
        return None, ""
    if at <= groups[-1].at:
        return at, f"{moves} and is at the limit of {limit:.3g}."
    words = f"{moves} and will be at {limit:.3g}, where frames are refused, on {at.astimezone():%Y-%m-%d} if it goes on like that"
    return at, f"{words}: look at lamp, lens, focus and exposure."
