"""Labels: the human's word on inspections. Append-only; the newest counts, and one without a word takes back what was said.

The caller commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, exists, func, insert, select, text

from inspection.commands import check_name
from inspection.domain import OK, Box, ImageKind, Label
from inspection.errors import Conflict, NotFound, StaleLabel
from inspection.records.numbers import passed_over
from inspection.records.tables import images, inspections, labels

# Words that a person may write for a good part; as the name of a class they would make a reject of it.
_ALMOST_OK = frozenset({OK, "good", "pass", "okay", "gut", "io"})


def check_label(label: str) -> str:
    """``ok`` or the name of a class of defects; ValueError for what could be mistaken for ``ok``, or is no name."""
    check_name(label)
    if label != OK and label.casefold() in _ALMOST_OK:
        raise ValueError(f"must not be {label!r}, which reads like a good part; write {OK!r} for that, or name the defect")
    return label


def add_label(
    connection: Connection,
    seq: int,
    label: str | None,
    by: str,
    reason: str = "",
    regions: Sequence[Box] = (),
    after: int | None = None,
) -> Label:
    """Label an inspection, or take back its label with None; what was said before stays as its history.

    ``after`` is the number of the newest label that was known to who labels, 0 for none. NotFound if there is no such inspection,
    StaleLabel if there is a newer label than that, Conflict if the label or a region does not make sense.
    """
    if label is not None:
        try:
            check_label(label)
        except ValueError as error:
            raise Conflict(f"a label {error}") from None
    if connection.execute(select(inspections.c.seq).where(inspections.c.seq == seq)).first() is None:
        raise NotFound(f"inspection {seq} is not recorded on this station; list results to find its number")
    _check_regions(connection, seq, label, regions)
    if connection.dialect.name == "postgresql":
        # Numbers in the order of commits, as in SQLite, or who asks for labels after a number may miss one.
        connection.execute(text("LOCK TABLE labels IN SHARE ROW EXCLUSIVE MODE"))
    newest = connection.execute(
        select(labels.c.label_id, labels.c.label, labels.c.labelled_by)
        .where(labels.c.seq == seq)
        .order_by(labels.c.label_id.desc())
        .limit(1)
    ).one_or_none()
    if after is not None and newest is not None and newest.label_id > after:
        said = "took a label back" if newest.label is None else f"said {newest.label}"
        raise StaleLabel(f"{newest.labelled_by} {said} meanwhile (label {newest.label_id}); look at it, then label again")
    if label is None and (newest is None or newest.label is None):
        raise Conflict(f"inspection {seq} has no label that could be taken back")
    values = {
        "seq": seq,
        "label": label,
        "regions": [region_as_json(box) for box in regions],
        "labelled_by": by,
        "labelled_at": datetime.now(UTC),
        "reason": reason,
    }
    if connection.dialect.name == "sqlite" and (lost := passed_over(connection)):
        # PostgreSQL's own counter was set.
        values["label_id"] = 1 + max(lost, connection.execute(select(func.coalesce(func.max(labels.c.label_id), 0))).scalar_one())
    return _label(connection.execute(insert(labels).values(**values).returning(*labels.c)).mappings().one())


def _check_regions(connection: Connection, seq: int, label: str | None, regions: Sequence[Box]) -> None:
    if regions and (label is None or label == OK):
        raise Conflict("a part that is ok has no regions; leave them out, or name the defect that they show")
    size = connection.execute(
        select(images.c.width, images.c.height).where(images.c.seq == seq, images.c.kind == ImageKind.FRAME)
    ).one_or_none()
    for box in regions:
        at = f"region x={box.x} y={box.y} width={box.width} height={box.height}"
        whole = box.x >= 0 and box.y >= 0 and box.width >= 1 and box.height >= 1
        if not whole or (size is not None and (box.x + box.width > size.width or box.y + box.height > size.height)):
            frame = f" of {size.width}×{size.height} pixels" if size is not None else ""
            raise Conflict(f"{at} does not lie in the frame{frame}; correct it")
        if box.polygon is not None and box != Box.around(box.polygon):
            wanted = Box.around(box.polygon)
            raise Conflict(
                f"{at} does not enclose its polygon, which reaches over x={wanted.x} y={wanted.y} "
                f"width={wanted.width} height={wanted.height}; send that rectangle"
            )


def label_history(connection: Connection, seq: int) -> tuple[Label, ...]:
    """All labels of an inspection, newest first: the first one counts, unless it takes back what was said."""
    return label_histories(connection, (seq,)).get(seq, ())


def label_histories(connection: Connection, seqs: Sequence[int]) -> dict[int, tuple[Label, ...]]:
    """All labels of these inspections, newest first; nothing for one without any."""
    found: dict[int, tuple[Label, ...]] = {}
    statement = select(labels).where(labels.c.seq.in_(seqs)).order_by(labels.c.seq, labels.c.label_id.desc())
    for row in connection.execute(statement).mappings():
        found[row["seq"]] = (*found.get(row["seq"], ()), _label(row))
    return found


def latest_labels(connection: Connection, after: int, limit: int) -> tuple[Label, ...]:
    """Labels numbered after ``after``, oldest first, those that were replaced or taken back later too."""
    rows = connection.execute(select(labels).where(labels.c.label_id > after).order_by(labels.c.label_id).limit(limit)).mappings()
    return tuple(_label(row) for row in rows)


def valid_label_ids() -> Select[tuple[int]]:
    """For statements: the numbers of the labels that count."""
    newest = select(func.max(labels.c.label_id)).group_by(labels.c.seq)
    each = labels.alias("each_label")
    return select(each.c.label_id).where(each.c.label_id.in_(newest), each.c.label.is_not(None))


def is_labelled(seq: Any) -> Any:
    """For statements: has this inspection a label that counts?"""
    each, newer = labels.alias("each_label"), labels.alias("newer_label")
    later = exists().where(newer.c.seq == each.c.seq, newer.c.label_id > each.c.label_id)
    return exists().where(each.c.seq == seq, each.c.label.is_not(None), ~later)


def region_as_json(box: Box) -> dict[str, Any]:
    """A region as it is stored: without a polygon it is written as before there were polygons."""
    rectangle = {"x": box.x, "y": box.y, "width": box.width, "height": box.height}
    return rectangle if box.polygon is None else {**rectangle, "polygon": [list(point) for point in box.polygon]}


def boxes(regions: list[dict[str, Any]]) -> tuple[Box, ...]:
    """Regions as they are stored."""
    return tuple(
        Box(
            each["x"],
            each["y"],
            each["width"],
            each["height"],
            tuple((x, y) for x, y in each["polygon"]) if each.get("polygon") else None,
        )
        for each in regions
    )


def _label(row: RowMapping) -> Label:
    return Label(**{**row, "regions": boxes(row["regions"])})
