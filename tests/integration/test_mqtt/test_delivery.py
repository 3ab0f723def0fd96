"""What the outbox may rely on: delivered means routed, everything else is Undelivered and can be tried again."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from mqtt_peers import Broker, Host, Message, assert_contiguous, inspection_event

from inspection.mes import sparkplug_session
from inspection.mes.mqtt import SparkplugReceiver
from inspection.mes.receiver import Event, Stream, Undelivered

MakeReceiver = Callable[..., SparkplugReceiver]
MakeBroker = Callable[..., Broker]


def is_data(message: Message) -> bool:
    return message.kind == "DDATA"


def test_events_arrive_in_order_with_contiguous_seq_round_255(host: Host, receiver: SparkplugReceiver) -> None:
    receiver.deliver([inspection_event(number) for number in range(600)])
    came = host.expect(is_data, 600)
    assert [message.values["seq"] for message in came] == list(range(600))
    assert_contiguous([(message.kind, message.payload.seq) for message in host.of()])


def test_rebirths_during_a_delivery_break_neither_order_nor_seq(host: Host, receiver: SparkplugReceiver) -> None:
    receiver.deliver([])

    def ask() -> None:
        for number in range(1, 11):
            host.expect(is_data, number * 50)
            host.ask_for_births()

    asking = threading.Thread(target=ask)
    asking.start()
    receiver.deliver([inspection_event(number) for number in range(1500)])
    asking.join()
    host.expect(lambda message: message.kind == "DBIRTH", 33)
    assert [message.values["seq"] for message in host.expect(is_data, 1500)] == list(range(1500))
    assert_contiguous([(message.kind, message.payload.seq) for message in host.of()])


def test_one_message_carries_all_fields_of_its_event(host: Host, receiver: SparkplugReceiver) -> None:
    at = datetime.now(UTC)
    label = {"label_id": 3, "seq": 9, "label": "dent", "labelled_by": "Ana", "labelled_at": at.isoformat(), "reason": "é"}
    receiver.deliver(
        [
            Event("cell-7", Stream.LABELS, 3, at, label | {"regions": [{"x": 1}]}),
            Event("cell-7", Stream.LOT_EVENTS, 4, at, {"lot": "L", "product": "p", "what": "opened", "at": at.isoformat()}),
        ]
    )
    named, opened = host.expect(is_data, 2)
    assert named.device == "labels"
    assert named.values["event_id"] == "cell-7/labels/3"
    assert named.values["labelled_at"] == int(at.timestamp() * 1000)
    assert json.loads(named.values["data"]) == label | {"regions": [{"x": 1}]}
    assert (opened.device, opened.values["what"]) == ("lot_events", "opened")


def test_a_broker_that_goes_and_comes_back_has_everything_in_the_end(
    broker: Broker, host: Host, receiver: SparkplugReceiver
) -> None:
    receiver.deliver([inspection_event(1)])
    host.expect(is_data)
    broker.stop()
    missed = [inspection_event(number, at=datetime.now(UTC) - timedelta(minutes=1)) for number in (2, 3)]
    # The first attempt may still meet the old connection.
    for why in (r"127\.0\.0\.1|the connection was lost", r"127\.0\.0\.1"):
        with pytest.raises(Undelivered, match=why):
            receiver.deliver(missed)
    broker.start()
    later = Host(broker.port)
    receiver.deliver([*missed, inspection_event(4)])
    came = later.expect(is_data, 3)
    assert [message.values["seq"] for message in came] == [2, 3, 4]
    assert [{metric.is_historical for metric in message.payload.metrics} for message in came] == [{True}, {True}, {False}]
    assert later.of("NBIRTH")[0].values["bdSeq"] == 1
    later.close()


def test_a_broker_that_dies_during_a_delivery_leaves_it_undelivered(
    broker: Broker, receiver: SparkplugReceiver, host: Host
) -> None:
    receiver.deliver([])
    events = [inspection_event(number) for number in range(20_000)]
    killer = threading.Thread(target=lambda: (host.expect(is_data, 100), broker.stop()))
    killer.start()
    with pytest.raises(Undelivered):
        receiver.deliver(events)
    killer.join()


def test_a_frozen_broker_is_given_up_and_a_new_one_is_used(
    broker: Broker, receiver: SparkplugReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.deliver([inspection_event(1)])
    monkeypatch.setattr(sparkplug_session, "TIMEOUT_S", 0.5)
    broker.freeze()
    with pytest.raises(Undelivered, match=r"has returned none of 1 messages within 0\.5 s"):
        receiver.deliver([inspection_event(2)])
    with pytest.raises(Undelivered, match=r"did not answer within 0\.5 s"):
        receiver.deliver([inspection_event(2)])
    broker.stop()
    monkeypatch.setattr(sparkplug_session, "TIMEOUT_S", 20)
    broker.start()
    receiver.deliver([inspection_event(2)])


REFUSED, ACCEPTED = b"\x20\x02\x00\x05", b"\x20\x02\x00\x00"


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", REFUSED, ACCEPTED, ACCEPTED + b"\xff" * 99])
def test_what_is_no_broker_is_no_receiver(make_receiver: MakeReceiver, monkeypatch: pytest.MonkeyPatch, says: bytes) -> None:
    """Nothing, a web server, a broker that refuses, one that falls silent, and one that goes mad."""
    monkeypatch.setattr(sparkplug_session, "TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepted: list[socket.socket] = []

        def answer() -> None:
            connection, _ = server.accept()
            accepted.append(connection)
            connection.recv(1000)
            connection.sendall(says)

        answering = threading.Thread(target=answer)
        answering.start()
        receiver = make_receiver(server.getsockname()[1])
        with pytest.raises(Undelivered):
            receiver.deliver([inspection_event(1)])
        answering.join()
        for connection in accepted:
            connection.close()


def test_a_name_that_does_not_resolve_is_said(make_receiver: MakeReceiver) -> None:
    for name in ("broker.invalid", "x" * 70):
        with pytest.raises(Undelivered, match="cannot connect"):
            make_receiver(1883, host=name).deliver([])


def test_what_access_rules_throw_away_is_not_delivered(
    make_broker: MakeBroker, make_receiver: MakeReceiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mosquitto drops it without a word, and would acknowledge it at QoS 1."""
    monkeypatch.setattr(sparkplug_session, "TIMEOUT_S", 1)
    rules = tmp_path / "rules"
    rules.write_text("topic read spBv1.0/#\n")
    rules.chmod(0o600)
    broker = make_broker("allow_anonymous true", f"acl_file {rules}")
    with pytest.raises(Undelivered, match="does not let the edge node write and read there"):
        make_receiver(broker.port).deliver([inspection_event(1)])


