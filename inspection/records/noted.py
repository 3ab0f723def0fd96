"""What is noted beside the database: that there is one, how far its numbers had come, and what was found to be wrong with it.

A database file that is gone must not be taken for a new station, nor an older one that was put in its place for the newest.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

HEAD = "records.head"


class Noted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest inspection and trigger that were durable when this was written, and damage that somebody has to mend.

    ``decided``: every trigger up to this one has its inspection, so that nobody needs to look for those that have not among all.
    """

    inspections: int = 0
    triggers: int = 0
    damage: str | None = None
    decided: int = 0


def read_noted(data_dir: Path) -> Noted | None:
    """None if this data directory never had a database. A file that cannot be read says that there was one, and no more."""
    try:
        return msgspec.json.decode((data_dir / HEAD).read_bytes(), type=Noted)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError):
        return Noted()


def note(data_dir: Path, noted: Noted) -> None:
    """Written whole or not at all; OSError if the disk refuses. Not synced: after a power cut an older note is as good."""
    path = data_dir / HEAD
    fresh = path.with_suffix(f".{os.getpid()}.new")
    try:
        fresh.write_bytes(msgspec.json.encode(noted))
        fresh.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise
