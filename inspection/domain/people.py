"""Users, roles, tokens, and the trail of what they did."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Scope(StrEnum):
    """What a token or a role opens: reading everything; lots, their parts and challenges; triggers; labels, golden images,
    golden parts and legal holds; training; which model decides; the settings of the station; its users and tokens; the audit
    trail.
    """

    READ = "read"
    LOTS = "lots"
    TRIGGER = "trigger"
    LABEL = "label"
    TRAIN = "train"
    DEPLOY = "deploy"
    SETTINGS = "settings"
    USERS = "users"
    AUDIT = "audit"


class Role(StrEnum):
    """What a user is on this station; ``ROLE_SCOPES`` says what that opens."""

    OPERATOR = "operator"
    QA = "qa"
    ENGINEER = "engineer"
    ADMIN = "admin"
    MES_SERVICE = "mes_service"


_OPERATOR = frozenset({Scope.READ, Scope.LOTS, Scope.TRIGGER})

_QA = _OPERATOR | {Scope.LABEL, Scope.TRAIN, Scope.DEPLOY, Scope.AUDIT}

_ENGINEER = _QA | {Scope.SETTINGS}

ROLE_SCOPES = {
    Role.OPERATOR: _OPERATOR,
    Role.QA: _QA,
    Role.ENGINEER: _ENGINEER,
    Role.ADMIN: _ENGINEER | {Scope.USERS},
    Role.MES_SERVICE: _OPERATOR,
}


@dataclass(frozen=True, slots=True)
class Token:
    """What a machine account may do, and how long. The token itself is known to its owner alone."""

    account: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class User:
    """A person who logs in. ``failed_logins``: in a row; ``locked_until``: no password is taken before that.
    ``must_change_password``: somebody else chose it, and it opens nothing but its change.
    """

    user: str
    role: Role
    created_at: datetime
    created_by: str
    disabled_at: datetime | None
    failed_logins: int
    locked_until: datetime | None
    must_change_password: bool


@dataclass(frozen=True, slots=True)
class Session:
    """One login. ``digest`` is of what the browser holds; ``authenticated_at``: when the password was last shown;
    ``must_change_password``: as of its user.
    """

    digest: str
    user: str
    role: Role
    client: str
    started_at: datetime
    used_at: datetime
    authenticated_at: datetime
    must_change_password: bool = False


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What somebody did or was refused. ``digest`` is of all that stands here, ``previous`` the digest of the entry before.

    ``outcome``: "asked" before it was done, then the HTTP status and, where it was refused, the code; "done" of a command.
    """

    audit_id: int
    at: datetime
    by: str
    role: str
    client: str
    action: str
    subject: str
    outcome: str
    detail: str
    previous: str
    digest: str
