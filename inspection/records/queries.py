"""Named reads of the records: functions over a Connection that return the domain's frozen dataclasses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, and_, func, select, tuple_

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
from inspection.records.tables import challenges, images, inspections, lot_events, lots, parts, triggers
from inspection.records.tables import faults as fault_table

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOTS = select(lots, challenges.c.challenge_id.label("challenge")).outerjoin(challenges, challenges.c.lot == lots.c.lot)


@dataclass(frozen=True, slots=True)
class Counters:
    """Where the numbering stands; 0 where nothing is recorded yet."""

    last_seq: int
    last_trigger_id: int
    last_fault_id: int


@dataclass(frozen=True, slots=True)
class LotsWanted:
    """Which lots are looked for; None leaves it open. ``opened_from`` is included, ``opened_to`` is not."""

    prefix: str | None = None
    product: str | None = None
    state: LotState | None = None
    opened_from: datetime | None = None
    opened_to: datetime | None = None
    with_challenges: bool = False


@dataclass(frozen=True, slots=True)
class LotCounts:
    """How many parts of a lot were triggered, accepted and rejected, as in its summary."""

    triggered: int
    accepted: int
    rejected: int


# --- lots -------------------------------------------------------------------------------------------------------------


def get_lot(connection: Connection, lot: str) -> Lot:
    """The lot as opened; NotFound if it never was."""
    row = connection.execute(_LOTS.where(lots.c.lot == lot)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"lot {lot!r} was never opened on this station; open it first or check the name")
    return _lot(row)


def list_lots(connection: Connection, cursor: str | None, limit: int, wanted: LotsWanted | None = None) -> Page[Lot]:
    """Lots as opened, newest first, all of production or those wanted; BadCursor for a cursor that this list did not issue."""
    wanted = wanted or LotsWanted()
    scope = "lots" if wanted == LotsWanted() else f"lots {wanted}"
    statement = _LOTS.order_by(lots.c.opened_at.desc(), lots.c.lot.desc()).limit(limit + 1)
    if not wanted.with_challenges:
        statement = statement.where(challenges.c.challenge_id.is_(None))
    if wanted.prefix is not None:
        statement = statement.where(begins_with(connection, lots.c.lot, wanted.prefix))
    if wanted.product is not None:
        statement = statement.where(lots.c.product == wanted.product)
    if wanted.state is not None:
        statement = statement.where(lots.c.state == wanted.state)
    if wanted.opened_from is not None:
        statement = statement.where(lots.c.opened_at >= wanted.opened_from)
    if wanted.opened_to is not None:
        statement = statement.where(lots.c.opened_at < wanted.opened_to)
    if cursor is not None:
        microseconds, _, lot = decode_cursor(scope, cursor).partition(" ")
        opened_at = _EPOCH + timedelta(microseconds=cursor_number(microseconds))
        statement = statement.where(tuple_(lots.c.opened_at, lots.c.lot) < (opened_at, lot))
    found = [_lot(row) for row in connection.execute(statement).mappings()]
    if len(found) <= limit:
        return Page(tuple(found), None)
    last = found[limit - 1]
    position = f"{(last.opened_at - _EPOCH) // timedelta(microseconds=1)} {last.lot}"
    return Page(tuple(found[:limit]), encode_cursor(scope, position))


def lot_counts(connection: Connection, of: Sequence[str]) -> dict[str, LotCounts]:
    """The counts of these lots; zeros for those without triggers. Two queries, whose work is the lots' parts in two indexes."""
    triggered = dict.fromkeys(of, 0)
    for lot, count in connection.execute(
        select(triggers.c.lot, func.count()).where(triggers.c.lot.in_(of)).group_by(triggers.c.lot)
    ):
        triggered[lot] = count
    accepted = dict.fromkeys(of, 0)
    # With all verdicts named, the index that holds verdict and output answers alone.
    for lot, count in connection.execute(
        select(inspections.c.lot, func.count())
        .where(inspections.c.lot.in_(of), inspections.c.verdict.in_(list(Verdict)), inspections.c.output == Output.ACCEPT)
        .group_by(inspections.c.lot)
    ):
        accepted[lot] = count
    return {lot: LotCounts(triggered[lot], accepted[lot], triggered[lot] - accepted[lot]) for lot in of}


def serials_like(connection: Connection, prefix: str, limit: int) -> tuple[str, ...]:
    """Serials that begin with ``prefix``, in order, announced or seen."""
    statement = select(parts.c.serial).where(begins_with(connection, parts.c.serial, prefix))
    return tuple(connection.execute(statement.distinct().order_by(parts.c.serial).limit(limit)).scalars())


