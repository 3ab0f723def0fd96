"""Requests as a server hands them over: nothing is normalised on the way."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import unquote_to_bytes


class RawClient:
    """Asks an ASGI application, without a server and without a start. ``close`` it."""

    def __init__(self, app: Any, client: str = "192.0.2.7", host: str = "station") -> None:
        self._app, self._client, self._host = app, client, host
        self._loop = asyncio.new_event_loop()

    def close(self) -> None:
        self._loop.close()

    def ask(
        self, method: str, raw_path: str, headers: list[tuple[str, str]] | None = None, body: bytes = b"{}"
    ) -> tuple[int, bytes]:
        """Status and body of the answer."""
        status: list[int] = []
        content = b""
        come: Any = {"type": "http.request", "body": body, "more_body": False}

        async def receive() -> Any:
            nonlocal come
            given, come = come, {"type": "http.disconnect"}
            return given

        async def send(message: Any) -> None:
            nonlocal content
            if message["type"] == "http.response.start":
                status.append(message["status"])
            content += message.get("body", b"")

        path, _, query = raw_path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "method": method,
            "path": unquote_to_bytes(path).decode("utf-8", "replace"),
            "raw_path": path.encode(),
            "query_string": query.encode("latin-1"),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in [("host", self._host), *(headers or [])]],
            "client": (self._client, 4711),
            "server": (self._host, 80),
            "scheme": "http",
            "http_version": "1.1",
        }
        self._loop.run_until_complete(self._app(scope, receive, send))
        return status[0], content
