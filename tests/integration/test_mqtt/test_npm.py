"""The station's payloads as a decoder of others reads them: sparkplug-payload of npm, by the authors of Sparkplug."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from mqtt_peers import Host, assert_contiguous, decoded_by_npm, inspection_event
from sparkplug_payloads import PAYLOADS

from inspection.mes.mqtt import SparkplugReceiver
from inspection.mes.sparkplug import Payload, encode


def assert_read_alike(ours: Payload, theirs: Mapping[str, Any]) -> None:
    """Numbers of 64 bits are text there, what is absent is not there, and false is absent."""

    def whole(read: Mapping[str, Any], name: str) -> int | None:
        return int(read[name]) if read.get(name) is not None else None

    assert whole(theirs, "timestamp") == ours.timestamp
    assert whole(theirs, "seq") == ours.seq
    for metric, read in zip(ours.metrics, theirs["metrics"], strict=True):
        assert read.get("name") == metric.name
        assert whole(read, "timestamp") == metric.timestamp
        assert whole(read, "alias") == metric.alias
        assert metric.datatype is not None
        assert read["type"].upper() == metric.datatype.name.replace("_", "")
        assert read.get("isHistorical", False) == metric.is_historical
        # JSON does not tell a double that is whole from an integer.
        plain = type(metric.value) if type(metric.value) in (int, float) else lambda value: value
        assert plain(read["value"]) == metric.value


def test_npm_reads_what_the_station_writes(npm_modules: Path) -> None:
    payloads: list[Payload] = []

    # All are read by one node: starting it once for each would take minutes.
    @settings(max_examples=300, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(PAYLOADS)
    def collect(payload: Payload) -> None:
        payloads.append(payload)

    collect()
    read = decoded_by_npm(npm_modules, [encode(payload) for payload in payloads])
    for ours, theirs in zip(payloads, read, strict=True):
        assert_read_alike(ours, theirs)


def test_npm_reads_every_message_of_a_long_story(host: Host, receiver: SparkplugReceiver, npm_modules: Path) -> None:
    receiver.deliver([inspection_event(number, score=-number / 7) for number in range(300)])
    host.ask_for_births()
    host.expect(lambda message: message.kind == "NBIRTH", 2)
    old = datetime.now(UTC) - timedelta(days=400)
    receiver.deliver([inspection_event(300, at=old, verdict="not_inspected", reason="deadline", score=None, attempt=-3)])
    receiver.close()
    receiver.deliver([inspection_event(301, seq=-(2**62) - 1)])
    host.expect(lambda message: message.kind == "DDATA", 302)
    seen = host.of()
    read = decoded_by_npm(npm_modules, [message.content for message in seen])
    kinds = [message.kind for message in seen]
    assert_contiguous([(kind, int(each["seq"]) if "seq" in each else None) for kind, each in zip(kinds, read, strict=True)])
    assert kinds.count("NBIRTH") == 3
    assert kinds.count("NDEATH") == 1
    for message, each in zip(seen, read, strict=True):
        assert_read_alike(message.payload, each)
    late = read[[message.values.get("seq") for message in seen].index(300)]
    assert all(metric["isHistorical"] for metric in late["metrics"])
