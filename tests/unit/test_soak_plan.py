"""Plans of faults: the same from the same seed, fair to every fault, and never two that touch the same thing."""

from __future__ import annotations

from itertools import pairwise

import pytest

from inspection.soak.catalogue import CATALOGUE
from inspection.soak.plan import Planned, plan

PAIRS = sum(len(fault.targets) for fault in CATALOGUE)


def hour(seed: int) -> tuple[Planned, ...]:
    return plan(seed, 3_600, (0.5, 20), CATALOGUE)


def test_a_seed_is_a_plan_and_another_seed_another_one() -> None:
    assert hour(1) == hour(1)
    assert hour(1) != hour(2)


def test_every_fault_has_its_turn_before_any_has_its_second() -> None:
    first = hour(3)[: PAIRS // 2]
    assert len({each.name for each in first}) == len(first)
    assert {each.fault.name for each in hour(3)} == {fault.name for fault in CATALOGUE}


@pytest.mark.parametrize("seed", range(5))
def test_two_faults_that_touch_the_same_never_overlap(seed: int) -> None:
    by_touch: dict[str, list[Planned]] = {}
    for each in plan(seed, 3_600, (0.1, 1), CATALOGUE):
        by_touch.setdefault(each.touches, []).append(each)
    for those in by_touch.values():
        assert all(one.at_s + one.seconds <= other.at_s for one, other in pairwise(those))


def test_faults_come_in_order_within_the_time_and_last_as_long_as_allowed() -> None:
    short = plan(7, 100, (0.2, 3), CATALOGUE, longest_s=2)
    assert [each.at_s for each in short] == sorted(each.at_s for each in short)
    assert short[-1].at_s < 100
    for each in short:
        assert each.seconds <= max(2, each.fault.seconds[0])
    assert any(each.seconds for each in short)


def test_a_fault_alone_comes_again_when_it_is_over() -> None:
    (locked,) = (fault for fault in CATALOGUE if fault.name == "database locked")
    again = plan(1, 100, (0.2, 3), [locked])
    assert len(again) > 5
    assert all(one.at_s + one.seconds <= other.at_s for one, other in pairwise(again))


def test_a_plan_says_what_comes_when() -> None:
    killed = next(each for each in hour(1) if each.fault.name == "killed")
    assert f"killed: {killed.target}" in str(killed)
