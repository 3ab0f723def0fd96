"""Who a request comes from: the user of a session, the account of a token, or somebody on this machine."""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.requests import HTTPConnection

from inspection.domain import ROLE_SCOPES, Scope, Session, Token
from inspection.records import sessions
from inspection.records.tokens import find_token
from inspection.records.users import any_user
from inspection.web.context import Context

log = logging.getLogger(__name__)

COOKIE = "station_session"
# A revoked token opens nothing after this time.
_REMEMBER_S = 2.0
_TOKENS = 1_000


@dataclass(frozen=True, slots=True)
class Caller:
    """``bearer``: a token was shown; ``token`` is None if it opens nothing. ``users``: the station has users, so one must log in.
    ``same_origin``: None if the browser does not say from where the request comes, or it is none.
    """

    client: str
    local: bool
    users: bool
    bearer: bool
    token: Token | None
    session: Session | None
    same_origin: bool | None

    @property
    def account(self) -> str:
        """To whom limits and idempotency keys belong."""
        if self.session is not None:
            return f"user/{self.session.user}"
        return self.token.account if self.token is not None else self.client

    @property
    def scopes(self) -> frozenset[Scope]:
        if self.session is not None:
            return ROLE_SCOPES[self.session.role]
        return frozenset(self.token.scopes if self.token is not None else ())

    @property
    def role(self) -> str:
        """For the audit trail."""
        return self.session.role if self.session is not None else "program" if self.token is not None else ""


class Identities:
    """Looks callers up in the records. Thread-safe; DBAPIError if the records cannot be read."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._idle = timedelta(minutes=context.settings.session_idle_minutes)
        self._users = False
        self._known: OrderedDict[str, tuple[float, Token | None]] = OrderedDict()

    def caller(self, connection: HTTPConnection) -> Caller:
        client = connection.client.host if connection.client else ""
        users = self.any_user()
        shown = _bearer(connection)
        token = self._token(shown) if shown and (users or self._context.settings.tokens) else None
        session = None if shown or not users else self.session(connection)
        return Caller(client, is_loopback(client), users, shown is not None, token, session, _same_origin(connection))

    def session(self, connection: HTTPConnection, unattended: bool = False) -> Session | None:
        """The session whose cookie is shown. It is in use from now on, unless the browser asks by itself."""
        cookie = connection.cookies.get(COOKIE)
        if not cookie:
            return None
        now = self._context.clock()
        with self._context.reader.connect() as records:
            session = sessions.find_session(records, cookie, now, self._idle)
        if session is not None and sessions.due(session, now) and not unattended and _attended(connection):
            try:
                with self._context.writer.begin() as records:
                    sessions.use_session(records, session.digest, now)
            except (DBAPIError, PoolTimeout) as error:
                log.warning("the use of a session is not written down: %s", error)
        return session

    def any_user(self) -> bool:
        # Users are disabled, never deleted.
        if not self._users:
            with self._context.reader.connect() as records:
                self._users = any_user(records)
        return self._users

    def _token(self, shown: str) -> Token | None:
        key = hashlib.sha256(shown.encode()).hexdigest()
        known = self._known.get(key)
        if known is None or time.monotonic() - known[0] > _REMEMBER_S:
            with self._context.reader.connect() as connection:
                known = time.monotonic(), find_token(connection, shown)
            self._known[key] = known
            while len(self._known) > _TOKENS:
                self._known.popitem(last=False)
        return known[1]


def is_loopback(host: str) -> bool:
    """An address of this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def names_this_machine(connection: HTTPConnection) -> bool:
    """Was it asked for by a name that only this machine has? Other names can be made to lead here by whoever owns them."""
    try:
        host = urlsplit(f"//{_said(connection, 'host') or ''}").hostname or ""
    except ValueError:
        return False
    return host == "localhost" or is_loopback(host)


def _same_origin(connection: HTTPConnection) -> bool | None:
    """Does the request come from a page of this station?

    Sec-Fetch-Site says so, which browsers send where they trust the address; otherwise Origin, which they send with every write.
    """
    site = _said(connection, "sec-fetch-site")
    if site is not None and connection.scope["type"] == "http":
        return site == "same-origin"
    origin = _said(connection, "origin")
    if origin is None:
        return None
    try:
        netloc = urlsplit(origin).netloc
    except ValueError:
        return False
    return netloc != "" and netloc == _said(connection, "host")


def _said(connection: HTTPConnection, header: str) -> str | None:
    """What a header says that comes once; one that comes twice, of which others may read the other, says nothing."""
    said = connection.headers.getlist(header)
    return said[0] if len(said) == 1 else None


def _attended(connection: HTTPConnection) -> bool:
    """Did a person cause the request? Pictures that a page loads and questions of an idle page keep nobody logged in."""
    return connection.headers.get("sec-fetch-dest") != "image" and "station-unattended" not in connection.headers


def _bearer(connection: HTTPConnection) -> str | None:
    kind, _, token = (_said(connection, "authorization") or "").partition(" ")
    return token.strip() or None if kind.lower() == "bearer" else None
