"""Mailboxes over ZeroMQ: every process binds one inbox, and pushes to the inboxes of others.

A PUSH socket keeps what it could not deliver while the peer restarts, up to a stated limit; past it the message is refused and
counted by the caller, never silently dropped. What a killed peer had already taken in is gone: processes announce their start,
and whoever waits for an answer sends again.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import zmq

from cameras.messages import SCHEMA_VERSION

log = logging.getLogger(__name__)

# Messages that wait for one peer; at 100 parts/s this is more than a minute, and a message is below 4 KiB.
QUEUE_LIMIT = 20_000
# Inboxes that one process writes to; more are refused, so that requesters with ever new names cannot use up sockets.
PEER_LIMIT = 256

# In front of every message: processes of different versions must not misread each other while a station is being upgraded.
_VERSION = bytes([SCHEMA_VERSION])


class Bus:
    """One process's connection to the others. Not thread-safe: used by the process's main thread only.

    ``messages`` is the union of the message types that this process may receive.
    """

    def __init__(self, run_dir: Path, name: str, messages: Any) -> None:
        self.name = name
        self.refused = 0
        self.garbled = 0
        self._run_dir = run_dir
        self._context = zmq.Context()
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(messages)
        self._outboxes: dict[str, zmq.Socket[bytes]] = {}
        self._inbox = self._context.socket(zmq.PULL)
        self._inbox.setsockopt(zmq.RCVHWM, QUEUE_LIMIT)
        self._inbox.bind(self._address(name))

    def _address(self, name: str) -> str:
        return f"ipc://{self._run_dir / name}.inbox"

    def send(self, peer: str, message: msgspec.Struct) -> bool:
        """Queue a message for a peer; False (and counted) if the peer has been away so long that its queue is full."""
        outbox = self._outboxes.get(peer)
        if outbox is None:
            if len(self._outboxes) == PEER_LIMIT:
                self.refused += 1
                return False
            outbox = self._context.socket(zmq.PUSH)
            outbox.setsockopt(zmq.SNDHWM, QUEUE_LIMIT)
            outbox.setsockopt(zmq.LINGER, 200)
            outbox.setsockopt(zmq.RECONNECT_IVL, 20)
            outbox.setsockopt(zmq.RECONNECT_IVL_MAX, 200)
            outbox.connect(self._address(peer))
            self._outboxes[peer] = outbox
        try:
            outbox.send(_VERSION + self._encoder.encode(message), zmq.NOBLOCK)
        except zmq.Again:
            self.refused += 1
            return False
        return True

    def receive(self, timeout_s: float, limit: int = 256) -> Iterator[Any]:
        """Wait up to ``timeout_s`` for the first message, then yield what is there without waiting, up to ``limit``."""
        if not self._inbox.poll(max(0, round(timeout_s * 1000))):
            return
        for _ in range(limit):
            try:
                raw = self._inbox.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            # A peer of another version, or garbage: counted and said, and the process goes on.
            if raw[:1] != _VERSION:
                self.garbled += 1
                log.warning("message of version %r instead of %d: upgrade the whole station", raw[:1], SCHEMA_VERSION)
                continue
            try:
                yield self._decoder.decode(raw[1:])
            except (msgspec.DecodeError, RecursionError) as error:
                self.garbled += 1
                log.warning("message of %d bytes not understood: %s", len(raw), error)

    def fileno(self) -> int:
        """For an event loop: readable after something came. The edge is given once, so receive until nothing is left."""
        return int(self._inbox.getsockopt(zmq.FD))

    def wait(self, timeout_s: float, other: zmq.Socket[bytes]) -> None:
        """Wait until the inbox or another socket has something, or the time is over."""
        poller = zmq.Poller()
        poller.register(self._inbox, zmq.POLLIN)
        poller.register(other, zmq.POLLIN)
        poller.poll(max(0, round(timeout_s * 1000)))

    def close(self) -> None:
        for outbox in self._outboxes.values():
            outbox.close()
        self._inbox.close(0)
        with contextlib.suppress(zmq.ZMQError):
            self._context.term()