def test_what_is_too_large_for_the_broker_is_not_delivered(
    make_broker: MakeBroker, make_receiver: MakeReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparkplug_session, "TIMEOUT_S", 1)
    receiver = make_receiver(make_broker("allow_anonymous true", "message_size_limit 10000").port)
    receiver.deliver([inspection_event(1)])
    with pytest.raises(Undelivered, match=r"takes no \d{5} bytes"):
        receiver.deliver([inspection_event(2, regions=[{"x": number} for number in range(2000)])])
    receiver.deliver([inspection_event(3)])


def test_the_password_comes_from_a_file_that_nobody_else_reads(
    make_broker: MakeBroker, make_receiver: MakeReceiver, tmp_path: Path
) -> None:
    users = tmp_path / "users"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(users), "station", "right"], check=True, capture_output=True)
    users.chmod(0o600)
    broker = make_broker("allow_anonymous false", f"password_file {users}")
    password = tmp_path / "password"
    password.write_text("right\n")
    password.chmod(0o640)
    receiver = make_receiver(broker.port, username="station", password_file=password)
    with pytest.raises(Undelivered, match="chmod 600 it"):
        receiver.deliver([])
    password.chmod(0o600)
    receiver.deliver([inspection_event(1)])
    receiver.close()
    password.write_text("wrong\n")
    with pytest.raises(Undelivered, match="refuses the edge node: Not authorized"):
        receiver.deliver([])
    password.unlink()
    with pytest.raises(Undelivered, match="No such file"):
        receiver.deliver([])


# paho leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
def test_tls_is_verified(make_broker: MakeBroker, make_receiver: MakeReceiver, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=broker"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    broker = make_broker("allow_anonymous true", tls=(f"certfile {certificate}", f"keyfile {key}"))
    with pytest.raises(Undelivered, match="CERTIFICATE_VERIFY_FAILED"):
        make_receiver(broker.port, tls=True).deliver([])
    receiver = make_receiver(broker.port, tls=True, ca_file=certificate)
    receiver.deliver([inspection_event(number) for number in range(100)])
    broker.stop()
    with pytest.raises(Undelivered):
        receiver.deliver([inspection_event(100)])
    broker.start()
    receiver.deliver([inspection_event(100)])


def test_values_that_fit_no_metric_are_null_and_still_in_the_data(host: Host, receiver: SparkplugReceiver) -> None:
    odd: dict[str, Any] = {"seq": "12", "trigger_id": 2**70, "lot": None, "attempt": True, "score": "high", "decided_at": "today"}
    receiver.deliver([inspection_event(1, **odd, serial="S\x00\ud800 ✓", of_a_later_version=[1, {}])])
    (message,) = host.expect(is_data)
    assert {message.values[name] for name in odd} == {None}
    assert message.values["serial"] == "S\x00? ✓"
    data = json.loads(message.values["data"])
    assert odd.items() <= data.items()
    assert data["of_a_later_version"] == [1, {}]
