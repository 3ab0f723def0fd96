"""Sparkplug's payload on the wire: what is encoded is read back, and nothing that comes from outside breaks the reader."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from sparkplug_payloads import PAYLOADS

from inspection.config import MqttReceiverConfig
from inspection.mes.receiver import Event, Stream
from inspection.mes.sparkplug import (
    Datatype,
    HostState,
    MalformedPayload,
    Metric,
    Payload,
    Value,
    decode,
    encode,
    host_state,
    milliseconds,
)
from inspection.mes.sparkplug_metrics import METRICS, event_metrics

# The first texts take seconds: Hypothesis reads its tables of characters.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@unhurried
@given(PAYLOADS)
def test_a_payload_is_read_as_it_was_written(payload: Payload) -> None:
    assert decode(encode(payload)) == payload


@unhurried
@given(PAYLOADS, some.data())
def test_a_damaged_payload_is_read_or_refused(payload: Payload, data: some.DataObject) -> None:
    content = bytearray(encode(payload)) or bytearray(b"\0")
    content[data.draw(some.integers(0, len(content) - 1))] = data.draw(some.integers(0, 255))
    with suppress(MalformedPayload):
        decode(bytes(content[: data.draw(some.integers(0, len(content)))]))


@unhurried
@given(some.binary())
def test_garbage_is_read_or_refused(content: bytes) -> None:
    for read in (decode, host_state):
        with suppress(MalformedPayload):
            read(content)


def test_the_bytes_are_those_of_the_schema() -> None:
    """By hand from sparkplug_b.proto: field numbers, two's complement without zigzag, little-endian doubles."""
    written = encode(
        Payload(
            300,
            (
                Metric("a", Datatype.INT32, -1, 1, 2, True),
                Metric("b", Datatype.DOUBLE, 1.0),
                Metric("c", Datatype.STRING, None),
                Metric("d", Datatype.BOOLEAN, True),
                Metric("e", Datatype.DATE_TIME, 5),
            ),
            255,
        )
    )
    assert written == bytes.fromhex(
        "08 ac02"
        "12 11 0a0161 1002 1801 2003 2801 50ffffffff0f"
        "12 0e 0a0162 200a 69000000000000f03f"
        "12 07 0a0163 200c 3801"
        "12 07 0a0164 200b 7001"
        "12 07 0a0165 200d 5805"
        "18 ff01"
    )


def test_fields_that_a_station_does_not_use_are_skipped() -> None:
    properties, body, data_set = b"\x4a\x02\x0a\x00", b"\x2a\x01x", b"\x20\x10\x8a\x01\x00"
    metric = b"\x0a\x01a" + properties + data_set
    assert decode(body + b"\x12" + bytes([len(metric)]) + metric) == Payload(None, (Metric("a", None, None),))


@pytest.mark.parametrize(
    ("value", "datatype"),
    [
        (2**31, Datatype.INT32),
        (2**63, Datatype.INT64),
        (-1, Datatype.UINT64),
        (-1, Datatype.DATE_TIME),
        (True, Datatype.INT32),
        (1, Datatype.BOOLEAN),
        (True, Datatype.DOUBLE),
        (10**400, Datatype.DOUBLE),
        (1, Datatype.STRING),
    ],
)
def test_a_value_that_does_not_fit_is_not_written(value: Value, datatype: Datatype) -> None:
    with pytest.raises(ValueError, match="metric a"):
        encode(Payload(0, (Metric("a", datatype, value),)))


def test_the_state_of_a_host_is_json_of_sparkplug_3() -> None:
    assert host_state(b'{"online": true, "timestamp": 1668114759262}') == HostState(True, 1668114759262)
    for said in (b"ONLINE", b'"ONLINE"', b'{"online": 1, "timestamp": 1}', b'{"online": true}', b"\xff", b"[" * 100_000):
        with pytest.raises(MalformedPayload, match="STATE"):
            host_state(said)


def test_times_are_whole_milliseconds_of_utc() -> None:
    assert milliseconds(datetime(1970, 1, 1, 1, 0, 0, 1999, timezone(timedelta(hours=1)))) == 1
    assert milliseconds(datetime(2026, 9, 29, tzinfo=UTC)) == 1790640000000


@pytest.mark.parametrize("stream", Stream)
def test_an_event_has_the_metrics_of_its_device_whatever_its_data_lack(stream: Stream) -> None:
    written = event_metrics(Event("cell", stream, 1, datetime.now(UTC), {}), is_historical=False)
    assert {metric.name: metric.datatype for metric in written} == METRICS[stream]
    assert {metric.name: metric.value for metric in written if metric.value is not None} == {
        "event_id": f"cell/{stream}/1",
        "data": "{}",
    }
    encode(Payload(0, written))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"group": "a/b"}, "group"),
        ({"node": "#"}, "node"),
        ({"node": ""}, "node"),
        ({"host_id": "a+"}, "host_id"),
        ({"password_file": "/etc/password"}, "needs a username"),
        ({"ca_file": "/etc/ca.pem"}, "needs tls"),
        ({"qos": 1}, "qos"),
    ],
)
def test_mistakes_in_the_settings_are_named(change: dict[str, object], said: str) -> None:
    good = {"kind": "mqtt", "name": "mes", "host": "broker", "group": "Plant 1", "node": "cell 7"}
    MqttReceiverConfig.model_validate(good)
    with pytest.raises(ValueError, match=said):
        MqttReceiverConfig.model_validate(good | change)
