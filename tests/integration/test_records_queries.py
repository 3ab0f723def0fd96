"""The named queries over seeded records, on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, event, text

from inspection.domain import ImageKind, LotState, Output, Reason, Region, Verdict
from inspection.errors import BadCursor, NotFound
from inspection.records import queries
from inspection.records.database import migrate, open_engine


def test_an_inspection_comes_back_whole(seeder) -> None:
    seeder.lot("L1")
    seq = seeder.inspection("L1", "S1", Verdict.FAIL, proposed_class="dent", late_verdict="pass", late_score=0.5)
    map_sha = seeder.map(seq, np.full((6, 8), 3.0))
    frame_sha = seeder.image(seq, ImageKind.FRAME, np.zeros((48, 64), np.uint8), "Mono8")

    found = queries.get_inspection(seeder.connection, seq)

    assert (found.seq, found.trigger_id, found.lot, found.serial, found.attempt) == (1, 1, "L1", "S1", 1)
    assert (found.verdict, found.reason, found.output) == (Verdict.FAIL, None, Output.REJECT)
    assert (found.score, found.review_threshold, found.fail_threshold, found.proposed_class) == (3.1, 1.5, 2.0, "dent")
    assert (found.late_verdict, found.late_score) == (Verdict.PASS, 0.5)
    assert found.regions == (Region(x=20, y=10, width=12, height=8, score=3.1, area=80),)
    assert found.decided_at == seeder.start + timedelta(seconds=1, milliseconds=31)
    assert found.decided_at.tzinfo is UTC
    assert found.timings_ms["total"] == 31.0
    assert [(image.kind, image.sha256) for image in found.images] == [
        (ImageKind.FRAME, frame_sha),
        (ImageKind.MAP, map_sha),
    ]
    assert queries.get_image(seeder.connection, seq, ImageKind.MAP) == found.images[1]


def test_a_part_that_was_not_inspected_has_a_reason_and_no_score(seeder) -> None:
    seq = seeder.inspection("L1", "S1", Verdict.NOT_INSPECTED, reason="deadline")
    found = queries.get_inspection(seeder.connection, seq)
    assert (found.verdict, found.reason, found.score, found.images) == (
        Verdict.NOT_INSPECTED,
        Reason.DEADLINE,
        None,
        (),
    )


def test_what_is_not_recorded_is_not_found_and_says_what_to_do(seeder) -> None:
    connection = seeder.connection
    seeder.inspection("L1", "S1")
    with pytest.raises(NotFound, match=r"inspection 9 is not recorded.*list results"):
        queries.get_inspection(connection, 9)
    with pytest.raises(NotFound, match="no map is stored for inspection 1"):
        queries.get_image(connection, 1, ImageKind.MAP)
    with pytest.raises(NotFound, match=r"lot 'L2' is not recorded.*open it"):
        queries.lot_summary(connection, "L2")
    with pytest.raises(NotFound, match="lot 'L1' was never opened"):
        queries.get_lot(connection, "L1")
    with pytest.raises(NotFound, match="serial 'S2' is not recorded on this station"):
        queries.attempts(connection, "S2")
    with pytest.raises(NotFound, match="serial 'S1' is not recorded in lot 'L9'"):
        queries.attempts(connection, "S1", "L9")


def test_lots_are_listed_newest_first_page_by_page(seeder) -> None:
    same_instant = seeder.start + timedelta(hours=1)
    for name in ("A", "B", "C"):
        seeder.lot(name, opened_at=same_instant)
    seeder.lot("newest with a blank", opened_at=same_instant + timedelta(microseconds=1))
    seeder.lot("oldest", opened_at=seeder.start, state=LotState.CLOSED, closed_at=same_instant)

    names, cursor = [], None
    while True:
        page = queries.list_lots(seeder.connection, cursor, 1)
        names += [lot.lot for lot in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert names == ["newest with a blank", "C", "B", "A", "oldest"]
    assert queries.get_lot(seeder.connection, "oldest").closed_at == same_instant


def test_results_are_paged_by_seq_and_stay_stable_while_parts_arrive(seeder) -> None:
    for number in range(5):
        seeder.inspection("L1", f"S{number}")
        seeder.inspection("L2", f"S{number}")
    first = queries.lot_results(seeder.connection, "L1", None, 3)
    seeder.inspection("L1", "S5")
    second = queries.lot_results(seeder.connection, "L1", first.next_cursor, 3)
    assert [found.seq for found in first.items] == [1, 3, 5]
    assert [found.seq for found in second.items] == [7, 9, 11]
    assert second.next_cursor is None
    assert queries.lot_results(seeder.connection, "never seen", None, 3).items == ()


def test_results_are_filtered_by_verdict(seeder) -> None:
    for verdict in (Verdict.PASS, Verdict.FAIL, Verdict.PASS, Verdict.FAIL, Verdict.FAIL):
        seeder.inspection("L1", "S", verdict)
    first = queries.lot_results(seeder.connection, "L1", None, 2, Verdict.FAIL)
    second = queries.lot_results(seeder.connection, "L1", first.next_cursor, 2, Verdict.FAIL)
    assert [found.seq for found in first.items + second.items] == [2, 4, 5]


def test_a_cursor_serves_only_its_own_list(seeder) -> None:
    for _ in range(3):
        seeder.inspection("L1", "S", Verdict.FAIL)
    cursor = queries.lot_results(seeder.connection, "L1", None, 1, Verdict.FAIL).next_cursor
    for lot, verdict in (("L2", Verdict.FAIL), ("L1", None), ("L1", Verdict.PASS)):
        with pytest.raises(BadCursor):
            queries.lot_results(seeder.connection, lot, cursor, 1, verdict)
    with pytest.raises(BadCursor):
        queries.list_lots(seeder.connection, cursor, 1)


PARTS = st.tuples(
    st.sampled_from([*Verdict, None]),  # None: triggered, not decided yet
    st.sampled_from([*Output, None]),
    st.sampled_from(Reason),
)


@pytest.fixture(scope="module")
def empty_records(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    engine = open_engine(f"sqlite:///{tmp_path_factory.mktemp('records') / 'records.db'}")
    migrate(engine)
    return engine


@settings(max_examples=60, deadline=None)
@given(drawn=st.lists(PARTS, max_size=25))
def test_a_summary_always_balances(empty_records: Engine, seeder_class, drawn) -> None:
    with empty_records.connect() as connection:
        seeder = seeder_class(connection, Path())
        seeder.lot("L1")
        for number, (verdict, output, reason) in enumerate(drawn):
            seeder.inspection("other", "S")
            if verdict is None:
                seeder.trigger("L1", f"S{number}")
            else:
                reason = reason if verdict is Verdict.NOT_INSPECTED else None
                seeder.inspection("L1", f"S{number}", verdict, output=output, reason=reason)
        summary = queries.lot_summary(connection, "L1")

    verdicts = [verdict for verdict, _, _ in drawn]
    assert summary.balanced
    assert summary.triggered == len(drawn)
    assert summary.passed == verdicts.count(Verdict.PASS)
    assert summary.failed == verdicts.count(Verdict.FAIL)
    assert summary.review == verdicts.count(Verdict.REVIEW)
    assert summary.not_inspected == verdicts.count(Verdict.NOT_INSPECTED) == sum(summary.reasons.values())
    assert summary.open_triggers == verdicts.count(None)
    assert summary.accepted == sum(verdict is not None and output is Output.ACCEPT for verdict, output, _ in drawn)


def test_a_lot_that_only_triggers_know_has_a_summary(seeder) -> None:
    seeder.inspection("L1", "S1", Verdict.NOT_INSPECTED, reason="unknown_lot")
    seeder.trigger("L1", "S2")
    summary = queries.lot_summary(seeder.connection, "L1")
    assert (summary.product, summary.state) == (None, None)
    assert (summary.triggered, summary.rejected, summary.open_triggers) == (2, 2, 1)
    assert summary.reasons == {"unknown_lot": 1}


def test_all_attempts_of_a_serial_are_found_across_lots(seeder) -> None:
    seeder.inspection("L1", "S1", Verdict.REVIEW)
    seeder.inspection("L1", "S2")
    seeder.inspection("L2", "S1")
    seeder.inspection("L1", "S1", attempt=2)
    connection = seeder.connection
    assert [found.seq for found in queries.attempts(connection, "S1")] == [1, 3, 4]
    assert [found.seq for found in queries.attempts(connection, "S1", "L1")] == [1, 4]
    connection.execute(text("INSERT INTO parts (lot, serial, attempts) VALUES ('L1', 'S9', 0)"))
    assert queries.attempts(connection, "S9") == ()


def test_changes_latest_counters_and_timings(seeder) -> None:
    connection = seeder.connection
    assert queries.counters(connection) == queries.Counters(0, 0, 0)
    for verdict in (Verdict.PASS, Verdict.NOT_INSPECTED, Verdict.PASS):
        seeder.inspection("L1", "S", verdict)
    seeder.trigger("L1", "S")
    assert queries.counters(connection) == queries.Counters(last_seq=3, last_trigger_id=4, last_fault_id=0)
    assert [found.seq for found in queries.changes_after(connection, 1, 10)] == [2, 3]
    assert [found.seq for found in queries.changes_after(connection, 0, 2)] == [1, 2]
    assert [found.seq for found in queries.latest(connection, 2)] == [3, 2]
    assert [timings["total"] for timings in queries.latest_timings_ms(connection, 10)] == [33.0, 31.0]


def test_faults_are_read_forward_and_backward(seeder) -> None:
    for number in range(1, 4):
        seeder.fault(count=number, detail=f"detail {number}")
    connection = seeder.connection
    assert [fault.count for fault in queries.faults(connection, after=1, limit=1)] == [2]
    assert [fault.detail for fault in queries.latest_faults(connection, 2)] == ["detail 3", "detail 2"]


def _plans(connection: Connection, run) -> list[str]:
    """SQLite's query plans of the SELECTs that ``run`` executes."""
    seen: list[tuple[str, tuple]] = []

    def collect(_connection, _cursor, statement, parameters, *_rest) -> None:
        if statement.startswith("SELECT"):
            seen.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", collect)
    run()
    event.remove(connection, "before_cursor_execute", collect)
    plans = []
    for statement, parameters in seen:
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
        plans.append("; ".join(row[3] for row in rows))
    return plans


