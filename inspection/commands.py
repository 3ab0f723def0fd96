"""Commands of people and the MES on lots and parts, and the rules they obey.

The web process sends a command to the recorder, the only writer of lots and parts, and gets one reply. On the wire
both are msgspec JSON, tagged with the struct's name.
"""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

from sqlalchemy import Connection, func, insert, select, update

from inspection.domain import LotChange, LotState
from inspection.messages import Message
from inspection.records.numbers import passed_over
from inspection.records.tables import lot_events, lots, parts

MAX_NAME_LENGTH = 64
MAX_SERIALS = 10_000
_MOST = 2**31 - 1


class OpenLot(Message, frozen=True):
    lot: str
    product: str
    expected_quantity: int | None = None
    by: str = ""
    reason: str = ""


class CloseLot(Message, frozen=True):
    lot: str
    by: str = ""
    reason: str = ""


class HoldLot(Message, frozen=True):
    """An open lot takes no parts until it is released; of a held lot, open or closed, nothing is to leave."""

    lot: str
    by: str
    reason: str


class ReleaseLot(Message, frozen=True):
    """A held lot becomes what it was: open or closed."""

    lot: str
    by: str
    reason: str


class AnnounceParts(Message, frozen=True):
    """All of these serials or none: a duplicate refuses the whole list."""

    lot: str
    serials: tuple[str, ...]


class Done(Message, frozen=True):
    """The command is durable once the recorder has committed."""

    lot: str


class Refused(Message, frozen=True):
    """Nothing was changed. ``code`` is for machines, ``detail`` says what to do."""

    code: str
    detail: str


Command = OpenLot | CloseLot | HoldLot | ReleaseLot | AnnounceParts
Reply = Done | Refused


def check_name(name: str) -> str:
    """The name of a lot, serial or product as given; ValueError unless it has 1 to 64 visible characters."""
    if not 1 <= len(name) <= MAX_NAME_LENGTH:
        raise ValueError(f"must have 1 to {MAX_NAME_LENGTH} characters, has {len(name)}")
    for character in name:
        if character.isspace() or not character.isprintable():
            raise ValueError(f"must have visible characters only, has {character!r}; remove blanks and control characters")
    if name in {".", ".."}:
        raise ValueError(f"must not be {name!r}, which web addresses cannot carry")
    return name


def check_text(text: str, breaks: str = "") -> str:
    """Who did something or why, as given; ValueError if it has control characters other than ``breaks``.

    Nobody can read those, and PostgreSQL and the command line take no NUL.
    """
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs") and character not in breaks:
            raise ValueError(f"must have no control characters, has {character!r}; remove it")
    return text


def check_reason(text: str) -> str:
    """``check_text`` for a reason, which may have several lines."""
    return check_text(text, "\n\r\t")


def execute(connection: Connection, command: Command) -> Reply:
    """Apply one command inside the caller's transaction; the caller commits before it sends the reply."""
    try:
        check_name(command.lot)
        if not isinstance(command, AnnounceParts):
            check_text(command.by)
            check_reason(command.reason)
        if isinstance(command, OpenLot):
            return _open_lot(connection, command)
        if isinstance(command, AnnounceParts):
            return _announce_parts(connection, command)
        return _change_lot(connection, command)
    except ValueError as error:
        return Refused(code="invalid_request", detail=f"a name or reason {error}")


def _open_lot(connection: Connection, command: OpenLot) -> Reply:
    check_name(command.product)
    if command.expected_quantity is not None and not 1 <= command.expected_quantity <= _MOST:
        return Refused(code="invalid_request", detail=f"expected_quantity must be 1 to {_MOST}; leave it out if unknown")
    known = connection.execute(select(lots).where(lots.c.lot == command.lot)).one_or_none()
    if known is not None:
        return Refused(
            code="lot_exists",
            detail=f"lot {command.lot!r} was opened {known.opened_at:%Y-%m-%d %H:%M:%S} UTC for product "
            f"{known.product!r} and is {known.state}; use it or choose another name",
        )
    connection.execute(
        insert(lots).values(
            lot=command.lot,
            product=command.product,
            state=LotState.OPEN,
            opened_at=datetime.now(UTC),
            expected_quantity=command.expected_quantity,
        )
    )
    _happened(connection, command, LotChange.OPENED)
    return Done(lot=command.lot)


