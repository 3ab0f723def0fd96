"""Users: who may log in, as what, and how often they tried in vain."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection, RowMapping, func, insert, select, update

from inspection.commands import check_name
from inspection.domain import Role, User
from inspection.errors import Conflict, NotFound
from inspection.records.sessions import end_sessions
from inspection.records.tables import users

FAILURES_TO_LOCK = 5
LOCKED = timedelta(minutes=15)
_LONGEST_LOCK = timedelta(days=1)
# Names of users and of programs stand beside one another in columns of 64 characters.
_MAX_NAME = 48
_FIRST_USER_LOCK = 7_001


class Login(StrEnum):
    """What became of a password that somebody showed. ``LOCKED_NOW``: it was wrong once too often."""

    RIGHT = "right"
    WRONG = "wrong_password"
    UNKNOWN = "unknown_user"
    DISABLED = "disabled_user"
    LOCKED = "locked_user"
    LOCKED_NOW = "lockout"


def any_user(connection: Connection) -> bool:
    """Has anybody been made a user? One who is disabled counts."""
    return connection.execute(select(users.c.user).limit(1)).first() is not None


def create_user(
    connection: Connection, user: str, role: Role, password_hash: str, by: str, must_change_password: bool = False
) -> User:
    """A new user. Conflict if the name is taken or cannot be one.

    ``must_change_password`` is not for programs, which have nobody to do it.
    """
    try:
        check_name(user)
    except ValueError as error:
        raise Conflict(f"a user's name {error}") from None
    if len(user) > _MAX_NAME:
        raise Conflict(f"a user's name has at most {_MAX_NAME} characters, this one has {len(user)}")
    if find_user(connection, user) is not None:
        raise Conflict(f"there is a user {user!r} already; take another name, or enable that one")
    must_change_password = must_change_password and role is not Role.MES_SERVICE
    values = {"user": user, "role": role, "created_at": datetime.now(UTC), "created_by": by, "failed_logins": 0}
    connection.execute(insert(users).values(**values, password_hash=password_hash, must_change_password=must_change_password))
    return get_user(connection, user)


def create_first_user(connection: Connection, user: str, password_hash: str) -> User:
    """The administrator of a station that has no user yet; Conflict if somebody else was first."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_FIRST_USER_LOCK)))
    if any_user(connection):
        raise Conflict("the station has an administrator already; log in, and let an administrator make further users")
    return create_user(connection, user, Role.ADMIN, password_hash, user)


def list_users(connection: Connection) -> tuple[User, ...]:
    """All users by name, disabled ones too."""
    return tuple(_user(row) for row in connection.execute(select(users).order_by(users.c.user)).mappings())


def find_user(connection: Connection, user: str) -> User | None:
    """The user of this name; None if there is none."""
    row = connection.execute(select(users).where(users.c.user == user)).mappings().one_or_none()
    return _user(row) if row else None


def get_user(connection: Connection, user: str) -> User:
    """The user of this name; NotFound if there is none."""
    found = find_user(connection, user)
    if found is None:
        raise NotFound(f"there is no user {user!r}; list them to find the name")
    return found


def change_role(connection: Connection, user: str, role: Role) -> User:
    """NotFound if there is no such user, Conflict if nobody could make users afterwards."""
    if role is not Role.ADMIN:
        _leave_an_admin(connection, user)
    return _change(connection, user, role=role)


def disable_user(connection: Connection, user: str, now: datetime) -> User:
    """The user cannot log in any more, and what was open is closed. Errors as of ``change_role``."""
    _leave_an_admin(connection, user)
    end_sessions(connection, user)
    return _change(connection, user, disabled_at=now)


def enable_user(connection: Connection, user: str) -> User:
    """The user may log in again, with the password of before."""
    return _change(connection, user, disabled_at=None, failed_logins=0, locked_until=None)


def set_password(connection: Connection, user: str, password_hash: str, must_change_password: bool = False) -> User:
    """Another password, with which the user may log in at once; all sessions end. Else as ``create_user``."""
    end_sessions(connection, user)
    must_change_password = must_change_password and get_user(connection, user).role is not Role.MES_SERVICE
    values = {"password_hash": password_hash, "must_change_password": must_change_password}
    return _change(connection, user, **values, failed_logins=0, locked_until=None)


def unlock_user(connection: Connection, user: str) -> User:
    """The user may try again at once."""
    return _change(connection, user, failed_logins=0, locked_until=None)


def kept_password(connection: Connection, user: str) -> str | None:
    """What a password of this user is compared with; None if there is no such user, or one who cannot log in."""
    statement = select(users.c.password_hash).where(users.c.user == user, users.c.disabled_at.is_(None))
    return connection.execute(statement).scalar_one_or_none()


def count_login(connection: Connection, user: str, right: bool, now: datetime) -> Login:
    """What becomes of a password that was compared with the kept one, before this transaction: that takes too long for it.

    Every fifth failure in a row locks the user, each time twice as long. One row is written in any case, so that the time this
    takes tells nobody who is a user.
    """
    found = find_user(connection, user)
    if found is None or found.disabled_at is not None or _locked(found, now):
        connection.execute(
            update(users).where(users.c.user == select(func.min(users.c.user)).scalar_subquery()).values(role=users.c.role)
        )
        return Login.UNKNOWN if found is None else Login.DISABLED if found.disabled_at is not None else Login.LOCKED
    failed, locked_until, login = 0, None, Login.RIGHT
    if not right:
        failed, login = found.failed_logins + 1, Login.WRONG
        if failed % FAILURES_TO_LOCK == 0:
            doublings = min(failed // FAILURES_TO_LOCK - 1, 16)
            locked_until, login = now + min(LOCKED * 2**doublings, _LONGEST_LOCK), Login.LOCKED_NOW
    values = {"failed_logins": failed, "locked_until": locked_until}
    connection.execute(update(users).where(users.c.user == user).values(**values))
    return login


def _locked(user: User, now: datetime) -> bool:
    """Not for longer than anybody is ever locked, however far the clock was set back meanwhile."""
    return user.locked_until is not None and now < user.locked_until <= now + _LONGEST_LOCK


def _leave_an_admin(connection: Connection, user: str) -> None:
    others = select(users.c.user).where(users.c.role == Role.ADMIN, users.c.disabled_at.is_(None), users.c.user != user)
    if get_user(connection, user).role is Role.ADMIN and connection.execute(others.limit(1)).first() is None:
        raise Conflict(f"{user!r} is the only administrator; make another one first")


def _change(connection: Connection, user: str, **values: object) -> User:
    get_user(connection, user)
    connection.execute(update(users).where(users.c.user == user).values(**values))
    return get_user(connection, user)


def _user(row: RowMapping) -> User:
    fields = {name: value for name, value in row.items() if name != "password_hash"}
    return User(**{**fields, "role": Role(row["role"])})
