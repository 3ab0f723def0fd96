"""``station bench records``: how fast inspections become durable, and how reads grow with the number of them.

Each size has a database of its own, which is kept for the next time. Its rows are made in the database; what is timed is the
recorder's ledger and the queries behind the REST interface.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from sqlalchemy import (
    JSON,
    BigInteger,
    Connection,
    Engine,
    Select,
    String,
    case,
    cast,
    create_engine,
    func,
    insert,
    literal,
    make_url,
    select,
)
from sqlalchemy import text as sql

from cameras.messages import FrameRef
from inspection.domain import Image, ImageKind, LotState, Output, Verdict
from inspection.ledger import Effects, Ledger
from inspection.messages import Inspected, Ticket
from inspection.records.cursors import encode_cursor
from inspection.records.database import migrate, open_engine
from inspection.records.numbers import newest_recorded_at
from inspection.records.queries import attempts, changes_after, list_lots, lot_counts, lot_results, lot_summary
from inspection.records.search import Wanted, find_inspections
from inspection.records.tables import Timestamp, images, inspections, lots, parts, triggers
from inspection.records.unstored_images import unstored_images

LOT_SIZE = 10_000
PAGE = 50
GROUP = 64
"""Inspections in one transaction of the group: what the recorder finds waiting when the line is fast."""
REPEATS = 200
"""Reads of every kind; a third as many transactions of inserts, grouped and alone."""
_START = datetime(2026, 1, 1, tzinfo=UTC)
_EXTRA = "after"


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds."""

    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class RecordsCase:
    """One database with so many rows. ``reads`` by name: the first and last page of a lot, its summary, all attempts of a serial,
    what changed after a sequence number, searches across lots, the list of lots, what a new recorder looks at. Durable means
    committed with a sync to the disk.
    """

    database: str
    rows: int
    made_in_s: float
    grouped_per_s: float
    alone: Times
    reads: dict[str, Times]


def sizes(rows: int) -> list[int]:
    """Powers of ten from 10^5 on, up to ``rows``, and ``rows`` itself."""
    powers = [10**power for power in range(5, 12) if 10**power < rows]
    return [*powers, rows]


def sqlite_url(directory: Path, rows: int) -> str:
    directory.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{directory / f'records-{rows}.db'}"


