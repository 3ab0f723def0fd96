"""The reviewers' queue: what it holds, in which order, page by page; whose word stands; what is not said any more."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection, event, insert, select, update
from sqlalchemy import text as sql

from inspection.domain import ImageKind, Inspection, Verdict
from inspection.errors import BadCursor, Conflict, StaleLabel
from inspection.records import review, tables
from inspection.records.exports import lot_head, lot_rows
from inspection.records.labels import add_label, label_history
from inspection.records.lot_figures import lot_figures
from inspection.records.opinions import opinions
from inspection.records.review import Order, Wanted, nearest_good, review_page, seq_at
from inspection.training_set import draft

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
PIXELS = np.zeros((8, 8), np.uint8)


@pytest.fixture
def parts(seeder: Any) -> Connection:
    """1,000 parts of two lots: every 20th failed, every 20th for review, the others passed, with frames. Numbers from 1."""
    connection = seeder.connection
    seeder.inspection("L0", "S1")
    trigger, inspection = (
        dict(connection.execute(select(each)).mappings().one()) for each in (tables.triggers, tables.inspections)
    )
    triggers, inspections = [], []
    for number in range(2, 1001):
        verdict = {0: Verdict.FAIL, 10: Verdict.REVIEW}.get(number % 20, Verdict.PASS)
        score = {Verdict.FAIL: 2.0 + number / 1000, Verdict.REVIEW: 1.5 + number / 2500}.get(verdict, 0.5 + number / 2000)
        at = seeder.start + timedelta(seconds=number)
        part = {"trigger_id": number, "lot": f"L{(number - 1) // 500}", "serial": f"S{number}"}
        triggers.append(trigger | part | {"request_id": f"request-{number}"})
        inspections.append(
            inspection
            | part
            | {
                "seq": number,
                "verdict": verdict,
                "score": score,
                "proposed_class": "dent" if verdict is Verdict.FAIL else None,
                "model": ("ab" if number <= 600 else "cd") * 32,
                "product": "plate" if number % 40 else "flange",
                "decided_at": at,
                "recorded_at": at,
            }
        )
    connection.execute(insert(tables.triggers), triggers)
    connection.execute(insert(tables.inspections), inspections)
    image = {"kind": "frame", "sha256": "ab" * 32, "media_type": "image/png", "width": 8, "height": 8}
    image |= {"pixel_format": "Mono8", "nbytes": 70}
    connection.execute(insert(tables.images), [image | {"seq": seq} for seq in range(1, 1001)])
    return connection


def everything(connection: Connection, wanted: Wanted, limit: int = 7) -> list[int]:
    """All pages, by their numbers; each page's count of what is left must be right or less, and say so."""
    seqs: list[int] = []
    counts: list[tuple[int, int, bool]] = []
    cursor = None
    while True:
        page = review_page(connection, wanted, cursor, limit)
        counts.append((len(seqs), page.left, page.left_is_capped))
        seqs += [item.inspection.seq for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    for before, left, capped in counts:
        assert left <= len(seqs) - before if capped else left == len(seqs) - before
    return seqs


def test_the_queue_holds_what_the_machine_is_not_sure_of_and_a_sample_of_the_rest(parts: Connection) -> None:
    """Also on PostgreSQL: numbers are drawn by arithmetic that databases do differently."""
    seqs = everything(parts, Wanted())
    assert seqs == sorted(seqs, reverse=True)
    unsure = [number for number in range(1000, 0, -1) if number % 20 in (0, 10)]
    assert [seq for seq in seqs if seq % 20 in (0, 10)] == unsure
    drawn = [seq for seq in seqs if seq not in set(unsure)]
    passed = set(range(1, 1001)) - set(unsure)
    share = {number for number in passed if number * 2_654_435_761 % 2**32 < 2**32 // 50}
    assert set(drawn) == share
    assert 12 <= len(drawn) <= 24, "one in fifty"
    assert len({seq % 5 for seq in drawn}) == 5, "in step with nothing that repeats"
    assert everything(parts, Wanted(sample=0)) == unsure
    assert everything(parts, Wanted(verdicts=(), sample=1), 100) == sorted(passed, reverse=True)


def test_every_filter_alone(parts: Connection, seeder: Any) -> None:
    """Also on PostgreSQL."""
    unsure = set(range(10, 1001, 10))
    start = seeder.start

    def found(**filters: Any) -> set[int]:
        return set(everything(parts, Wanted(sample=0, **filters)))

    assert found(verdicts=(Verdict.FAIL,)) == {seq for seq in unsure if seq % 20 == 0}
    assert found(lot="L1") == {seq for seq in unsure if seq > 500}
    assert found(product="flange") == {seq for seq in unsure if seq % 40 == 0}
    assert found(model="cd" * 32) == {seq for seq in unsure if seq > 600}
    assert found(proposed_class="dent") == {seq for seq in unsure if seq % 20 == 0}
    assert found(score_min=2.5) == {seq for seq in unsure if seq % 20 == 0 and seq >= 500}
    assert found(score_max=1.6) == {seq for seq in unsure if seq % 20 == 10 and seq <= 250}
    between = found(since=start + timedelta(seconds=200), until=start + timedelta(seconds=300))
    assert between == {seq for seq in unsure if 200 <= seq < 300}
    assert seq_at(parts, start + timedelta(seconds=200)) == 200
    assert seq_at(parts, start + timedelta(days=1)) == 1001
    assert found(since=start + timedelta(days=1)) == set()

    add_label(parts, 10, "dent", "ada")
    add_label(parts, 20, "ok", "ada")
    add_label(parts, 30, "dent", "ada")
    add_label(parts, 30, None, "ada")
    add_label(parts, 7, "dent", "ada")
    assert found(labelled=False) == unsure - {10, 20}
    assert set(everything(parts, Wanted(labelled=True))) == {7, 10, 20}, "whatever its verdict"
    assert found(label="ok") == {20}
    assert everything(parts, Wanted(label="dent")) == [10, 7]

    challenger = "ef" * 32
    seeder.connection.execute(
        insert(tables.shadow_inspections),
        [
            {
                "trigger_id": number,
                "model": challenger,
                "verdict": Verdict.FAIL if number in (403, 410) else Verdict.PASS,
                "score": 3.0,
                "review_threshold": 1.5,
                "fail_threshold": 2.0,
                "inspect_ms": 1.0,
                "decided_at": start,
            }
            for number in range(401, 421)
        ],
    )
    differing = everything(parts, Wanted(disagrees_with=challenger))
    assert differing == [420, 410, 403], "a pass that the challenger fails too"
    (item,) = review_page(parts, Wanted(disagrees_with=challenger, verdicts=()), None, 5).items
    assert (item.inspection.seq, item.shadow_verdict, item.shadow_score) == (403, Verdict.FAIL, 3.0)
    assert everything(parts, Wanted(disagrees_with="00" * 32)) == []


@ON_SQLITE
def test_the_least_certain_come_first_also_where_labels_are_given_meanwhile(
    parts: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Wanted(order=Order.UNCERTAIN, sample=0, labelled=False)
    seqs = everything(parts, wanted)
    assert sorted(seqs) == list(range(10, 1001, 10))
    assert seqs[:3] == [10, 30, 50], "scores just above the review threshold of 1.5"
    monkeypatch.setattr(review, "UNCERTAIN", 20)
    monkeypatch.setattr(review, "WINDOW", 10)
    in_parts = everything(parts, wanted, 6)
    assert sorted(in_parts) == sorted(seqs)
    assert set(in_parts[:20]) == set(range(810, 1001, 10)), "the newest, ordered, before those before them"
    seen: list[int] = []
    cursor = None
    while True:
        page = review_page(parts, wanted, cursor, 6)
        seen += [item.inspection.seq for item in page.items]
        for item in page.items:
            add_label(parts, item.inspection.seq, "ok", "ada")
        cursor = page.next_cursor
        if cursor is None:
            break
    assert sorted(seen) == sorted(seqs)


@ON_SQLITE
def test_a_cursor_belongs_to_its_filters(parts: Connection) -> None:
    cursor = review_page(parts, Wanted(), None, 5).next_cursor
    assert cursor is not None
    with pytest.raises(BadCursor):
        review_page(parts, Wanted(lot="L1"), cursor, 5)


@ON_SQLITE
def test_a_rare_filter_gives_short_pages_that_go_on(parts: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review, "WINDOW", 5)
    monkeypatch.setattr(review, "ROUNDS", 2)
    parts.execute(update(tables.inspections).where(tables.inspections.c.seq == 40).values(proposed_class="rare"))
    first = review_page(parts, Wanted(proposed_class="rare"), None, 10)
    assert (first.items, first.left, first.left_is_capped) == ((), 0, True)
    assert first.next_cursor is not None
    assert everything(parts, Wanted(proposed_class="rare")) == [40]


INDEXES = [
    (Wanted(), {"ix_inspections_verdict_seq"}),
    (Wanted(labelled=False), {"ix_inspections_verdict_seq", "ix_labels_seq_label_id"}),
    (Wanted(lot="L1"), {"ix_inspections_lot_verdict_seq"}),
    (Wanted(product="plate", score_min=1.0), {"ix_inspections_verdict_seq"}),
    (Wanted(labelled=False, order=Order.UNCERTAIN), {"ix_inspections_verdict_seq"}),
    (Wanted(conflicting=True), {"ix_labels_seq_label_id"}),
]


@ON_SQLITE
def test_no_page_reads_the_whole_table(parts: Connection) -> None:
    """EXPLAIN QUERY PLAN of every statement of a page names an index or the primary key, and searches it."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        asked.append((statement, parameters))

    for wanted, indexes in INDEXES:
        asked.clear()
        event.listen(parts, "before_cursor_execute", note)
        review_page(parts, wanted, None, 20)
        event.remove(parts, "before_cursor_execute", note)
        plans = [
            row[3]
            for statement, parameters in asked
            for row in parts.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
        # Subqueries and constants are scanned once they are made.
        assert [plan for plan in plans if plan.startswith(("SCAN inspections", "SCAN labels", "SCAN images"))] == [], wanted
        assert {index for index in indexes if any(index in plan for plan in plans)} == indexes, wanted


def test_two_people_who_differ_are_a_conflict_until_a_third_word(seeder: Any) -> None:
    seqs = [seeder.inspection("L1", f"S{number}", Verdict.FAIL) for number in range(4)]
    connection = seeder.connection

    def say(seq: int, *words: tuple[str, str | None]) -> bool:
        for by, label in words:
            add_label(connection, seq, label, by)
        return opinions(label_history(connection, seq)).conflicting

    assert not say(seqs[0], ("ada", "dent"), ("bob", "dent"))
    assert say(seqs[0], ("bob", "ok")), "he changed his mind"
    assert say(seqs[0], ("bob", "scratch")), "his own correction settles nothing"
    assert not say(seqs[0], ("cleo", "scratch"))
    assert say(seqs[0], ("ada", "dent")), "contradicted anew"
    assert not say(seqs[0], ("bob", "dent")), "settled by whom it was contradicted"
    assert not say(seqs[1], ("ada", "dent"), ("ada", "ok"))
    assert say(seqs[2], ("ada", "dent"), ("bob", "ok"))
    assert not say(seqs[2], ("bob", None)), "taken back"
    assert say(seqs[3], ("ada", "dent"), ("bob", "ok"))
    assert everything(connection, Wanted(conflicting=True)) == [seqs[3]]
    (item,) = review_page(connection, Wanted(conflicting=True), None, 5).items
    assert [(each.labelled_by, each.label) for each in item.standing] == [("ada", "dent"), ("bob", "ok")]
    add_label(connection, seqs[3], "dent", "cleo", "seen under light")
    assert everything(connection, Wanted(conflicting=True)) == []


def test_a_label_that_was_taken_back_counts_nowhere(seeder: Any) -> None:
    """Also on PostgreSQL."""
    connection = seeder.connection
    seeder.lot("L1")
    back, other = (seeder.inspection("L1", f"S{number}") for number in range(2))
    for shade, seq in enumerate((back, other)):
        seeder.image(seq, ImageKind.FRAME, PIXELS + shade, "Mono8")
    add_label(connection, other, "dent", "ada")
    given = add_label(connection, back, "dent", "ada")
    with pytest.raises(StaleLabel, match="ada said dent meanwhile"):
        add_label(connection, back, "ok", "bob", after=0)
    taken = add_label(connection, back, None, "ada", after=given.label_id)
    assert label_history(connection, back) == (taken, given)
    with pytest.raises(Conflict, match="has no label that could be taken back"):
        add_label(connection, back, None, "ada")
    with pytest.raises(StaleLabel, match="took a label back"):
        add_label(connection, back, "ok", "bob", after=given.label_id)

    assert {member.seq: member.source for member in draft(connection, "plate").members} == {back: "pass", other: "label"}
    (rows,) = lot_rows(lambda: nullcontext(connection), lot_head(connection, "L1"))
    assert [(row.seq, row.label, row.labelled_by) for row in rows] == [(back, None, None), (other, "dent", "ada")]
    figures = lot_figures(connection, "L1")
    assert [(each.by, each.ok, each.defect) for each in figures.labelled] == [("ada", 0, 1)]
    assert figures.labels_by_verdict == {Verdict.PASS: (0, 1)}


@ON_SQLITE
def test_the_nearest_good_parts_are_of_the_same_product_near_and_unsuspicious(parts: Connection, seeder: Any) -> None:
    chosen: tuple[Inspection, ...] = nearest_good(parts, 510, 3)
    assert [each.seq for each in chosen] == sorted(each.seq for each in chosen)
    assert all(each.verdict is Verdict.PASS and each.product == "plate" and each.images for each in chosen)
    assert [each.seq for each in chosen] == [499, 501, 502], "the lowest scores of the ten on either side"
    add_label(parts, 501, "dent", "ada")
    assert [each.seq for each in nearest_good(parts, 510, 3)] == [498, 499, 502]
    parts.execute(sql("DELETE FROM images"))
    assert nearest_good(parts, 510, 3) == ()