def _change_lot(connection: Connection, command: CloseLot | HoldLot | ReleaseLot) -> Reply:
    lot = connection.execute(select(lots.c.state, lots.c.closed_at).where(lots.c.lot == command.lot)).one_or_none()
    if lot is None:
        return _unknown(command.lot)
    values: dict[str, object]
    match command:
        case CloseLot():
            refusal = _refusal_unless_open(connection, command.lot)
            if refusal is not None:
                return refusal
            change, values = LotChange.CLOSED, {"state": LotState.CLOSED, "closed_at": datetime.now(UTC)}
        case HoldLot():
            if lot.state == LotState.HELD:
                return Refused(code="held_lot", detail=f"lot {command.lot!r} is held already; its events say by whom and why")
            change, values = LotChange.HELD, {"state": LotState.HELD}
        case ReleaseLot():
            if lot.state != LotState.HELD:
                return Refused(code="not_held", detail=f"lot {command.lot!r} is {lot.state}; only a held lot can be released")
            change, values = LotChange.RELEASED, {"state": LotState.OPEN if lot.closed_at is None else LotState.CLOSED}
    connection.execute(update(lots).where(lots.c.lot == command.lot).values(**values))
    _happened(connection, command, change)
    return Done(lot=command.lot)


def _happened(connection: Connection, command: OpenLot | CloseLot | HoldLot | ReleaseLot, change: LotChange) -> None:
    newest = connection.execute(select(func.coalesce(func.max(lot_events.c.lot_event_id), 0))).scalar_one()
    connection.execute(
        insert(lot_events).values(
            lot_event_id=max(newest, passed_over(connection)) + 1,
            lot=command.lot,
            change=change,
            at=datetime.now(UTC),
            by=command.by,
            reason=command.reason,
        )
    )


def _announce_parts(connection: Connection, command: AnnounceParts) -> Reply:
    if not 1 <= len(command.serials) <= MAX_SERIALS:
        return Refused(code="invalid_request", detail=f"announce 1 to {MAX_SERIALS} serials at once, not {len(command.serials)}")
    for serial in command.serials:
        check_name(serial)
    refusal = _refusal_unless_open(connection, command.lot)
    if refusal is not None:
        return refusal
    known = select(parts.c.serial).where(parts.c.lot == command.lot, parts.c.serial.in_(command.serials))
    duplicates = set(connection.execute(known).scalars())
    seen: set[str] = set()
    for serial in command.serials:
        if serial in seen:
            duplicates.add(serial)
        seen.add(serial)
    if duplicates:
        named = ", ".join(repr(serial) for serial in sorted(duplicates)[:10])
        more = f" and {len(duplicates) - 10} more" if len(duplicates) > 10 else ""
        return Refused(
            code="duplicate_serial",
            detail=f"serial {named}{more} is already in lot {command.lot!r} or named twice; nothing was announced, "
            "remove it and send the rest again",
        )
    now = datetime.now(UTC)
    connection.execute(
        insert(parts),
        [{"lot": command.lot, "serial": serial, "announced_at": now, "attempts": 0} for serial in command.serials],
    )
    return Done(lot=command.lot)


def _refusal_unless_open(connection: Connection, lot: str) -> Refused | None:
    state = connection.execute(select(lots.c.state).where(lots.c.lot == lot)).scalar_one_or_none()
    if state is None:
        return _unknown(lot)
    if state == LotState.CLOSED:
        return Refused(code="closed_lot", detail=f"lot {lot!r} is closed; open a new lot")
    if state == LotState.HELD:
        return Refused(code="held_lot", detail=f"lot {lot!r} is held; release it first, its events say who held it and why")
    return None


def _unknown(lot: str) -> Refused:
    return Refused(code="unknown_lot", detail=f"lot {lot!r} was never opened on this station; open it first")
