"""Sessions: one login of a user in one browser, which shows a random 256-bit token of which the records keep the digest."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select, update

from inspection.domain import Role, Session
from inspection.records.tables import sessions, users

LONGEST = timedelta(hours=12)
# Using a session is not written down more often.
_USED_STEP = timedelta(minutes=1)
# A clock may be corrected by so much without a question.
_CLOCK = timedelta(minutes=1)


def start_session(connection: Connection, user: str, client: str, now: datetime) -> str:
    """What the browser shall show from now on. Sessions that have ended by themselves are forgotten."""
    connection.execute(delete(sessions).where(sessions.c.started_at < now - LONGEST))
    token = secrets.token_urlsafe(32)
    times = {"started_at": now, "used_at": now, "authenticated_at": now}
    connection.execute(insert(sessions).values(digest=_digest(token), user=user, client=client[:64], **times))
    return token


def find_session(connection: Connection, token: str, now: datetime, idle: timedelta) -> Session | None:
    """The session of this token; None if it never was or is over: used too long ago or later than now, begun too
    long ago, or its user disabled."""
    statement = (
        select(sessions, users.c.role, users.c.must_change_password)
        .join(users, users.c.user == sessions.c.user)
        .where(
            sessions.c.digest == _digest(token),
            sessions.c.used_at > now - idle,
            # Where the clock was set back, nobody stays logged in until it is there again.
            sessions.c.used_at < now + _CLOCK,
            sessions.c.started_at > now - LONGEST,
            users.c.disabled_at.is_(None),
        )
    )
    row = connection.execute(statement).mappings().one_or_none()
    return Session(**{**row, "role": Role(row["role"])}) if row else None


def due(session: Session, now: datetime) -> bool:
    """Is it time to write down that the session is in use?"""
    return now - session.used_at >= _USED_STEP


def use_session(connection: Connection, digest: str, now: datetime) -> None:
    connection.execute(update(sessions).where(sessions.c.digest == digest).values(used_at=now))


def confirm_session(connection: Connection, digest: str, now: datetime) -> None:
    """The password was shown again."""
    connection.execute(update(sessions).where(sessions.c.digest == digest).values(authenticated_at=now, used_at=now))


def end_session(connection: Connection, digest: str) -> None:
    connection.execute(delete(sessions).where(sessions.c.digest == digest))


def end_sessions(connection: Connection, user: str) -> None:
    """All of the user's."""
    connection.execute(delete(sessions).where(sessions.c.user == user))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
