"""The rules of lots and parts: what a command changes, and what it refuses."""

from __future__ import annotations

import msgspec
import pytest
from sqlalchemy import Connection, select

from inspection.commands import AnnounceParts, CloseLot, Command, Done, OpenLot, Refused, Reply, check_name, execute
from inspection.domain import LotState
from inspection.records import queries
from inspection.records.tables import parts


@pytest.fixture
def connection(engine):
    with engine.connect() as connection:
        yield connection


def _refused(connection: Connection, command: Command) -> tuple[str, str]:
    reply = execute(connection, command)
    assert isinstance(reply, Refused)
    return reply.code, reply.detail


def test_a_lot_is_opened_and_closed(connection: Connection) -> None:
    assert execute(connection, OpenLot(lot="L1", product="plate", expected_quantity=500)) == Done(lot="L1")
    opened = queries.get_lot(connection, "L1")
    assert (opened.product, opened.state, opened.expected_quantity) == ("plate", LotState.OPEN, 500)
    assert execute(connection, CloseLot(lot="L1")) == Done(lot="L1")
    closed = queries.get_lot(connection, "L1")
    assert closed.state is LotState.CLOSED
    assert closed.closed_at >= closed.opened_at


def test_a_lot_is_opened_once(connection: Connection) -> None:
    execute(connection, OpenLot(lot="L1", product="plate"))
    code, detail = _refused(connection, OpenLot(lot="L1", product="flange"))
    assert code == "lot_exists"
    assert "for product 'plate' and is open; use it or choose another name" in detail
    assert queries.get_lot(connection, "L1").product == "plate"


def test_an_unknown_lot_takes_nothing(connection: Connection) -> None:
    for command in (CloseLot(lot="L9"), AnnounceParts(lot="L9", serials=("S1",))):
        assert _refused(connection, command) == (
            "unknown_lot",
            "lot 'L9' was never opened on this station; open it first",
        )


def test_a_closed_lot_takes_nothing_more(connection: Connection) -> None:
    execute(connection, OpenLot(lot="L1", product="plate"))
    execute(connection, CloseLot(lot="L1"))
    for command in (CloseLot(lot="L1"), AnnounceParts(lot="L1", serials=("S1",))):
        assert _refused(connection, command) == ("closed_lot", "lot 'L1' is closed; open a new lot")


def test_serials_are_announced_all_or_none(connection: Connection) -> None:
    execute(connection, OpenLot(lot="L1", product="plate"))
    execute(connection, OpenLot(lot="L2", product="plate"))
    assert execute(connection, AnnounceParts(lot="L1", serials=("S1", "S2"))) == Done(lot="L1")
    code, detail = _refused(connection, AnnounceParts(lot="L1", serials=("S3", "S2")))
    assert code == "duplicate_serial"
    assert "'S2' is already in lot 'L1'" in detail
    assert "S3" not in detail
    code, detail = _refused(connection, AnnounceParts(lot="L1", serials=("S4", "S4")))
    assert code == "duplicate_serial"
    assert execute(connection, AnnounceParts(lot="L2", serials=("S2",))) == Done(lot="L2")
    rows = connection.execute(select(parts.c.lot, parts.c.serial, parts.c.attempts).order_by(parts.c.lot, parts.c.serial))
    assert rows.all() == [("L1", "S1", 0), ("L1", "S2", 0), ("L2", "S2", 0)]


def test_ten_thousand_serials_are_announced_at_once(connection: Connection) -> None:
    execute(connection, OpenLot(lot="L1", product="plate"))
    serials = tuple(f"S{number}" for number in range(10_000))
    assert execute(connection, AnnounceParts(lot="L1", serials=serials)) == Done(lot="L1")
    assert _refused(connection, AnnounceParts(lot="L1", serials=serials))[0] == "duplicate_serial"
    assert _refused(connection, AnnounceParts(lot="L1", serials=(*serials, "one more")))[0] == "invalid_request"


@pytest.mark.parametrize(
    "command",
    [
        OpenLot(lot="", product="plate"),
        OpenLot(lot="L" * 65, product="plate"),
        OpenLot(lot="L 1", product="plate"),
        OpenLot(lot="L1\n", product="plate"),
        OpenLot(lot="L1", product="\x00"),
        OpenLot(lot="L1", product="plate", expected_quantity=0),
        AnnounceParts(lot="L1", serials=()),
        AnnounceParts(lot="L1", serials=("..",)),
        CloseLot(lot="\ud800"),
    ],
)
def test_malformed_commands_are_refused(connection: Connection, command: Command) -> None:
    assert _refused(connection, command)[0] == "invalid_request"


@pytest.mark.parametrize("name", ["L1", "24/0815#7", "Ä%?&+<b>", "序列号", "…", "a" * 64])
def test_any_visible_characters_make_a_name(name: str) -> None:
    assert check_name(name) == name


def test_commands_and_replies_survive_the_wire() -> None:
    for message, kind in (
        (OpenLot(lot="L1", product="plate"), Command),
        (AnnounceParts(lot="L1", serials=("S1",)), Command),
        (Refused(code="closed_lot", detail="open a new lot"), Reply),
    ):
        assert msgspec.json.decode(msgspec.json.encode(message), type=kind) == message
