"""What a quality engineer looks at next: inspections that ask for a person's word, and a sample of those that do not.

A page reads windows of inspections, from the newest down, through the index of verdicts (or of a lot, of a model, of labels), and
never more than ROUNDS windows: where a filter matches little, the page is short, and its cursor goes on.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Row, Select, bindparam, exists, func, literal, select, union_all

from inspection.domain import ImageKind, Inspection, Label, Verdict
from inspection.errors import BadCursor
from inspection.records.cursors import decode_cursor, encode_cursor
from inspection.records.exports import newest_label
from inspection.records.labels import label_histories
from inspection.records.opinions import Opinions, opinions
from inspection.records.queries import get_inspection, inspections_numbered
from inspection.records.tables import images, inspections, labels, shadow_inspections

SAMPLE = 50
"""One passed part in so many is looked at, although the machine is sure of it."""
COUNTED = 500
"""What is left is counted so far."""
WINDOW, ROUNDS, COUNTING_ROUNDS = 300, 6, 2
"""Inspections of one verdict looked through at once; how often one page does that, and how often to count what is left."""
UNCERTAIN = 300
"""So many of the newest are ordered by how uncertain they are; the next so many come after them."""
_SHADOW_SLACK = 10_000
# What is decided is recorded within the part's deadline, or it is not inspected.
_COMMIT_SLACK = timedelta(minutes=1)
_NEAR, _REACH = 10, 20_000


class Order(StrEnum):
    """``uncertain``: by how near the score is to the review threshold, where accept becomes reject."""

    NEWEST = "newest"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a reviewer asks for. ``sample``: of passed parts one in so many, 0 for none, 1 for all; of labelled ones it takes all.

    ``disagrees_with`` is the digest of a challenger whose verdict is another. Times are of the decision, ``until`` excluded.
    """

    order: Order = Order.NEWEST
    verdicts: tuple[Verdict, ...] = (Verdict.REVIEW, Verdict.FAIL)
    sample: int = SAMPLE
    lot: str | None = None
    product: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    score_min: float | None = None
    score_max: float | None = None
    proposed_class: str | None = None
    model: str | None = None
    labelled: bool | None = None
    label: str | None = None
    disagrees_with: str | None = None
    conflicting: bool = False

    @property
    def scope(self) -> str:
        """Names the list for its cursors."""
        return "review " + hashlib.sha256(repr(asdict(self)).encode()).hexdigest()

    @property
    def only_labelled(self) -> bool:
        return self.labelled is True or self.label is not None or self.conflicting


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """An inspection, all labels of it, newest first, and what the challenger said, if it was asked for."""

    inspection: Inspection
    labels: tuple[Label, ...]
    standing: tuple[Label, ...]
    conflicting: bool
    shadow_verdict: Verdict | None = None
    shadow_score: float | None = None


@dataclass(frozen=True, slots=True)
class ReviewPage:
    """``left`` counts what is left from the first of ``items`` on; there are more if ``left_is_capped``."""

    items: tuple[ReviewItem, ...]
    next_cursor: str | None
    left: int
    left_is_capped: bool


def review_page(connection: Connection, wanted: Wanted, cursor: str | None, limit: int) -> ReviewPage:
    """One page of what is wanted; BadCursor for a cursor of another list. Read it inside one read-only transaction."""
    lowest, before = _bounds(connection, wanted)
    if wanted.order is Order.UNCERTAIN:
        return _uncertain_page(connection, wanted, cursor, limit, lowest, before)
    if cursor is not None:
        (position,) = _position(wanted, cursor, 1)
        before = min(before, position)
    found: list[Row[Any]] = []
    low = before
    for number, window in enumerate(_windows(connection, wanted, lowest, before), start=1):
        found += window.rows
        low = window.low
        if len(found) > max(COUNTED, limit) or (len(found) > limit and number >= COUNTING_ROUNDS):
            break
    shown = [row.seq for row in found[:limit]]
    more = len(found) > limit
    position = shown[-1] if more else low
    next_cursor = encode_cursor(wanted.scope, str(position)) if more or low > lowest else None
    capped = len(found) > COUNTED or low > lowest
    return ReviewPage(_items(connection, wanted, shown), next_cursor, min(len(found), COUNTED), capped)


def review_item(connection: Connection, seq: int) -> ReviewItem:
    """One inspection, whatever its verdict; NotFound if there is none of this number."""
    get_inspection(connection, seq)
    (item,) = _items(connection, Wanted(), [seq])
    return item


