"""Who may ask for what, and how often: one middleware in front of every route and every page.

As long as the station has no user, it serves this machine, asked for by a name of its own, and, with ``[web] tokens = true``,
programs that show a token; its pages lead to the making of the administrator. From the first user on, everybody shows who he is:
a browser the cookie of a session, a program ``Authorization: Bearer TOKEN``. What that opens is decided from method and path
alone. Writes leave their trace here (``audited``), whether they were allowed or not.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus
from urllib.parse import quote

from anyio import to_thread
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from inspection.domain import Role, Scope
from inspection.web.audited import Audited
from inspection.web.context import Context
from inspection.web.identity import Caller, Identities, is_loopback, names_this_machine
from inspection.web.limits import Limit
from inspection.web.names import account_of_request
from inspection.web.pages.plain import refused_page
from inspection.web.permissions import CONFIRMED_FOR, DOCUMENT, METRICS, PREFIX, READS, needed_scope, needs_password, page_scope
from inspection.web.problems import Problem, problem_response
from inspection.web.trail import Templates

# Style sheets and scripts of the login page, which show nothing of the station.
_OPEN = "/static/"
_LOGIN, _FIRST_USER = ("POST", PREFIX + "session"), ("POST", PREFIX + "users")
# What the manager of the machine and a scraper of metrics ask for.
_MACHINE = {PREFIX + "health", PREFIX + "health/live", PREFIX + "health/ready", METRICS}
# The page on which a password is changed, and what it loads.
_ACCOUNT, _NICEGUI = "/account", "/_nicegui"
_WITH_PASSWORD = {PREFIX + "session", PREFIX + "session/confirm", PREFIX + "session/password"}
_LOGINS_PER_S, _LOGINS_AT_ONCE = 1 / 6, 10
# How long a page that is open may go on after its session has ended.
_LOOK_AGAIN = timedelta(seconds=20)


class Access:
    """ASGI middleware. ``templates`` are the paths of the routes behind it, known when the first request comes."""

    def __init__(self, app: ASGIApp, context: Context, templates: Templates) -> None:
        self._app = app
        self._clock = context.clock
        self._tokens = context.settings.tokens
        self._identities = Identities(context)
        self._audited = Audited(app, context, templates)
        self._requests = Limit(context.settings.requests_per_s, context.settings.requests_per_s * 5)
        self._logins = Limit(_LOGINS_PER_S, _LOGINS_AT_ONCE)
        self._station = context.settings.station

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
            return
        if scope["type"] != "http" or scope["path"] in (DOCUMENT, "/favicon.ico") or scope["path"].startswith(_OPEN):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            caller = await to_thread.run_sync(self._identities.caller, request)
        except (DBAPIError, PoolTimeout):
            if _is_for_machines(request) and is_loopback(request.client.host if request.client else ""):
                await self._app(scope, receive, send)
                return
            detail = "users and tokens cannot be read now; try again, and look at the recorder if it stays so"
            answer: Response = problem_response(request, HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", detail)
            await answer(scope, receive, send)
            return
        scope.setdefault("state", {}).update(
            user=caller.session.user if caller.session else None,
            role=caller.session.role if caller.session else None,
            scopes=caller.scopes if caller.users else frozenset(Scope),
            session=caller.session,
            account=caller.account,
            first_start=not caller.users,
        )
        account_of_request.set(caller.token.account if caller.token else None)
        if not scope["path"].startswith("/api/") and scope["path"] != METRICS:
            refusal = self._page_refusal(request, caller)
            await (refusal or self._app)(scope, receive, send)
            return
        try:
            self._limit(request, caller)
            self._check(request, caller)
        except Problem as problem:
            await self._audited.refuse(request, caller, problem, _answer(request, problem), receive, send)
            return
        await self._audited(request, caller, receive, send, is_login=(request.method, scope["path"]) == _LOGIN)

    def _limit(self, request: Request, caller: Caller) -> None:
        """Raises Problem if the caller asks too often."""
        wait_s = self._requests.take(caller.account)
        if wait_s:
            detail = f"more than {self._requests.rate:g} requests a second; ask for larger pages, or wait {wait_s:.2f} s"
            raise _later("too_many_requests", detail, wait_s)
        if request.method == "POST" and request.scope["path"] in _WITH_PASSWORD:
            wait_s = self._logins.take(caller.client)
            if wait_s:
                raise _later("too_many_logins", f"too many passwords from this address; wait {wait_s:.0f} s", wait_s)

    # --- the REST interface ---

    def _check(self, request: Request, caller: Caller) -> None:
        """Raises Problem if the caller may not ask for this."""
        method, path = request.method, request.scope["path"]
        needed = needed_scope(method, path)
        if caller.bearer and (caller.users or self._tokens):
            if caller.token is None:
                raise _unknown(
                    "no_valid_token", "show a valid token: Authorization: Bearer TOKEN; `station token create` makes one"
                )
            if needed is not None and needed not in caller.scopes:
                having = ", ".join(caller.token.scopes)
                detail = f"the token of {caller.token.account} lacks the scope {needed}; it has {having}"
                raise Problem(HTTPStatus.FORBIDDEN, "missing_scope", detail)
            return
        # Where somebody is known by a cookie, or by being on this machine, any page of any site could write in his name.
        strict = caller.users and (caller.session is not None or (method, path) == _LOGIN)
        if method not in READS and (caller.same_origin is False or (strict and caller.same_origin is None)):
            detail = "writing is for pages of this station; open it at its own address. Programs show a token instead"
            raise Problem(HTTPStatus.FORBIDDEN, "cross_site", detail)
        if caller.users:
            self._check_user(request, needed, caller)
            return
        here = caller.local and (names_this_machine(request) or _is_for_machines(request))
        if self._tokens and (method, path) != _FIRST_USER and not (here and needed is Scope.READ):
            raise _unknown("no_valid_token", "show a valid token: Authorization: Bearer TOKEN; `station token create` makes one")
        if not here:
            detail = (
                "the station has no users yet and serves itself alone: "
                "make the first one there, at http://localhost, or with `station user create`"
            )
            raise Problem(HTTPStatus.FORBIDDEN, "first_start", detail)

    def _check_user(self, request: Request, needed: Scope | None, caller: Caller) -> None:
        method, path = request.method, request.scope["path"]
        if (method, path) == _LOGIN or (_is_for_machines(request) and caller.local):
            return
        session = caller.session
        if session is None:
            raise _unknown("not_logged_in", "log in at /login; programs show a token: Authorization: Bearer TOKEN")
        if session.must_change_password and path not in _WITH_PASSWORD:
            detail = "somebody else chose your password: change it on the page of your account, or POST /api/v1/session/password"
            raise Problem(HTTPStatus.FORBIDDEN, "password_change_needed", detail)
        if needed is not None and needed not in caller.scopes:
            detail = f"the role {session.role} does not open this, it lacks {needed}; ask an administrator"
            raise Problem(HTTPStatus.FORBIDDEN, "missing_scope", detail)
        if needs_password(method, path) and self._clock() - session.authenticated_at > CONFIRMED_FOR:
            detail = "show your password again: POST /api/v1/session/confirm, then send this request again"
            raise Problem(HTTPStatus.FORBIDDEN, "password_needed", detail)

    # --- the pages ---

    def _page_refusal(self, request: Request, caller: Caller) -> Response | None:
        path, state = request.scope["path"], request.scope["state"]
        # A page that is open loads its parts and asks for what is new as often as it needs.
        if not path.startswith(_NICEGUI):
            try:
                self._limit(request, caller)
            except Problem as problem:
                return _answer(request, problem)
        looks = request.method in READS and "text/html" in request.headers.get("accept", "text/html")
        if not caller.users:
            if caller.local and names_this_machine(request) and path != "/setup" and looks:
                return RedirectResponse("/setup", HTTPStatus.SEE_OTHER)
            if caller.local and names_this_machine(request):
                return None
            why = "The station has no users yet. Its first page is opened on the station itself, at http://localhost."
            return refused_page(self._station, state, "Not set up yet", why)
        if path in ("/login", "/setup") and request.method in READS:
            return None
        if caller.session is None:
            if looks:
                # As it was asked for, still encoded.
                here = request.scope["raw_path"].decode("latin-1") + (f"?{request.url.query}" if request.url.query else "")
                return RedirectResponse(f"/login?next={quote(here, safe='/')}" if here != "/" else "/login", HTTPStatus.SEE_OTHER)
            return problem_response(request, HTTPStatus.UNAUTHORIZED, "not_logged_in", "log in at /login, then ask again")
        if request.method not in READS and caller.same_origin is not True:
            return problem_response(request, HTTPStatus.FORBIDDEN, "cross_site", "writing is for pages of this station")
        if caller.session.must_change_password and path != _ACCOUNT and not path.startswith(_NICEGUI):
            if looks:
                return RedirectResponse(_ACCOUNT, HTTPStatus.SEE_OTHER)
            return problem_response(request, HTTPStatus.FORBIDDEN, "password_change_needed", "change your password first")
        if caller.session.role is Role.MES_SERVICE:
            why = "This user is for programs, which ask the REST interface. Log in with your own name."
            return refused_page(self._station, state, "Not for this user", why)
        needed = page_scope(path)
        if needed is not None and needed not in caller.scopes:
            role = caller.session.role.replace("_", " ")
            why = f"Your role, {role}, does not open this page. Ask an administrator if you need it."
            return refused_page(self._station, state, "Not for your role", why)
        return None

    async def _websocket(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Pages are served through it, as long as the session lasts."""
        connection = HTTPConnection(scope)

        def known() -> bool:
            caller = self._identities.caller(connection)
            if not caller.users:
                return caller.same_origin is not False and caller.local and names_this_machine(connection)
            return caller.session is not None and caller.same_origin is True

        if not await _readable(known):
            await send({"type": "websocket.close", "code": 1008, "reason": "log in on a page of this station"})
            return
        looked = self._clock()

        async def while_logged_in() -> Message:
            nonlocal looked
            message = await receive()
            if message["type"] == "websocket.receive" and self._clock() - looked > _LOOK_AGAIN:
                looked = self._clock()
                if not await _readable(lambda: self._lasts(connection)):
                    return {"type": "websocket.disconnect", "code": 1008}
            return message

        await self._app(scope, while_logged_in, send)

    def _lasts(self, connection: HTTPConnection) -> bool:
        return not self._identities.any_user() or self._identities.session(connection, unattended=True) is not None


def _is_for_machines(request: Request) -> bool:
    """What programs on this machine may read, whoever they are."""
    return request.scope["path"] in _MACHINE and request.method in READS


def _answer(request: Request, problem: Problem) -> Response:
    answer = problem_response(request, problem.status, problem.code, problem.detail)
    answer.headers.update(problem.headers)
    return answer


async def _readable(known: Callable[[], bool]) -> bool:
    """False too if the records cannot be read."""
    try:
        return await to_thread.run_sync(known)
    except (DBAPIError, PoolTimeout):
        return False


def _unknown(code: str, detail: str) -> Problem:
    return Problem(HTTPStatus.UNAUTHORIZED, code, detail, {"www-authenticate": "Bearer"})


def _later(code: str, detail: str, wait_s: float) -> Problem:
    return Problem(HTTPStatus.TOO_MANY_REQUESTS, code, detail, {"retry-after": str(max(1, round(wait_s + 0.5)))})
