"""Reads of a whole lot for those who take it away: rows in batches, so that a million of them need no memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, case, func, select

from inspection.domain import ImageKind, Lot, LotSummary
from inspection.errors import Conflict
from inspection.records.queries import get_lot, lot_summary
from inspection.records.tables import images, inspections, labels

BATCH = 250

Connect = Callable[[], AbstractContextManager[Connection]]
Rows = Sequence[Row[Any]]

newest_label = (
    select(case((labels.c.label.is_not(None), labels.c.label_id)))
    .where(labels.c.seq == inspections.c.seq)
    .order_by(labels.c.label_id.desc())
    .limit(1)
    .correlate(inspections)
    .scalar_subquery()
)
"""For statements over inspections: the number of the label that counts; NULL if there is none, or it was taken back."""

_COLUMNS = (
    inspections.c.seq,
    inspections.c.trigger_id,
    inspections.c.lot,
    inspections.c.serial,
    inspections.c.attempt,
    inspections.c.product,
    inspections.c.camera,
    inspections.c.verdict,
    inspections.c.reason,
    inspections.c.score,
    inspections.c.p_value,
    inspections.c.review_threshold,
    inspections.c.fail_threshold,
    inspections.c.model,
    inspections.c.proposed_class,
    labels.c.label,
    labels.c.labelled_by,
    labels.c.labelled_at,
    inspections.c.output,
    inspections.c.late_verdict,
    inspections.c.late_score,
    inspections.c.frame_id,
    inspections.c.triggered_at,
    inspections.c.acquired_at,
    inspections.c.decided_at,
    inspections.c.recorded_at,
    images.c.sha256.label("frame_sha256"),
    inspections.c.regions,
    labels.c.regions.label("label_regions"),
)


@dataclass(frozen=True, slots=True)
class LotHead:
    """A lot at one moment: ``opened`` is None if it never was, ``last_seq`` its newest inspection or 0.

    Rows up to ``last_seq`` are all there: they are numbered as they are committed.
    """

    opened: Lot | None
    summary: LotSummary
    last_seq: int

    @property
    def lot(self) -> str:
        return self.summary.lot


def lot_head(connection: Connection, lot: str) -> LotHead:
    """The lot now, also one that only triggers know. Read it inside one transaction.

    NotFound if nothing names it, Conflict for the lot of a challenge: golden parts must not be taken for production.
    """
    summary = lot_summary(connection, lot)
    opened = None if summary.state is None else get_lot(connection, lot)
    if opened is not None and opened.challenge is not None:
        raise Conflict(
            f"lot {lot!r} holds the golden parts of challenge {opened.challenge}, no production; read the challenge itself"
        )
    newest = select(func.coalesce(func.max(inspections.c.seq), 0)).where(inspections.c.lot == lot)
    return LotHead(opened, summary, connection.execute(newest).scalar_one())


def lot_rows(connect: Connect, head: LotHead) -> Iterator[Rows]:
    """The inspections of a lot, oldest first, in batches: each with the label that counts and the SHA-256 of its frame.

    Every batch is read on a connection of its own, given back before the batch is handed out: who reads slowly, or stops
    reading, keeps none. For rows of one snapshot, pass a function that lends the same connection again and again.
    """
    after = 0
    while after < head.last_seq:
        with connect() as connection:
            rows = connection.execute(_statement(head.lot, after, head.last_seq)).all()
        if not rows:
            return
        yield rows
        after = rows[-1].seq


def _statement(lot: str, after: int, last: int) -> Select[Any]:
    return (
        select(*_COLUMNS)
        .outerjoin(labels, labels.c.label_id == newest_label)
        .outerjoin(images, and_(images.c.seq == inspections.c.seq, images.c.kind == ImageKind.FRAME))
        .where(inspections.c.lot == lot, inspections.c.seq > after, inspections.c.seq <= last)
        .order_by(inspections.c.seq)
        .limit(BATCH)
    )