def nearest_good(connection: Connection, seq: int, limit: int) -> tuple[Inspection, ...]:
    """Passed parts to compare an inspection with: of its product and camera, with a frame, and not labelled as a defect.

    Of the ten nearest on both sides those with the lowest scores, by seq. NotFound if there is no such inspection.
    """
    this = get_inspection(connection, seq)
    alike = (
        inspections.c.verdict == Verdict.PASS,
        inspections.c.product == this.product,
        inspections.c.camera == this.camera,
        _has_frame(),
        ~exists().where(labels.c.label_id == newest_label, labels.c.label != "ok"),
    )
    found: list[Any] = []
    for side, order in (
        ((inspections.c.seq < seq, inspections.c.seq >= seq - _REACH), inspections.c.seq.desc()),
        ((inspections.c.seq > seq, inspections.c.seq <= seq + _REACH), inspections.c.seq),
    ):
        columns = select(inspections.c.seq, inspections.c.score)
        found += connection.execute(columns.where(*alike, *side).order_by(order).limit(_NEAR)).all()
    chosen = sorted(found, key=lambda row: (row.score if row.score is not None else math.inf, row.seq))[:limit]
    return inspections_numbered(connection, [row.seq for row in chosen])


# --- which numbers to look through ------------------------------------------------------------------------------------


_NEXT_ROW = (
    select(inspections.c.seq, inspections.c.recorded_at)
    .where(inspections.c.seq >= bindparam("number"))
    .order_by(inspections.c.seq)
    .limit(1)
)


def seq_at(connection: Connection, at: datetime) -> int:
    """The number of the first inspection that was recorded at this time or later, by bisection of the primary key.

    One more than the last number if there is none. Numbers are in the order of commits; where the clock was set back between two
    of them, what lies between may be missed.
    """
    # Apart, or SQLite would read all rows for them.
    low = connection.execute(select(func.coalesce(func.min(inspections.c.seq), 1))).scalar_one()
    high = connection.execute(select(func.coalesce(func.max(inspections.c.seq), 0))).scalar_one() + 1
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(_NEXT_ROW, {"number": middle}).one()
        if row.recorded_at >= at:
            high = middle
        else:
            low = row.seq + 1
    return int(low)


def _bounds(connection: Connection, wanted: Wanted) -> tuple[int, int]:
    """Everything wanted is numbered from the first up to, not including, the second."""
    lowest, before = 0, connection.execute(select(func.coalesce(func.max(inspections.c.seq), 0))).scalar_one() + 1
    if wanted.since is not None:
        # What was decided at a time is recorded after it.
        lowest = seq_at(connection, wanted.since)
    if wanted.until is not None:
        before = min(before, seq_at(connection, wanted.until + _COMMIT_SLACK))
    if wanted.disagrees_with is not None:
        of_model = shadow_inspections.c.model == wanted.disagrees_with
        for end, side in ((func.min, -1), (func.max, 1)):
            trigger_id = connection.execute(select(end(shadow_inspections.c.trigger_id)).where(of_model)).scalar_one()
            seq = connection.execute(select(inspections.c.seq).where(inspections.c.trigger_id == trigger_id)).scalar_one_or_none()
            # Triggers are decided nearly in their order.
            if trigger_id is None:
                before = lowest
            elif seq is not None and side < 0:
                lowest = max(lowest, seq - _SHADOW_SLACK)
            elif seq is not None:
                before = min(before, seq + _SHADOW_SLACK)
    return lowest, max(before, lowest)


@dataclass(frozen=True, slots=True)
class _Window:
    """What matches, newest first, among all numbers down to ``low``."""

    rows: list[Row[Any]]
    low: int


def _windows(connection: Connection, wanted: Wanted, lowest: int, before: int) -> Iterator[_Window]:
    for _ in range(ROUNDS):
        if before <= lowest:
            return
        low = max(lowest, _window_end(connection, wanted, lowest, before))
        yield _Window(_matching(connection, wanted, low, before), low)
        before = low


def _window_end(connection: Connection, wanted: Wanted, lowest: int, before: int) -> int:
    """Down to where a window reaches that holds WINDOW of the most frequent kind."""
    if wanted.only_labelled:
        column: Any = labels.c.seq
        kinds: list[tuple[ColumnElement[bool], ...]] = [()]
    else:
        column = inspections.c.seq
        kinds = [(inspections.c.verdict == verdict, *_indexed(wanted)) for verdict in _whole_verdicts(wanted)]
    # A sample is too thin to be counted: what it is drawn from is.
    ends = [before - WINDOW * wanted.sample] if _sampled(wanted) else []
    inside = [select(column).where(*kind, column < before, column >= lowest).distinct() for kind in kinds]
    lasts = [each.order_by(column.desc()).limit(1).offset(WINDOW - 1).scalar_subquery() for each in inside]
    if lasts:
        ends += [lowest if last is None else last for last in connection.execute(select(*lasts)).one()]
    return max(ends, default=lowest)


