"""Who may ask for what, and how often: one middleware in front of every route of the REST interface.

With tokens (``[web] tokens = true``) each request to ``/api`` shows ``Authorization: Bearer TOKEN``, whose scopes must open what
it asks for; programs on this machine may read without. Without tokens, everybody who reaches the port may do everything, which
is why only this machine does then.
"""

from __future__ import annotations

import hashlib
import ipaddress
import time
from collections import OrderedDict
from dataclasses import dataclass
from http import HTTPStatus

from anyio import to_thread
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from inspection.domain import Scope as TokenScope
from inspection.domain import Token
from inspection.records.tokens import find_token
from inspection.web.problems import problem_response

PREFIX = "/api/v1/"
DOCUMENT = PREFIX + "openapi.json"
_WRITES = {
    "lots": TokenScope.LOTS,
    "triggers": TokenScope.TRIGGER,
    "inspections": TokenScope.LABEL,
    "golden-images": TokenScope.LABEL,
    "training-sets": TokenScope.TRAIN,
    "training-runs": TokenScope.TRAIN,
    "models": TokenScope.DEPLOY,
    "deployments": TokenScope.DEPLOY,
    "shadows": TokenScope.DEPLOY,
}
# A revoked token opens nothing after this time.
_REMEMBER_S = 2.0
_CLIENTS = 1_000


def needed_scope(method: str, path: str) -> TokenScope:
    """What a token must open for this request. Writes that nobody thought of need the scope that opens most."""
    if method in ("GET", "HEAD", "OPTIONS"):
        return TokenScope.READ
    return _WRITES.get(path.removeprefix(PREFIX).split("/")[0], TokenScope.DEPLOY)


@dataclass
class _Bucket:
    """Requests that a client may still send now; it fills by ``rate`` a second up to ``burst``."""

    left: float
    at: float

    def take(self, rate: float, burst: float) -> float:
        """Take one; the seconds to wait if there is none."""
        now = time.monotonic()
        self.left = min(burst, self.left + (now - self.at) * rate)
        self.at = now
        if self.left < 1:
            return (1 - self.left) / rate
        self.left -= 1
        return 0.0


class Access:
    """ASGI middleware. ``tokens``: None if none are asked for, else the engine of the records that hold them."""

    def __init__(self, app: ASGIApp, tokens: Engine | None, requests_per_s: float) -> None:
        self._app = app
        self._tokens = tokens
        self._rate = requests_per_s
        self._burst = requests_per_s * 5
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._known: OrderedDict[str, tuple[float, Token | None]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and self._tokens is not None and not _loopback((scope.get("client") or ("",))[0]):
            # Pages are served through it.
            await send({"type": "websocket.close", "code": 1008, "reason": "the pages are for this machine"})
            return
        if scope["type"] != "http" or scope["path"] == DOCUMENT:
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        client = request.client.host if request.client else ""
        if not scope["path"].startswith("/api/"):
            if self._tokens is not None and not _loopback(client):
                refusal = problem_response(
                    request,
                    HTTPStatus.FORBIDDEN,
                    "pages_are_local",
                    "the pages have no login yet: open them on the station, or through a tunnel to it",
                )
                await refusal(scope, receive, send)
                return
            await self._app(scope, receive, send)
            return
        account = client
        needed = needed_scope(scope["method"], scope["path"])
        shown = _bearer(request)
        # The pages of this machine show images of the REST interface.
        local = shown is None and needed is TokenScope.READ and _loopback(client)
        if self._tokens is not None and not local:
            try:
                token = await to_thread.run_sync(self._find, shown) if shown else None
            except (DBAPIError, PoolTimeout):
                detail = "tokens cannot be read now; try again, and look at the recorder if it stays so"
                await problem_response(request, HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", detail)(scope, receive, send)
                return
            if token is None:
                detail = "show a valid token: Authorization: Bearer TOKEN; `station token create` makes one"
                refusal = problem_response(request, HTTPStatus.UNAUTHORIZED, "no_valid_token", detail)
                refusal.headers["www-authenticate"] = "Bearer"
                await refusal(scope, receive, send)
                return
            if needed not in token.scopes:
                detail = f"the token of {token.account} lacks the scope {needed}; it has {', '.join(token.scopes)}"
                await problem_response(request, HTTPStatus.FORBIDDEN, "missing_scope", detail)(scope, receive, send)
                return
            account = token.account
        wait_s = self._bucket(account).take(self._rate, self._burst)
        if wait_s:
            detail = f"more than {self._rate:g} requests a second; ask for larger pages, or wait {wait_s:.2f} s"
            refusal = problem_response(request, HTTPStatus.TOO_MANY_REQUESTS, "too_many_requests", detail)
            refusal.headers["retry-after"] = str(max(1, round(wait_s + 0.5)))
            await refusal(scope, receive, send)
            return
        scope.setdefault("state", {})["account"] = account
        await self._app(scope, receive, send)

    def _find(self, shown: str) -> Token | None:
        assert self._tokens is not None
        key = hashlib.sha256(shown.encode()).hexdigest()
        known = self._known.get(key)
        if known is None or time.monotonic() - known[0] > _REMEMBER_S:
            with self._tokens.connect() as connection:
                known = time.monotonic(), find_token(connection, shown)
            self._known[key] = known
            while len(self._known) > _CLIENTS:
                self._known.popitem(last=False)
        return known[1]

    def _bucket(self, account: str) -> _Bucket:
        bucket = self._buckets.pop(account, None) or _Bucket(self._burst, time.monotonic())
        self._buckets[account] = bucket
        while len(self._buckets) > _CLIENTS:
            self._buckets.popitem(last=False)
        return bucket


def _bearer(request: Request) -> str | None:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() or None if kind.lower() == "bearer" else None


def _loopback(client: str) -> bool:
    try:
        return ipaddress.ip_address(client).is_loopback
    except ValueError:
        return False
