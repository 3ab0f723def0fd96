"""The recorder's counts: every part once, in the bucket of its time, whatever else comes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cameras.fault_kinds import FaultKind
from cameras.messages import FaultReport
from inspection.domain import Reason, Verdict
from inspection.ledger import Effects, Made, Row
from inspection.tally import BOUNDS_S, DURABLE, Tally, Times


@dataclass
class Judged:
    timings_ms: dict[str, float]


@dataclass
class Asked:
    product: str | None = "plate"
    requested_ns: int = 1_000_000_000


def made(verdict: Verdict, reason: Reason | None = None, message: Any = None, ticket: Any = None) -> Made:
    return Made(Row(1, 1, "S1", verdict, reason), ticket or Asked(), message)


def test_every_part_is_counted_under_its_product_verdict_and_reason() -> None:
    tally = Tally()
    effects = Effects(made=[made(Verdict.PASS), made(Verdict.PASS), made(Verdict.NOT_INSPECTED, Reason.DEADLINE)])
    effects.made.append(made(Verdict.NOT_INSPECTED, Reason.UNKNOWN_LOT, ticket=Asked(product=None)))
    tally.committed(effects, 0, 0.004)
    assert sorted(tally.as_dict()["inspections"]) == [
        ["", "not_inspected", "unknown_lot", 1],
        ["plate", "not_inspected", "deadline", 1],
        ["plate", "pass", "", 2],
    ]
    assert tally.as_dict()["commits"] == [[0, 0, 1, *[0] * (len(BOUNDS_S) - 2)], 0.004]


def test_stages_are_timed_for_every_part_that_was_judged_and_durable_from_its_request() -> None:
    tally = Tally()
    late = made(Verdict.NOT_INSPECTED, Reason.DEADLINE, Judged({"total": 40.0, "infer": 9.0}))
    resumed = made(Verdict.PASS, None, Judged({"total": 40.0}), Asked(requested_ns=0))
    tally.committed(Effects(made=[late, made(Verdict.PASS, None, Judged({"total": 10.0})), resumed]), 1_050_000_000, 0.0)
    stages = {(product, stage): (sum(counts), round(total, 6)) for product, stage, counts, total in tally.as_dict()["stages"]}
    assert stages == {("plate", "total"): (3, 0.09), ("plate", "infer"): (1, 0.009), ("plate", DURABLE): (2, 0.1)}


@given(st.lists(st.floats(0, 100)))
def test_a_time_is_in_the_bucket_whose_bound_it_does_not_exceed(times: list[float]) -> None:
    counted = Times()
    for seconds in times:
        counted.add(seconds)
    for number, bound in enumerate(BOUNDS_S):
        assert sum(counted.counts[: number + 1]) == sum(seconds <= bound for seconds in times)
    assert sum(counted.counts) == len(times)


def test_products_without_number_do_not_fill_the_memory() -> None:
    tally = Tally()
    for number in range(3_000):
        tally.committed(Effects(made=[made(Verdict.PASS, None, Judged({"total": 1.0}), Asked(product=f"P{number}"))]), 0, 0.0)
    counted = tally.as_dict()
    assert len(counted["inspections"]) + len(counted["stages"]) < 4_000
    assert sum(count for *_, count in counted["inspections"]) == 3_000
    assert sum(sum(counts) for _, stage, counts, _ in counted["stages"] if stage == "total") == 3_000


def test_faults_are_counted_as_often_as_they_were_reported() -> None:
    tally = Tally()
    report = FaultReport(at=0.0, source="camera@top", kind=FaultKind.FRAME_LOST, count=3, detail="")
    tally.reported([report, report])
    assert tally.as_dict()["faults"] == [["camera@top", "frame_lost", 6]]
    assert 0 <= tally.as_dict()["recent_faults"]["frame_lost"] < 60