def begins_with(connection: Connection, column: Any, prefix: str) -> ColumnElement[bool]:
    """The condition that a name begins with ``prefix``, which an index on the name answers.

    On PostgreSQL it does so in a database whose collation is C; in another, all names are read.
    """
    if connection.dialect.name == "sqlite":
        # SQLite compares names byte by byte, and its LIKE takes upper case for lower.
        return and_(column >= prefix, column < prefix + chr(0x10FFFF))
    condition: ColumnElement[bool] = column.startswith(prefix, autoescape=True)
    return condition


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
        statement = statement.where(inspections.c.seq > cursor_number(decode_cursor(scope, cursor)))
    found = inspections_of(connection, statement)
    if len(found) <= limit:
        return Page(found, None)
    return Page(found[:limit], encode_cursor(scope, str(found[limit - 1].seq)))


# --- inspections ------------------------------------------------------------------------------------------------------


def get_inspection(connection: Connection, seq: int) -> Inspection:
    """One inspection with its images; NotFound if there is none of this number."""
    found = inspections_of(connection, select(inspections).where(inspections.c.seq == seq))
    if not found:
        raise NotFound(f"inspection {seq} is not recorded on this station; list results to find its number")
    return found[0]


def inspections_numbered(connection: Connection, seqs: Sequence[int]) -> tuple[Inspection, ...]:
    """The inspections of these numbers that there are, oldest first, with their images."""
    return inspections_of(connection, select(inspections).where(inspections.c.seq.in_(seqs)).order_by(inspections.c.seq))


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
    found = inspections_of(connection, statement)
    if not found and connection.execute(known).first() is None:
        place = "on this station" if lot is None else f"in lot {lot!r}"
        raise NotFound(f"serial {serial!r} is not recorded {place}; check the serial or announce it first")
    return found


def changes_after(connection: Connection, seq: int, limit: int) -> tuple[Inspection, ...]:
    """Inspections recorded after ``seq``, oldest first. Output and late verdict may still be added to a row later."""
    return inspections_of(connection, select(inspections).where(inspections.c.seq > seq).order_by(inspections.c.seq).limit(limit))


def search(connection: Connection, where: Sequence[ColumnElement[bool]], start: int, limit: int) -> tuple[Inspection, ...]:
    """Inspections for which all conditions on the table hold, oldest first, without the first ``start`` of them."""
    return inspections_of(connection, select(inspections).where(*where).order_by(inspections.c.seq).offset(start).limit(limit))


def latest(connection: Connection, limit: int, where: Sequence[ColumnElement[bool]] = ()) -> tuple[Inspection, ...]:
    """The newest inspections for which all conditions on the table hold, newest first."""
    return inspections_of(connection, select(inspections).where(*where).order_by(inspections.c.seq.desc()).limit(limit))


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


def inspections_of(connection: Connection, statement: Select[Any]) -> tuple[Inspection, ...]:
    """The inspections of a statement over the whole table, with their images, in three queries."""
    rows = connection.execute(statement).mappings().all()
    stored = _images_of(connection, [row["seq"] for row in rows])
    fed = _challenges_of(connection, {row["lot"] for row in rows})
    return tuple(_inspection(row, stored.get(row["seq"], ()), fed.get(row["lot"])) for row in rows)


def _challenges_of(connection: Connection, names: set[str]) -> dict[str, int]:
    """{lot: number of its challenge}, of those among the lots that are no production."""
    if not names:
        return {}
    found = connection.execute(select(challenges.c.lot, challenges.c.challenge_id).where(challenges.c.lot.in_(names)))
    return {row.lot: row.challenge_id for row in found}


def _images_of(connection: Connection, seqs: Iterable[int]) -> dict[int, tuple[Image, ...]]:
    wanted = list(seqs)
    if not wanted:
        return {}
    stored: dict[int, tuple[Image, ...]] = {}
    statement = select(images).where(images.c.seq.in_(wanted)).order_by(images.c.seq, images.c.kind)
    for row in connection.execute(statement).mappings():
        stored[row["seq"]] = (*stored.get(row["seq"], ()), _image(row))
    return stored


def cursor_number(text: str) -> int:
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


def _inspection(row: RowMapping, stored: tuple[Image, ...], challenge: int | None) -> Inspection:
    fields = dict(row)
    fields["verdict"] = Verdict(fields["verdict"])
    fields["reason"] = Reason(fields["reason"]) if fields["reason"] else None
    fields["output"] = Output(fields["output"]) if fields["output"] else None
    fields["late_verdict"] = Verdict(fields["late_verdict"]) if fields["late_verdict"] else None
    fields["regions"] = tuple(Region(**region) for region in fields["regions"])
    return Inspection(**fields, images=stored, challenge=challenge)
