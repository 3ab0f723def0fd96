"""What people read: every code has words, and numbers are not flattered."""

from __future__ import annotations

import pytest

from cameras.fault_kinds import FaultKind
from inspection.domain import Output, Reason, Verdict
from inspection.web.pages import markup, words


def test_every_code_of_the_domain_has_words() -> None:
    assert set(words.REASONS) == set(Reason)
    assert set(words.VERDICTS) == set(Verdict)
    assert set(words.OUTPUTS) == {*Output, None}
    assert set(words.FAULTS) == set(words.ADVICE) == set(FaultKind)


def test_a_proposed_class_is_shown_as_a_likeness() -> None:
    assert words.looks_like("dent") == "Looks like: dent"


def test_a_fault_of_another_version_is_shown_by_its_kind() -> None:
    assert words.fault_words("camera_lost") == "Camera lost"
    assert words.advice("clock_stepped").startswith("Let a time service keep the clock")
    assert words.fault_words("disk_nearly_full") == "Disk nearly full"
    assert words.advice("disk_nearly_full").startswith("Look into the log")


@pytest.mark.parametrize(("part", "whole", "shown"), [(0, 0, "–"), (0, 7, "0.0"), (7, 7, "100.0"), (99_999, 100_000, "99.9")])
def test_a_yield_is_never_rounded_up(part: int, whole: int, shown: str) -> None:
    assert f"Yield %: {shown}" == f"Yield %: {markup.percent(part, whole)}"


@pytest.mark.parametrize(
    ("score", "fail", "position"), [(0.0, 2.0, 0.0), (2.0, 2.0, 50.0), (99.0, 2.0, 100.0), (1.0, 0.0, 100.0)]
)
def test_the_fail_threshold_is_in_the_middle_of_the_bar(score: float, fail: float, position: float) -> None:
    assert markup.score_position(score, fail) == position