def _whole_verdicts(wanted: Wanted) -> tuple[Verdict, ...]:
    """Verdicts of which every inspection is looked at."""
    if wanted.disagrees_with is not None or wanted.sample == 1:
        # The part that passed and should not have, as the challenger says, is what to look for.
        return (*wanted.verdicts, Verdict.PASS)
    return wanted.verdicts


def _sampled(wanted: Wanted) -> bool:
    """Are passed parts looked at, one in ``sample``? Those have no proposed class."""
    thinned = wanted.sample > 1 and wanted.disagrees_with is None
    return thinned and not wanted.only_labelled and wanted.proposed_class is None


def _matching(connection: Connection, wanted: Wanted, low: int, before: int) -> list[Row[Any]]:
    """Rows of seq, score and review threshold of what is wanted in [low, before), newest first."""
    inside = (inspections.c.seq >= low, inspections.c.seq < before)
    if wanted.only_labelled:
        of_verdict = inspections.c.verdict.in_((*wanted.verdicts, Verdict.PASS) if wanted.sample else wanted.verdicts)
        numbers = select(labels.c.seq).where(labels.c.seq >= low, labels.c.seq < before)
        rows = connection.execute(_scored(inspections.c.seq.in_(numbers), *inside, of_verdict, *_filters(wanted))).all()
        found = sorted(rows, key=lambda row: -row.seq)
        return _conflicting(connection, found) if wanted.conflicting else found
    kinds = [(inspections.c.verdict == verdict,) for verdict in _whole_verdicts(wanted)]
    if _sampled(wanted):
        kinds.append((inspections.c.verdict == Verdict.PASS, _drawn(wanted.sample), _has_frame()))  # type: ignore[arg-type]
    if not kinds:
        return []
    # Apart, each goes through the index of its verdict.
    each = [_scored(*kind, *inside, *_filters(wanted)) for kind in kinds]
    return sorted(connection.execute(union_all(*each)).all(), key=lambda row: -row.seq)


def _scored(*where: ColumnElement[bool]) -> Select[Any]:
    return select(inspections.c.seq, inspections.c.score, inspections.c.review_threshold).where(*where)


def _conflicting(connection: Connection, rows: Sequence[Row[Any]]) -> list[Row[Any]]:
    histories = label_histories(connection, [row.seq for row in rows])
    return [row for row in rows if opinions(histories.get(row.seq, ())).conflicting]


