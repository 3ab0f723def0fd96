"""Which numbers must not be given out again, although no row has them: those of records that were lost.

Receivers, the MES and people know inspections, labels and lot events by their numbers. After an older database took the place of
a newer one, its next numbers would name other things than those that were told already. So the loss is recorded as a fault whose
own number is past every number that may have been given out, and everything is numbered after the newest such fault.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, func, insert, select

from cameras.fault_kinds import FaultKind
from inspection.records.tables import faults, inspections, labels, lot_events, triggers

# No line gives out more, and a clock that is wrong errs to the safe side.
_NUMBERS_PER_S = 1_000
_AT_LEAST = 1_000_000

_NUMBERED = (inspections.c.seq, triggers.c.trigger_id, lot_events.c.lot_event_id, labels.c.label_id, faults.c.fault_id)


def passed_over(connection: Connection) -> int:
    """Numbers up to this one are not given out again; 0 where no records were lost."""
    newest = select(func.coalesce(func.max(faults.c.fault_id), 0)).where(faults.c.kind == FaultKind.RECORDS_LOST)
    return int(connection.execute(newest).scalar_one())


def highest(connection: Connection) -> int:
    """The highest number that a row has."""
    return max(int(connection.execute(select(func.coalesce(func.max(each), 0))).scalar_one()) for each in _NUMBERED)


def newest_recorded_at(connection: Connection) -> datetime | None:
    """When the newest inspection was recorded; None where there is none."""
    last = select(func.max(inspections.c.seq)).scalar_subquery()
    return connection.execute(select(inspections.c.recorded_at).where(inspections.c.seq == last)).scalar_one_or_none()


def pass_over(connection: Connection, known: int, why: str) -> int:
    """Record that records were lost, and why; returns the number after which everything goes on.

    ``known`` is the highest number that is known to have been given out. Nobody knows how far the numbers came in the time since
    the newest row, so more are passed over than any line gives out in that time.
    """
    newest = newest_recorded_at(connection)
    now = datetime.now(UTC)
    # Absolute: where the clock is behind the records, so much time may have passed just as well.
    lost_s = abs((now - newest).total_seconds()) if newest is not None else 0
    number = max(known, highest(connection)) + _AT_LEAST + int(lost_s * _NUMBERS_PER_S)
    detail = f"{why}; numbers go on after {number}, so that none of those that were given out is given out again"
    connection.execute(
        insert(faults).values(fault_id=number, at=now, source="records", kind=FaultKind.RECORDS_LOST, count=1, detail=detail)
    )
    if connection.dialect.name == "postgresql":
        # Elsewhere who labels counts from the fault.
        sequence = func.pg_get_serial_sequence(labels.name, labels.c.label_id.name)
        connection.execute(select(func.setval(sequence, number)))
    return number
