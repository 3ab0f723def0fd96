"""The others on an MQTT broker, real ones: Debian's mosquitto, a listening host, and npm's decoder of Sparkplug payloads."""

from __future__ import annotations

import base64
import getpass
import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from inspection.mes import sparkplug
from inspection.mes.receiver import Event, Stream

GROUP, NODE = "Plant 1", "cell-7"


@dataclass(frozen=True)
class Message:
    topic: str
    content: bytes
    qos: int
    retain: bool

    @property
    def kind(self) -> str:
        parts = self.topic.split("/")
        return "STATE" if parts[1] == "STATE" else parts[2]

    @property
    def device(self) -> str | None:
        parts = self.topic.split("/")
        return parts[4] if len(parts) == 5 else None

    @property
    def payload(self) -> sparkplug.Payload:
        return sparkplug.decode(self.content)

    @property
    def values(self) -> dict[str | None, Any]:
        return {metric.name: metric.value for metric in self.payload.metrics}


class Broker:
    """mosquitto on a port of its own, which it keeps over restarts. ``settings`` are lines of its configuration."""

    def __init__(self, folder: Path, settings: Sequence[str] = ("allow_anonymous true",), tls: Sequence[str] = ()) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._file = folder / "mosquitto.conf"
        lines = [f"user {getpass.getuser()}", f"listener {self.port} 127.0.0.1", *tls, *settings]
        self._file.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(["mosquitto", "-c", str(self._file)], stderr=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while True:
            assert self._process.poll() is None, "mosquitto ended"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert time.monotonic() < until, "mosquitto does not listen"
            time.sleep(0.01)

    def stop(self) -> None:
        """Killed: no goodbye to anyone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)


class Host:
    """Listens to all of Sparkplug's topics, and publishes as a host application does."""

    def __init__(self, port: int) -> None:
        self.messages: list[Message] = []
        self._came = threading.Condition()
        self._listening = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        self._client.on_message = self._on_message
        self._client.on_subscribe = lambda *_: self._listening.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._client.subscribe("spBv1.0/#", qos=1)
        assert self._listening.wait(20)

    def expect(self, where: Callable[[Message], bool], count: int = 1) -> list[Message]:
        """All messages that fulfil a condition, once there are so many."""

        def found() -> list[Message]:
            return [message for message in self.messages if where(message)]

        with self._came:
            assert self._came.wait_for(lambda: len(found()) >= count, 20), [message.topic for message in self.messages]
            return found()

    def of(self, *kinds: str) -> list[Message]:
        """What has come of these kinds, all kinds if none is named; STATE and commands only when named."""
        with self._came:
            return [m for m in self.messages if (m.kind in kinds if kinds else m.kind not in ("STATE", "NCMD"))]

    def command(self, content: bytes, kind: str = "NCMD") -> None:
        self._client.publish(f"spBv1.0/{GROUP}/{kind}/{NODE}", content).wait_for_publish(20)

    def ask_for_births(self) -> None:
        """As the specification's example of a rebirth request: neither datatype nor seq."""
        name = sparkplug.REBIRTH.encode()
        metric = b"\x0a" + bytes([len(name)]) + name + b"\x70\x01"
        self.command(b"\x12" + bytes([len(metric)]) + metric)

    def say(self, state: bytes, host_id: str = "scada") -> None:
        self._client.publish(f"spBv1.0/STATE/{host_id}", state, qos=1, retain=True).wait_for_publish(20)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        with self._came:
            self.messages.append(Message(message.topic, message.payload, message.qos, message.retain))
            self._came.notify_all()


def state(online: bool, timestamp: int) -> bytes:
    return json.dumps({"online": online, "timestamp": timestamp}).encode()


def inspection_event(number: int, at: datetime | None = None, **data: Any) -> Event:
    """A passed part as the outbox tells it; ``data`` changes what it says."""
    at = at or datetime.now(UTC)
    usual = {
        "seq": number,
        "trigger_id": number + 1000,
        "lot": "L-1",
        "serial": f"S-{number}",
        "attempt": 1,
        "product": "flange",
        "camera": "top",
        "verdict": "pass",
        "reason": None,
        "score": 1.25,
        "review_threshold": 2.0,
        "fail_threshold": 3.0,
        "model": "ab" * 32,
        "proposed_class": None,
        "output": "accept",
        "triggered_at": at.isoformat(),
        "decided_at": at.isoformat(),
        "recorded_at": at.isoformat(),
        "regions": [],
        "images": [{"kind": "frame", "sha256": "cd" * 32}],
    }
    return Event("cell-7", Stream.INSPECTIONS, number, at, usual | data)


def decoded_by_npm(modules: Path, contents: Sequence[bytes]) -> list[dict[str, Any]]:
    """Payloads as npm's sparkplug-payload reads them; numbers of 64 bits are text there."""
    script = Path(__file__).with_name("decode_sparkplug.js")
    lines = "".join(base64.b64encode(content).decode() + "\n" for content in contents)
    done = subprocess.run(
        ["node", str(script), str(modules)], input=lines, capture_output=True, encoding="utf-8", timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.split("\n") if line]  # Texts may hold other ends of lines.


def assert_contiguous(payloads: Sequence[tuple[str, int | None]]) -> None:
    """Kind and seq of all messages of an edge node: 0 in each NBIRTH, then one more in each, from 255 to 0; none in NDEATH."""
    expected: int | None = None
    for place, (kind, seq) in enumerate(payloads):
        if kind == "NDEATH":
            assert seq is None
            continue
        if kind == "NBIRTH":
            expected = 0
        assert seq == expected, f"message {place} is {kind} {seq}, expected {expected}"
        expected = (expected + 1) % 256
