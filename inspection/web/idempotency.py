"""Requests that may come twice: the ``Idempotency-Key`` header (IETF draft-ietf-httpapi-idempotency-key-header).

A POST or DELETE that carries a key is worked on once; when it comes again with the same key, its first answer comes again.
Answers are kept for a week. Those of 5xx are not kept: there the request may not have taken effect, and is tried again.
"""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from anyio import to_thread
from sqlalchemy import Engine, delete, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inspection.records.tables import idempotency_keys as keys
from inspection.web.problems import problem_response

log = logging.getLogger(__name__)

_KEEP = timedelta(days=7)
# A request whose process died is worked on again after this time.
_WORKING = timedelta(seconds=30)
_LARGEST_BODY = 4_000_000


class Idempotency:
    """ASGI middleware behind Access, which names the account that keys belong to."""

    def __init__(self, app: ASGIApp, records: Engine) -> None:
        self._app = app
        self._records = records

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("POST", "DELETE") or not scope["path"].startswith("/api/"):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        key = request.headers.get("idempotency-key")
        if key is None:
            await self._app(scope, receive, send)
            return
        if not 1 <= len(key) <= 255 or not key.isprintable():
            await _problem(request, "invalid_request", "an Idempotency-Key has 1 to 255 visible characters")(scope, receive, send)
            return
        body = await _whole(request)
        if body is None:
            detail = f"a request with an Idempotency-Key has at most {_LARGEST_BODY} bytes"
            await _problem(request, "invalid_request", detail)(scope, receive, send)
            return
        account = scope.get("state", {}).get("account", "")
        digest = hashlib.sha256(f"{scope['method']} {scope['path']}?".encode() + scope["query_string"] + b"\n" + body).hexdigest()
        try:
            answer = await to_thread.run_sync(self._begin, request, account, key, digest)
        except (DBAPIError, PoolTimeout):
            detail = "the records cannot be written now; nothing was done, try again"
            answer = _problem(request, "unavailable", detail, HTTPStatus.SERVICE_UNAVAILABLE)
        if answer is not None:
            await answer(scope, receive, send)
            return
        await self._work(scope, body, send, account, key)

    async def _work(self, scope: Scope, body: bytes, send: Send, account: str, key: str) -> None:
        status, media_type, content = 500, "", b""

        async def again() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def keep(message: Message) -> None:
            nonlocal status, media_type, content
            if message["type"] == "http.response.start":
                status = message["status"]
                media_type = dict(message["headers"]).get(b"content-type", b"").decode("latin-1")
            else:
                content += message.get("body", b"")
                if not message.get("more_body"):
                    # Before the client has it: otherwise it could come again and find nothing.
                    await to_thread.run_sync(self._end, account, key, status, media_type, content)
            await send(message)

        try:
            await self._app(scope, again, keep)
        except BaseException:
            self._end(account, key, 500, "", b"")
            raise

    def _begin(self, request: Request, account: str, key: str, digest: str) -> Response | None:
        """The answer that is there already; None if this request is to be worked on."""
        now = datetime.now(UTC)
        mine = keys.c.account == account, keys.c.idempotency_key == key
        try:
            with self._records.begin() as connection:
                connection.execute(delete(keys).where(keys.c.at < now - _KEEP))
                connection.execute(delete(keys).where(*mine, keys.c.status.is_(None), keys.c.at < now - _WORKING))
                known = connection.execute(select(keys).where(*mine)).one_or_none()
                if known is None:
                    row = {"account": account, "idempotency_key": key, "request_digest": digest, "at": now}
                    connection.execute(insert(keys).values(**row))
                    return None
        except IntegrityError:  # PostgreSQL: the same request came at the same moment
            return _problem(request, "in_progress", "the same request is being worked on; ask again", HTTPStatus.CONFLICT)
        if known.request_digest != digest:
            return _problem(request, "idempotency_key_reused", "this Idempotency-Key came with another request; make a new one")
        if known.status is None:
            return _problem(request, "in_progress", "the same request is being worked on; ask again", HTTPStatus.CONFLICT)
        headers = {"content-type": known.media_type, "idempotency-replayed": "true"}
        return Response(known.body, known.status, headers)

    def _end(self, account: str, key: str, status: int, media_type: str, body: bytes) -> None:
        mine = keys.c.account == account, keys.c.idempotency_key == key
        try:
            with self._records.begin() as connection:
                if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    connection.execute(delete(keys).where(*mine))
                else:
                    connection.execute(update(keys).where(*mine).values(status=status, media_type=media_type, body=body))
        except (DBAPIError, PoolTimeout) as error:
            # The request took effect, and its client shall hear that; the same key is worked on again after a while.
            log.error("the answer to key %s of %s is not kept: %s", key, account, error)


def _problem(request: Request, code: str, detail: str, status: HTTPStatus = HTTPStatus.UNPROCESSABLE_ENTITY) -> Response:
    return problem_response(request, status, code, detail)


async def _whole(request: Request) -> bytes | None:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_BODY:
            return None
    return body
