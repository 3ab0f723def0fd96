"""What a run came to: counts against the records."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from inspection.cell import Outcome
from inspection.domain import Output, Reason, Verdict
from inspection.summary import print_summary, summarize


def outcome(serial: str, trigger_id: int, verdict: Verdict, output: Output, defect: str | None = None, **values: Any) -> Outcome:
    outcome = Outcome(
        "L1", serial, defect, requested_ns=0, trigger_id=trigger_id, verdict=verdict, output=output, durable_ms=20.0
    )
    return replace(outcome, **values)


@pytest.fixture
def run(seeder: Any) -> tuple[Any, list[Outcome]]:
    """Four parts of L1 in the records, and what the cell saw of them; L2 is another run's."""
    for lot in ("L1", "L2"):
        seeder.lot(lot)
    seeder.inspection("L1", "S1", Verdict.PASS, score=0.5, timings_ms={"infer": 10.0, "total": 30.0})
    seeder.inspection("L1", "S2", Verdict.FAIL, score=3.0, timings_ms={"infer": 20.0})
    seeder.inspection("L1", "S3", Verdict.PASS, score=0.4, timings_ms={"infer": 30.0})
    seeder.inspection("L1", "S4", Verdict.NOT_INSPECTED, reason="frame_lost")
    seeder.inspection("L2", "S1", Verdict.FAIL, score=9.0)
    outcomes = [
        outcome("S1", 1, Verdict.PASS, Output.ACCEPT, durable_ms=10.0),
        outcome("S2", 2, Verdict.FAIL, Output.REJECT, "scratch", durable_ms=30.0),
        outcome("S3", 3, Verdict.PASS, Output.ACCEPT, "dent", durable_ms=20.0),
        outcome("S4", 4, Verdict.NOT_INSPECTED, Output.REJECT, reason=Reason.FRAME_LOST, durable_ms=1_000.0),
    ]
    return seeder.connection, outcomes


def test_a_run_is_counted_from_the_records_and_from_the_cell(run: tuple[Any, list[Outcome]]) -> None:
    summary = summarize(run[0], ["L1"], run[1])
    (lot,) = summary["lots"]
    assert (lot["lot"], lot["conveyed"], lot["triggered"], lot["balanced"]) == ("L1", 4, 4, True)
    assert (lot["pass"], lot["fail"], lot["review"], lot["not_inspected"]) == (2, 1, 0, 1)
    assert (lot["accepted"], lot["rejected"], lot["accepted_by_cell"]) == (2, 2, 2)
    assert lot["reasons"] == {"frame_lost": 1}
    assert summary["confusion"] == {
        "good": {"pass": 1, "fail": 0, "review": 0, "not_inspected": 1},
        "defective": {"pass": 1, "fail": 1, "review": 0, "not_inspected": 0},
    }
    # The good part scores above one of the two bad ones; the part without a score counts in neither.
    assert summary["image_auroc"] == 0.5
    assert summary["models"] == ["ab" * 32]


def test_latencies_are_of_judged_parts_alone(run: tuple[Any, list[Outcome]]) -> None:
    summary = summarize(run[0], ["L1"], run[1])
    assert summary["trigger_to_durable_ms"] == {"p50": 20.0, "p99": 29.8, "max": 30.0}
    assert summary["stages_ms"] == {
        "infer": {"p50": 20.0, "p99": 29.8, "max": 30.0},
        "total": {"p50": 30.0, "p99": 30.0, "max": 30.0},
    }


def test_an_open_trigger_is_out_of_balance(run: tuple[Any, list[Outcome]], seeder: Any) -> None:
    seeder.trigger("L1", "S5")
    summary = summarize(run[0], ["L1"], run[1])
    assert summary["balanced"] is False
    assert summary["lots"][0]["triggered"] == 5


def test_an_empty_run_has_no_figures(run: tuple[Any, list[Outcome]], seeder: Any) -> None:
    seeder.lot("L3")
    summary = summarize(run[0], ["L3"], [])
    assert summary["image_auroc"] is summary["trigger_to_durable_ms"] is None
    assert (summary["parts"], summary["stages_ms"], summary["models"]) == (0, {}, [])
    assert summary["lots"][0]["triggered"] == 0


def test_the_summary_is_printed(run: tuple[Any, list[Outcome]]) -> None:
    console = Console(file=io.StringIO(), width=140)
    print_summary(console, summarize(run[0], ["L1"], run[1]))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in printed.splitlines() if line.startswith("│")]
    assert cells[0] == ["L1", "4", "4", "2", "1", "0", "1", "2", "2", "yes"]
    assert cells[1:] == [["good", "1", "0", "0", "1"], ["defective", "1", "1", "0", "0"]]
    assert "image AUROC 0.5000" in printed
    assert "p50 20.0 ms, p99 29.8 ms, max 30.0 ms" in printed
