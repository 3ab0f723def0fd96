"""Drift of scores, and how a time is cut into hours, days and weeks of the station's clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest

from inspection.quality.drift import FEWEST_GROUPS, GROUP, drift
from inspection.quality.times import Bucket, edges, fitting, too_many

START = datetime(2026, 3, 27, 12, 0, tzinfo=UTC)


def scores(*means: float, each: int = 400, spread: float = 0.1) -> list[tuple[datetime, float]]:
    """Scores a second apart, so many of each mean."""
    chance = np.random.default_rng(1)
    values = np.concatenate([chance.normal(mean, spread, each) for mean in means])
    return [(START + timedelta(seconds=number), float(value)) for number, value in enumerate(values)]


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A station's clock that changes on 2026-03-29."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_scores_that_stay_are_said_to_stay() -> None:
    found = drift(scores(0.8, 0.8, 0.8))
    assert (found.moved, found.since, found.parts) == (0, None, 1200)
    assert found.reference == pytest.approx(0.8, abs=0.02)
    assert found.statement.startswith("Scores of passed parts are what they were at first: 0.79")


def test_a_rise_is_dated_and_says_what_to_look_at(berlin: None) -> None:
    found = drift(scores(0.8, 0.8, 0.9))
    assert found.moved == 1
    # It began with the 801st part; the moving average needs some groups to be sure.
    assert START + timedelta(seconds=780) <= found.since <= START + timedelta(seconds=900)
    assert found.statement.startswith(f"Scores of passed parts have risen since 13:{found.since:%M}: 0.9")
    assert "lighting" in found.statement


def test_a_fall_is_a_fall() -> None:
    found = drift(scores(0.8, 0.8, 0.6))
    assert found.moved == -1
    assert "defects may show less" in found.statement


def test_a_rise_that_is_over_is_not_said_to_last() -> None:
    found = drift(scores(0.8, 0.8, 1.2, 0.8, 0.8))
    assert (found.moved, any(group.outside == 1 for group in found.groups)) == (0, True)
    assert "again what they were" in found.statement


def test_too_few_parts_say_nothing() -> None:
    few = FEWEST_GROUPS * GROUP - 1
    found = drift(scores(0.8, each=few))
    assert (found.groups, found.moved) == ((), 0)
    assert f"{few} of {few + 1}" in found.statement
    assert len(drift(scores(0.8, each=few + 1)).groups) == FEWEST_GROUPS


def test_scores_that_never_vary_do_not_drift() -> None:
    assert drift([(at, 0.7) for at, _ in scores(1.0)]).moved == 0


def test_days_are_those_of_the_stations_clock(berlin: None) -> None:
    found = edges(START, START + timedelta(days=4), Bucket.DAY)
    assert [edge.astimezone().strftime("%d %H:%M") for edge in found] == [
        "27 13:00",
        "28 00:00",
        "29 00:00",
        "30 00:00",
        "31 00:00",
        "31 14:00",
    ]
    # The day on which the clock goes forward has 23 hours.
    assert found[3] - found[2] == timedelta(hours=23)
    weeks = edges(START, START + timedelta(days=14), Bucket.WEEK)
    assert [edge.astimezone().strftime("%a %d") for edge in weeks[1:-1]] == ["Mon 30", "Mon 06"]
    hours = edges(START + timedelta(minutes=20), START + timedelta(hours=48), Bucket.HOUR)
    assert len(hours) == 49
    assert all(later - sooner == timedelta(hours=1) for sooner, later in pairwise(hours[1:-1]))


def test_the_bucket_fits_the_time() -> None:
    spans = {timedelta(hours=1): Bucket.HOUR, timedelta(days=7): Bucket.DAY, timedelta(days=365): Bucket.WEEK}
    assert {span: fitting(START, START + span) for span in spans} == spans
    assert too_many(START, START + timedelta(days=9), Bucket.HOUR)
    assert not too_many(START, START + timedelta(days=9), Bucket.DAY)
