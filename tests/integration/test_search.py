"""Search across lots: the same parts as looking at every row, a bounded piece of work a request, by indexes."""

from __future__ import annotations

import random
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert

from inspection.domain import Inspection, LotState, Reason, Verdict
from inspection.errors import BadCursor
from inspection.records import queries, search
from inspection.records.queries import LotCounts, LotsWanted
from inspection.records.search import Order, Wanted, find_inspections
from inspection.records.tables import inspections, parts

MODELS = ("ab" * 32, "cd" * 32)


@pytest.fixture
def rows(seeder) -> list[Inspection]:
    """240 inspections of all kinds, oldest first. Some numbers are missing, and the clock was set back four minutes once."""
    chance = random.Random(7)
    for number in range(240):
        verdict = chance.choices(list(Verdict), (8, 1, 1, 1))[0]
        inspected = verdict is not Verdict.NOT_INSPECTED
        at = seeder.start + timedelta(seconds=20 * number - (240 if number > 120 else 0))
        values: dict[str, Any] = {"recorded_at": at, "product": chance.choice(("plate", "flange"))}
        values |= {"model": chance.choice(MODELS)} if inspected else {"reason": chance.choice(list(Reason))}
        seeder.inspection(f"L{number // 60}", f"S{number % 50}", verdict, **values)
    connection = seeder.connection
    connection.execute(inspections.delete().where(inspections.c.seq.in_([1, 77, 78, 79, 200])))
    return list(queries.changes_after(connection, 0, 1000))


def _holds(wanted: Wanted, row: Inspection) -> bool:
    return all(
        getattr(row, name) == getattr(wanted, name)
        for name in ("product", "lot", "serial", "verdict", "reason", "model")
        if getattr(wanted, name) is not None
    ) and (
        (wanted.recorded_from is None or row.recorded_at >= wanted.recorded_from)
        and (wanted.recorded_to is None or row.recorded_at < wanted.recorded_to)
    )


def _all_pages(connection: Connection, wanted: Wanted, order: Order, limit: int) -> list[int]:
    """Every page's numbers; each page ends after a bounded piece of work and has no more than was asked for."""
    seqs: list[int] = []
    cursor = None
    for page in count():
        found = find_inspections(connection, wanted, order, cursor, limit)
        assert len(found.items) <= limit
        assert page < 300
        seqs += [each.seq for each in found.items]
        cursor = found.next_cursor
        if cursor is None:
            return seqs
        assert found.searched_to is not None
    raise AssertionError


def test_pages_of_any_search_are_what_looking_at_every_row_finds(seeder, rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "EXAMINED", 31)
    monkeypatch.setattr(search, "_FIRST", 4)
    monkeypatch.setattr(search, "_GROWTH", 3)
    chance = random.Random(3)
    for _ in range(25):
        like = chance.choice(rows)
        names = chance.sample(("product", "lot", "serial", "verdict", "reason", "model"), chance.randrange(4))
        times = sorted(seeder.start + timedelta(seconds=chance.randrange(5000)) for _ in range(2))
        wanted = Wanted(
            **{name: getattr(like, name) for name in names},
            recorded_from=times[0] if chance.random() < 0.4 else None,
            recorded_to=times[1] if chance.random() < 0.4 else None,
        )
        expected = [row.seq for row in rows if _holds(wanted, row)]
        order = chance.choice(list(Order))
        found = _all_pages(seeder.connection, wanted, order, chance.choice((7, 50)))
        assert found == (expected if order is Order.OLDEST else expected[::-1]), wanted


def test_a_rare_search_stops_and_says_how_far_it_came(seeder, rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "EXAMINED", 50)
    wanted = Wanted(product="nothing of the kind")
    found = find_inspections(seeder.connection, wanted)
    assert (found.items, found.searched_to) == ((), rows[-50].recorded_at)
    again = find_inspections(seeder.connection, wanted, cursor=found.next_cursor)
    assert again.searched_to == rows[-100].recorded_at
    assert _all_pages(seeder.connection, wanted, Order.NEWEST, 10) == []


def test_a_cursor_belongs_to_its_search(seeder, rows) -> None:
    cursor = find_inspections(seeder.connection, Wanted(verdict=Verdict.PASS), limit=3).next_cursor
    for wanted, order in ((Wanted(verdict=Verdict.FAIL), Order.NEWEST), (Wanted(verdict=Verdict.PASS), Order.OLDEST)):
        with pytest.raises(BadCursor):
            find_inspections(seeder.connection, wanted, order, cursor)


def test_an_empty_station_has_nothing_to_find(seeder) -> None:
    found = find_inspections(seeder.connection, Wanted(recorded_from=seeder.start), Order.OLDEST)
    assert (found.items, found.next_cursor) == ((), None)


