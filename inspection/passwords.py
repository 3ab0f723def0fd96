"""Passwords of users: which are good enough, how they are kept, and how one is told from another."""

from __future__ import annotations

import string
import threading
import unicodedata
from itertools import pairwise
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from inspection.errors import Conflict

MIN_LENGTH, MAX_LENGTH = 12, 256
_COMMON = frozenset((Path(__file__).parent / "common_passwords.txt").read_text(encoding="utf-8").split())
_ROWS = ("01234567890", "abcdefghijklmnopqrstuvwxyz", "qwertyuiop", "qwertzuiop", "asdfghjkl", "zxcvbnm", "yxcvbnm")


def check_password(user: str, password: str) -> None:
    """Conflict if the password is too short, too long, the name, or among the first that are tried; nothing else is asked of it.

    After NIST SP 800-63B, 5.1.1.2: a length and a list of what everybody takes, and no rules of composition.
    """
    plain = _normal(password)
    if not MIN_LENGTH <= len(plain) <= MAX_LENGTH:
        raise Conflict(f"a password has {MIN_LENGTH} to {MAX_LENGTH} characters; a few words in a row are easily remembered")
    folded = plain.casefold()
    core = folded.strip(string.digits + string.punctuation + " ")
    name = _normal(user).casefold()
    if name in (folded, core) or folded.replace(name, "").strip(string.digits + string.punctuation + " ") == "":
        raise Conflict("the password is little more than the name; choose a few words that have nothing to do with it")
    squeezed = folded.replace(" ", "")
    if squeezed in _COMMON or core in _COMMON or _repeated(squeezed) or _in_a_row(squeezed):
        raise Conflict("the password is among the first that are tried; choose a few words that nobody would expect together")


class Passwords:
    """Argon2id with the library's costs (RFC 9106, low memory): 64 MiB and some tens of milliseconds for each look."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        # One at a time: many logins at once must not take the memory and the processors of the inspection.
        self._lock = threading.Lock()
        self._nobody: str | None = None

    def hashed(self, password: str) -> str:
        """What the records keep: salt and costs included."""
        with self._lock:
            return self._hasher.hash(_normal(password))

    def match(self, kept: str | None, password: str) -> bool:
        """Is this the password? As much work if there is none to compare with."""
        with self._lock:
            if self._nobody is None:
                self._nobody = self._hasher.hash("the password of nobody")
            try:
                return self._hasher.verify(kept or self._nobody, _normal(password)) and kept is not None
            except (VerificationError, InvalidHashError):
                return False


def _normal(password: str) -> str:
    """The same characters, however the keyboard composed them."""
    return unicodedata.normalize("NFKC", password)


def _repeated(text: str) -> bool:
    """A few characters again and again."""
    return any(text == (text[:length] * len(text))[: len(text)] for length in range(1, 7) if length * 2 <= len(text))


def _in_a_row(text: str) -> bool:
    """Keys or letters that follow one another, up or down, from beginning to end; starting anew counts as following."""
    steps = {pair for row in _ROWS for line in (row, row[::-1]) for pair in pairwise(line)}
    breaks = sum(pair not in steps for pair in pairwise(text))
    return breaks <= len(text) // 6
