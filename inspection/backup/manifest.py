"""What a backup says of itself. Written last: a folder without it is no backup."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from inspection.artifact import FileEntry
from inspection.errors import StationError

MANIFEST = "manifest.json"
VERSION = 1
CONFIGURATION = "station.toml"
SQLITE, POSTGRESQL = "station.db", "station.pgdump"
_BACKUPS = "backups"


class BackupError(StationError):
    """The backup cannot be made, is damaged or incomplete, or must not be restored here."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``rows`` of each table, ``files`` in the backup's own folder, ``images`` that the records name; ``lost`` of them, and
    ``lost_models``, were missing or damaged at the station already. ``left_out``: secrets that the restored station needs and no
    backup holds.
    """

    version: int
    station: str
    made_at: datetime
    schema: str
    rows: dict[str, int]
    files: dict[str, FileEntry]
    images: int
    lost: int
    models: tuple[str, ...]
    lost_models: tuple[str, ...]
    left_out: tuple[str, ...]


def folder_of(destination: Path, name: str) -> Path:
    return destination / _BACKUPS / name


def names(destination: Path) -> list[str]:
    """The complete backups in this folder, oldest first."""
    return sorted(each.parent.name for each in destination.glob(f"{_BACKUPS}/*/{MANIFEST}") if each.parent.suffix != ".making")


def chosen(destination: Path, name: str | None) -> str:
    """This backup, or the newest; BackupError if there is none."""
    found = names(destination)
    if not found:
        raise BackupError(f"{destination} holds no complete backup; name the folder that `station backup` wrote to")
    if name is not None and name not in found:
        raise BackupError(f"{destination} holds no backup {name}; it holds {', '.join(found[-10:])}")
    return name or found[-1]


def read_manifest(folder: Path) -> Manifest:
    """BackupError if it is none, or that of a newer version."""
    try:
        document = (folder / MANIFEST).read_bytes()
        version = msgspec.json.decode(document, type=_Version).version
        if version != VERSION:
            raise BackupError(
                f"{folder} is a backup of version {version}, this station reads version {VERSION}; update the station"
            )
        return msgspec.json.decode(document, type=Manifest)
    except (OSError, msgspec.DecodeError) as error:
        raise BackupError(f"{folder / MANIFEST} cannot be read: {error}; take another backup") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    document = msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=2) + b"\n"
    (folder / MANIFEST).write_bytes(document)


def entry_of(file: Path) -> FileEntry:
    """Size and SHA-256 of a file of any size."""
    with file.open("rb") as content:
        return FileEntry(sha256=hashlib.file_digest(content, "sha256").hexdigest(), size=os.fstat(content.fileno()).st_size)


def entries(folder: Path) -> Iterator[tuple[str, FileEntry]]:
    """Every file below a folder but the manifest, by its path there."""
    for file in sorted(each for each in folder.rglob("*") if each.is_file() and each.name != MANIFEST):
        yield str(file.relative_to(folder)), entry_of(file)


class _Version(msgspec.Struct):
    version: int
