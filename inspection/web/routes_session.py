"""REST: log in, show the password again, change it, log out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from inspection.domain import ROLE_SCOPES, Role, Scope, Session
from inspection.errors import Conflict
from inspection.passwords import MAX_LENGTH, check_password
from inspection.records.sessions import LONGEST, confirm_session, end_session, find_session, start_session
from inspection.records.users import Login, count_login, get_user, kept_password, set_password
from inspection.web.audited import Known
from inspection.web.context import Context, InContext, InSession
from inspection.web.identity import COOKIE
from inspection.web.permissions import CONFIRMED_FOR
from inspection.web.problems import Problem, documented

router = APIRouter(prefix="/api/v1/session", tags=["session"], responses=documented())

_WAYS_OUT = "try again, in a quarter of an hour if it was often, or ask an administrator"
Password = Annotated[str, Field(min_length=1, max_length=MAX_LENGTH)]


class NewSession(BaseModel):
    """Who logs in."""

    model_config = ConfigDict(extra="forbid")

    user: Annotated[str, Field(min_length=1, max_length=64)]
    password: Password


class Confirmation(BaseModel):
    """The password once more."""

    model_config = ConfigDict(extra="forbid")

    password: Password


class PasswordChange(BaseModel):
    """The password of now, and the one of from now on."""

    model_config = ConfigDict(extra="forbid")

    password: Password
    new_password: Password


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """Who is logged in, what that opens, until when at most, after how many idle minutes it ends, and until when no password is
    asked for. ``must_change_password``: nothing is opened before that.
    """

    user: str
    role: Role
    scopes: tuple[Scope, ...]
    ends_at: datetime
    idle_minutes: float
    confirmed_until: datetime
    must_change_password: bool


@router.post("", status_code=HTTPStatus.CREATED)
def log_in(new: NewSession, request: Request, response: Response, context: InContext) -> LoggedIn:
    """Begin a session: the answer sets a cookie. Says the same of wrong names, wrong passwords, locked and disabled users."""
    login = _compared(context, new.user, new.password)
    known = new.user if login is not Login.UNKNOWN else "unnamed"
    # Not the name that nobody has: people type passwords into the wrong field.
    request.scope["state"]["traced"] = Known(by=known, outcome=None if login is Login.RIGHT else f"401 {login}")
    if login is not Login.RIGHT:
        detail = f"name or password is wrong, or there were too many failures; {_WAYS_OUT}"
        raise Problem(HTTPStatus.UNAUTHORIZED, "wrong_login", detail)
    return _begun(context, request, response, new.user)


@router.get("")
def show_session(context: InContext, session: InSession) -> LoggedIn:
    """Who is logged in here."""
    return _shown(context, _needed(session))


@router.delete("", status_code=HTTPStatus.NO_CONTENT)
def log_out(request: Request, response: Response, context: InContext, session: InSession) -> None:
    """End the session."""
    with context.writer.begin() as connection:
        end_session(connection, _needed(session).digest)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict", secure=_is_encrypted(request))


@router.post("/confirm")
def confirm(shown: Confirmation, request: Request, context: InContext, session: InSession) -> LoggedIn:
    """Show the password again, as what cannot easily be undone demands. Failures count as those of logins."""
    session = _needed(session)
    _demand(context, request, session, shown.password)
    with context.writer.begin() as connection:
        confirm_session(connection, session.digest, context.clock())
    return _shown(context, session, context.clock())


@router.post("/password")
def change_password(
    change: PasswordChange, request: Request, response: Response, context: InContext, session: InSession
) -> LoggedIn:
    """Take another password. All sessions of the user end, and this browser gets a new one."""
    session = _needed(session)
    _demand(context, request, session, change.password)
    checked(session.user, change.new_password)
    if session.must_change_password and change.new_password == change.password:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "weak_password", "this is the password of before; choose another one")
    kept = context.passwords.hashed(change.new_password)
    with context.writer.begin() as connection:
        set_password(connection, session.user, kept)
    return _begun(context, request, response, session.user)


def checked(user: str, password: str) -> None:
    """Problem ``weak_password`` if it is not good enough."""
    try:
        check_password(user, password)
    except Conflict as error:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "weak_password", str(error)) from None


def _compared(context: Context, user: str, password: str) -> Login:
    with context.reader.connect() as records:
        kept = kept_password(records, user)
    right = context.passwords.match(kept, password)
    with context.writer.begin() as connection:
        return count_login(connection, user, right, context.clock())


def _demand(context: Context, request: Request, session: Session, password: str) -> None:
    login = _compared(context, session.user, password)
    if login is Login.RIGHT:
        return
    request.scope["state"]["traced"] = Known(outcome=f"403 {login}")
    if login is Login.LOCKED_NOW:
        # Somebody guesses at a browser that was left open.
        with context.writer.begin() as connection:
            end_session(connection, session.digest)
    detail = f"the password is wrong, or there were too many failures; {_WAYS_OUT}"
    raise Problem(HTTPStatus.FORBIDDEN, "wrong_password", detail)


def _begun(context: Context, request: Request, response: Response, user: str) -> LoggedIn:
    now = context.clock()
    with context.writer.begin() as connection:
        former = request.cookies.get(COOKIE)
        if former and (ended := find_session(connection, former, now, LONGEST)) is not None:
            end_session(connection, ended.digest)
        token = start_session(connection, user, request.client.host if request.client else "", now)
        found = get_user(connection, user)
    # Without an age: it ends with the browser too.
    response.set_cookie(COOKIE, token, path="/", httponly=True, samesite="strict", secure=_is_encrypted(request))
    return _shown(context, Session("", user, found.role, "", now, now, now, found.must_change_password))


def _is_encrypted(request: Request) -> bool:
    """Does the browser see an encrypted page? A proxy need not say so, but the browser does."""
    return request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")


def _needed(session: Session | None) -> Session:
    if session is None:
        raise Problem(
            HTTPStatus.UNAUTHORIZED, "not_logged_in", "there is no session: programs have none, people log in at /login"
        )
    return session


def _shown(context: Context, session: Session, authenticated_at: datetime | None = None) -> LoggedIn:
    confirmed_until = (authenticated_at or session.authenticated_at) + CONFIRMED_FOR
    idle = timedelta(minutes=context.settings.session_idle_minutes)
    scopes = tuple(scope for scope in Scope if scope in ROLE_SCOPES[session.role])
    return LoggedIn(
        session.user,
        session.role,
        scopes,
        session.started_at + LONGEST,
        idle / timedelta(minutes=1),
        confirmed_until,
        session.must_change_password,
    )
