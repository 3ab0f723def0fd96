"""What a recorder looks at when it starts, since nobody watched before: are the newest images there, and is the clock right?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, func, select

from cameras.fault_kinds import FaultKind
from inspection.images import ImageStore
from inspection.records.numbers import newest_recorded_at
from inspection.records.tables import faults, images, inspections

# A power cut loses what the disk had not finished: the last seconds.
_NEWEST = 1_000
_CLOCK = timedelta(minutes=1)


def found_at_start(connection: Connection, store: ImageStore) -> list[tuple[FaultKind, str]]:
    """Kind and detail of each fault; one that was recorded before is not told again."""
    found = []
    newest = select(func.coalesce(func.max(inspections.c.seq), 0)).scalar_subquery()
    rows = connection.execute(
        select(images.c.seq, images.c.sha256, images.c.nbytes)
        .where(images.c.seq > newest - _NEWEST, images.c.deleted_at.is_(None))
        .order_by(images.c.seq)
    )
    lost = list(dict.fromkeys(row.seq for row in rows if not store.holds(row.sha256, row.nbytes)))
    if lost:
        named = ", ".join(map(str, lost[:20])) + (f" and {len(lost) - 20} more" if len(lost) > 20 else "")
        found.append((FaultKind.IMAGE_LOST, f"recorded, but not in the image store: images of inspections {named}"))
    last_at = newest_recorded_at(connection)
    now = datetime.now(UTC)
    if last_at is not None and last_at > now + _CLOCK:
        detail = f"the newest record is of {last_at:%F %T} UTC, later than the clock says; set the clock"
        found.append((FaultKind.CLOCK_STEPPED, detail))
    return [each for each in found if not _told(connection, *each)]


def _told(connection: Connection, kind: FaultKind, detail: str) -> bool:
    last = select(faults.c.detail).where(faults.c.kind == kind).order_by(faults.c.fault_id.desc()).limit(1)
    return connection.execute(last).scalar_one_or_none() == detail
