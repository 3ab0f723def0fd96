"""What is recorded reaches every receiver: all of it, in order, whatever the receiver does meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from http_receiver import HttpPeer
from sqlalchemy import Engine, insert, update

from inspection.commands import CloseLot, HoldLot, OpenLot, execute
from inspection.domain import Output, Verdict
from inspection.errors import ConfigError
from inspection.mes.events import Pending, newest
from inspection.mes.http_push import HttpReceiver, decode_secret
from inspection.mes.outbox import Delivery, Positions, pause_s, positions_path, replay_path
from inspection.mes.receiver import Event, Stream, Undelivered
from inspection.records import tables
from inspection.records.labels import add_label
from inspection.secrets import read_secret

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOTHING = dict.fromkeys(Stream, 0)


@pytest.fixture
def peer() -> Iterator[HttpPeer]:
    peer = HttpPeer(SECRET)
    yield peer
    peer.stop()


@pytest.fixture
def deliver(reader: Engine, tmp_path: Path) -> Iterator[Callable[[str], Delivery]]:
    """Starts deliveries to a URL; they stop with the test."""
    running: list[tuple[Delivery, threading.Thread]] = []

    def start(url: str, name: str = "mes") -> Delivery:
        positions = Positions(positions_path(tmp_path, name))
        delivery = Delivery(name, lambda: HttpReceiver(url, SECRET), reader, Pending("st-1"), positions)
        thread = threading.Thread(target=delivery.run)
        thread.start()
        running.append((delivery, thread))
        return delivery

    yield start
    for delivery, thread in running:
        delivery.stop.set()
        thread.join(20)
        assert not thread.is_alive()


def wait(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def record(seeder: Any, lot: str, count: int) -> None:
    for number in range(count):
        seeder.inspection(lot, f"S{number}", Verdict.FAIL if number % 7 == 3 else Verdict.PASS)
    seeder.connection.commit()


def test_lots_inspections_and_labels_arrive_in_the_order_in_which_they_happened(
    engine: Engine, seeder: Any, peer: HttpPeer, deliver: Callable[..., Delivery]
) -> None:
    with engine.begin() as connection:
        execute(connection, OpenLot(lot="L", product="plate", by="mes", reason="order 7"))
    record(seeder, "L", 3)
    with engine.begin() as connection:
        add_label(connection, 2, "dent", "kim", "seen")
        execute(connection, HoldLot(lot="L", by="kim", reason="dents"))
    deliver(peer.url)
    wait(lambda: len(peer.received) == 6)
    assert {event["event_id"] for event in peer.received} >= {"st-1/lot_events/1", "st-1/inspections/3", "st-1/labels/1"}
    by_stream = {event["event_id"]: event["data"] for event in peer.received}
    assert by_stream["st-1/lot_events/1"] | {"at": ""} == {
        **{"lot_event_id": 1, "lot": "L", "change": "opened", "at": "", "by": "mes", "reason": "order 7"}
    }
    assert by_stream["st-1/inspections/2"]["output"] == "accept"
    assert by_stream["st-1/labels/1"]["label"] == "dent"
    order = [event["event_id"] for event in peer.received]
    assert order.index("st-1/inspections/2") < order.index("st-1/labels/1") < order.index("st-1/lot_events/2")
    assert peer.forged == 0


def test_a_receiver_that_dies_fails_and_answers_late_gets_everything_in_order(
    seeder: Any, peer: HttpPeer, deliver: Callable[..., Delivery]
) -> None:
    seeder.lot("L")
    record(seeder, "L", 450)
    # Refused, kept but not answered, cut off, refused, then well.
    answers = {1: 500, 2: 0, 3: -1, 4: 429, 6: 0}
    peer.answer = lambda number: answers.get(number, 200)
    delivery = deliver(peer.url)
    wait(lambda: bool(peer.received) and max(peer.numbers("inspections")) == 450)
    numbers = peer.numbers("inspections")
    first_times = list(dict.fromkeys(numbers))
    assert first_times == list(range(1, 451))
    assert len(numbers) > 450, "what was not acknowledged came again"
    wait(lambda: delivery.backlog == 0)
    assert delivery.trouble == ""


def test_a_receiver_that_is_down_is_caught_up_and_a_restarted_outbox_goes_on(
    seeder: Any, deliver: Callable[..., Delivery], tmp_path: Path
) -> None:
    gone = HttpPeer(SECRET)
    port = gone.port
    gone.stop()
    seeder.lot("L")
    record(seeder, "L", 5)
    delivery = deliver(f"http://127.0.0.1:{port}/events")
    wait(lambda: "cannot be reached" in delivery.trouble)
    assert delivery.backlog == 5
    assert delivery.oldest_at == pytest.approx(seeder.start.timestamp() + 1.033, abs=0.01)
    back = HttpPeer(SECRET, port)
    try:
        wait(lambda: back.numbers("inspections") == [1, 2, 3, 4, 5])
        wait(lambda: Positions(positions_path(tmp_path, "mes")).numbers[Stream.INSPECTIONS] == 5)
        delivery.stop.set()
        record(seeder, "L", 2)
        deliver(back.url)
        wait(lambda: len(back.received) == 7)
        assert back.numbers("inspections") == [1, 2, 3, 4, 5, 6, 7]
    finally:
        back.stop()


def test_one_receiver_that_is_away_holds_up_no_other(seeder: Any, peer: HttpPeer, deliver: Callable[..., Delivery]) -> None:
    seeder.lot("L")
    deliver("http://127.0.0.1:9/nobody", "away")
    deliver(peer.url, "there")
    record(seeder, "L", 4)
    wait(lambda: peer.numbers("inspections") == [1, 2, 3, 4])


def test_replay_delivers_again_after_a_number(
    seeder: Any, peer: HttpPeer, deliver: Callable[..., Delivery], tmp_path: Path
) -> None:
    seeder.lot("L")
    record(seeder, "L", 6)
    deliver(peer.url)
    wait(lambda: len(peer.received) == 6)
    replay_path(positions_path(tmp_path, "mes")).write_text('{"inspections": 4}')
    wait(lambda: len(peer.received) == 8)
    assert peer.numbers("inspections") == [1, 2, 3, 4, 5, 6, 5, 6]


@pytest.mark.parametrize("damage", ["", "{", '{"inspections": "x"}', '{"nonsense": 1}', "\x00\xff"])
def test_damaged_positions_cost_repeats_and_nothing_else(tmp_path: Path, damage: str) -> None:
    path = positions_path(tmp_path, "mes")
    path.write_text(damage)
    assert Positions(path).numbers == NOTHING


def test_a_passed_part_waits_for_its_output_and_all_that_came_later_waits_with_it(engine: Engine, seeder: Any) -> None:
    now_ns = 0
    seeder.lot("L")
    seeder.inspection("L", "S1", Verdict.FAIL, output=None)
    seeder.inspection("L", "S2", Verdict.PASS, output=None)
    seeder.inspection("L", "S3", Verdict.PASS, output=None)
    seeder.connection.commit()
    with engine.begin() as connection:
        add_label(connection, 3, "dent", "kim")
        execute(connection, CloseLot(lot="L"))
    pending = Pending("st-1", clock_ns=lambda: now_ns)

    def found() -> list[str]:
        with engine.connect() as connection:
            return [f"{event.stream}/{event.number}" for event in pending.after(connection, NOTHING, 100)]

    assert found() == ["inspections/1"], "a rejected part needs no output"
    everything = ["inspections/1", "inspections/2", "inspections/3", "labels/1", "lot_events/1"]
    now_ns = 31_000_000_000
    assert found() == everything, "nobody will tell any more, and they do not wait one after the other"
    with engine.connect() as connection:
        told = [event.data["output"] for event in pending.after(connection, NOTHING, 3)]
    assert told == ["reject"] * 3
    now_ns = 0
    pending = Pending("st-1", clock_ns=lambda: now_ns)
    assert found() == ["inspections/1"]
    with engine.begin() as connection:
        connection.execute(update(tables.inspections).where(tables.inspections.c.seq > 1).values(output=Output.ACCEPT))
    assert found() == everything


def test_a_passed_part_waits_for_its_output_as_long_as_the_recorder_cannot_write_it(engine: Engine, seeder: Any) -> None:
    now_ns, recording = 0, False
    seeder.lot("L")
    seeder.inspection("L", "S1", Verdict.PASS, output=None)
    seeder.connection.commit()
    pending = Pending("st-1", lambda: recording, lambda: now_ns)

    def told() -> list[str]:
        with engine.connect() as connection:
            return [event.data["output"] for event in pending.after(connection, NOTHING, 100)]

    for minute in range(5):
        now_ns = minute * 60_000_000_000
        assert told() == [], "the part may be accepted, and the record of that wait for the disk"
    recording = True
    now_ns += 29_000_000_000
    assert told() == []
    with engine.begin() as connection:
        connection.execute(update(tables.inspections).values(output=Output.ACCEPT))
    assert told() == ["accept"]


def test_a_clock_that_was_set_back_leaves_out_nothing_that_waits(engine: Engine, seeder: Any) -> None:
    seeder.lot("L")
    seeder.inspection("L", "S1", Verdict.PASS, output=None)
    hours = (2, -2)
    rows = [
        {"lot_event_id": number, "lot": "L", "change": "held", "at": seeder.start + timedelta(hours=each), "by": "", "reason": ""}
        for number, each in enumerate(hours, 1)
    ]
    seeder.connection.execute(insert(tables.lot_events), rows)
    seeder.connection.commit()
    with engine.connect() as connection:
        assert Pending("st-1").after(connection, NOTHING, 10) == [], "the second event must not pass the first"


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_pages_of_any_size_hold_everything_once_also_when_the_clock_was_set_back(engine: Engine, seeder: Any, limit: int) -> None:
    seeder.lot("L")
    for number in range(9):
        seeder.inspection("L", f"S{number}")
        if number == 4:
            seeder.start -= timedelta(hours=3)
    for number in range(6):
        seeder.connection.execute(
            insert(tables.labels).values(
                seq=1 + number,
                label="ok",
                regions=[],
                labelled_by="kim",
                labelled_at=seeder.start + timedelta(hours=number),
                reason="",
            )
        )
    seeder.connection.commit()
    pending = Pending("st-1")
    positions = dict(NOTHING)
    order = []
    with engine.connect() as connection:
        while events := pending.after(connection, positions, limit):
            assert len(events) <= limit
            order += [(event.stream, event.number) for event in events]
            positions |= {event.stream: event.number for event in events}
        assert positions == newest(connection)
    for stream, last in ((Stream.INSPECTIONS, 9), (Stream.LABELS, 6)):
        assert [number for of, number in order if of is stream] == list(range(1, last + 1))


@pytest.mark.parametrize(("failures", "longest"), [(1, 1), (3, 4), (6, 30), (5_000, 30)])
def test_a_receiver_that_was_away_for_days_is_still_asked(failures: int, longest: float) -> None:
    assert longest / 2 <= pause_s(failures) <= longest


def test_a_defect_in_a_receiver_is_said_and_does_not_end_its_deliveries(seeder: Any, reader: Engine, tmp_path: Path) -> None:
    seeder.lot("L")
    record(seeder, "L", 2)
    got: list[int] = []

    class Defective:
        def deliver(self, events: Sequence[Event]) -> None:
            if not delivery.trouble:
                raise KeyError("serial")
            got.extend(event.number for event in events)

        def close(self) -> None:
            """Nothing is open."""

    delivery = Delivery("mes", Defective, reader, Pending("st-1"), Positions(positions_path(tmp_path, "mes")))
    thread = threading.Thread(target=delivery.run)
    thread.start()
    wait(lambda: got == [1, 2])
    delivery.stop.set()
    thread.join(20)


@pytest.mark.parametrize("secret", ["", "short", "whsec_", "not base64 at all!!", "QUJD", "A" * 200])
def test_a_weak_secret_is_refused(secret: str) -> None:
    with pytest.raises(ConfigError, match="24 to 64 bytes"):
        decode_secret(secret)


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    with pytest.raises(ConfigError, match="cannot be read"):
        read_secret(path)
    path.write_text(SECRET + "\n")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_secret(path)
    path.chmod(0o600)
    assert read_secret(path) == SECRET
    path.write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        read_secret(path)


def test_a_receiver_with_another_secret_refuses_and_nothing_is_lost(seeder: Any, reader: Engine) -> None:
    seeder.lot("L")
    record(seeder, "L", 1)
    stranger = HttpPeer("whsec_" + "B" * 32)
    receiver = HttpReceiver(stranger.url, SECRET)
    try:
        with reader.connect() as connection:
            events = Pending("st-1").after(connection, NOTHING, 10)
        with pytest.raises(Undelivered, match="401 Unauthorized"):
            receiver.deliver(events)
        assert (stranger.received, stranger.forged) == ([], 1)
    finally:
        receiver.close()
        stranger.stop()
