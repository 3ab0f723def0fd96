"""Writing the configuration file: whole or not at all, never over somebody else's change, and with its former versions kept.

The history is a folder: ``NNNNNN.toml`` is a version that was replaced, ``NNNNNN.json`` says when, by whom and why.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from inspection.config import read
from inspection.errors import Conflict, NotFound, StationError

KEPT = 50
"""Older versions are deleted."""

_WRITING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Version:
    """A former text of the file, and how it came to be replaced."""

    version: int
    digest: str
    replaced_at: datetime
    replaced_by: str
    reason: str


def digest_of(text: str) -> str:
    """By which a client names the text that it has seen: SHA-256 of its UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def replace(path: Path, history: Path, text: str, seen: str, by: str, reason: str) -> None:
    """Write the file, and keep what it said before. ``text`` has been checked; ``seen`` is the digest of what it replaces.

    Conflict if the file says something else by now, StationError if it cannot be written; then nothing has changed.
    """
    # A link stays a link.
    path = path.resolve()
    with _WRITING:
        former = read(path)
        if digest_of(former) != seen:
            raise Conflict("the file was changed since it was read; read it again, and make the change there")
        try:
            history.mkdir(parents=True, exist_ok=True, mode=0o700)
            version = max(_numbers(history), default=0) + 1
            said = {"replaced_at": datetime.now(UTC).isoformat(), "replaced_by": by, "reason": reason}
            _write(history / f"{version:06}.json", json.dumps(said), 0o600)
            _write(history / f"{version:06}.toml", former, 0o600)
            _write(path, text, path.stat().st_mode & 0o777)
            for old in sorted(_numbers(history))[:-KEPT]:
                for kind in ("toml", "json"):
                    (history / f"{old:06}.{kind}").unlink(missing_ok=True)
        except OSError as error:
            raise StationError(
                f"{path} cannot be written: {error.strerror}; give the station's user the right to, or change the file by hand"
            ) from error


def versions(history: Path) -> tuple[Version, ...]:
    """The former versions that are kept, newest first."""
    return tuple(_version(history, number) for number in sorted(_numbers(history), reverse=True))


def version_text(history: Path, version: int) -> str:
    """What a former version said; NotFound if it is not kept."""
    if version not in _numbers(history):
        raise NotFound(f"version {version} of the settings is not kept; list the versions")
    return read(history / f"{version:06}.toml")


def _numbers(history: Path) -> list[int]:
    return [int(file.stem) for file in history.glob("*.toml") if file.stem.isdigit()]


def _version(history: Path, number: int) -> Version:
    text = read(history / f"{number:06}.toml")
    try:
        said = json.loads((history / f"{number:06}.json").read_bytes())
        return Version(
            number, digest_of(text), datetime.fromisoformat(said["replaced_at"]), str(said["replaced_by"]), str(said["reason"])
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        # Its file can be read all the same.
        replaced_at = datetime.fromtimestamp((history / f"{number:06}.toml").stat().st_mtime, UTC)
        return Version(number, digest_of(text), replaced_at, "", "")


def _write(path: Path, text: str, mode: int) -> None:
    """Durably, or not at all."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with open(fresh, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(text.encode())
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
