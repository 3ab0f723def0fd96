"""What a backup says of itself. Written last: a folder without it is no backup."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Annotated

import msgspec

from inspection.artifact import FileEntry
from inspection.errors import StationError
from inspection.records.audit import HEAD

MANIFEST = "manifest.json"
VERSION = 1
CONFIGURATION = "station.toml"
SQLITE, POSTGRESQL = "station.db", "station.pgdump"
BESIDE = ("outbox/*.json", "outbox/*.bdseq", "settings/*", "opcua/job.json", "opcua/trusted/*", HEAD)
"""What lies beside the records and belongs to them; private keys and passwords are not in these."""
_BACKUPS = "backups"
_DIGEST = r"^[0-9a-f]{64}\Z"


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
    models: tuple[Annotated[str, msgspec.Meta(pattern=_DIGEST)], ...]
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
    """BackupError if it is none, that of a newer version, or names files that are in no backup."""
    try:
        document = (folder / MANIFEST).read_bytes()
        version = msgspec.json.decode(document, type=_Version).version
        if version != VERSION:
            raise BackupError(
                f"{folder} is a backup of version {version}, this station reads version {VERSION}; update the station"
            )
        manifest = msgspec.json.decode(document, type=Manifest)
    except (OSError, msgspec.DecodeError) as error:
        raise BackupError(f"{folder / MANIFEST} cannot be read: {error}; take another backup") from error
    _check_files(folder, manifest.files)
    return manifest


def _check_files(folder: Path, files: Collection[str]) -> None:
    """Whatever is named is read, and written below the data directory."""
    databases = {SQLITE, POSTGRESQL} & set(files)
    strange = [name for name in files if name not in (CONFIGURATION, *databases) and not _is_beside(name)]
    if strange:
        raise BackupError(f"{folder / MANIFEST} names {strange[0]!r}, which is in no backup; take another backup")
    if CONFIGURATION not in files or len(databases) != 1:
        raise BackupError(f"{folder / MANIFEST} does not name the configuration and one database; take another backup")


def _is_beside(name: str) -> bool:
    path = PurePosixPath(name)
    # match looks at the end of a path alone.
    alike = any(path.match(pattern) and len(path.parts) == pattern.count("/") + 1 for pattern in BESIDE)
    return alike and str(path) == name and ".." not in path.parts and "\0" not in name


def check_digest(digest: str) -> str:
    """Files of images and models are named by their digests; BackupError for one that would name another file."""
    if re.match(_DIGEST, digest) is None:
        raise BackupError(f"the database names an image or model {digest[:80]!r}, which is no SHA-256: somebody altered it")
    return digest


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
