"""Births, deaths, rebirths and the primary host, as a host application on the broker sees them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from mqtt_peers import GROUP, NODE, Broker, Host, Message, assert_contiguous, inspection_event, state

from inspection.config import MqttReceiverConfig
from inspection.mes import sparkplug_session
from inspection.mes.mqtt import SparkplugReceiver
from inspection.mes.receiver import Stream, Undelivered
from inspection.mes.sparkplug import REBIRTH, Datatype
from inspection.mes.sparkplug_metrics import METRICS

MakeReceiver = Callable[..., SparkplugReceiver]


def is_death(message: Message) -> bool:
    return message.kind == "NDEATH"


def test_the_edge_node_is_born_before_its_first_data(host: Host, receiver: SparkplugReceiver) -> None:
    receiver.deliver([inspection_event(1)])
    host.expect(lambda message: message.kind == "DDATA")
    seen = host.of()
    assert [(message.kind, message.device) for message in seen] == [
        ("NBIRTH", None),
        ("DBIRTH", "lot_events"),
        ("DBIRTH", "inspections"),
        ("DBIRTH", "labels"),
        ("DDATA", "inspections"),
    ]
    assert seen[0].topic == f"spBv1.0/{GROUP}/NBIRTH/{NODE}"
    assert [message.payload.seq for message in seen] == [0, 1, 2, 3, 4]
    assert {(message.qos, message.retain) for message in seen} == {(0, False)}
    assert {(metric.name, metric.datatype, metric.value) for metric in seen[0].payload.metrics} == {
        ("bdSeq", Datatype.INT64, 0),
        (REBIRTH, Datatype.BOOLEAN, False),
    }


def test_a_birth_names_all_metrics_of_its_device_and_says_null_where_nothing_is_known(
    host: Host, receiver: SparkplugReceiver
) -> None:
    receiver.deliver([])
    for birth in host.expect(lambda message: message.kind == "DBIRTH", 3):
        assert birth.device is not None
        assert {metric.name: metric.datatype for metric in birth.payload.metrics} == METRICS[Stream(birth.device)]
        assert set(birth.values.values()) == {None}
        assert all(metric.timestamp for metric in birth.payload.metrics)


def test_closing_publishes_the_death_of_the_last_birth(host: Host, receiver: SparkplugReceiver) -> None:
    receiver.deliver([])
    receiver.close()
    (death,) = host.expect(is_death)
    assert death.values == {"bdSeq": 0}
    assert death.payload.seq is None


def test_bdseq_goes_up_with_each_connection_and_goes_on_after_a_restart(
    host: Host, broker: Broker, make_receiver: MakeReceiver
) -> None:
    for number in range(3):
        receiver = make_receiver(broker.port)
        receiver.deliver([])
        receiver.close()
        births = host.expect(lambda message: message.kind == "NBIRTH", number + 1)
        assert [birth.values["bdSeq"] for birth in births] == list(range(number + 1))
    assert [death.values["bdSeq"] for death in host.expect(is_death, 3)] == [0, 1, 2]


def test_bdseq_begins_again_after_255_and_with_an_unreadable_file(
    host: Host, broker: Broker, make_receiver: MakeReceiver, tmp_path: Path
) -> None:
    for content in (b"255\n", b"\xff\xfe"):
        (tmp_path / "mes.bdseq").write_bytes(content)
        receiver = make_receiver(broker.port)
        receiver.deliver([])
        receiver.close()
    assert [birth.values["bdSeq"] for birth in host.expect(lambda message: message.kind == "NBIRTH", 2)] == [0, 0]


def test_attempts_without_a_broker_use_up_no_bdseq(broker: Broker, make_receiver: MakeReceiver) -> None:
    receiver = make_receiver(broker.port)
    broker.stop()
    for _ in range(3):
        with pytest.raises(Undelivered, match="cannot connect"):
            receiver.deliver([])
    broker.start()
    host = Host(broker.port)
    receiver.deliver([])
    (birth,) = host.expect(lambda message: message.kind == "NBIRTH")
    assert birth.values["bdSeq"] == 0
    host.close()


def test_a_full_disk_keeps_nobody_from_delivering(host: Host, broker: Broker, tmp_path: Path) -> None:
    """As little can be written where no folder is."""
    settings = MqttReceiverConfig(kind="mqtt", name="mes", host="127.0.0.1", port=broker.port, group=GROUP, node=NODE)
    receiver = SparkplugReceiver(settings, tmp_path / "absent")
    for _ in range(2):
        receiver.deliver([])
        receiver.close()
    assert [birth.values["bdSeq"] for birth in host.expect(lambda message: message.kind == "NBIRTH", 2)] == [0, 1]


EDGE_NODE = """
import sys
from pathlib import Path
from inspection.config import MqttReceiverConfig
from inspection.mes.mqtt import SparkplugReceiver
port, group, node, folder = sys.argv[1:]
settings = MqttReceiverConfig(kind="mqtt", name="mes", host="127.0.0.1", port=int(port), group=group, node=node)
SparkplugReceiver(settings, Path(folder)).deliver([])
print("born", flush=True)
sys.stdin.read()
"""


def test_when_the_station_is_killed_the_will_has_the_bdseq_of_the_birth(host: Host, broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "mes.bdseq").write_text("41\n")
    command = [sys.executable, "-c", EDGE_NODE, str(broker.port), GROUP, NODE, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"born\n"
        process.kill()
    (death,) = host.expect(is_death)
    (birth,) = host.expect(lambda message: message.kind == "NBIRTH")
    assert death.values["bdSeq"] == birth.values["bdSeq"] == 42
    assert death.payload.seq is None
    assert death.qos == 1
    assert not death.retain


def test_a_rebirth_request_is_answered_with_all_births_the_same_bdseq_and_the_last_values(
    host: Host, receiver: SparkplugReceiver
) -> None:
    event = inspection_event(7, at=datetime(2026, 1, 1, tzinfo=UTC))
    receiver.deliver([event])
    host.ask_for_births()
    births = host.expect(lambda message: message.kind == "DBIRTH", 6)
    receiver.deliver([inspection_event(8)])
    host.expect(lambda message: message.kind == "DDATA", 2)
    assert [message.values["bdSeq"] for message in host.of("NBIRTH")] == [0, 0]
    assert_contiguous([(message.kind, message.payload.seq) for message in host.of()])
    (again,) = [birth for birth in births[3:] if birth.device == "inspections"]
    assert again.values["event_id"] == event.event_id
    assert not any(metric.is_historical for metric in again.payload.metrics)


@pytest.mark.parametrize(
    "command",
    [
        b"",
        b"garbage",
        b"\xff" * 40,
        b"\x12\x18\x0a\x14Node Control/Rebirth\x70\x00",  # Rebirth: false
        b"\x12\x16\x0a\x14Node Control/Rebirth",  # Rebirth without a value
        b"\x12\x17\x0a\x13Node Control/Reboot\x00\x70\x01",
    ],
)
def test_other_commands_are_ignored(host: Host, receiver: SparkplugReceiver, command: bytes) -> None:
    receiver.deliver([])
    host.command(command)
    host.expect(lambda message: message.kind == "NCMD")
    receiver.deliver([inspection_event(1)])
    host.expect(lambda message: message.kind == "DDATA")
    assert len(host.of("NBIRTH")) == 1


def test_nothing_is_sent_before_the_primary_host_is_online(
    host: Host, broker: Broker, make_receiver: MakeReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparkplug_session, "TIMEOUT_S", 0.3)
    receiver = make_receiver(broker.port, host_id="scada")
    with pytest.raises(Undelivered, match="scada has not said that it is online"):
        receiver.deliver([inspection_event(1)])
    host.say(state(True, 5), host_id="another")
    host.say(state(False, 5))
    monkeypatch.setattr(sparkplug_session, "TIMEOUT_S", 20)
    with pytest.raises(Undelivered, match="scada is offline"):
        receiver.deliver([inspection_event(1)])
    assert host.of() == []
    host.say(state(True, 6))
    host.expect(lambda message: message.kind == "DBIRTH", 3)
    receiver.deliver([inspection_event(1)])
    host.expect(lambda message: message.kind == "DDATA")


def test_the_edge_node_dies_with_its_primary_host_and_comes_back_with_it(
    host: Host, broker: Broker, make_receiver: MakeReceiver
) -> None:
    host.say(state(True, 10))
    receiver = make_receiver(broker.port, host_id="scada")
    receiver.deliver([inspection_event(1)])
    host.say(state(False, 9))  # The will of the host's former connection, come late.
    receiver.deliver([inspection_event(2)])
    host.say(b"OFFLINE")  # As before Sparkplug 3.
    receiver.deliver([inspection_event(3)])
    host.say(state(False, 11))
    (death,) = host.expect(is_death)
    assert death.values["bdSeq"] == 0
    for _ in range(2):
        with pytest.raises(Undelivered, match="scada"):
            receiver.deliver([inspection_event(4)])
    host.say(state(True, 12))
    deadline = time.monotonic() + 20
    # What the host says takes its time through the broker.
    while True:
        try:
            receiver.deliver([inspection_event(4)])
            break
        except Undelivered:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    host.expect(lambda message: message.kind == "DDATA", 4)
    assert [message.values["seq"] for message in host.of("DDATA")] == [1, 2, 3, 4]
    assert [message.values["bdSeq"] for message in host.of("NBIRTH")] == [0, 1]
    assert len(host.of("NDEATH")) == 1
