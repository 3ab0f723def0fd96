"""What browsers are told to refuse: frames, foreign scripts, guessing of types, and telling others where somebody was."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inspection.web.permissions import METRICS

_HERE = "frame-ancestors 'none'; base-uri 'self'; form-action 'self'; object-src 'none'"
# Answers of the REST interface are no pages; a browser that shows a picture by itself styles it.
_DATA = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
# NiceGUI puts its start into the page as a script, and Vue compiles templates with Function.
_LIVE = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    f"img-src 'self' data: blob:; font-src 'self' data:; {_HERE}"
)
PLAIN = (
    f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; {_HERE}"
)
"""For pages without NiceGUI."""


class SecurityHeaders:
    """ASGI middleware: every answer has them. A policy that a page brings itself stays."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("content-security-policy", _DATA if scope["path"].startswith(("/api/", METRICS)) else _LIVE)
                headers["x-content-type-options"] = "nosniff"
                headers["referrer-policy"] = "same-origin"
            await send(message)

        await self._app(scope, receive, with_headers)