def test_frequent_queries_use_indexes_and_never_sort_or_scan(tmp_path: Path, seeder_class) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'records.db'}")
    migrate(engine)
    with engine.connect() as connection:
        seeder = seeder_class(connection, tmp_path)
        seeder.lot("L1")
        seeder.lot("L2", opened_at=datetime.now(UTC))
        for _ in range(3):
            seeder.map(seeder.inspection("L1", "S1", Verdict.FAIL), np.ones((2, 2)))
        lots_cursor = queries.list_lots(connection, None, 1).next_cursor
        results_cursor = queries.lot_results(connection, "L1", None, 1).next_cursor

        summary = _plans(connection, lambda: queries.lot_summary(connection, "L1"))
        assert len(summary) == 3
        assert "COVERING INDEX ix_triggers_lot_trigger_id" in summary[1]
        assert "COVERING INDEX ix_inspections_lot_verdict_output_reason" in summary[2]

        for name, run in {
            "list_lots": lambda: queries.list_lots(connection, lots_cursor, 1),
            "lot_results": lambda: queries.lot_results(connection, "L1", results_cursor, 1),
            "lot_results by verdict": lambda: queries.lot_results(connection, "L1", None, 1, Verdict.FAIL),
            "attempts": lambda: queries.attempts(connection, "S1"),
            "attempts in a lot": lambda: queries.attempts(connection, "S1", "L1"),
            "get_inspection": lambda: queries.get_inspection(connection, 1),
            "get_image": lambda: queries.get_image(connection, 1, ImageKind.MAP),
            "changes_after": lambda: queries.changes_after(connection, 1, 10),
            "faults": lambda: queries.faults(connection, 0, 10),
        }.items():
            for plan in _plans(connection, run):
                assert "SCAN" not in plan, (name, plan)
                assert "TEMP B-TREE" not in plan, (name, plan)
        # Newest first walks the end of the primary key: a scan that the limit stops.
        assert _plans(connection, lambda: queries.latest(connection, 2))[0] == "SCAN inspections"
    engine.dispose()