def postgresql_url(server: str, rows: int) -> str:
    """A database for so many rows on this server, made if it is not there."""
    url = make_url(server)
    name = f"station_bench_{rows}"
    engine = create_engine(url.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        if connection.execute(sql("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name}).first() is None:
            connection.execute(sql(f'CREATE DATABASE "{name}"'))
    engine.dispose()
    return url.set(database=name).render_as_string(hide_password=False)


def measure(url: str, rows: int, progress: Callable[[str, int, int], None], repeats: int = REPEATS) -> RecordsCase:
    """Make what is missing of the rows, then time inserts and reads in turn."""
    writer = open_engine(url)
    migrate(writer)
    started = time.monotonic()
    fill(writer, rows, lambda done: progress("rows", done, rows))
    made_in_s = time.monotonic() - started
    reader = open_engine(url, read_only=True)
    grouped, alone = _inserts(writer, repeats // 3, lambda done: progress("inserts", done, repeats // 3))
    reads = _reads(reader, rows, repeats, lambda done: progress("reads", done, repeats))
    writer.dispose()
    reader.dispose()
    return RecordsCase(
        make_url(url).get_backend_name(),
        rows,
        made_in_s,
        GROUP / median(grouped),
        _times(alone),
        {name: _times(values) for name, values in reads.items()},
    )


def _times(seconds: Sequence[float]) -> Times:
    p50, p99 = np.quantile(np.array(seconds) * 1e3, (0.5, 0.99))
    return Times(float(p50), float(p99))


# --- rows -------------------------------------------------------------------------------------------------------------


def _lot(number: int) -> str:
    return f"L{number:06d}"


def fill(engine: Engine, rows: int, progress: Callable[[int], None], stored: Sequence[tuple[Image, Image]] = ()) -> None:
    """Make what is missing of the rows, lot by lot. With ``stored``, frames and maps in the image store, every fifth inspection
    has these in turn, every tenth a pass; else every tenth has images that are names alone."""
    with engine.connect() as connection:
        there = connection.execute(select(func.count()).select_from(lots).where(lots.c.lot != _EXTRA)).scalar_one()
    for number in range(there, -(-rows // LOT_SIZE)):
        progress(number * LOT_SIZE)
        with engine.begin() as connection:
            _make_lot(connection, number, min(LOT_SIZE, rows - number * LOT_SIZE), stored)
    progress(rows)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sql("ANALYZE"))


def _make_lot(connection: Connection, number: int, count: int, stored: Sequence[tuple[Image, Image]]) -> None:
    """One closed lot: every 20th part failed, every 20th for review; every tenth has its images, as at a tenth of passes kept."""
    lot, first = _lot(number), number * LOT_SIZE
    at = _START + timedelta(seconds=number * LOT_SIZE / 25)
    connection.execute(
        insert(lots).values(lot=lot, product="flange", state=LotState.CLOSED, opened_at=at, closed_at=at, expected_quantity=count)
    )
    index = select(literal(1, BigInteger).label("i")).cte("numbers", recursive=True)
    index = index.union_all(select(index.c.i + 1).where(index.c.i < count))
    i = index.c.i
    serial = literal(f"{lot}-") + cast(i, String)
    moment = literal(at, Timestamp)
    verdict = case((i % 20 == 0, Verdict.FAIL.value), (i % 20 == 10, Verdict.REVIEW.value), else_=Verdict.PASS.value)
    output = case((i % 10 == 0, Output.REJECT.value), else_=Output.ACCEPT.value)
    _insert(connection, parts, {"lot": literal(lot), "serial": serial, "attempts": literal(1)}, index)
    of_trigger = {
        "trigger_id": i + first,
        "request_id": serial,
        "lot": literal(lot),
        "serial": serial,
        "camera": literal("top"),
        "camera_epoch": literal(1),
        "trigger_count": i,
        "triggered_at": moment,
        "deadline_ms": literal(500.0),
    }
    _insert(connection, triggers, of_trigger, index)
    of_inspection = {
        "seq": i + first,
        "trigger_id": i + first,
        "lot": literal(lot),
        "serial": serial,
        "attempt": literal(1),
        "product": literal("flange"),
        "camera": literal("top"),
        "verdict": verdict,
        "score": i % 997 / 100.0,
        "p_value": literal(0.5),
        "review_threshold": literal(8.0),
        "fail_threshold": literal(9.0),
        "model": literal("0" * 64),
        "regions": literal([{"x": 10, "y": 20, "width": 30, "height": 40, "score": 9.5, "area": 800}], JSON),
        "frame_id": i,
        "triggered_at": moment,
        "acquired_at": moment,
        "decided_at": moment,
        "recorded_at": moment,
        "timings_ms": literal({"expose": 1.1, "transfer": 2.2, "infer": 7.7, "total": 12.5}, JSON),
        "output": output,
    }
    _insert(connection, inspections, of_inspection, index)
    for place, (kind, size) in enumerate(((ImageKind.FRAME, 700_000), (ImageKind.MAP, 2_000))):
        names = {turn: pictures[place].sha256 for turn, pictures in enumerate(stored)}
        made_up = literal(f"{kind.value[0]:0>48}") + cast(i + (first + 10**15), String)
        of_image = {
            "seq": i + first,
            "kind": literal(kind.value),
            "sha256": case(names, value=i // 5 % len(stored)) if stored else made_up,
            "media_type": literal("image/png"),
            "width": literal(1280),
            "height": literal(1024),
            "pixel_format": literal("Mono8"),
            "nbytes": literal(size),
        }
        _insert(connection, images, of_image, index, i % (5 if stored else 10) == 0)


def _insert(connection: Connection, table: Any, values: dict[str, Any], numbers: Any, where: Any = None) -> None:
    rows: Select[Any] = select(*(value.label(name) for name, value in values.items())).select_from(numbers)
    connection.execute(insert(table).from_select(list(values), rows if where is None else rows.where(where)))


# --- what is timed ----------------------------------------------------------------------------------------------------


def _inserts(engine: Engine, repeats: int, progress: Callable[[int], None]) -> tuple[list[float], list[float]]:
    """Seconds of transactions with a group of inspections, and of those with one."""
    with engine.begin() as connection:
        ledger = Ledger(connection)
        if connection.execute(select(lots.c.lot).where(lots.c.lot == _EXTRA)).first() is None:
            connection.execute(
                insert(lots).values(lot=_EXTRA, product="flange", state=LotState.OPEN, opened_at=datetime.now(UTC))
            )
    grouped: list[float] = []
    alone: list[float] = []
    for done in range(repeats):
        progress(done)
        for count, times in ((GROUP, grouped), (1, alone)):
            pairs = [_part(ledger.last_trigger_id + 1 + number) for number in range(count)]
            started = time.perf_counter()
            with engine.begin() as connection:
                for ticket, verdict in pairs:
                    ledger.ticket(connection, ticket, Effects())
                    ledger.inspected(connection, verdict, Effects())
                ledger.flush(connection)
            times.append(time.perf_counter() - started)
    return grouped, alone


def _part(trigger_id: int) -> tuple[Ticket, Inspected]:
    now, now_ns = time.time(), time.monotonic_ns()
    ticket = Ticket(
        trigger_id=trigger_id,
        line_epoch=1,
        request_id=f"bench-{trigger_id}",
        lot=_EXTRA,
        serial=f"S{trigger_id}",
        camera="top",
        product="flange",
        camera_epoch=1,
        trigger_count=trigger_id,
        triggered_at=now,
        requested_ns=now_ns,
        issued_ns=now_ns,
        expose_until_ns=now_ns,
        deadline_ms=60_000,
    )
    frame = FrameRef(
        camera="top",
        camera_epoch=1,
        ring="top.ring",
        slot=0,
        slot_seq=trigger_id,
        pixel_format="Mono8",
        width=1280,
        height=1024,
        frame_id=trigger_id,
        trigger_count=trigger_id,
        timestamp_ns=now_ns,
        exposed_ns=now_ns,
        clock_error_ns=0,
        received_ns=now_ns,
        exposure_us=1000.0,
    )
    verdict = Inspected(
        trigger_id=trigger_id,
        verdict=Verdict.PASS,
        score=7.0,
        p_value=0.5,
        review_threshold=8.0,
        fail_threshold=9.0,
        model="0" * 64,
        proposed_class=None,
        regions=(),
        frame=frame,
        map_width=40,
        map_height=32,
        map_f16=b"",
        acquired_at=now,
        decided_at=now,
        timings_ms={"expose": 1.1, "transfer": 2.2, "infer": 7.7, "total": 12.5},
    )
    return ticket, verdict


def _reads(engine: Engine, rows: int, repeats: int, progress: Callable[[int], None]) -> dict[str, list[float]]:
    chance = random.Random(0)  # noqa: S311  (which lots are read)
    count = rows // LOT_SIZE
    times: dict[str, list[float]] = {}
    for done in range(repeats):
        progress(done)
        for name, read in _queries(chance.randrange(count), chance.randrange(LOT_SIZE)):
            started = time.perf_counter()
            # A transaction each, as each request has.
            with engine.connect() as connection:
                read(connection)
            times.setdefault(name, []).append(time.perf_counter() - started)
    progress(repeats)
    return times


def _lots_page(connection: Connection) -> None:
    """A page of lots as the browser shows it."""
    lot_counts(connection, [lot.lot for lot in list_lots(connection, None, 25).items])


def _queries(number: int, of_lot: int) -> Iterator[tuple[str, Callable[[Connection], object]]]:
    lot, end = _lot(number), (number + 1) * LOT_SIZE
    late = encode_cursor(f"results {lot} ", str(end - PAGE))
    yield "first page of a lot", lambda connection: lot_results(connection, lot, None, PAGE)
    yield "last page of a lot", lambda connection: lot_results(connection, lot, late, PAGE)
    yield "failed parts of a lot", lambda connection: lot_results(connection, lot, None, PAGE, Verdict.FAIL)
    yield "lot summary", lambda connection: lot_summary(connection, lot)
    yield "by serial", lambda connection: attempts(connection, f"{lot}-{of_lot + 1}")
    at = _START + timedelta(seconds=number * LOT_SIZE / 25)
    yield "search for failed parts", lambda connection: find_inspections(connection, Wanted(verdict=Verdict.FAIL), limit=PAGE)
    in_time = Wanted(verdict=Verdict.REVIEW, recorded_from=at, recorded_to=at + timedelta(hours=1))
    yield "search in a time", lambda connection: find_inspections(connection, in_time, limit=PAGE)
    # What is nowhere is looked for until the request has done its share.
    yield "search in vain", lambda connection: find_inspections(connection, Wanted(product="none"), limit=PAGE)
    yield "list of lots", _lots_page
    yield "changes after a number", lambda connection: changes_after(connection, number * LOT_SIZE + of_lot, PAGE)
    yield "a recorder starts", _start


def _start(connection: Connection) -> None:
    """What a new recorder reads, with the note of the former one beside the database."""
    Ledger(connection, decided=connection.execute(select(func.max(triggers.c.trigger_id))).scalar_one() - LOT_SIZE)
    newest_recorded_at(connection)
    unstored_images(connection)
