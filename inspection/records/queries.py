"""Named reads of the records: functions over a Connection that return the domain's frozen dataclasses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, func, select, tuple_

from inspection.domain import (
    Fault,
    Image,
    ImageKind,
    Inspection,
    Lot,
    LotChange,
    LotEvent,
    LotState,
    LotSummary,
    Output,
    Reason,
    Region,
    Verdict,
)
from inspection.errors import BadCursor, NotFound
from inspection.records.cursors import Page, decode_cursor, encode_cursor
from inspection.records.tables import faults as fault_table
from inspection.records.tables import images, inspections, lot_events, lots, parts, triggers

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Counters:
    """Where the numbering stands; 0 where nothing is recorded yet."""

    last_seq: int
    last_trigger_id: int
    last_fault_id: int


# --- lots -------------------------------------------------------------------------------------------------------------


def get_lot(connection: Connection, lot: str) -> Lot:
    """The lot as opened; NotFound if it never was."""
    row = connection.execute(select(lots).where(lots.c.lot == lot)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"lot {lot!r} was never opened on this station; open it first or check the name")
    return _lot(row)


def list_lots(connection: Connection, cursor: str | None, limit: int) -> Page[Lot]:
    """Lots as opened, newest first; BadCursor for a cursor that this list did not issue."""
    statement = select(lots).order_by(lots.c.opened_at.desc(), lots.c.lot.desc()).limit(limit + 1)
    if cursor is not None:
        microseconds, _, lot = decode_cursor("lots", cursor).partition(" ")
        opened_at = _EPOCH + timedelta(microseconds=_number(microseconds))
        statement = statement.where(tuple_(lots.c.opened_at, lots.c.lot) < (opened_at, lot))
    found = [_lot(row) for row in connection.execute(statement).mappings()]
    if len(found) <= limit:
        return Page(tuple(found), None)
    last = found[limit - 1]
    position = f"{(last.opened_at - _EPOCH) // timedelta(microseconds=1)} {last.lot}"
    return Page(tuple(found[:limit]), encode_cursor("lots", position))


def lot_history(connection: Connection, lot: str) -> tuple[LotEvent, ...]:
    """What happened to the lot, oldest first; nothing for one that a former version opened."""
    rows = connection.execute(select(lot_events).where(lot_events.c.lot == lot).order_by(lot_events.c.lot_event_id)).mappings()
    return tuple(_lot_event(row) for row in rows)


def lot_events_after(connection: Connection, lot_event_id: int, limit: int) -> tuple[LotEvent, ...]:
    """What happened to lots after that number, oldest first."""
    statement = select(lot_events).where(lot_events.c.lot_event_id > lot_event_id).order_by(lot_events.c.lot_event_id)
    return tuple(_lot_event(row) for row in connection.execute(statement.limit(limit)).mappings())


def lot_summary(connection: Connection, lot: str) -> LotSummary:
    """The reconciliation of one lot, also of one that only triggers know; NotFound if nothing names it.

    Read it inside one read-only transaction: its three queries then see the same snapshot, and the sums agree.
    """
    opened = connection.execute(select(lots.c.product, lots.c.state).where(lots.c.lot == lot)).one_or_none()
    triggered = connection.execute(select(func.count()).select_from(triggers).where(triggers.c.lot == lot)).scalar_one()
    if opened is None and triggered == 0:
        raise NotFound(f"lot {lot!r} is not recorded on this station; check the name or open it first")
    by = (inspections.c.verdict, inspections.c.output, inspections.c.reason)
    verdicts = dict.fromkeys(Verdict, 0)
    reasons: dict[str, int] = {}
    accepted = 0
    for verdict, output, reason, count in connection.execute(
        select(*by, func.count()).where(inspections.c.lot == lot).group_by(*by)
    ):
        verdicts[Verdict(verdict)] += count
        if output == Output.ACCEPT:
            accepted += count
        if reason is not None:
            reasons[reason] = reasons.get(reason, 0) + count
    return LotSummary(
        lot=lot,
        product=opened.product if opened else None,
        state=LotState(opened.state) if opened else None,
        triggered=triggered,
        passed=verdicts[Verdict.PASS],
        failed=verdicts[Verdict.FAIL],
        review=verdicts[Verdict.REVIEW],
        not_inspected=verdicts[Verdict.NOT_INSPECTED],
        accepted=accepted,
        rejected=triggered - accepted,
        open_triggers=triggered - sum(verdicts.values()),
        reasons=reasons,
    )


def lot_results(
    connection: Connection,
    lot: str,
    cursor: str | None,
    limit: int,
    verdict: Verdict | None = None,
    reason: Reason | None = None,
) -> Page[Inspection]:
    """Inspections of one lot by seq, oldest first; an empty page for a lot without any. BadCursor as in list_lots."""
    scope = f"results {lot} {verdict or ''}"
    statement = select(inspections).where(inspections.c.lot == lot).order_by(inspections.c.seq).limit(limit + 1)
    if verdict is not None:
        statement = statement.where(inspections.c.verdict == verdict)
    if reason is not None:
        scope += f" {reason}"
        # Only what was not inspected has a reason; said here too, an index leaves the rest of the lot out.
        statement = statement.where(inspections.c.verdict == Verdict.NOT_INSPECTED, inspections.c.reason == reason)
    if cursor is not None:
        statement = statement.where(inspections.c.seq > _number(decode_cursor(scope, cursor)))
    found = _inspections(connection, statement)
    if len(found) <= limit:
        return Page(found, None)
    return Page(found[:limit], encode_cursor(scope, str(found[limit - 1].seq)))


# --- inspections ------------------------------------------------------------------------------------------------------


def get_inspection(connection: Connection, seq: int) -> Inspection:
    """One inspection with its images; NotFound if there is none of this number."""
    found = _inspections(connection, select(inspections).where(inspections.c.seq == seq))
    if not found:
        raise NotFound(f"inspection {seq} is not recorded on this station; list results to find its number")
    return found[0]


def get_image(connection: Connection, seq: int, kind: ImageKind) -> Image:
    """The frame or map of one inspection; NotFound if none was stored."""
    row = connection.execute(select(images).where(images.c.seq == seq, images.c.kind == kind)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"no {kind} is stored for inspection {seq}; the inspection itself says why it has none")
    return _image(row)


def attempts(connection: Connection, serial: str, lot: str | None = None) -> tuple[Inspection, ...]:
    """All inspections of a serial, oldest first, in all lots or in one; NotFound if it was never announced or seen."""
    statement = select(inspections).where(inspections.c.serial == serial).order_by(inspections.c.seq)
    known = select(parts.c.lot).where(parts.c.serial == serial).limit(1)
    if lot is not None:
        statement = statement.where(inspections.c.lot == lot)
        known = known.where(parts.c.lot == lot)
    found = _inspections(connection, statement)
    if not found and connection.execute(known).first() is None:
        place = "on this station" if lot is None else f"in lot {lot!r}"
        raise NotFound(f"serial {serial!r} is not recorded {place}; check the serial or announce it first")
    return found


def changes_after(connection: Connection, seq: int, limit: int) -> tuple[Inspection, ...]:
    """Inspections recorded after ``seq``, oldest first. Output and late verdict may still be added to a row later."""
    return _inspections(connection, select(inspections).where(inspections.c.seq > seq).order_by(inspections.c.seq).limit(limit))


def search(connection: Connection, where: Sequence[ColumnElement[bool]], start: int, limit: int) -> tuple[Inspection, ...]:
    """Inspections for which all conditions on the table hold, oldest first, without the first ``start`` of them."""
    return _inspections(connection, select(inspections).where(*where).order_by(inspections.c.seq).offset(start).limit(limit))


def latest(connection: Connection, limit: int) -> tuple[Inspection, ...]:
    """The newest inspections, newest first."""
    return _inspections(connection, select(inspections).order_by(inspections.c.seq.desc()).limit(limit))


def latest_timings_ms(connection: Connection, limit: int) -> tuple[dict[str, float], ...]:
    """The timings of the newest inspections that carry any, newest first."""
    rows = connection.execute(select(inspections.c.timings_ms).order_by(inspections.c.seq.desc()).limit(limit))
    return tuple(timings for (timings,) in rows if timings)


# --- station ----------------------------------------------------------------------------------------------------------


def counters(connection: Connection) -> Counters:
    """The newest numbers; three look-ups at the end of an index, cheap enough to poll."""

    def newest(column: Any) -> Any:
        return select(func.coalesce(func.max(column), 0)).scalar_subquery()

    row = connection.execute(
        select(newest(inspections.c.seq), newest(triggers.c.trigger_id), newest(fault_table.c.fault_id))
    ).one()
    return Counters(*row)


def faults(connection: Connection, after: int, limit: int) -> tuple[Fault, ...]:
    """Faults numbered after ``after``, oldest first."""
    statement = select(fault_table).where(fault_table.c.fault_id > after).order_by(fault_table.c.fault_id).limit(limit)
    return tuple(Fault(**row) for row in connection.execute(statement).mappings())


def latest_faults(connection: Connection, limit: int) -> tuple[Fault, ...]:
    """The newest faults, newest first."""
    statement = select(fault_table).order_by(fault_table.c.fault_id.desc()).limit(limit)
    return tuple(Fault(**row) for row in connection.execute(statement).mappings())


# --- rows to nouns ----------------------------------------------------------------------------------------------------


def _inspections(connection: Connection, statement: Select[Any]) -> tuple[Inspection, ...]:
    """The inspections of a statement over the whole table, with their images, in two queries."""
    rows = connection.execute(statement).mappings().all()
    stored = _images_of(connection, [row["seq"] for row in rows])
    return tuple(_inspection(row, stored.get(row["seq"], ())) for row in rows)


def _images_of(connection: Connection, seqs: Iterable[int]) -> dict[int, tuple[Image, ...]]:
    wanted = list(seqs)
    if not wanted:
        return {}
    stored: dict[int, tuple[Image, ...]] = {}
    statement = select(images).where(images.c.seq.in_(wanted)).order_by(images.c.seq, images.c.kind)
    for row in connection.execute(statement).mappings():
        stored[row["seq"]] = (*stored.get(row["seq"], ()), _image(row))
    return stored


def _number(text: str) -> int:
    """The number in a cursor, whose checksum anybody can compute; BadCursor if no list of ours made it."""
    if not (text.isascii() and text.isdigit() and len(text) <= 17):
        raise BadCursor("the cursor holds no position; start again without one")
    return int(text)


def _lot(row: RowMapping) -> Lot:
    return Lot(**{**row, "state": LotState(row["state"])})


def _lot_event(row: RowMapping) -> LotEvent:
    return LotEvent(**{**row, "change": LotChange(row["change"])})


def _image(row: RowMapping) -> Image:
    fields = dict(row)
    fields.pop("seq")
    fields["kind"] = ImageKind(fields["kind"])
    return Image(**fields)


def _inspection(row: RowMapping, stored: tuple[Image, ...]) -> Inspection:
    fields = dict(row)
    fields["verdict"] = Verdict(fields["verdict"])
    fields["reason"] = Reason(fields["reason"]) if fields["reason"] else None
    fields["output"] = Output(fields["output"]) if fields["output"] else None
    fields["late_verdict"] = Verdict(fields["late_verdict"]) if fields["late_verdict"] else None
    fields["regions"] = tuple(Region(**region) for region in fields["regions"])
    return Inspection(**fields, images=stored)
