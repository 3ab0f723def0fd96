"""REST: users, for administrators."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from inspection.domain import Role
from inspection.domain import User as UserRow
from inspection.errors import Conflict
from inspection.records import users
from inspection.web.audited import Known
from inspection.web.context import FirstStart, InContext, Records, User
from inspection.web.names import By, Name, UserName, acting
from inspection.web.problems import conflict_as, documented, not_found_as
from inspection.web.routes_session import Password, checked

router = APIRouter(prefix="/api/v1/users", tags=["users"], responses=documented())

FOUND = documented(HTTPStatus.NOT_FOUND)
CHANGED = documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)


class NewUser(BaseModel):
    """A person who shall log in. The first one of a station is its administrator."""

    model_config = ConfigDict(extra="forbid")

    user: Name
    role: Role
    password: Password
    by: By | None = None


class NewRole(BaseModel):
    model_config = ConfigDict(extra="forbid")

    role: Role


class NewPassword(BaseModel):
    model_config = ConfigDict(extra="forbid")

    password: Annotated[str, Field(min_length=1, max_length=256)]


@dataclass(frozen=True, slots=True)
class Users:
    """By name, disabled ones too."""

    items: tuple[UserRow, ...]


@router.get("")
def list_users(records: Records) -> Users:
    """Who may log in, as what, and who is locked or disabled."""
    return Users(users.list_users(records))


@router.post("", status_code=HTTPStatus.CREATED, responses=documented(HTTPStatus.CONFLICT))
def create_user(new: NewUser, request: Request, context: InContext, user: User, first: FirstStart) -> UserRow:
    """Make a user, who changes the password at the first login: somebody else knows it. Not so the first one, and programs."""
    checked(new.user, new.password)
    kept = context.passwords.hashed(new.password)
    with conflict_as("invalid_user"), context.writer.begin() as connection:
        # Decided when the request came: whoever comes second at a first start makes no user.
        if first:
            if new.role is not Role.ADMIN:
                raise Conflict("the first user of a station is its administrator: role admin")
            request.scope["state"]["traced"] = Known(by=new.user, role=new.role)
            return users.create_first_user(connection, new.user, kept)
        return users.create_user(connection, new.user, new.role, kept, acting(user, new.by), must_change_password=True)


@router.post("/{user}/role", responses=CHANGED)
def change_role(user: UserName, new: NewRole, context: InContext) -> UserRow:
    """Let a user be something else, from the next request on."""
    with _change(), context.writer.begin() as connection:
        return users.change_role(connection, user, new.role)


@router.post("/{user}/disable", responses=CHANGED)
def disable_user(user: UserName, context: InContext) -> UserRow:
    """Let a user log in no more; all sessions end. What the user did stays as it is."""
    with _change(), context.writer.begin() as connection:
        return users.disable_user(connection, user, context.clock())


@router.post("/{user}/enable", responses=FOUND)
def enable_user(user: UserName, context: InContext) -> UserRow:
    """Let a disabled user log in again."""
    with _change(), context.writer.begin() as connection:
        return users.enable_user(connection, user)


@router.post("/{user}/unlock", responses=FOUND)
def unlock_user(user: UserName, context: InContext) -> UserRow:
    """Let a user try again who is locked after wrong passwords."""
    with _change(), context.writer.begin() as connection:
        return users.unlock_user(connection, user)


@router.post("/{user}/password", responses=FOUND)
def reset_password(user: UserName, new: NewPassword, context: InContext, acting_user: User) -> UserRow:
    """Give a user another password, to be changed at the next login; all sessions of the user end."""
    checked(user, new.password)
    kept = context.passwords.hashed(new.password)
    with _change(), context.writer.begin() as connection:
        return users.set_password(connection, user, kept, must_change_password=user != acting_user)


@contextmanager
def _change() -> Iterator[None]:
    with not_found_as("unknown_user"), conflict_as("last_admin"):
        yield
