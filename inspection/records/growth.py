"""How fast the newest inspections fill the disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, func, select

from inspection.domain import ImageKind, Verdict
from inspection.records.search import seqs_at
from inspection.records.tables import images, inspections

NEWEST = 1_000
_DAY = timedelta(days=1)
# Shorter than this says nothing of a day.
_LEAST = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Growth:
    """Bytes of images for each inspection, and inspections per second, of the newest ones; None where there are too few."""

    bytes_per_inspection: float | None
    inspections_per_s: float | None


@dataclass(frozen=True, slots=True)
class Rates:
    """Inspections in all; how many come in a day, None where there are too few to say; and how many bytes of images each brings.

    Deleted images count: they were stored.
    """

    parts: int
    parts_a_day: float | None
    bytes_a_part: Mapping[tuple[ImageKind, Verdict], float] = field(default_factory=dict)


def growth(connection: Connection) -> Growth:
    """The growth over the newest inspections, those without images included."""
    newest = select(inspections.c.seq, inspections.c.recorded_at).order_by(inspections.c.seq.desc()).limit(NEWEST).subquery()
    count, first_seq, first_at, last_at = connection.execute(
        select(func.count(), func.min(newest.c.seq), func.min(newest.c.recorded_at), func.max(newest.c.recorded_at))
    ).one()
    if count < 2:
        return Growth(None, None)
    nbytes = connection.execute(select(func.coalesce(func.sum(images.c.nbytes), 0)).where(images.c.seq >= first_seq)).scalar_one()
    span_s = (last_at - first_at).total_seconds()
    return Growth(float(nbytes) / count, (count - 1) / span_s if span_s > 0 else None)


def rates(connection: Connection) -> Rates:
    """Parts of the last day, or since the first one; bytes of the newest ones."""
    # Apart: together SQLite would read the whole table for them.
    ends = (select(end(inspections.c.seq)).scalar_subquery() for end in (func.min, func.max))
    least, greatest = connection.execute(select(*ends)).one()
    if least is None:
        return Rates(0, None)
    first = max(least, greatest - NEWEST + 1)
    found = connection.execute(
        select(images.c.kind, inspections.c.verdict, func.sum(images.c.nbytes).label("nbytes"))
        .join(inspections, inspections.c.seq == images.c.seq)
        .where(images.c.seq >= first)
        .group_by(images.c.kind, inspections.c.verdict)
    )
    bytes_a_part = {(ImageKind(row.kind), Verdict(row.verdict)): float(row.nbytes) / (greatest - first + 1) for row in found}
    now = datetime.now(UTC)
    since = seqs_at(connection, [now - _DAY], least, greatest)[0]
    began = connection.execute(select(inspections.c.recorded_at).where(inspections.c.seq == least)).scalar_one()
    span = min(_DAY, now - began)
    if span < _LEAST:
        return Rates(greatest, None, bytes_a_part)
    return Rates(greatest, (greatest + 1 - since) * (_DAY / span), bytes_a_part)
