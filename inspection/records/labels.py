"""Labels: the human's word on inspections. Append-only; the newest counts. The caller commits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from sqlalchemy import Connection, RowMapping, Select, func, insert, select, text

from inspection.commands import check_name
from inspection.domain import OK, Box, ImageKind, Label
from inspection.errors import Conflict, NotFound
from inspection.records.tables import images, inspections, labels

# Words that a person may write for a good part; as the name of a class they would make a reject of it.
_ALMOST_OK = frozenset({OK, "good", "pass", "okay", "gut", "io"})


def check_label(label: str) -> str:
    """``ok`` or the name of a class of defects; ValueError for what could be mistaken for ``ok``, or is no name."""
    check_name(label)
    if label != OK and label.casefold() in _ALMOST_OK:
        raise ValueError(f"must not be {label!r}, which reads like a good part; write {OK!r} for that, or name the defect")
    return label


def add_label(connection: Connection, seq: int, label: str, by: str, reason: str = "", regions: Sequence[Box] = ()) -> Label:
    """Label an inspection; what was said before stays as its history.

    NotFound if there is no such inspection, Conflict if the label or a region does not make sense.
    """
    try:
        check_label(label)
    except ValueError as error:
        raise Conflict(f"a label {error}") from None
    if connection.execute(select(inspections.c.seq).where(inspections.c.seq == seq)).first() is None:
        raise NotFound(f"inspection {seq} is not recorded on this station; list results to find its number")
    if regions and label == OK:
        raise Conflict("a part that is ok has no regions; leave them out, or name the defect that they show")
    size = connection.execute(
        select(images.c.width, images.c.height).where(images.c.seq == seq, images.c.kind == ImageKind.FRAME)
    ).one_or_none()
    for box in regions:
        whole = box.x >= 0 and box.y >= 0 and box.width >= 1 and box.height >= 1
        if not whole or (size is not None and (box.x + box.width > size.width or box.y + box.height > size.height)):
            frame = f" of {size.width}×{size.height} pixels" if size is not None else ""
            raise Conflict(
                f"region x={box.x} y={box.y} width={box.width} height={box.height} does not lie in the frame{frame}; correct it"
            )
    if connection.dialect.name == "postgresql":
        # Numbers in the order of commits, as in SQLite, or who asks for labels after a number may miss one.
        connection.execute(text("LOCK TABLE labels IN SHARE ROW EXCLUSIVE MODE"))
    values = {
        "seq": seq,
        "label": label,
        "regions": [asdict(box) for box in regions],
        "labelled_by": by,
        "labelled_at": datetime.now(UTC),
        "reason": reason,
    }
    return _label(connection.execute(insert(labels).values(**values).returning(*labels.c)).mappings().one())


def label_history(connection: Connection, seq: int) -> tuple[Label, ...]:
    """All labels of an inspection, newest first: the first one counts."""
    rows = connection.execute(select(labels).where(labels.c.seq == seq).order_by(labels.c.label_id.desc())).mappings()
    return tuple(_label(row) for row in rows)


def latest_labels(connection: Connection, after: int, limit: int) -> tuple[Label, ...]:
    """Labels numbered after ``after``, oldest first, those that were replaced later too."""
    rows = connection.execute(select(labels).where(labels.c.label_id > after).order_by(labels.c.label_id).limit(limit)).mappings()
    return tuple(_label(row) for row in rows)


def valid_label_ids() -> Select[tuple[int]]:
    """For statements: the numbers of the labels that count."""
    return select(func.max(labels.c.label_id)).group_by(labels.c.seq)


def boxes(regions: list[dict[str, int]]) -> tuple[Box, ...]:
    return tuple(Box(**region) for region in regions)


def _label(row: RowMapping) -> Label:
    return Label(**{**row, "regions": boxes(row["regions"])})
