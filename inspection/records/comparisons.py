"""The stored images on which models of a product are compared, and what models say of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Select, and_, exists, func, select

from inspection.domain import OK, ImageKind, Verdict
from inspection.records.labels import valid_label_ids
from inspection.records.model_scores import known_scores
from inspection.records.tables import golden_images, images, imported_images, inspections, labels

MAX_GOLDEN = 1_000
MAX_LABELLED = 2_000
MAX_PASSES = 300
"""Unlabelled passes, a sample of the newest RECENT_PASSES."""
RECENT_PASSES = 3_000


class PartSource(StrEnum):
    """Why an image is compared: it is a golden image, somebody labelled it, or it passed lately and nobody looked."""

    GOLDEN = "golden"
    LABEL = "label"
    PASS = "pass"  # noqa: S105  (a verdict, not a password)


@dataclass(frozen=True, slots=True)
class StoredPart:
    """One image that models are compared on.

    ``label`` is None for an unlabelled pass. ``seq`` is None for a golden image that did not come from the line; ``model`` and
    ``score`` are those of the line, None if it gave none.
    """

    sha256: str
    pixel_format: str
    source: PartSource
    label: str | None
    name: str
    seq: int | None
    model: str | None
    score: float | None


def stored_parts(connection: Connection, product: str) -> tuple[StoredPart, ...]:
    """Golden images, labelled parts with a stored frame, and a sample of recent passes, each image once.

    At most MAX_GOLDEN, the newest MAX_LABELLED and MAX_PASSES of them.
    """
    found: dict[str, StoredPart] = {}
    for part in (*_golden(connection, product), *_labelled(connection, product), *_passes(connection, product)):
        found.setdefault(part.sha256, part)
    return tuple(found.values())


def scores_of(connection: Connection, model: str, parts: Iterable[StoredPart]) -> dict[str, float]:
    """What a model says of these images, by SHA-256: on the line where it decided there, else what was scored later."""
    later = known_scores(connection, model)
    scores = {}
    for part in parts:
        score = part.score if part.model == model else later.get(part.sha256)
        if score is not None:
            scores[part.sha256] = score
    return scores


def most_telling(
    parts: Sequence[StoredPart], scores: Mapping[str, float], limit: int
) -> tuple[list[StoredPart], list[StoredPart]]:
    """The highest-scoring good parts and the lowest-scoring defective ones by their labels, the most telling first."""
    scored = [part for part in parts if part.label is not None and part.sha256 in scores]
    good = sorted((part for part in scored if part.label == OK), key=lambda part: -scores[part.sha256])
    defective = sorted((part for part in scored if part.label != OK), key=lambda part: scores[part.sha256])
    return good[:limit], defective[:limit]


def pixel_format_of(connection: Connection, sha256: str) -> str | None:
    """The pixel format of a stored frame, golden or imported image; None if there is no such image."""
    for table in (images, golden_images, imported_images):
        statement = select(table.c.pixel_format).where(table.c.sha256 == sha256)
        if table is images:
            statement = statement.where(images.c.kind == ImageKind.FRAME)
        row = connection.execute(statement.limit(1)).first()
        if row is not None:
            return str(row.pixel_format)
    return None


def seqs_with_maps(connection: Connection, parts: Iterable[StoredPart]) -> frozenset[int]:
    """The inspections among these parts whose map of the line is stored."""
    seqs = [part.seq for part in parts if part.seq is not None]
    kept = images.c.kind == ImageKind.MAP, images.c.deleted_at.is_(None)
    statement = select(images.c.seq).where(*kept, images.c.seq.in_(seqs))
    return frozenset(connection.execute(statement).scalars())


_FRAME = and_(images.c.seq == inspections.c.seq, images.c.kind == ImageKind.FRAME, images.c.deleted_at.is_(None))
_OF_FRAME = (
    images.c.sha256,
    images.c.pixel_format,
    inspections.c.seq,
    inspections.c.lot,
    inspections.c.serial,
    inspections.c.model,
    inspections.c.score,
)


def _golden(connection: Connection, product: str) -> list[StoredPart]:
    # The same image may be that of several inspections; one is enough to open.
    first = (
        select(images.c.sha256, func.min(images.c.seq).label("seq"))
        .where(images.c.kind == ImageKind.FRAME, images.c.sha256.in_(_golden_hashes(product)))
        .group_by(images.c.sha256)
        .subquery()
    )
    rows = connection.execute(
        select(golden_images, first.c.seq, inspections.c.model, inspections.c.score)
        .outerjoin(first, first.c.sha256 == golden_images.c.sha256)
        .outerjoin(inspections, inspections.c.seq == first.c.seq)
        .where(golden_images.c.product == product)
        .order_by(golden_images.c.label, golden_images.c.name)
        .limit(MAX_GOLDEN)
    )
    return [
        StoredPart(row.sha256, row.pixel_format, PartSource.GOLDEN, row.label, row.name, row.seq, row.model, row.score)
        for row in rows
    ]


def _golden_hashes(product: str) -> Select[Any]:
    return select(golden_images.c.sha256).where(golden_images.c.product == product)


def _labelled(connection: Connection, product: str) -> list[StoredPart]:
    rows = connection.execute(
        select(*_OF_FRAME, labels.c.label)
        .select_from(inspections.join(images, _FRAME).join(labels, labels.c.seq == inspections.c.seq))
        .where(inspections.c.product == product, labels.c.label_id.in_(valid_label_ids()), labels.c.label.is_not(None))
        .order_by(inspections.c.seq.desc())
        .limit(MAX_LABELLED)
    )
    return [_part(row, PartSource.LABEL, row.label) for row in rows]


def _passes(connection: Connection, product: str) -> list[StoredPart]:
    said = exists().where(
        labels.c.seq == inspections.c.seq, labels.c.label_id.in_(valid_label_ids()), labels.c.label.is_not(None)
    )
    recent = (
        select(*_OF_FRAME)
        .select_from(inspections.join(images, _FRAME))
        .where(inspections.c.product == product, inspections.c.verdict == Verdict.PASS, ~said)
        .order_by(inspections.c.seq.desc())
        .limit(RECENT_PASSES)
        .subquery()
    )
    # The smallest hashes are as good as drawn, and stay drawn as long as they are recent: few have to be scored anew.
    rows = connection.execute(select(recent).order_by(recent.c.sha256).limit(MAX_PASSES))
    return [_part(row, PartSource.PASS, None) for row in rows]


def _part(row: Any, source: PartSource, label: str | None) -> StoredPart:
    name = f"{row.lot}/{row.serial}#{row.seq}"
    return StoredPart(row.sha256, row.pixel_format, source, label, name, row.seq, row.model, row.score)
