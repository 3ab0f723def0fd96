"""Whether the scores of passed parts are still what they were: light, lens, camera and parts change slowly. Pure.

Scores in the order of time are averaged in groups; the first third of the groups says what was usual, and an EWMA chart of the
groups says since when it is no longer so. Means of groups vary by more than their parts: their own moving range is what counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

import numpy as np

from inspection.quality.charts import ewma, moving_range_sigma

GROUP = 20
"""Parts in a group, at least."""
MOST_GROUPS = 60
FEWEST_GROUPS = 12
_REFERENCE = 1 / 3


@dataclass(frozen=True, slots=True)
class Group:
    """The mean score of parts in a row, the first at ``at``; ``ewma`` with its limits, and on which side it is outside."""

    at: datetime
    mean: float
    ewma: float
    lower: float
    upper: float
    outside: int


@dataclass(frozen=True, slots=True)
class Drift:
    """What happened to the scores. ``moved``: 1 if they are higher now than they were at first, -1 if lower, 0 if neither.

    ``since`` is when that began. ``reference`` is the mean of the first ``reference_groups`` groups.
    """

    parts: int
    groups: tuple[Group, ...]
    reference: float | None
    reference_groups: int
    moved: int
    since: datetime | None
    statement: str


def drift(scores: Sequence[tuple[datetime, float]]) -> Drift:
    """What happened to the scores of passed parts, given in the order of time."""
    size = max(GROUP, -(-len(scores) // MOST_GROUPS))
    count = len(scores) // size
    if count < FEWEST_GROUPS:
        needed = FEWEST_GROUPS * GROUP
        return Drift(len(scores), (), None, 0, 0, None, f"Too few passed parts to say: {len(scores)} of {needed} were read.")
    # What does not fill a group is left out at the old end.
    scores = scores[len(scores) - count * size :]
    means = [float(np.mean([score for _, score in scores[i * size : (i + 1) * size]])) for i in range(count)]
    first = max(round(count * _REFERENCE), FEWEST_GROUPS // 2)
    reference = float(np.mean(means[:first]))
    points = ewma(means, reference, moving_range_sigma(means[:first]), mean_of=first)
    groups = tuple(
        Group(scores[i * size][0], means[i], point.value, point.lower, point.upper, point.outside)
        for i, point in enumerate(points)
    )
    moved = groups[-1].outside
    since = None
    if moved:
        began = next(i for i in range(count - 1, -1, -1) if i == 0 or groups[i - 1].outside != moved)
        since = groups[began].at
    return Drift(len(scores), groups, reference, first, moved, since, _statement(groups, reference, moved, since))


def _statement(groups: tuple[Group, ...], reference: float, moved: int, since: datetime | None) -> str:
    if since is None:
        # One group or two are outside by chance now and then.
        runs = (len(list(run)) for outside, run in groupby(groups, key=lambda group: group.outside) if outside)
        again = "again " if max(runs, default=0) > 2 else ""
        return f"Scores of passed parts are {again}what they were at first: {reference:.3g} on average."
    now = float(np.mean([group.mean for group in groups if group.at >= since]))
    local, newest = since.astimezone(), groups[-1].at.astimezone()
    when = f"{local:%H:%M}" if local.date() == newest.date() else f"{local:%Y-%m-%d %H:%M}"
    change = f"since {when}: {now:.3g} on average, {reference:.3g} at first"
    if moved > 0:
        return (
            f"Scores of passed parts have risen {change}. Look at lighting, lens and focus, and whether the parts have changed; "
            "more good parts will be stopped if it goes on."
        )
    return (
        f"Scores of passed parts have fallen {change}. Look whether exposure, focus or the camera's field of view has changed: "
        "defects may show less too."
    )
