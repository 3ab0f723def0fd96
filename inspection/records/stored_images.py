"""Images that did not come from the line: imported good ones, and the golden set. The caller commits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, delete, insert, or_, select, update

from inspection.domain import GoldenImage, ImageKind, Verdict
from inspection.errors import Conflict, NotFound
from inspection.records.labels import check_label, valid_label_ids
from inspection.records.retention import lost_to_retention
from inspection.records.tables import golden_images, images, imported_images, inspections, labels

_FRAME = (images.c.seq == inspections.c.seq) & (images.c.kind == ImageKind.FRAME) & images.c.deleted_at.is_(None)


@dataclass(frozen=True, slots=True)
class GoldenCandidate:
    """A labelled inspection that could be made golden."""

    seq: int
    lot: str
    serial: str
    label: str
    verdict: Verdict


def add_imported(connection: Connection, product: str, sha256: str, name: str, folder: str, pixel_format: str, by: str) -> bool:
    """Record a good image that lies in the store; False if it was recorded before."""
    known = select(imported_images.c.sha256).where(imported_images.c.product == product, imported_images.c.sha256 == sha256)
    if connection.execute(known).first() is not None:
        return False
    connection.execute(
        insert(imported_images).values(
            product=product,
            sha256=sha256,
            name=name,
            folder=folder,
            pixel_format=pixel_format,
            imported_by=by,
            imported_at=datetime.now(UTC),
        )
    )
    return True


def add_golden(connection: Connection, image: GoldenImage) -> bool:
    """Put an image that lies in the store into the golden set, or change its label; False if that changes nothing."""
    try:
        check_label(image.label)
    except ValueError as error:
        raise Conflict(f"a label {error}") from None
    this = (golden_images.c.product == image.product) & (golden_images.c.sha256 == image.sha256)
    known = connection.execute(select(golden_images.c.label).where(this)).scalar_one_or_none()
    if known == image.label:
        return False
    values = asdict(image)
    if known is None:
        if lost_to_retention(connection, [image.sha256]):
            raise Conflict(f"image {image.sha256[:12]} was deleted by retention meanwhile; choose another")
        connection.execute(insert(golden_images).values(**values))
    else:
        connection.execute(update(golden_images).where(this).values(**values))
    return True


def golden_inspections(connection: Connection, product: str, seqs: Iterable[int], by: str) -> tuple[GoldenImage, ...]:
    """Labelled inspections as golden images, to be added. It only reads: the recorder need not wait for it.

    NotFound if one has no stored frame, Conflict if one has no label or shows another product.
    """
    found = []
    for seq in seqs:
        row = connection.execute(
            select(inspections.c.product, inspections.c.lot, inspections.c.serial, images.c.sha256, images.c.pixel_format)
            .join(images, _FRAME)
            .where(inspections.c.seq == seq)
        ).one_or_none()
        if row is None:
            raise NotFound(f"no frame is stored for inspection {seq}; choose one whose image was kept")
        if row.product != product:
            raise Conflict(f"inspection {seq} shows product {row.product!r}, not {product!r}; leave it out")
        newest = select(labels.c.label).where(labels.c.seq == seq).order_by(labels.c.label_id.desc()).limit(1)
        label = connection.execute(newest).scalar_one_or_none()
        if label is None:
            raise Conflict(f"inspection {seq} has no label; label it first, since nothing else says what it should be")
        name = f"{row.lot}/{row.serial}"
        found.append(GoldenImage(product, row.sha256, label, name, row.pixel_format, by, datetime.now(UTC)))
    return tuple(found)


def remove_golden(connection: Connection, product: str, sha256: str) -> None:
    """Take an image out of the golden set; NotFound if it is not in it."""
    this = (golden_images.c.product == product) & (golden_images.c.sha256 == sha256)
    if connection.execute(delete(golden_images).where(this)).rowcount == 0:
        raise NotFound(f"image {sha256[:12]} is not in the golden set of {product}; list the set to find its name")


def get_golden(connection: Connection, product: str, sha256: str) -> GoldenImage:
    """NotFound if it is not in the golden set of the product."""
    this = (golden_images.c.product == product) & (golden_images.c.sha256 == sha256)
    row = connection.execute(select(golden_images).where(this)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"image {sha256[:12]} is not in the golden set of {product}; list the set to find its name")
    return GoldenImage(**row)


def golden_candidates(connection: Connection, product: str, part: str, limit: int) -> tuple[GoldenCandidate, ...]:
    """Labelled inspections with a stored frame that is not golden yet, newest label first; those with ``part`` in serial, lot or
    label.
    """
    known = select(golden_images.c.sha256).where(golden_images.c.product == product)
    statement = (
        select(inspections.c.seq, inspections.c.lot, inspections.c.serial, labels.c.label, inspections.c.verdict)
        .join(labels, labels.c.seq == inspections.c.seq)
        .join(images, _FRAME)
        .where(
            inspections.c.product == product,
            labels.c.label_id.in_(valid_label_ids()),
            labels.c.label.is_not(None),
            images.c.sha256.not_in(known),
        )
        .order_by(labels.c.label_id.desc())
        .limit(limit)
    )
    if part:
        places = (inspections.c.serial, inspections.c.lot, labels.c.label)
        statement = statement.where(or_(*(place.icontains(part, autoescape=True) for place in places)))
    rows = connection.execute(statement).mappings()
    return tuple(GoldenCandidate(**{**row, "verdict": Verdict(row["verdict"])}) for row in rows)


def list_golden(connection: Connection, product: str) -> tuple[GoldenImage, ...]:
    """The golden set of a product, by label and name."""
    rows = connection.execute(
        select(golden_images).where(golden_images.c.product == product).order_by(golden_images.c.label, golden_images.c.name)
    ).mappings()
    return tuple(GoldenImage(**row) for row in rows)
