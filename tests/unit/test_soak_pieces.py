"""Pieces of a soak: parts that can be told apart, what a fault costs, what processes hold, and the page of the report."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np

from inspection.bench.memory import Growth
from inspection.cell import CellPart, Outcome
from inspection.domain import Reason, Verdict
from inspection.soak.catalogue import CATALOGUE
from inspection.soak.memory import Memory
from inspection.soak.page import write_page
from inspection.soak.plan import Planned
from inspection.soak.recovery import Cost, Injected, Recovery, costs
from inspection.soak.report import Held, Report, tables
from inspection.soak.run import Stretch
from inspection.soak.scenes import SPOILT, numbered

KILLED = Planned(CATALOGUE[0], "line", 1.0, 0.0, 0)


def test_every_part_has_a_picture_of_its_own_that_can_be_made_again() -> None:
    scenes = numbered([CellPart("", "", np.full((20, 60), value, np.uint8), None) for value in (100, 150)])
    parts = [scenes.part("L", number, None) for number in range(200)]
    digests = [scenes.digest(part.serial, part.defect) for part in parts]
    assert len(set(digests)) == 200
    assert digests == [scenes.digest(part.serial, part.defect) for part in parts]
    # What tells them apart is nothing that a model sees.
    assert np.abs(parts[0].pixels.astype(int) - parts[198].pixels).max() <= 1


def test_a_spoilt_picture_is_that_of_its_part() -> None:
    random = np.random.default_rng(0)
    scenes = numbered([CellPart("", "", random.integers(80, 160, (48, 64), np.uint8), None)])
    for name in SPOILT:
        part = scenes.part("L", 7, name)
        assert part.defect == name
        assert scenes.digest(part.serial, name) != scenes.digest(part.serial, None)
    assert scenes.part("L", 7, "black").pixels.max() <= 3
    assert scenes.part("L", 7, "saturated").pixels.min() >= 252
    assert scenes.part("L", 7, "blurred").pixels.std() < scenes.part("L", 7, None).pixels.std() / 2


def outcome(verdict: Verdict) -> Outcome:
    reason = Reason.LINE_DOWN if verdict is Verdict.NOT_INSPECTED else None
    return Outcome("L", "S", None, time.monotonic_ns(), verdict=verdict, reason=reason)


def test_a_fault_is_recovered_from_when_a_part_that_came_after_it_is_inspected() -> None:
    recovery = Recovery(time.monotonic_ns())
    before = outcome(Verdict.PASS)
    fault = recovery.injected(KILLED)
    recovery.result(outcome(Verdict.NOT_INSPECTED))
    recovery.result(outcome(Verdict.PASS))
    assert (fault.lost, fault.took_s) == (1, None), "it is not over"
    recovery.undone(fault)
    recovery.result(before)
    assert fault.took_s is None, "that part came before"
    recovery.result(outcome(Verdict.PASS))
    assert fault.took_s is not None
    assert fault.took_s >= 0
    recovery.result(outcome(Verdict.NOT_INSPECTED))
    assert fault.lost == 1
    skipped = recovery.injected(KILLED)
    recovery.skipped(skipped, "line does not run")
    (cost,) = costs(recovery.faults)
    assert (cost.fault, cost.times, cost.skipped, cost.lost, cost.most_s) == ("killed", 2, 1, 1, fault.took_s)


def test_memory_follows_the_longest_life_of_each_process_in_bounded_room() -> None:
    memory = Memory(most=50)
    for second in range(1_000):
        pid = 1 if second < 700 else 2
        memory.add("line", pid, float(second), 1_000_000 + 10 * second)
    seconds, growth = memory.growths()["line"]
    assert 680 < seconds < 700
    assert len(growth.samples) <= 50
    assert abs(growth.slope_per_hour - 36_000) < 1
    assert "web" not in memory.growths()


FOUND = Report(
    seed=3,
    seconds=120.0,
    wanted_parts_per_s=10,
    parts=1_200,
    parts_per_s=10.0,
    accepted=900,
    verdicts={"pass": 900, "fail": 200, "not_inspected": 100},
    lost={"line_down": 100},
    checks={"every trigger has one row": 1_200, "numbers have no gaps": 2},
    violations=["numbers have no gaps: 7 <inspections>"],
    faults=[Injected("killed", "line", 60.0, 60.1, 61.0, 100)],
    costs=[Cost("killed", 1, 0, 100, 0.9, 0.9)],
    memory=[Held("line", 100.0, Growth((1 << 20, 2 << 20), 1 << 20, 2 << 20, 3600.0, 1.0))],
    stretches=[Stretch(0.0, 600, 600, 10.0, 20.0), Stretch(60.0, 600, 500, None, None)],
    restarts=0,
    deliveries=1_210,
)


def test_the_page_shows_every_table_and_loads_nothing(tmp_path: Path) -> None:
    write_page(tmp_path / "soak.html", FOUND)
    page = (tmp_path / "soak.html").read_text()
    assert "7 &lt;inspections&gt;" in page
    for title, rows in tables(FOUND)[1:]:
        assert f"<h2>{title}</h2>" in page
        assert rows[1][0] in page
    assert not re.search(r"(src|href)=|url\(|@import", page)
    assert "NaN" not in page
    assert page.count("<polyline") == 5


def test_violations_are_counted_with_their_check() -> None:
    checks = dict(tables(FOUND))["Checks"]
    assert checks[1:] == [("every trigger has one row", "1200", "0"), ("numbers have no gaps", "2", "1")]
