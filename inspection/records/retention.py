"""Which stored images may be deleted, what becomes of their rows, and whether anything still refers to a file.

Rows of inspections and images are never deleted. An image is marked as deleted first, its file is removed after that: a crash
between the two leaves a file that nothing refers to, which is found and removed later. The other order would leave rows that
promise an image which is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Connection, exists, func, insert, or_, select, update

from inspection.domain import ImageKind, LotState, Verdict
from inspection.records.labels import is_labelled
from inspection.records.tables import (
    golden_images,
    image_totals,
    images,
    imported_images,
    inspections,
    legal_holds,
    lots,
    training_set_members,
)

# Hashes in one statement.
_MANY = 500


@dataclass(frozen=True, slots=True)
class Kept:
    """An inspection with images in the store."""

    seq: int
    verdict: Verdict
    recorded_at: datetime
    nbytes: int


@dataclass(frozen=True, slots=True)
class ImageTotal:
    """How many images of one kind are kept of parts with one verdict, and how many bytes they take."""

    kind: ImageKind
    verdict: Verdict
    images: int
    nbytes: int


def kept_after(connection: Connection, seq: int, limit: int) -> tuple[Kept, ...]:
    """Inspections with kept images, numbered after ``seq``, oldest first."""
    # Apart from the inspections, so that the grouping goes along the index and ends at the limit.
    first = (
        select(images.c.seq, func.sum(images.c.nbytes).label("nbytes"))
        .where(images.c.deleted_at.is_(None), images.c.seq > seq)
        .group_by(images.c.seq)
        .order_by(images.c.seq)
        .limit(limit)
        .subquery()
    )
    rows = connection.execute(
        select(first, inspections.c.verdict, inspections.c.recorded_at)
        .join(inspections, inspections.c.seq == first.c.seq)
        .order_by(first.c.seq)
    )
    return tuple(Kept(row.seq, Verdict(row.verdict), row.recorded_at, int(row.nbytes)) for row in rows)


def deletable(connection: Connection, seqs: Sequence[int]) -> list[int]:
    """Those of these inspections whose images nobody wants kept, in order."""
    statement = select(inspections.c.seq).where(inspections.c.seq.in_(seqs), ~_wanted()).order_by(inspections.c.seq)
    return list(connection.execute(statement).scalars())


def images_of(connection: Connection, seqs: Sequence[int]) -> tuple[str, ...]:
    """The SHA-256 of the kept images of these inspections."""
    statement = select(images.c.sha256).where(images.c.seq.in_(seqs), images.c.deleted_at.is_(None))
    return tuple(connection.execute(statement).scalars())


def mark_deleted(connection: Connection, seqs: Sequence[int], rule: str, at: datetime) -> list[str]:
    """Record the deletion of all images of these inspections, but for those that somebody wants kept by now.

    Returns the SHA-256 of the images that were marked: their files may go once this is committed.
    """
    free = deletable(connection, seqs)
    these = images.c.seq.in_(free) & images.c.deleted_at.is_(None)
    gone = connection.execute(select(images.c.sha256, images.c.seq, images.c.kind, images.c.nbytes).where(these)).all()
    connection.execute(update(images).where(these).values(deleted_at=at, deleted_for=rule))
    count_images(connection, [(row.seq, row.kind, row.nbytes) for row in gone], -1)
    return [row.sha256 for row in gone]


def count_images(connection: Connection, these: Sequence[tuple[int, str, int]], sign: int) -> None:
    """Add images, given as (seq, kind, bytes), to what is kept; or take them off, with -1."""
    numbered = select(inspections.c.seq, inspections.c.verdict).where(inspections.c.seq.in_({seq for seq, _, _ in these}))
    verdicts = {row.seq: row.verdict for row in connection.execute(numbered)}
    more: dict[tuple[str, str], tuple[int, int]] = {}
    for seq, kind, nbytes in these:
        verdict = verdicts[seq]
        counted = more.get((kind, verdict), (0, 0))
        more[kind, verdict] = counted[0] + sign, counted[1] + sign * nbytes
    for (kind, verdict), (number, nbytes) in more.items():
        this = (image_totals.c.kind == kind) & (image_totals.c.verdict == verdict)
        values = {"images": image_totals.c.images + number, "nbytes": image_totals.c.nbytes + nbytes}
        if connection.execute(update(image_totals).where(this).values(**values)).rowcount == 0:
            connection.execute(insert(image_totals).values(kind=kind, verdict=verdict, images=number, nbytes=nbytes))


def read_totals(connection: Connection) -> tuple[ImageTotal, ...]:
    """What is kept now."""
    rows = connection.execute(select(image_totals).order_by(image_totals.c.kind, image_totals.c.verdict))
    return tuple(ImageTotal(ImageKind(row.kind), Verdict(row.verdict), row.images, row.nbytes) for row in rows)


def referred_to(connection: Connection, hashes: Iterable[str]) -> set[str]:
    """Those of these images that a kept row, the golden set, an import or a training set names."""
    found: set[str] = set()
    for some in _portions(hashes):
        for table in (images, golden_images, imported_images, training_set_members):
            statement = select(table.c.sha256).where(table.c.sha256.in_(some))
            if table is images:
                statement = statement.where(images.c.deleted_at.is_(None))
            found.update(connection.execute(statement).scalars())
    return found


def lost_to_retention(connection: Connection, hashes: Iterable[str]) -> set[str]:
    """Those of these images that were deleted, and that no other row kept."""
    deleted: set[str] = set()
    for some in _portions(hashes):
        statement = select(images.c.sha256).where(images.c.sha256.in_(some), images.c.deleted_at.is_not(None))
        deleted.update(connection.execute(statement).scalars())
    return deleted - referred_to(connection, deleted)


def _wanted() -> ColumnElement[bool]:
    """Of an inspection: does anybody want its images kept, whatever room they take?"""
    hold, frame = legal_holds.c, images.alias("wanted_frame")
    held = exists().where(
        hold.released_at.is_(None),
        or_(hold.lot == inspections.c.lot, hold.serial == inspections.c.serial, hold.seq == inspections.c.seq),
    )

    def member_of(table: Any) -> ColumnElement[bool]:
        return exists().where(frame.c.seq == inspections.c.seq, table.c.sha256 == frame.c.sha256)

    return or_(
        is_labelled(inspections.c.seq),
        exists().where(lots.c.lot == inspections.c.lot, lots.c.state == LotState.HELD),
        held,
        member_of(golden_images),
        member_of(training_set_members),
    )


def _portions(hashes: Iterable[str]) -> Iterator[list[str]]:
    left = iter(sorted(set(hashes)))
    while some := list(islice(left, _MANY)):
        yield some
