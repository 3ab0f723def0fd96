"""Frozen training sets. Written once, never changed. The caller commits."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from sqlalchemy import Connection, RowMapping, insert, select

from inspection.domain import Member, TrainingSet
from inspection.errors import Conflict, NotFound, StationError
from inspection.records.retention import lost_to_retention
from inspection.records.tables import training_set_members, training_sets
from inspection.training_set import Draft, parse_document

_LISTED = tuple(column for column in training_sets.c if column.name != "document")


def freeze(connection: Connection, draft: Draft, by: str) -> TrainingSet:
    """Record a checked draft; the same content again is the set that was recorded first. Conflict if an image is gone by now."""
    digest = draft.digest
    known = _find(connection, digest)
    if known is not None:
        return known
    values = {
        "training_set": digest,
        "product": draft.product,
        "document": draft.document,
        "sizes": draft.sizes,
        "warnings": list(draft.warnings),
        "created_by": by,
        "created_at": datetime.now(UTC),
    }
    hashes = sorted({member.sha256 for member in draft.members})
    lost = lost_to_retention(connection, hashes)
    if lost:
        raise Conflict(f"{len(lost)} images of the training set were deleted by retention meanwhile; ask for it again")
    made = _set(connection.execute(insert(training_sets).values(**values).returning(*_LISTED)).mappings().one())
    if hashes:
        connection.execute(insert(training_set_members), [{"sha256": each, "training_set": digest} for each in hashes])
    return made


def get_training_set(connection: Connection, training_set: str) -> TrainingSet:
    """One training set by its digest; NotFound if there is none."""
    found = _find(connection, training_set)
    if found is None:
        raise NotFound(f"training set {training_set[:12]} is not recorded on this station; list the sets, or create one")
    return found


def members_of(connection: Connection, training_set: str) -> tuple[Member, ...]:
    """The members, by SHA-256. NotFound if there is no such set, StationError if its document was altered."""
    document = connection.execute(
        select(training_sets.c.document).where(training_sets.c.training_set == training_set)
    ).scalar_one_or_none()
    if document is None:
        raise NotFound(f"training set {training_set[:12]} is not recorded on this station; list the sets, or create one")
    if hashlib.sha256(document.encode()).hexdigest() != training_set:
        raise StationError(f"training set {training_set[:12]} was altered in the database; restore a backup, or create a new set")
    return parse_document(document)


def list_training_sets(connection: Connection, product: str | None, limit: int) -> tuple[TrainingSet, ...]:
    """The newest training sets of one product or of all, newest first."""
    statement = select(*_LISTED).order_by(training_sets.c.created_at.desc(), training_sets.c.training_set).limit(limit)
    if product is not None:
        statement = statement.where(training_sets.c.product == product)
    return tuple(_set(row) for row in connection.execute(statement).mappings())


def _find(connection: Connection, training_set: str) -> TrainingSet | None:
    row = connection.execute(select(*_LISTED).where(training_sets.c.training_set == training_set)).mappings().one_or_none()
    return None if row is None else _set(row)


def _set(row: RowMapping) -> TrainingSet:
    return TrainingSet(**{**row, "warnings": tuple(row["warnings"])})