def _drawn(sample: int) -> ColumnElement[bool]:
    """One number in ``sample``, always the same: multiples of the golden section (Knuth, TAOCP 3, 6.4) fall into step with
    nothing that repeats on a line, such as the cavities of a mould, unlike every fiftieth number."""
    scattered = inspections.c.seq.bitwise_and(literal(2**31 - 1, BigInteger)) * literal(2_654_435_761, BigInteger)
    return scattered.bitwise_and(literal(2**32 - 1, BigInteger)) < literal(2**32 // sample, BigInteger)


def _has_frame() -> ColumnElement[bool]:
    return exists().where(images.c.seq == inspections.c.seq, images.c.kind == ImageKind.FRAME, images.c.deleted_at.is_(None))


def _indexed(wanted: Wanted) -> list[ColumnElement[bool]]:
    """Filters that have an index which ends with the number."""
    return [
        column == value
        for column, value in ((inspections.c.lot, wanted.lot), (inspections.c.model, wanted.model))
        if value is not None
    ]


def _filters(wanted: Wanted) -> list[ColumnElement[bool]]:
    where = _indexed(wanted)
    if wanted.product is not None:
        where.append(inspections.c.product == wanted.product)
    if wanted.since is not None:
        where.append(inspections.c.decided_at >= wanted.since)
    if wanted.until is not None:
        where.append(inspections.c.decided_at < wanted.until)
    if wanted.score_min is not None:
        where.append(inspections.c.score >= wanted.score_min)
    if wanted.score_max is not None:
        where.append(inspections.c.score <= wanted.score_max)
    if wanted.proposed_class is not None:
        where.append(inspections.c.proposed_class == wanted.proposed_class)
    if wanted.labelled is not None:
        where.append(newest_label.is_not(None) if wanted.labelled else newest_label.is_(None))
    if wanted.label is not None:
        where.append(exists().where(labels.c.label_id == newest_label, labels.c.label == wanted.label))
    if wanted.disagrees_with is not None:
        this = shadow_inspections.c.trigger_id == inspections.c.trigger_id
        by_it = shadow_inspections.c.model == wanted.disagrees_with
        where.append(exists().where(this, by_it, shadow_inspections.c.verdict != inspections.c.verdict))
    return where


# --- the most uncertain first -----------------------------------------------------------------------------------------


def _uncertain_page(
    connection: Connection, wanted: Wanted, cursor: str | None, limit: int, lowest: int, before: int
) -> ReviewPage:
    """A page of the newest UNCERTAIN, the most uncertain first; after them a page of those before them."""
    low, past = lowest, (-1, 0)
    if cursor is not None:
        before, low, *last = _position(wanted, cursor, 4)
        past = (last[0], last[1])
        rows = _matching(connection, wanted, low, before)
    else:
        rows, low = _next_uncertain(connection, wanted, lowest, before)
    ordered = [row for row in sorted(rows, key=_uncertainty) if _uncertainty(row) > past]
    if not ordered and low > lowest:
        before, past = low, (-1, 0)
        rows, low = _next_uncertain(connection, wanted, lowest, before)
        ordered = sorted(rows, key=_uncertainty)
    shown = ordered[:limit]
    key = _uncertainty(shown[-1]) if shown else past
    position = f"{before} {low} {max(key[0], 0)} {key[1]}"
    next_cursor = encode_cursor(wanted.scope, position) if len(ordered) > limit or low > lowest else None
    left = min(len(ordered), COUNTED)
    capped = len(ordered) > COUNTED or low > lowest
    return ReviewPage(_items(connection, wanted, [row.seq for row in shown]), next_cursor, left, capped)


def _next_uncertain(connection: Connection, wanted: Wanted, lowest: int, before: int) -> tuple[list[Row[Any]], int]:
    found: list[Row[Any]] = []
    low = before
    for window in _windows(connection, wanted, lowest, before):
        found += window.rows
        low = window.low
        if len(found) >= UNCERTAIN:
            break
    if len(found) > UNCERTAIN:
        return found[:UNCERTAIN], found[UNCERTAIN - 1].seq
    return found, max(low, lowest)


def _uncertainty(row: Row[Any]) -> tuple[int, int]:
    """Smaller for what is less certain: the logarithm of score / review threshold, in millionths, without its sign."""
    if row.score is None or not row.review_threshold or row.score <= 0:
        return 10**12, row.seq
    return round(abs(math.log(row.score / row.review_threshold)) * 1e6), row.seq


# --- what a page holds ------------------------------------------------------------------------------------------------


def _items(connection: Connection, wanted: Wanted, seqs: Sequence[int]) -> tuple[ReviewItem, ...]:
    """In the order of the numbers."""
    by_seq = {each.seq: each for each in inspections_numbered(connection, seqs)}
    histories = label_histories(connection, seqs)
    told = _told(connection, wanted, [each.trigger_id for each in by_seq.values()])
    return tuple(_item(by_seq[seq], histories.get(seq, ()), told.get(by_seq[seq].trigger_id)) for seq in seqs)


def _item(inspection: Inspection, history: tuple[Label, ...], told: tuple[Verdict, float] | None) -> ReviewItem:
    said: Opinions = opinions(history)
    return ReviewItem(inspection, history, said.standing, said.conflicting, *(told or (None, None)))


def _told(connection: Connection, wanted: Wanted, trigger_ids: Sequence[int]) -> dict[int, tuple[Verdict, float]]:
    if wanted.disagrees_with is None:
        return {}
    columns = select(shadow_inspections.c.trigger_id, shadow_inspections.c.verdict, shadow_inspections.c.score)
    of_model = shadow_inspections.c.model == wanted.disagrees_with
    rows = connection.execute(columns.where(of_model, shadow_inspections.c.trigger_id.in_(trigger_ids)))
    return {row.trigger_id: (Verdict(row.verdict), row.score) for row in rows}


def _position(wanted: Wanted, cursor: str, count: int) -> list[int]:
    """The numbers in a cursor, whose checksum anybody can compute."""
    parts = decode_cursor(wanted.scope, cursor).split(" ")
    if len(parts) != count or not all(part.isascii() and part.isdigit() and len(part) <= 17 for part in parts):
        raise BadCursor("the cursor holds no position; start again without one")
    return [int(part) for part in parts]
