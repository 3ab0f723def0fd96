"""The MQTT receiver of the outbox: the station as a Sparkplug B edge node.

deliver → Session (sparkplug_session.py) → broker. The session proves receipt; this module begins one when there is none, with
the next bdSeq, and keeps what must outlive a connection.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Sequence
from pathlib import Path

import paho.mqtt.client as mqtt

from inspection.config import MqttReceiverConfig
from inspection.mes.receiver import Event
from inspection.mes.sparkplug_session import Latest, Session
from inspection.secrets import read_secret

log = logging.getLogger(__name__)


class SparkplugReceiver:
    """Connects at the first delivery, and again at the next one after a failure; between deliveries it answers hosts by itself.

    ``deliver([])`` only sees to it that the edge node is online. ``state_dir`` holds bdSeq between runs, in a file named after
    the receiver. bdSeq goes up by one with each CONNECT, from 0 to 255 and round again, so that hosts can tell the death of an
    earlier connection that arrives late (tck-id-message-flow-edge-node-birth-publish-will-message-payload-bdSeq).
    """

    def __init__(self, settings: MqttReceiverConfig, state_dir: Path) -> None:
        self._settings = settings
        self._bd_seq_file = state_dir / f"{settings.name}.bdseq"
        self._bd_seq = _read_bd_seq(self._bd_seq_file)
        self._latest: Latest = {}
        self._session: Session | None = None

    def deliver(self, events: Sequence[Event]) -> None:
        """Return when the broker has routed all of them; Undelivered if it is silent for 10 s, or the primary host is away."""
        session = self._present_session()
        session.await_births()
        for event in events:
            session.publish(event)
        session.await_receipt()

    def close(self) -> None:
        """Say goodbye with NDEATH; hosts show the edge node as offline at once."""
        if self._session is not None:
            self._session.close("the receiver is closed")
            self._session = None

    def _present_session(self) -> Session:
        if self._session is None or self._session.ended:
            if self._session is None or self._session.connected:
                self._bd_seq = (self._bd_seq + 1) % 256
                _write_bd_seq(self._bd_seq_file, self._bd_seq)
            self._session = Session(self._settings, self._bd_seq, self._latest, self._prepare)
        return self._session

    def _prepare(self, client: mqtt.Client) -> None:
        """Credentials and trust, read anew for each connection: both may be replaced while the station runs."""
        if self._settings.username is not None:
            password = read_secret(self._settings.password_file) if self._settings.password_file else None
            client.username_pw_set(self._settings.username, password)
        if self._settings.tls:
            client.tls_set_context(ssl.create_default_context(cafile=self._settings.ca_file))


def _read_bd_seq(path: Path) -> int:
    """The last one used; -1, so that the next is 0, where none is known."""
    try:
        number = int(path.read_bytes()[:8])
    except FileNotFoundError:
        return -1
    except (OSError, ValueError) as error:
        log.warning("bdSeq starts again at 0, because %s cannot be read: %s", path, error)
        return -1
    return number % 256


def _write_bd_seq(path: Path, number: int) -> None:
    """A full disk does not keep the station from delivering: bdSeq then goes on in memory, and repeats itself after a restart."""
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("w", encoding="ascii") as file:
            file.write(f"{number}\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        log.warning("bdSeq %d is not kept in %s: %s", number, path, error)
