"""How other processes have lots and parts written: they ask the recorder."""

from __future__ import annotations

from typing import Protocol

import msgspec
import zmq

from inspection.commands import Command, Reply
from inspection.errors import Unavailable

TIMEOUT_MS = 2_000


class RecorderClient(Protocol):
    """Has commands executed by the recorder."""

    def execute(self, command: Command) -> Reply:
        """The recorder's reply, after it has committed; Unavailable if none comes in time."""
        ...

    def close(self) -> None: ...


class ZmqRecorderClient:
    """Asks the recorder's REP socket at ``address``. Thread-safe: each command has its own socket."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._context = zmq.Context()
        self._decoder = msgspec.json.Decoder(Reply)

    def execute(self, command: Command) -> Reply:
        # A fresh socket each: a REQ socket whose reply never came cannot be used again.
        with self._context.socket(zmq.REQ) as socket:
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.SNDTIMEO, TIMEOUT_MS)
            socket.setsockopt(zmq.RCVTIMEO, TIMEOUT_MS)
            socket.connect(self._address)
            try:
                socket.send(msgspec.json.encode(command))
                raw = socket.recv()
            except zmq.Again:
                raise Unavailable(
                    f"the recorder did not answer within {TIMEOUT_MS / 1000:g} s; "
                    "look whether the command took effect, then try again"
                ) from None
        try:
            return self._decoder.decode(raw)
        except msgspec.DecodeError:
            raise Unavailable("the recorder answered in another version's words; restart the whole station") from None

    def close(self) -> None:
        self._context.term()
