"""Names of lots and serials in web addresses: any visible characters, a slash included."""

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import Annotated
from urllib.parse import quote, unquote

from fastapi import Path, Query
from pydantic import AfterValidator, Field
from starlette.types import ASGIApp, Receive, Scope, Send

from inspection.commands import check_name, check_reason, check_text

# Stands for an encoded slash while a route is chosen. Private use, so not visible, so never part of a name.
_SLASH = "\ue000"
_ASCII = bytes(range(128))


# Columns for who did something are as wide.
_LONGEST = 64

# The account whose token the present request shows.
account_of_request: ContextVar[str | None] = ContextVar("account_of_request", default=None)


def acting(user: str | None, by: str | None) -> str:
    """For whom a request acts, as the records name it in 64 characters.

    The user who is logged in; for a program whom it names, with the account of its token in brackets, or that account alone.
    Users have no blanks in their names, so no program writes in the name of one.
    """
    account = account_of_request.get()
    if user is not None or account is None:
        return user or by or "unnamed"
    room = _LONGEST - len(f" ({account})")
    return f"{by[:room]} ({account})" if by and by != account and room > 0 else account


class EncodedAddresses:
    """ASGI middleware: %2F stays inside its path segment, where servers would decode it into a separator, and bytes that no
    query may have are encoded, as browsers do.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw_path: bytes = scope.get("raw_path") or b""
        if b"%" in raw_path:
            marked = re.sub("%2f", quote(_SLASH), raw_path.decode("latin-1"), flags=re.IGNORECASE)
            scope = {**scope, "path": unquote(marked)}
        query: bytes = scope.get("query_string") or b""
        if not query.isascii():
            scope = {**scope, "query_string": quote(query, safe=_ASCII).encode("ascii")}
        await self._app(scope, receive, send)


def decoded(segment: str) -> str:
    """A path segment as it was meant."""
    return segment.replace(_SLASH, "/")


def name_from_path(segment: str) -> str:
    """The name that a path segment stands for; ValueError if it cannot be one."""
    return check_name(decoded(segment))


def name_to_path(name: str) -> str:
    """The path segment for a name."""
    return quote(name, safe="")


LotName = Annotated[str, Path(description="Name of the lot, percent-encoded."), AfterValidator(name_from_path)]
UserName = Annotated[str, Path(description="Name of the user, percent-encoded."), AfterValidator(name_from_path)]
SerialName = Annotated[str, Path(description="Serial of the part, percent-encoded."), AfterValidator(name_from_path)]
LotFilter = Annotated[
    str | None, Query(alias="lot", description="Only in this lot."), AfterValidator(lambda lot: lot and check_name(lot))
]
SerialFilter = Annotated[
    str | None,
    Query(alias="serial", description="Of this serial only."),
    AfterValidator(lambda serial: serial and check_name(serial)),
]
ModelFilter = Annotated[
    str | None, Query(alias="model", pattern="^[0-9a-f]{64}$", description="Judged by this model: its digest.")
]
Name = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(check_name)]
By = Annotated[str, Field(min_length=1, max_length=64, description="Who, for the record."), AfterValidator(check_text)]
Reason = Annotated[str, Field(max_length=1000, description="Why, for the record."), AfterValidator(check_reason)]
Why = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(check_reason)]
Digest = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="SHA-256, as lists name it.")]
ProductQuery = Annotated[str, Query(description="Part number of the product."), AfterValidator(check_name)]
ProductFilter = Annotated[
    str | None,
    Query(alias="product", description="Of this product only."),
    AfterValidator(lambda product: product and check_name(product)),
]
