"""Users and sessions in the records, on SQLite and PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from inspection.domain import Role
from inspection.errors import Conflict, NotFound
from inspection.records import users
from inspection.records.sessions import LONGEST, confirm_session, end_session, find_session, start_session
from inspection.records.users import Login

NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)
IDLE = timedelta(minutes=30)


def test_of_many_who_start_a_station_at_once_one_becomes_its_administrator(engine: Engine) -> None:
    def start(name: str) -> bool:
        try:
            with engine.begin() as connection:
                users.create_first_user(connection, name, "hash")
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(start, ("ada", "bob", "eve", "kim"))).count(True) == 1
    with engine.connect() as connection:
        (only,) = users.list_users(connection)
    assert (only.role, only.created_by) == (Role.ADMIN, only.user)


def test_logins_are_counted_and_a_user_is_locked_and_unlocked(engine: Engine) -> None:
    with engine.begin() as connection:
        users.create_user(connection, "ada", Role.ADMIN, "hash", "ada")
        assert [users.count_login(connection, "ada", False, NOW) for _ in range(5)] == [Login.WRONG] * 4 + [Login.LOCKED_NOW]
        assert users.count_login(connection, "ada", True, NOW + timedelta(minutes=14)) is Login.LOCKED
        assert users.get_user(connection, "ada").locked_until == NOW + timedelta(minutes=15)
        users.unlock_user(connection, "ada")
        assert users.count_login(connection, "ada", True, NOW) is Login.RIGHT
        assert users.count_login(connection, "nobody", False, NOW) is Login.UNKNOWN
        assert users.get_user(connection, "ada").failed_logins == 0
        with pytest.raises(Conflict, match="only administrator"):
            users.change_role(connection, "ada", Role.QA)
        with pytest.raises(NotFound):
            users.unlock_user(connection, "nobody")


def test_nobody_is_locked_for_as_long_as_the_clock_was_set_back(engine: Engine) -> None:
    with engine.begin() as connection:
        users.create_user(connection, "ada", Role.ADMIN, "hash", "ada")
        for _ in range(5):
            users.count_login(connection, "ada", False, NOW)
        hour_ago, year_ago = NOW - timedelta(hours=1), NOW - timedelta(days=365)
        assert users.count_login(connection, "ada", True, hour_ago) is Login.LOCKED
        assert users.count_login(connection, "ada", True, year_ago) is Login.RIGHT


def test_a_session_is_found_by_its_token_until_it_ends(engine: Engine) -> None:
    with engine.begin() as connection:
        users.create_user(connection, "ada", Role.ADMIN, "hash", "ada")
        users.create_user(connection, "ops", Role.OPERATOR, "hash", "ada")
        token = start_session(connection, "ops", "192.0.2.7", NOW)
        session = find_session(connection, token, NOW + IDLE - timedelta(seconds=1), IDLE)
        assert session is not None
        assert (session.user, session.role, session.client) == ("ops", Role.OPERATOR, "192.0.2.7")
        assert token not in session.digest
        assert find_session(connection, token, NOW + IDLE, IDLE) is None
        assert find_session(connection, token, NOW - timedelta(hours=1), IDLE) is None, "the clock was set back"
        confirm_session(connection, session.digest, NOW + IDLE)
        assert find_session(connection, token, NOW + LONGEST, LONGEST * 2) is None
        other = start_session(connection, "ops", "", NOW)
        end_session(connection, session.digest)
        assert find_session(connection, token, NOW, IDLE) is None
        users.disable_user(connection, "ops", NOW)
        assert find_session(connection, other, NOW, IDLE) is None
        users.enable_user(connection, "ops")
        assert find_session(connection, other, NOW, IDLE) is None, "what has ended stays so"
