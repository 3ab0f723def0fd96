"""Legal holds: orders to keep images, whatever retention says. A released one stays as history. The caller commits."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, insert, or_, select, update

from inspection.domain import Inspection, LegalHold
from inspection.errors import Conflict, NotFound
from inspection.records.tables import inspections, legal_holds, triggers

MAX_LISTED = 1_000
_COLUMNS = legal_holds.c


def place_hold(
    connection: Connection,
    *,
    lot: str | None = None,
    serial: str | None = None,
    seq: int | None = None,
    by: str,
    reason: str,
    at: datetime,
) -> LegalHold:
    """Hold the images of a lot, of a serial in all lots, or of one inspection, present and to come.

    Conflict unless exactly one is named, NotFound if nothing of that name was ever recorded.
    """
    named = {name: value for name, value in (("lot", lot), ("serial", serial), ("seq", seq)) if value is not None}
    if len(named) != 1:
        raise Conflict("name either a lot, a serial or the number of an inspection to hold")
    ((name, value),) = named.items()
    # A lot may have been triggered and never opened; a serial announced and never seen has no images.
    known = select(triggers.c.trigger_id).where(triggers.c.lot == value)
    if name != "lot":
        known = select(inspections.c.seq).where(inspections.c[name] == value)
    if connection.execute(known.limit(1)).first() is None:
        raise NotFound(f"no part of {name} {value!r} was inspected on this station; check the name")
    values = {**named, "placed_at": at, "placed_by": by, "reason": reason}
    return _hold(connection.execute(insert(legal_holds).values(**values).returning(*_COLUMNS)).mappings().one())


def release_hold(connection: Connection, legal_hold_id: int, by: str, reason: str, at: datetime) -> LegalHold:
    """NotFound if there is none of this number, Conflict if it was released before."""
    this = _COLUMNS.legal_hold_id == legal_hold_id
    values = {"released_at": at, "released_by": by, "release_reason": reason}
    statement = update(legal_holds).where(this, _COLUMNS.released_at.is_(None)).values(**values).returning(*_COLUMNS)
    row = connection.execute(statement).mappings().one_or_none()
    if row is not None:
        return _hold(row)
    known = get_hold(connection, legal_hold_id)
    raise Conflict(f"legal hold {legal_hold_id} was released on {known.released_at:%Y-%m-%d %H:%M} UTC by {known.released_by}")


def get_hold(connection: Connection, legal_hold_id: int) -> LegalHold:
    """NotFound if there is none of this number."""
    row = connection.execute(select(legal_holds).where(_COLUMNS.legal_hold_id == legal_hold_id)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"there is no legal hold {legal_hold_id} on this station; list them to find its number")
    return _hold(row)


def list_holds(connection: Connection, lot: str | None = None, released: bool = False) -> tuple[LegalHold, ...]:
    """Legal holds in force, and with ``released`` the others too, newest first: all, or those on a lot."""
    statement = select(legal_holds).order_by(_COLUMNS.legal_hold_id.desc()).limit(MAX_LISTED)
    if lot is not None:
        statement = statement.where(_COLUMNS.lot == lot)
    return _holds(connection, statement, released)


def holds_on(connection: Connection, inspection: Inspection) -> tuple[LegalHold, ...]:
    """Legal holds in force that keep the images of one inspection, newest first."""
    of_it = or_(_COLUMNS.lot == inspection.lot, _COLUMNS.serial == inspection.serial, _COLUMNS.seq == inspection.seq)
    return _holds(connection, select(legal_holds).where(of_it).order_by(_COLUMNS.legal_hold_id.desc()), False)


def _holds(connection: Connection, statement: Select[Any], released: bool) -> tuple[LegalHold, ...]:
    if not released:
        statement = statement.where(_COLUMNS.released_at.is_(None))
    return tuple(_hold(row) for row in connection.execute(statement).mappings())


def _hold(row: RowMapping) -> LegalHold:
    return LegalHold(**row)
