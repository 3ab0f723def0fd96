"""One MQTT connection of the station's Sparkplug edge node, from CONNECT to its end (Eclipse Sparkplug 3.0.0, chapter 5).

Receipt. Sparkplug demands QoS 0 for births and data (tck-id-payloads-ddata-qos), and MQTT does not acknowledge QoS 0. The
station therefore subscribes to what it publishes itself, and takes a message for received when the broker sends it back. That
says more than the acknowledgement of QoS 1 would: a broker also acknowledges what its access rules make it throw away, while
what comes back went through them and was routed to those who had subscribed by then. No broker can say more on MQTT 3.1.1;
whether the host application was among them, ``host_id`` says. The edge node needs the right to read its own topics for it.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.reasoncodes import ReasonCode

from inspection.config import MqttReceiverConfig
from inspection.errors import ConfigError
from inspection.mes.receiver import Event, Stream, Undelivered
from inspection.mes.sparkplug import (
    BD_SEQ,
    NAMESPACE,
    REBIRTH,
    Datatype,
    MalformedPayload,
    Metric,
    Payload,
    decode,
    encode,
    host_state,
    milliseconds,
)
from inspection.mes.sparkplug_metrics import event_metrics, unknown_metrics

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
"""A broker that does not answer for so long is given up."""
KEEPALIVE_S = 10
HISTORICAL = timedelta(seconds=10)
"""An event sent later than this after it was recorded is history: hosts store it and do not show it as the present value."""
WINDOW = 64
"""Most messages on their way at a time; brokers drop QoS 0 for subscribers with hundreds of them waiting."""

Prepare = Callable[[mqtt.Client], None]
Metrics = tuple[Metric, ...]
Latest = dict[Stream, Metrics]


class Session:
    """Begins to connect when made; gives births when the host is there, and again when asked; never used again once ended.

    ``prepare`` gives the client its credentials; what it raises as OSError or ConfigError ends the session. ``latest`` holds what
    was last received of each stream, for births; the session keeps it up to date.
    """

    def __init__(self, settings: MqttReceiverConfig, bd_seq: int, latest: Latest, prepare: Prepare) -> None:
        self.bd_seq = bd_seq
        self.connected = False
        """Whether CONNECT may have been sent; bdSeq is used up then."""
        self._settings = settings
        self._latest = latest
        # Guards all that follows, and the order of what is published: seq must be taken and sent in one go.
        self._changed = threading.Condition()
        self._end: str | None = None
        self._subscribed = False
        self._host: bool | None = None if settings.host_id else True
        self._host_timestamp = 0
        self._born = False
        self._seq = 0
        # Topic and content of what is on its way, in the order in which it was sent, with its event.
        self._unconfirmed: dict[tuple[str, bytes], tuple[Stream, Metrics] | None] = {}
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"{settings.group}.{settings.node}",
            clean_session=True,
            protocol=mqtt.MQTTv311,
            reconnect_on_failure=False,
        )
        self._client.connect_timeout = TIMEOUT_S
        self._client.will_set(self._topic("NDEATH"), self._death(), qos=1, retain=False)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.on_disconnect = self._on_disconnect
        # Not in the caller's thread: resolving a name can take longer than any timeout.
        self._connecting = threading.Thread(target=self._connect, args=(prepare,), name="mqtt-connect", daemon=True)
        self._connecting.start()

    @property
    def ended(self) -> bool:
        return self._end is not None

    def await_births(self) -> None:
        """Return when the edge node is born; Undelivered if it is not within TIMEOUT_S."""
        with self._changed:
            self._changed.wait_for(lambda: self._end or self._born or (self._subscribed and self._host is False), TIMEOUT_S)
            self._still_there()
            if self._born:
                return
            if self._subscribed:
                said = "is offline" if self._host is False else "has not said that it is online"
                raise Undelivered(f"primary host {self._settings.host_id} {said}")
            reason = f"{self._settings.host}:{self._settings.port} did not answer within {TIMEOUT_S:g} s"
            if not self._connecting.is_alive():
                self._abort(reason)
        raise Undelivered(reason)

    def publish(self, event: Event) -> None:
        """Send one event as DDATA; Undelivered if the session is over, or the broker returns nothing for TIMEOUT_S."""
        with self._changed:
            self._await_confirmed(WINDOW - 1)
            metrics = event_metrics(event, is_historical=datetime.now(UTC) - event.at > HISTORICAL)
            self._send("DDATA", metrics, event.stream)
            self._still_there()

    def await_receipt(self) -> None:
        """Return when the broker has all that was sent; Undelivered if the session is over or it is silent for TIMEOUT_S."""
        with self._changed:
            self._await_confirmed(0)

    def close(self, reason: str) -> None:
        """Publish NDEATH and DISCONNECT in this order (tck-id-payloads-ndeath-will-message-publisher-disconnect-mqtt311)."""
        with self._changed:
            self._leave()
            self._changed.wait_for(lambda: self._end, TIMEOUT_S if self._subscribed else 0)
            self._abort(reason)

    # What follows runs with self._changed held.

    def _await_confirmed(self, most: int) -> None:
        """Wait until at most so many messages are on their way; each that arrives gives the others TIMEOUT_S more."""
        while len(self._unconfirmed) > most and not self._end:
            waiting = len(self._unconfirmed)
            if not self._changed.wait_for(lambda: self._end or len(self._unconfirmed) < waiting, TIMEOUT_S):  # noqa: B023
                topic, content = next(iter(self._unconfirmed))
                self._abort(
                    f"the broker has returned none of {waiting} messages within {TIMEOUT_S:g} s, the first on {topic}: it is "
                    f"overloaded, takes no {len(content)} bytes, or does not let {self._settings.username or 'the edge node'} "
                    "write and read there"
                )
        self._still_there()

    def _still_there(self) -> None:
        if self._end:
            raise Undelivered(self._end)

    def _bear(self) -> None:
        """NBIRTH with seq 0, then all DBIRTHs (tck-id-operational-behavior-data-commands-rebirth-action-2)."""
        now = milliseconds(datetime.now(UTC))
        self._seq = 0
        rebirth = Metric(REBIRTH, Datatype.BOOLEAN, False, now)
        self._send("NBIRTH", (Metric(BD_SEQ, Datatype.INT64, self.bd_seq, now), rebirth))
        for stream in Stream:
            known = self._latest.get(stream)
            present = unknown_metrics(stream, now) if known is None else tuple(_as_present(metric) for metric in known)
            self._send("DBIRTH", present, stream)
        self._born = True
        self._changed.notify_all()

    def _send(self, kind: str, metrics: Metrics, device: Stream | None = None) -> None:
        payload = encode(Payload(milliseconds(datetime.now(UTC)), metrics, self._seq))
        self._seq = (self._seq + 1) % 256
        topic = self._topic(kind, device)
        self._unconfirmed[topic, payload] = (device, metrics) if device is not None and kind == "DDATA" else None
        if self._client.publish(topic, payload, qos=0, retain=False).rc is not MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._over("the connection was lost")

    def _leave(self) -> None:
        if self._born and not self._end:
            self._client.publish(self._topic("NDEATH"), self._death(), qos=1, retain=False)
            self._born = False
        self._client.disconnect()

    def _abort(self, reason: str) -> None:
        """End without a word: the broker publishes the will."""
        self._over(reason)
        connection = self._client.socket()
        if isinstance(connection, socket.socket):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _over(self, reason: str) -> None:
        """The first reason is the one."""
        if not self._end:
            self._end = reason
            self._changed.notify_all()

    def _topic(self, kind: str, device: Stream | None = None) -> str:
        topic = f"{NAMESPACE}/{self._settings.group}/{kind}/{self._settings.node}"
        return topic if device is None else f"{topic}/{device}"

    def _death(self) -> bytes:
        """The same as will and when the edge node goes by itself; no seq (tck-id-payloads-ndeath-seq)."""
        now = milliseconds(datetime.now(UTC))
        return encode(Payload(now, (Metric(BD_SEQ, Datatype.INT64, self.bd_seq, now),)))

    # What follows runs in threads of the session.

    def _connect(self, prepare: Prepare) -> None:
        where = f"{self._settings.host}:{self._settings.port}"
        try:
            prepare(self._client)
            with self._changed:
                if self._end:
                    return
            self._client.connect(self._settings.host, self._settings.port, KEEPALIVE_S)
        except (OSError, ValueError, ConfigError) as error:
            with self._changed:
                self._over(f"cannot connect to {where}: {error}")
            return
        self.connected = True
        with self._changed:
            if self._end:  # Closed meanwhile; the client's thread sees the connection end and cleans up.
                self._abort(self._end)
            self._client.loop_start()

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        with self._changed:
            if reason.is_failure:
                self._over(f"{self._settings.host}:{self._settings.port} refuses the edge node: {reason}")
            else:
                client.subscribe([*self._subscriptions().items()])

    def _subscriptions(self) -> dict[str, int]:
        topics = {
            self._topic("NCMD"): 1,
            self._topic("NBIRTH"): 0,
            f"{self._topic('DBIRTH')}/+": 0,
            f"{self._topic('DDATA')}/+": 0,
        }
        return topics | ({self._state_topic: 1} if self._settings.host_id else {})

    @property
    def _state_topic(self) -> str:
        return f"{NAMESPACE}/STATE/{self._settings.host_id}"

    def _on_subscribe(self, _client: mqtt.Client, _data: Any, _mid: int, reasons: list[ReasonCode], _properties: Any) -> None:
        refused = [topic for topic, reason in zip(self._subscriptions(), reasons, strict=False) if reason.is_failure]
        with self._changed:
            if refused:
                self._abort(f"the broker does not let the edge node subscribe to {', '.join(refused)}; allow it there")
                return
            self._subscribed = True
            self._changed.notify_all()
            if self._host and not self._end:
                self._bear()

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        sent = message.topic, bytes(message.payload)
        with self._changed:
            if self._end:
                return
            try:
                if message.topic == self._topic("NCMD"):
                    self._on_command(decode(sent[1]))
                elif message.topic == self._state_topic:
                    self._on_state(sent[1])
                elif sent in self._unconfirmed:
                    self._on_receipt(self._unconfirmed.pop(sent))
            except MalformedPayload as error:
                log.warning("a message on %s is ignored: %s", message.topic, error)

    def _on_receipt(self, event: tuple[Stream, Metrics] | None) -> None:
        """Births repeat what came through, lest one event that the broker does not take keeps the node from being born."""
        if event is not None:
            self._latest[event[0]] = event[1]
        self._changed.notify_all()

    def _on_command(self, command: Payload) -> None:
        """The one command of an edge node; others are not for a station, which no host application writes to."""
        if self._born and any(metric.name == REBIRTH and metric.value is True for metric in command.metrics):
            log.info("a host application asks for births")
            self._bear()

    def _on_state(self, content: bytes) -> None:
        """tck-id-message-flow-edge-node-birth-publish-phid-wait, -phid-offline."""
        state = host_state(content)
        if state.timestamp < self._host_timestamp:
            return  # Of an earlier session of the host, come late.
        self._host_timestamp = state.timestamp
        self._host = state.online
        self._changed.notify_all()
        if state.online and self._subscribed and not self._born:
            self._bear()
        elif not state.online and self._born:
            self._leave()
            self._over(f"primary host {self._settings.host_id} went offline")

    def _on_disconnect(self, client: mqtt.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        with self._changed:
            self._over(f"the connection to {self._settings.host}:{self._settings.port} ended: {reason}")
        # The client holds the session no more, so that both go, with their sockets, when the session is let go.
        client.on_connect = client.on_subscribe = client.on_message = client.on_disconnect = None


def _as_present(metric: Metric) -> Metric:
    return Metric(metric.name, metric.datatype, metric.value, metric.timestamp)
