"""What a recorder that was killed had not stored yet."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from inspection.domain import Verdict
from inspection.records.tables import images, inspections

# As many as all rings together hold.
_NEWEST = 2_048


def unstored_images(connection: Connection) -> list[tuple[int, Verdict]]:
    """(sequence number, verdict) of inspections with a frame whose turn had not come, among the newest ones.

    Images are stored in the order of their inspections, but those of passed parts after all others that wait.
    """
    last = select(func.coalesce(func.max(inspections.c.seq), 0)).scalar_subquery()
    stored = select(images.c.seq).where(images.c.seq == inspections.c.seq).exists()
    statement = (
        select(inspections.c.seq, inspections.c.verdict, stored.label("stored"))
        .where(inspections.c.seq > last - _NEWEST, inspections.c.frame_id.is_not(None))
        .order_by(inspections.c.seq.desc())
    )
    found = []
    any_stored = pass_stored = False
    for row in connection.execute(statement):
        verdict = Verdict(row.verdict)
        had_its_turn = pass_stored if verdict is Verdict.PASS else any_stored
        if row.stored:
            any_stored, pass_stored = True, pass_stored or verdict is Verdict.PASS
        elif not had_its_turn:
            found.append((row.seq, verdict))
    return found[::-1]
