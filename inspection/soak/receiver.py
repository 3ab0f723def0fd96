"""An MES behind the station: it takes events by HTTP, fails when told to, and checks what it gets."""

from __future__ import annotations

import base64
import hmac
import secrets
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from inspection.mes.http_push import decode_secret, sign
from inspection.mes.receiver import Stream

_POLL_S = 0.05
# Violations that are kept in words.
_MOST = 20


class Mood(StrEnum):
    """How requests are answered: taken; refused; taken and the connection closed without an answer; or nobody listens."""

    UP = "up"
    REFUSES = "refuses"
    FORGETS_TO_ANSWER = "forgets to answer"
    DOWN = "down"


@dataclass
class Arrivals:
    """What came, in order: ``first`` holds of each inspection that came for the first time what was told of it, until taken."""

    last: dict[Stream, int] = field(default_factory=lambda: dict.fromkeys(Stream, 0))
    events: int = 0
    first: deque[tuple[int, dict[str, Any]]] = field(default_factory=deque)
    violations: list[str] = field(default_factory=list)

    def take(self, event: dict[str, Any]) -> None:
        """Numbers of a stream may repeat, but none may be left out: those of inspections and lot events have no gaps."""
        self.events += 1
        stream, number = Stream(event["stream"]), int(event["number"])
        if number > self.last[stream] + 1 and stream is not Stream.LABELS and len(self.violations) < _MOST:
            self.violations.append(f"{stream} {number} came after {self.last[stream]}")
        if number > self.last[stream]:
            self.last[stream] = number
            if stream is Stream.INSPECTIONS:
                self.first.append((number, event["data"]))


class SoakReceiver:
    """Serves on one port until ``close``; ``mood`` may be set from any thread."""

    def __init__(self) -> None:
        self.arrivals = Arrivals()
        self.mood = Mood.UP
        self.secret = base64.b64encode(secrets.token_bytes(32)).decode()
        self._key = decode_secret(self.secret)
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self.port = 0
        self.listen()

    def listen(self) -> None:
        """Take connections on the same port as before."""
        if self._server is not None:
            return
        self._server = _Server(("127.0.0.1", self.port), _handler(self._answer))
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL_S,), name="receiver")
        self._thread.start()

    def close(self) -> None:
        """Nobody listens any more."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server = None

    def _answer(self, headers: dict[str, str], body: bytes) -> int | None:
        """The status, or None to close the connection without one."""
        mood = self.mood
        expected = sign(self._key, headers["webhook-id"], headers["webhook-timestamp"], body)
        if not hmac.compare_digest(expected, headers["webhook-signature"]):
            return 401
        if mood is Mood.REFUSES:
            return 503
        with self._lock:
            for event in msgspec.json.decode(body)["data"]["events"]:
                self.arrivals.take(event)
        return None if mood is Mood.FORGETS_TO_ANSWER else 204


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, *_: object) -> None:
        """A client that was killed is no error of this server."""


def _handler(answer: Callable[[dict[str, str], bytes], int | None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = answer(headers, self.rfile.read(int(headers["content-length"])))
            if status is None:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    return Handler
