"""Counts and samples of the inspections of a time, for the figures of quality; the work is bounded.

Verdicts are counted in indexes alone. What only rows tell is read of a sample at a stride of seq, of the
newest stopped parts, and of the newest labels.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate, pairwise
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, or_, select

from inspection.domain import OK, Lot, LotState, Output, Verdict
from inspection.records.search import seqs_at
from inspection.records.tables import inspections, labels, lots, parts

SAMPLE = 4_000
"""Inspections in a sample, at most."""
STOPPED = 5_000
"""Newest parts of each verdict that did not pass of which reasons and classes are read."""
LABELS = 20_000
MOST_LOTS = 500
"""Newest lots of a product whose parts are counted."""
_AT_ONCE = 500

Counts = dict[Verdict, int]


@dataclass(frozen=True, slots=True)
class LotFigures:
    """One lot and how its inspections came out: ``repeats`` counts those after a part's first, ``passed_repeats`` passes."""

    lot: Lot
    verdicts: Counts
    accepted: int
    repeats: int
    passed_repeats: int


@dataclass(frozen=True, slots=True)
class Sampled:
    """What is read of one inspection of the sample."""

    seq: int
    recorded_at: datetime
    verdict: Verdict
    attempt: int
    output: Output | None
    score: float | None
    review_threshold: float | None
    fail_threshold: float | None
    model: str | None
    timings_ms: dict[str, float]
    optics: dict[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Stopped:
    """How many of the parts read did not pass for this reason, with this class proposed and this label that counts."""

    verdict: Verdict
    reason: str | None
    proposed_class: str | None
    label: str | None
    count: int


def seq_edges(connection: Connection, moments: Sequence[datetime]) -> tuple[int, ...]:
    """For moments in order, numbers such that what is recorded from one until before the next has the numbers between.

    Where the clock was set back, each inspection still lies between exactly two.
    """
    least, greatest = connection.execute(
        select(
            select(func.coalesce(func.min(inspections.c.seq), 1)).scalar_subquery(),
            select(func.coalesce(func.max(inspections.c.seq), 0)).scalar_subquery(),
        )
    ).one()
    return tuple(accumulate(seqs_at(connection, moments, least, greatest), max))


def period_counts(connection: Connection, firsts: Sequence[int], of: Sequence[str] | None) -> list[Counts]:
    """Inspections by verdict between each number of ``firsts`` and the next, in all lots or in those named."""
    if of is None:
        return [_verdicts(connection, first, following - 1) for first, following in pairwise(firsts)]
    periods = [dict.fromkeys(Verdict, 0) for _ in firsts[1:]]
    seq = inspections.c.seq
    for lot in of:
        # Two look-ups at the ends of an index; asked for together, the whole lot would be read.
        ends = (select(end(seq)).where(inspections.c.lot == lot).scalar_subquery() for end in (func.min, func.max))
        low, high = connection.execute(select(*ends)).one()
        if low is None:
            continue
        for number in range(max(0, bisect(firsts, low) - 1), min(bisect(firsts, high), len(periods))):
            for verdict, count in _verdicts(connection, firsts[number], firsts[number + 1] - 1, lot).items():
                periods[number][verdict] += count
    return periods


def only_product(connection: Connection, product: str, start: datetime, end: datetime) -> bool:
    """Whether no lot of another product was open from ``start`` until before ``end``."""
    other = select(lots.c.lot).where(lots.c.product != product, *_open_in(start, end)).limit(1)
    return connection.execute(other).first() is None


def lots_of(connection: Connection, product: str | None, start: datetime, end: datetime, limit: int) -> list[Lot]:
    """Lots that were open at some time from ``start`` until before ``end``, newest first."""
    statement = select(lots).where(*_open_in(start, end))
    if product is not None:
        statement = statement.where(lots.c.product == product)
    rows = connection.execute(statement.order_by(lots.c.opened_at.desc(), lots.c.lot.desc()).limit(limit)).mappings()
    return [Lot(**{**row, "state": LotState(row["state"])}) for row in rows]


def lot_figures(connection: Connection, of: Sequence[Lot]) -> list[LotFigures]:
    """How these lots came out, whole, as far as they are inspected. The work is their parts, in two indexes."""
    names = [lot.lot for lot in of]
    verdicts = {name: dict.fromkeys(Verdict, 0) for name in names}
    accepted = dict.fromkeys(names, 0)
    by = (inspections.c.lot, inspections.c.verdict, inspections.c.output)
    for name, verdict, output, count in connection.execute(
        select(*by, func.count()).where(inspections.c.lot.in_(names)).group_by(*by)
    ):
        verdicts[name][Verdict(verdict)] += count
        accepted[name] += count if output == Output.ACCEPT else 0
    repeats = {name: [0, 0] for name in names}
    # Parts that came again are few, and found by their serials; by their lots, each would cost the reading of its lot.
    again = (
        select(parts.c.lot, inspections.c.verdict, func.count())
        .join(inspections, inspections.c.serial == parts.c.serial)
        .where(
            parts.c.lot.in_(names),
            parts.c.attempts > 1,
            func.coalesce(inspections.c.lot, "") == parts.c.lot,
            inspections.c.attempt > 1,
        )
        .group_by(parts.c.lot, inspections.c.verdict)
    )
    for name, verdict, count in connection.execute(again):
        repeats[name][0] += count
        repeats[name][1] += count if verdict == Verdict.PASS else 0
    return [LotFigures(lot, verdicts[lot.lot], accepted[lot.lot], *repeats[lot.lot]) for lot in of]


def sample(connection: Connection, first: int, last: int, product: str | None, most: int = SAMPLE) -> tuple[int, list[Sampled]]:
    """Every n-th inspection from ``first`` to ``last`` by seq, and n: 1 if there are no more than ``most``."""
    stride = max(1, -(-(last - first + 1) // most))
    columns = (inspections.c[name] for name in Sampled.__dataclass_fields__)
    statement = select(*columns).order_by(inspections.c.seq)
    if product is not None:
        statement = statement.where(inspections.c.product == product)
    rows: list[Sampled] = []
    if stride == 1:
        rows += _sampled(connection, statement.where(inspections.c.seq.between(first, last)))
    else:
        numbers = range(first, last + 1, stride)
        for start in range(0, len(numbers), _AT_ONCE):
            rows += _sampled(connection, statement.where(inspections.c.seq.in_(numbers[start : start + _AT_ONCE])))
    return stride, rows


def stopped(connection: Connection, first: int, last: int, product: str | None, most: int = STOPPED) -> list[Stopped]:
    """Why parts from ``first`` to ``last`` did not pass: of each verdict the newest ``most`` parts of all products are read."""
    found: list[Stopped] = []
    for verdict in (Verdict.FAIL, Verdict.REVIEW, Verdict.NOT_INSPECTED):
        newest = (
            select(inspections.c.seq)
            .where(inspections.c.verdict == verdict, inspections.c.seq.between(first, last))
            .order_by(inspections.c.seq.desc())
            .limit(most)
            .subquery()
        )
        counting = func.max(labels.c.label_id)
        newest_label = select(counting).where(labels.c.seq == newest.c.seq).correlate(newest).scalar_subquery()
        by = (inspections.c.reason, inspections.c.proposed_class, labels.c.label)
        statement = (
            select(*by, func.count())
            .select_from(newest)
            .join(inspections, inspections.c.seq == newest.c.seq)
            .outerjoin(labels, labels.c.label_id == newest_label)
        )
        if product is not None:
            statement = statement.where(inspections.c.product == product)
        found += [Stopped(verdict, *row) for row in connection.execute(statement.group_by(*by))]
    return found


def labelled(
    connection: Connection, first: int, last: int, product: str | None, most: int = LABELS
) -> dict[Verdict, tuple[int, int]]:
    """{verdict: (labelled ok, labelled as a defect)} from ``first`` to ``last``, of the newest ``most`` labelled inspections."""
    newest = (
        select(labels.c.seq, func.max(labels.c.label_id).label("label_id"))
        .where(labels.c.seq.between(first, last))
        .group_by(labels.c.seq)
        .order_by(labels.c.seq.desc())
        .limit(most)
        .subquery()
    )
    by = (inspections.c.verdict, labels.c.label == OK)
    statement = (
        select(*by, func.count())
        .select_from(newest)
        .join(labels, labels.c.label_id == newest.c.label_id)
        .join(inspections, inspections.c.seq == newest.c.seq)
        # A label that was taken back says nothing.
        .where(labels.c.label.is_not(None))
        .group_by(*by)
    )
    if product is not None:
        statement = statement.where(inspections.c.product == product)
    found: dict[Verdict, tuple[int, int]] = {}
    for verdict, is_ok, count in connection.execute(statement):
        ok, defect = found.get(Verdict(verdict), (0, 0))
        found[Verdict(verdict)] = (ok + count, defect) if is_ok else (ok, defect + count)
    return found


def _verdicts(connection: Connection, first: int, last: int, lot: str | None = None) -> Counts:
    counts = dict.fromkeys(Verdict, 0)
    if first > last:
        return counts
    # With every verdict named, an index that ends in seq answers alone.
    among: list[ColumnElement[bool]] = [inspections.c.verdict.in_(list(Verdict)), inspections.c.seq.between(first, last)]
    if lot is not None:
        among.append(inspections.c.lot == lot)
    by_verdict = select(inspections.c.verdict, func.count()).where(*among).group_by(inspections.c.verdict)
    for verdict, count in connection.execute(by_verdict):
        counts[Verdict(verdict)] = count
    return counts


def _open_in(start: datetime, end: datetime) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return lots.c.opened_at < end, or_(lots.c.closed_at.is_(None), lots.c.closed_at >= start)


def _sampled(connection: Connection, statement: Select[Any]) -> Iterable[Sampled]:
    for seq, recorded_at, verdict, attempt, output, *others in connection.execute(statement):
        yield Sampled(seq, recorded_at, Verdict(verdict), attempt, Output(output) if output else None, *others)
