"""A receiver of events as an MES would have one: it keeps what it got, and misbehaves when told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError


class HttpPeer:
    """Serves on ``port`` (0: a free one) until ``stop``. ``answer`` maps the number of the request, from 1, to a status; a status
    of 0 closes the connection without an answer after keeping the events, and -1 before.
    """

    def __init__(self, secret: str, port: int = 0, answer: Callable[[int], int] = lambda number: 204) -> None:
        self.received: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.forged = 0
        self.answer = answer
        self.requests = 0
        peer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                peer.requests += 1
                status = peer.answer(peer.requests)
                try:
                    Webhook(secret).verify(body, dict(self.headers.items()))
                except WebhookVerificationError:
                    peer.forged += 1
                    status = 401
                if status >= 0 and status < 300:
                    peer.ids.append(self.headers["webhook-id"])
                    peer.received += json.loads(body)["data"]["events"]
                if status > 0:
                    self.send_response(status)
                    self.send_header("content-length", "0")
                    self.end_headers()
                else:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Nothing is printed."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                """A client that went away is no error of this server."""

        self._server = Server(("127.0.0.1", port), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/events"

    def numbers(self, stream: str) -> list[int]:
        """Of the events of one stream, as they came."""
        return [event["number"] for event in self.received if event["stream"] == stream]

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
