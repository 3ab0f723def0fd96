"""How much a request may send, counted while it comes: what is longer is cut off before it fills the memory.

JSON takes many times its size once it is read, and reading it is what every route does first.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inspection.web.permissions import PREFIX
from inspection.web.problems import code_of, problem_response

MOST_BYTES = 8 * 2**20
"""The largest that is of use: ten thousand serials of 64 characters, or a hundred drawn regions."""
_PASSWORDS = 16 * 2**10
"""What somebody may send whom nobody knows yet."""
_IMAGES = 90 * 2**20
"""An image file of ``routes_training.MAX_UPLOAD``, in Base64."""
_SILENT_S = 30.0
"""Who sends nothing for so long in the middle of a body holds a connection up."""
_LARGE_AT_ONCE = 2
"""Bodies longer than ``MOST_BYTES`` in memory; others wait for their turn."""


class BodyLimit:
    """ASGI middleware in front of everything that reads a body. Answers 413 or 408."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._turns = asyncio.Semaphore(_LARGE_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        most = most_bytes(scope["path"])
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > most:
            await _answer(request, _too_large(most), receive, send)
            return
        body = _Body(receive, send, most, self._turns)
        try:
            await self._app(scope, body.receive, body.send)
        except HTTPException as refused:
            # Routes answer it themselves; this was read before one was found.
            if body.answered:
                raise
            await _answer(request, refused, receive, send)
        finally:
            body.close()


class _Body:
    """What one request sends, counted."""

    def __init__(self, receive: Receive, send: Send, most: int, turns: asyncio.Semaphore) -> None:
        self._receive, self._send, self._most, self._turns = receive, send, most, turns
        self._come = 0
        self._has_turn = False
        self._whole = False
        self.answered = False

    async def receive(self) -> Message:
        if self._whole or self.answered:
            return await self._receive()  # the end of the connection, however long that takes
        try:
            message = await asyncio.wait_for(self._receive(), _SILENT_S)
        except TimeoutError:
            detail = f"nothing of the request came for {_SILENT_S:g} s; send it again"
            raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, detail) from None
        self._come += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._come > self._most:
            raise _too_large(self._most)
        if self._come > MOST_BYTES and not self._has_turn:
            # Not before: whoever is refused never gets so far.
            await self._turns.acquire()
            self._has_turn = True
        return message

    async def send(self, message: Message) -> None:
        self.answered = True
        await self._send(message)

    def close(self) -> None:
        if self._has_turn:
            self._turns.release()


def most_bytes(path: str) -> int:
    """The longest body of a request to this path."""
    if path.startswith(PREFIX + "session"):
        return _PASSWORDS
    return _IMAGES if path == PREFIX + "imported-images" else MOST_BYTES


def _too_large(most: int) -> HTTPException:
    return HTTPException(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request to this address has at most {most} bytes; send less at once"
    )


async def _answer(request: Request, refused: HTTPException, receive: Receive, send: Send) -> None:
    status = HTTPStatus(refused.status_code)
    answer = problem_response(request, status, code_of(status), str(refused.detail))
    # What was not read is still on its way.
    answer.headers["connection"] = "close"
    await answer(request.scope, receive, send)
