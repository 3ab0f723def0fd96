"""Where the figures of optics go: a lamp that dims is foretold, chance and a few strange frames are not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from inspection.optics import RULES, ranges
from inspection.quality.optics import FEWEST_GROUPS, GROUP, MOST_GROUPS, FigureTrend, optics_trend

START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
GOOD = {
    "brightness": 0.45,
    "contrast": 0.5,
    "sharpness": 0.3,
    "coarse_sharpness": 0.4,
    "saturated": 0.0,
    "light_left": 0.5,
    "light_top": 0.5,
}
USUAL = ranges([GOOD | {"brightness": 0.45 + 0.002 * number} for number in range(-10, 11)], [(640, 480)])


def brightness(values: np.ndarray, hours: float = 0.5, known: bool = True) -> FigureTrend:
    """The trend of frames with this brightness, so many hours apart."""
    taken = [(START + timedelta(hours=hours * number), GOOD | {"brightness": float(each)}) for number, each in enumerate(values)]
    trend = optics_trend("m" * 64, taken, USUAL if known else None)
    assert trend.frames == len(values)
    assert [each.figure for each in trend.figures] == list(RULES)
    assert all(each.statement == "" for each in trend.figures if each.figure != "brightness")
    return trend.figures[0]


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.01, count)


def test_a_lamp_that_dims_is_foretold_with_the_day_at_which_frames_will_be_refused() -> None:
    lower = USUAL.figures["brightness"].lower
    assert lower is not None
    # In twenty days, half of the way to the limit; the brightness falls by the same share every day.
    days, count = 20, 960
    shares = (lower / 0.45) ** (0.5 * np.arange(count) / count)
    trend = brightness(0.45 * shares * (1 + noise(count)))
    assert trend.limit_at is not None
    assert abs(trend.limit_at - (START + timedelta(days=2 * days))) < timedelta(days=2)
    assert trend.statement.startswith(f"brightness falls and will be at {lower:.3g}, where frames are refused, on 2026-04-1")
    assert len(trend.groups) <= MOST_GROUPS
    assert trend.groups[0].low < trend.groups[0].median < trend.groups[0].high


def test_chance_and_strange_frames_foretell_nothing() -> None:
    quiet = sum(bool(brightness(0.45 + noise(960, seed)).statement) for seed in range(40))
    assert quiet <= 2
    strange = 0.45 + noise(960)
    strange[900:940] = 0.1
    assert brightness(strange).statement == ""


def test_a_drift_that_takes_years_is_not_foretold() -> None:
    assert brightness(0.45 * (1 - 0.0002 * np.arange(960) / 960)).limit_at is None


def test_few_frames_and_models_without_limits_say_nothing() -> None:
    falling = np.linspace(0.45, 0.36, FEWEST_GROUPS * GROUP)
    assert brightness(falling).statement != ""
    assert brightness(falling[:-1]).statement == ""
    assert brightness(falling, known=False).statement == ""
    assert brightness(falling[: GROUP - 1]).groups == ()