def test_search_over_rest(api, seeder, rows) -> None:
    seeder.connection.commit()
    fails = [row.seq for row in rows if row.verdict is Verdict.FAIL and row.product == "plate"]
    asked = {"verdict": "fail", "product": "plate", "order": "oldest", "limit": 3}
    page = api.get("/api/v1/inspections", params=asked).json()
    assert [item["seq"] for item in page["items"]] == fails[:3]
    page = api.get("/api/v1/inspections", params=asked | {"cursor": page["next_cursor"]}).json()
    assert [item["seq"] for item in page["items"]] == fails[3:6]
    since = rows[200].recorded_at.isoformat()
    page = api.get("/api/v1/inspections", params={"from": since, "limit": 1000}).json()
    assert {item["seq"] for item in page["items"]} == {row.seq for row in rows if row.recorded_at >= rows[200].recorded_at}
    for wrong in ({"from": "yesterday"}, {"from": "2026-01-01T00:00:00"}, {"to": "0001-01-01T00:00:00Z"}, {"model": "ab"}):
        assert api.get("/api/v1/inspections", params=wrong).status_code == 422
    assert api.get("/api/v1/inspections", params={"cursor": "garbled"}).json()["code"] == "bad_cursor"


def test_lots_are_found_by_how_they_begin_and_counted_together(api, seeder) -> None:
    seeder.lot("A_1")
    seeder.lot("A_2", product="flange", state=LotState.CLOSED, opened_at=seeder.start - timedelta(days=2))
    seeder.lot("AB1", opened_at=seeder.start + timedelta(seconds=1))
    seeder.lot("a_3")
    for verdict in (Verdict.PASS, Verdict.PASS, Verdict.FAIL):
        seeder.inspection("A_1", "S", verdict)
    seeder.trigger("A_1", "S")
    connection = seeder.connection

    def found(**wanted: Any) -> list[str]:
        return [lot.lot for lot in queries.list_lots(connection, None, 10, LotsWanted(**wanted)).items]

    assert found(prefix="A_") == ["A_1", "A_2"]
    assert found(prefix="A") == ["AB1", "A_1", "A_2"]
    assert found(product="flange") == found(state=LotState.CLOSED) == ["A_2"]
    assert found(opened_from=seeder.start - timedelta(days=3), opened_to=seeder.start) == ["A_2"]
    assert queries.lot_counts(connection, ["A_1", "AB1"]) == {"A_1": LotCounts(4, 2, 2), "AB1": LotCounts(0, 0, 0)}
    connection.commit()
    page = api.get("/api/v1/lots", params={"prefix": "A", "limit": 1}).json()
    assert page["items"][0]["lot"] == "AB1"
    page = api.get("/api/v1/lots", params={"prefix": "A", "limit": 1, "cursor": page["next_cursor"]}).json()
    assert page["items"][0]["lot"] == "A_1"
    assert api.get("/api/v1/lots", params={"cursor": page["next_cursor"]}).json()["code"] == "bad_cursor"


def test_serials_are_found_by_how_they_begin(seeder) -> None:
    for lot, serial in (("L1", "SN%1"), ("L2", "SN%1"), ("L1", "SN%2"), ("L1", "SNX1"), ("L1", "sn%1"), ("L1", "SN%")):
        seeder.connection.execute(insert(parts).values(lot=lot, serial=serial, attempts=0))
    assert queries.serials_like(seeder.connection, "SN%", 10) == ("SN%", "SN%1", "SN%2")
    assert queries.serials_like(seeder.connection, "SN%", 2) == ("SN%", "SN%1")


def test_every_search_is_led_by_an_index_and_sorts_nothing(seeder, rows) -> None:
    connection = seeder.connection
    if connection.dialect.name != "sqlite":
        pytest.skip("PostgreSQL chooses plans by what is in the tables; the bounds do not depend on them")
    row = next(each for each in rows if each.verdict is Verdict.FAIL)
    leads = {
        "serial_seq": {"serial": row.serial, "lot": row.lot},
        "lot_verdict_seq": {"lot": row.lot, "verdict": row.verdict, "model": row.model},
        "lot_seq": {"lot": row.lot, "product": "plate"},
        "verdict_seq": {"verdict": row.verdict, "model": row.model, "recorded_from": seeder.start},
        "model_seq": {"model": row.model, "verdict": Verdict.PASS},
    }
    for index, wanted in leads.items():
        plans = _plans(connection, lambda wanted=wanted: find_inspections(connection, Wanted(**wanted), limit=5))
        # What else is covered: images and challenges of those that were found.
        candidates = [plan for plan in plans if "COVERING INDEX ix_inspections" in plan]
        assert candidates
        assert all(f"ix_inspections_{index} " in plan for plan in candidates), (index, plans)
        assert not any("SCAN inspections" in plan or "TEMP B-TREE" in plan for plan in plans), (index, plans)


def _plans(connection: Connection, run) -> list[str]:
    """SQLite's plans of the statements that ``run`` executes."""
    seen: list[tuple[str, tuple]] = []

    def collect(_connection, _cursor, statement, parameters, *_rest) -> None:
        seen.append((statement, parameters))

    event.listen(connection, "before_cursor_execute", collect)
    run()
    event.remove(connection, "before_cursor_execute", collect)
    return [
        "; ".join(row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all())
        for statement, parameters in seen
    ]
