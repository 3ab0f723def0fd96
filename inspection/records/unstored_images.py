"""What a recorder that was killed had not stored yet."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from inspection.domain import Verdict
from inspection.records.tables import images, inspections


def unstored_images(connection: Connection, newest: int) -> list[tuple[int, Verdict]]:
    """(sequence number, verdict) of inspections with a frame that came after the last stored one, among the newest so many.

    Images are stored in the order of their inspections.
    """
    last_stored = select(func.coalesce(func.max(images.c.seq), 0)).scalar_subquery()
    last = select(func.coalesce(func.max(inspections.c.seq), 0)).scalar_subquery()
    found = (
        select(inspections.c.seq, inspections.c.verdict)
        .where(inspections.c.seq > last_stored, inspections.c.seq > last - newest, inspections.c.frame_id.is_not(None))
        .order_by(inspections.c.seq)
    )
    return [(row.seq, Verdict(row.verdict)) for row in connection.execute(found)]
