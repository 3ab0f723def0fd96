"""Users for tests, and their logins, without a login page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from argon2 import PasswordHasher
from local_client import ADDRESS
from sqlalchemy import Engine

from inspection.domain import Role
from inspection.passwords import Passwords
from inspection.records.sessions import start_session
from inspection.records.users import create_user, find_user

PASSWORD = "correct horse battery"
CHEAP = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
"""Thousands of times less work than the station's own."""


def add_user(engine: Engine, name: str = "ada", role: Role = Role.ADMIN, password: str = PASSWORD) -> None:
    """A user with this password, unless there is one of this name."""
    with engine.begin() as connection:
        if find_user(connection, name) is None:
            create_user(connection, name, role, CHEAP.hashed(password), "test")


def session_cookie(engine: Engine, name: str = "ada", now: datetime | None = None) -> str:
    """What the browser of a user holds who has just logged in, in the cookie ``station_session``."""
    with engine.begin() as connection:
        return start_session(connection, name, "127.0.0.1", now or datetime.now(UTC))


def logged_in(context: Any, engine: Engine, url: str, name: str = "ada", role: Role = Role.ADMIN) -> Any:
    """The Playwright browser context, logged in as this user, who is made if there is none."""
    add_user(engine, name, role)
    context.add_cookies([{"name": "station_session", "value": session_cookie(engine, name), "url": url}])
    return context


def headers(engine: Engine, name: str = "ada", url: str = ADDRESS) -> dict[str, str]:
    """Headers of a request from a page that this user has open."""
    return {"cookie": f"station_session={session_cookie(engine, name)}", "origin": url}
