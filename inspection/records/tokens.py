"""Machine accounts: each has one token, and the scopes that it opens."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import Connection, RowMapping, insert, or_, select, update

from inspection.commands import check_name
from inspection.domain import Scope, Token
from inspection.errors import Conflict, NotFound
from inspection.records.tables import tokens

_PREFIX = "station_"


def create_token(
    connection: Connection, account: str, scopes: Iterable[Scope], by: str, expires_at: datetime | None = None
) -> str:
    """The token of a new account, shown once: the records keep only its digest. Conflict if the account has a token.

    A revoked account may get a new one.
    """
    try:
        check_name(account)
    except ValueError as error:
        raise Conflict(f"an account {error}") from None
    wanted = sorted(set(scopes))
    if not wanted:
        raise Conflict(f"a token without scopes opens nothing; name some of {', '.join(Scope)}")
    known = connection.execute(select(tokens.c.revoked_at).where(tokens.c.account == account)).one_or_none()
    if known is not None and known.revoked_at is None:
        raise Conflict(f"account {account!r} has a token; revoke it first, or name another account")
    token = _PREFIX + secrets.token_urlsafe(32)
    values = {
        "digest": _digest(token),
        "scopes": wanted,
        "created_at": datetime.now(UTC),
        "created_by": by,
        "expires_at": expires_at,
        "revoked_at": None,
    }
    if known is None:
        connection.execute(insert(tokens).values(account=account, **values))
    else:
        connection.execute(update(tokens).where(tokens.c.account == account).values(**values))
    return token


def revoke_token(connection: Connection, account: str) -> None:
    """From now on the account's token opens nothing. NotFound if it has none."""
    done = connection.execute(
        update(tokens).where(tokens.c.account == account, tokens.c.revoked_at.is_(None)).values(revoked_at=datetime.now(UTC))
    )
    if not done.rowcount:
        raise NotFound(f"account {account!r} has no token; list them to find its name")


def list_tokens(connection: Connection) -> tuple[Token, ...]:
    """All accounts by name, revoked ones too."""
    return tuple(_token(row) for row in connection.execute(select(tokens).order_by(tokens.c.account)).mappings())


def find_token(connection: Connection, token: str) -> Token | None:
    """What this token opens; None if it opens nothing, or nothing any more."""
    now = datetime.now(UTC)
    valid = tokens.c.revoked_at.is_(None), or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > now)
    row = connection.execute(select(tokens).where(tokens.c.digest == _digest(token), *valid)).mappings().one_or_none()
    return _token(row) if row else None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _token(row: RowMapping) -> Token:
    fields = {name: value for name, value in row.items() if name != "digest"}
    return Token(**{**fields, "scopes": tuple(Scope(scope) for scope in row["scopes"])})
