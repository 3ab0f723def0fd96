"""What every request needs: the settings, the records to read and to write in, and the recorder, which writes lots."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import Connection, Engine

from inspection.domain import Session
from inspection.passwords import Passwords
from inspection.recorder_client import RecorderClient
from inspection.web.disk import DiskWatch
from inspection.web.settings import Settings
from inspection.web.storage import StorageWatch
from inspection.web.triggers import Triggers


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Context:
    """``writer`` writes what people say and decide, users, sessions, the audit trail and idempotency keys; lots and parts are the
    recorder's. ``clock`` tells the aware UTC time by which sessions end and locked users may try again.
    """

    settings: Settings
    reader: Engine
    writer: Engine
    recorder: RecorderClient
    triggers: Triggers
    clock: Callable[[], datetime] = utc_now
    passwords: Passwords = field(default_factory=Passwords)
    disk: DiskWatch = field(default_factory=DiskWatch)
    storage: StorageWatch = field(default_factory=StorageWatch)


def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


def _records(request: Request) -> Iterator[Connection]:
    with _context(request).reader.connect() as connection:
        yield connection


InContext = Annotated[Context, Depends(_context)]

# One read-only transaction per request: everything in one answer belongs to one snapshot.
Records = Annotated[Connection, Depends(_records)]


def _who(request: Request) -> str | None:
    who: str | None = request.scope.get("state", {}).get("user")
    return who


# The user who is logged in; None for a program, which says for whom it acts.
User = Annotated[str | None, Depends(_who)]


def _session(request: Request) -> Session | None:
    session: Session | None = request.scope.get("state", {}).get("session")
    return session


# The session in which somebody is logged in; None for a program, and for whoever is not logged in yet.
InSession = Annotated[Session | None, Depends(_session)]


def _first_start(request: Request) -> bool:
    return bool(request.scope.get("state", {}).get("first_start", False))


# Had the station no user yet when the request came?
FirstStart = Annotated[bool, Depends(_first_start)]
