"""Cursors: opaque, checksummed text that says where a paged list goes on."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Generic, TypeVar

from inspection.errors import BadCursor

T = TypeVar("T")
_CHECKSUM_BYTES = 6


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list; ``next_cursor`` is None on the last page."""

    items: tuple[T, ...]
    next_cursor: str | None


def encode_cursor(scope: str, position: str) -> str:
    """A cursor for ``position`` in the list named by ``scope`` (the list's name and its filters)."""
    text = position.encode()
    return base64.urlsafe_b64encode(_checksum(scope, text) + text).decode().rstrip("=")


def decode_cursor(scope: str, cursor: str) -> str:
    """The position in a cursor; BadCursor if it was garbled or was issued for another list."""
    try:
        raw = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        checksum, text = raw[:_CHECKSUM_BYTES], raw[_CHECKSUM_BYTES:]
        position = text.decode()
    except (binascii.Error, UnicodeError):
        raise BadCursor("the cursor is garbled; start again without one") from None
    # Encoding again also refuses text that base64 decoders forgive: stray characters, unused bits.
    if checksum != _checksum(scope, text) or encode_cursor(scope, position) != cursor:
        raise BadCursor("the cursor is garbled or belongs to another list; start again without one")
    return position


def _checksum(scope: str, text: bytes) -> bytes:
    return hashlib.blake2b(
        text, digest_size=_CHECKSUM_BYTES, key=hashlib.blake2b(scope.encode(), digest_size=32).digest()
    ).digest()
