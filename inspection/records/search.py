"""Search across all inspections by what is known of a part, and the rows of a time; work is bounded however many rows there are.

An index leads: candidates are the rows that it holds in the order of seq, and the other conditions are looked at row by row, for
at most EXAMINED candidates a request. A search that ends there is gone on with by its cursor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, func, select

from inspection.domain import Inspection, Reason, Verdict
from inspection.records.cursors import decode_cursor, encode_cursor
from inspection.records.queries import cursor_number, inspections_of
from inspection.records.tables import inspections

EXAMINED = 20_000
"""Candidates that one request looks at, at most."""
_FIRST = 200
_GROWTH = 10
CLOCK_STEP = timedelta(minutes=5)
"""The clock may have been set back by so much: rows that it gave times out of order are still found by their time."""


class Order(StrEnum):
    NEWEST = "newest"
    OLDEST = "oldest"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for; None leaves it open. ``recorded_from`` is included, ``recorded_to`` is not."""

    product: str | None = None
    lot: str | None = None
    serial: str | None = None
    verdict: Verdict | None = None
    reason: Reason | None = None
    model: str | None = None
    recorded_from: datetime | None = None
    recorded_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """One page of a search. ``next_cursor`` is None when all is searched.

    With a cursor there may be fewer items than asked for, or none: the search looked at as many parts as one request may, and
    ``searched_to`` is when the last of them was recorded. Ask again with the cursor to go on from there.
    """

    items: tuple[Inspection, ...]
    next_cursor: str | None
    searched_to: datetime | None


def find_inspections(
    connection: Connection, wanted: Wanted, order: Order = Order.NEWEST, cursor: str | None = None, limit: int = 100
) -> Found:
    """Inspections for which everything wanted holds, by seq. BadCursor for a cursor of another search."""
    scope = f"inspections {order} {wanted}"
    first, last = seqs_recorded(connection, wanted.recorded_from, wanted.recorded_to)
    newest_first = order is Order.NEWEST
    if cursor is not None:
        position = cursor_number(decode_cursor(scope, cursor))
        if newest_first:
            last = min(last, position - 1)
        else:
            first = max(first, position + 1)
    leading, others = _conditions(wanted)
    found: list[Inspection] = []
    # Without other conditions every candidate is found, and one more says that there are others.
    chunk, left = (_FIRST, EXAMINED) if others else (limit + 1, limit + 1)
    while first <= last and left > 0:
        chunk = min(chunk, left)
        seq = inspections.c.seq
        candidates = (
            select(seq)
            .where(*leading, seq.between(first, last))
            .order_by(seq.desc() if newest_first else seq)
            .limit(chunk)
            .subquery()
        )
        # The last candidate bounds what the second statement joins, on any plan that a database may choose for it.
        count, low, high = connection.execute(select(func.count(), func.min(candidates.c.seq), func.max(candidates.c.seq))).one()
        if count:
            statement = (
                select(inspections)
                .where(*leading, *others, seq.between(low, high))
                .order_by(seq.desc() if newest_first else seq)
                .limit(limit + 1 - len(found))
            )
            found += inspections_of(connection, statement)
        if len(found) > limit:
            return Found(tuple(found[:limit]), encode_cursor(scope, str(found[limit - 1].seq)), found[limit - 1].recorded_at)
        if count < chunk:
            return Found(tuple(found), None, None)
        if newest_first:
            last = low - 1
        else:
            first = high + 1
        left -= chunk
        chunk *= _GROWTH
    if first > last:
        return Found(tuple(found), None, None)
    examined = last + 1 if newest_first else first - 1
    recorded_at = connection.execute(select(inspections.c.recorded_at).where(inspections.c.seq == examined)).scalar_one()
    return Found(tuple(found), encode_cursor(scope, str(examined)), recorded_at)


def _conditions(wanted: Wanted) -> tuple[list[ColumnElement[bool]], list[ColumnElement[bool]]]:
    """The conditions that an index with seq answers, and the others."""
    column = inspections.c
    verdict = Verdict.NOT_INSPECTED if wanted.reason is not None and wanted.verdict is None else wanted.verdict
    asked = {"serial": wanted.serial, "lot": wanted.lot, "verdict": verdict, "model": wanted.model}
    values = {name: value for name, value in asked.items() if value is not None}
    # The most selective first. Only what did not pass is rarer than the parts of a model.
    chosen: tuple[str, ...] = ()
    for names in (("serial",), ("lot", "verdict"), ("lot",), ("verdict",), ("model",)):
        common = names == ("verdict",) and verdict is Verdict.PASS and "model" in values
        if all(name in values for name in names) and not common:
            chosen = names
            break
    # Said of no bare column, so that no index of theirs leads instead and reads what the first statement did not bound.
    others: list[ColumnElement[bool]] = [
        func.coalesce(column[name], "") == value for name, value in values.items() if name not in chosen
    ]
    if wanted.product is not None:
        others.append(column.product == wanted.product)
    if wanted.reason is not None:
        others.append(column.reason == wanted.reason)
    if wanted.recorded_from is not None:
        others.append(column.recorded_at >= wanted.recorded_from)
    if wanted.recorded_to is not None:
        others.append(column.recorded_at < wanted.recorded_to)
    return [column[name] == values[name] for name in chosen], others


def seqs_recorded(
    connection: Connection, start: datetime | None, end: datetime | None, step: timedelta = CLOCK_STEP
) -> tuple[int, int]:
    """The least and greatest seq that may have been recorded from ``start`` until before ``end``; least > greatest for none.

    Seq is commit order, so times rise with it unless the clock was set back. If it never was by more than ``step``, every row of
    the time lies between; rows beside it may too, and callers who care look at their times.
    """
    least, greatest = connection.execute(
        select(
            select(func.min(inspections.c.seq)).scalar_subquery(),
            select(func.max(inspections.c.seq)).scalar_subquery(),
        )
    ).one()
    if least is None:
        return 1, 0
    first = least if start is None else seqs_at(connection, [start - step], least, greatest)[0]
    last = greatest if end is None else seqs_at(connection, [end + step], least, greatest)[0] - 1
    return first, last


def seqs_at(connection: Connection, moments: Sequence[datetime], least: int, greatest: int) -> list[int]:
    """For each moment a seq from ``least`` to ``greatest`` + 1 with everything recorded before it below, by binary search.

    The row below was recorded before the moment, and the one at the seq or after it was not. Each step of all searches is one
    query; numbers may have gaps, which cost one more each.
    """
    low = [least] * len(moments)
    high = [greatest + 1] * len(moments)
    while middles := {number: (low[number] + high[number]) // 2 for number in range(len(moments)) if low[number] < high[number]}:
        wanted = select(inspections.c.seq, inspections.c.recorded_at).where(inspections.c.seq.in_(set(middles.values())))
        there = {seq: (seq, recorded_at) for seq, recorded_at in connection.execute(wanted)}
        for number, middle in middles.items():
            if middle not in there:
                # Greatest is there, so one at or after the middle is.
                following = select(inspections.c.seq, inspections.c.recorded_at).where(inspections.c.seq >= middle)
                row = connection.execute(following.order_by(inspections.c.seq).limit(1)).one()
                there[middle] = row.seq, row.recorded_at
            seq, recorded_at = there[middle]
            if recorded_at < moments[number]:
                low[number] = seq + 1
            else:
                high[number] = middle
    return low
