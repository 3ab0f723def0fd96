"""When golden parts have to be fed: the rule, and what a challenge shows."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspection.challenges import Asked, judged, outcome, standing, why_not_abandoned, why_not_finished
from inspection.domain import Challenge, ChallengeResult, ChallengeState, Deployment, GoldenPart, Inspection, Reason, Verdict

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
MODEL, FORMER = "ab" * 32, "cd" * 32
ASKED = Asked(8)


def hours_ago(hours: float) -> datetime:
    return NOW - timedelta(hours=hours)


def deployed(hours: float, model: str = MODEL) -> Deployment:
    return Deployment(1, "st-1", "plate", model, hours_ago(hours), None, "ada", "")


def finished(hours: float, state: ChallengeState = ChallengeState.PASSED, model: str = MODEL) -> Challenge:
    results = (ChallengeResult("G1", "ok", 1, 1, Verdict.PASS, None, 0.5, model, True),)
    return Challenge(7, "plate", "challenge-plate-7", hours_ago(hours + 0.1), "kim", hours_ago(hours), state, results)


@pytest.mark.parametrize(
    ("last", "in_service", "asked", "locked", "why"),
    [
        (None, deployed(100), None, False, "asks for no challenge"),
        (None, deployed(100), ASKED, True, "no challenge has been finished"),
        (finished(3), deployed(100), ASKED, False, "challenge 7 was passed"),
        (finished(8), deployed(100), ASKED, True, "more than 8 h ago"),
        (finished(3, ChallengeState.FAILED), deployed(100), ASKED, True, "not passed"),
        (finished(3, model=FORMER), deployed(1), ASKED, True, "by another model"),
        (finished(3, model=FORMER), deployed(1), Asked(8, after_deployment=False), False, "was passed"),
        # Rolled back: the model is the same, and yet it was put in service since.
        (finished(3), deployed(1), ASKED, True, "put in service after challenge 7"),
        (finished(3), None, ASKED, True, "no model"),
        (finished(3), None, Asked(8, after_deployment=False), False, "was passed"),
        (finished(-2), deployed(100), ASKED, True, "clock was set back"),
    ],
)
def test_production_waits_for_a_challenge(
    last: Challenge | None, in_service: Deployment | None, asked: Asked | None, locked: bool, why: str
) -> None:
    found = standing("plate", asked, last, in_service, NOW)
    assert (found.locked, why in found.why) == (locked, True), found.why
    if asked is not None and not locked:
        assert found.due_at == hours_ago(3) + timedelta(hours=8)


@given(
    every=st.floats(0.1, 1000),
    ago=st.floats(-50, 2000),
    deployed_ago=st.floats(0, 2000),
    state=st.sampled_from([ChallengeState.PASSED, ChallengeState.FAILED]),
    model=st.sampled_from([MODEL, FORMER]),
    after_deployment=st.booleans(),
)
def test_unlocked_is_only_what_was_passed_lately_by_the_model_that_decides(
    every: float, ago: float, deployed_ago: float, state: ChallengeState, model: str, after_deployment: bool
) -> None:
    found = standing("plate", Asked(every, after_deployment), finished(ago, state, model), deployed(deployed_ago), NOW)
    if not found.locked:
        assert state is ChallengeState.PASSED
        assert hours_ago(ago) + timedelta(hours=every) > NOW
        assert ago >= -1 / 60 - 1e-6
        assert not after_deployment or (model == MODEL and ago <= deployed_ago)
    elif state is ChallengeState.PASSED and model == MODEL and 0 <= ago <= min(deployed_ago, every) - 1e-6:
        raise AssertionError(f"locked for nothing: {found.why}")


def attempt(serial: str, verdict: Verdict, model: str | None = MODEL, number: int = 1) -> Inspection:
    reason = Reason.FRAME_LOST if verdict is Verdict.NOT_INSPECTED else None
    empty = dict.fromkeys(field.name for field in dataclasses.fields(Inspection))
    known = {"seq": number, "serial": serial, "attempt": number, "verdict": verdict, "reason": reason, "model": model}
    return Inspection(**{**empty, **known})


GOOD, BAD = GoldenPart("plate", "G1", "ok", "ada", NOW), GoldenPart("plate", "B1", "dent", "ada", NOW)


@pytest.mark.parametrize(
    ("good", "bad", "right", "ends"),
    [
        (attempt("G1", Verdict.PASS), attempt("B1", Verdict.FAIL), [True, True], ChallengeState.PASSED),
        (attempt("G1", Verdict.PASS), attempt("B1", Verdict.REVIEW), [True, True], ChallengeState.PASSED),
        (attempt("G1", Verdict.PASS), attempt("B1", Verdict.PASS), [False, True], ChallengeState.FAILED),
        (attempt("G1", Verdict.REVIEW), attempt("B1", Verdict.FAIL), [True, False], ChallengeState.FAILED),
        (attempt("G1", Verdict.FAIL), None, [None, False], ChallengeState.FAILED),
        (attempt("G1", Verdict.PASS), None, [None, True], None),
        (attempt("G1", Verdict.PASS), attempt("B1", Verdict.NOT_INSPECTED, None), [None, True], None),
        (attempt("G1", Verdict.PASS, FORMER), attempt("B1", Verdict.FAIL), [True, None], None),
    ],
)
def test_a_challenge_passes_if_every_part_is_judged_right(
    good: Inspection | None, bad: Inspection | None, right: list[bool | None], ends: ChallengeState | None
) -> None:
    newest = {each.serial: each for each in (good, bad) if each is not None}
    results = judged([GOOD, BAD], newest, deployed(1))
    assert [(each.serial, each.right) for each in results] == list(zip(["B1", "G1"], right, strict=True))
    assert (why_not_finished(results) is None) == (ends is not None)
    # What went wrong cannot be made undone by giving up.
    assert (why_not_abandoned(results) is None) == (False not in right)
    assert outcome(results) is (ends or ChallengeState.FAILED)


def test_nothing_is_right_without_a_model_in_service_and_no_parts_show_nothing() -> None:
    assert judged([GOOD], {"G1": attempt("G1", Verdict.PASS)}, None)[0].right is None
    assert outcome([]) is ChallengeState.FAILED
