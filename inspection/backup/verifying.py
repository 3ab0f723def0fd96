"""Is a backup complete, and every byte of it what was written?"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from inspection.artifact import MANIFEST as MODEL_MANIFEST
from inspection.artifact import Artifact, read_artifact
from inspection.backup import postgresql
from inspection.backup.gently import Told
from inspection.backup.manifest import POSTGRESQL, SQLITE, BackupError, Manifest, entry_of, folder_of, read_manifest
from inspection.backup.named import images_of, models_of
from inspection.errors import ModelError, NotFound, StationError
from inspection.images import ImageStore
from inspection.records.database import open_engine


@dataclass(frozen=True, slots=True)
class Sound:
    """A backup whose every file is as it was written."""

    name: str
    folder: Path
    manifest: Manifest


def verify_backup(destination: Path, name: str, told: Told) -> Sound:
    """BackupError, which names what is wrong, unless everything is there and unaltered."""
    folder = folder_of(destination, name)
    manifest = read_manifest(folder)
    for done, (file, entry) in enumerate(manifest.files.items(), 1):
        told("files", done, len(manifest.files))
        refuse_links(folder, file)
        try:
            found = entry_of(folder / file)
        except OSError as error:
            raise BackupError(f"{folder / file} cannot be read: {error.strerror}; take another backup") from error
        if found != entry:
            raise BackupError(f"{folder / file} was altered after the backup was made; take another backup")
    if SQLITE in manifest.files:
        check_sqlite(folder / SQLITE, manifest.rows)
        engine = open_engine(f"sqlite:///{folder / SQLITE}", read_only=True)
        try:
            with engine.connect() as connection:
                models_of(connection)  # for its error
                _verify_images(connection, destination, manifest, told)
        finally:
            engine.dispose()
    else:
        # Which images it names is known once it is restored.
        postgresql.check(folder / POSTGRESQL)
    for digest in manifest.models:
        try:
            read_model(destination, digest)
        except ModelError as error:
            raise BackupError(f"a model of the backup is damaged: {error}") from error
    return Sound(name, folder, manifest)


def check_sqlite(file: Path, rows: dict[str, int]) -> None:
    """BackupError unless the database is whole, inside and by its number of rows."""
    connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        [(found,), *_] = connection.execute("PRAGMA integrity_check(1)")
        if found != "ok":
            raise BackupError(f"{file} is damaged: {found}; the database of the station probably is, too: take a former backup")
        if dangling := connection.execute("PRAGMA foreign_key_check").fetchone():
            raise BackupError(f"{file} has a row in {dangling[0]} whose {dangling[2]} is missing")
        counted = {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in rows}  # noqa: S608
    except sqlite3.DatabaseError as error:
        raise BackupError(f"{file} is damaged, it cannot be read as a database: {error}; take another backup") from error
    finally:
        connection.close()
    wrong = [f"{name} has {counted[name]} rows, not {count}" for name, count in rows.items() if counted[name] != count]
    if wrong:
        raise BackupError(f"{file}: {'; '.join(wrong)}")


def read_model(destination: Path, digest: str) -> Artifact:
    """A model in a folder of backups. BackupError as ``refuse_links``, ModelError as ``read_artifact``."""
    folder = destination / "models"
    artifact = read_artifact(folder / digest, digest)
    refuse_links(folder, *(f"{digest}/{name}" for name in (MODEL_MANIFEST, *artifact.files)))
    return artifact


def refuse_links(folder: Path, *names: str) -> None:
    """BackupError if a link leads from these files below a folder to others."""
    for name in names:
        # Unlike Path.resolve, realpath takes links that lead to themselves.
        if os.path.realpath(folder / name) != f"{os.path.realpath(folder)}/{name}":
            raise BackupError(f"{folder / name} is a link, which is in no backup; take another backup")


def _verify_images(connection: Connection, destination: Path, manifest: Manifest, told: Told) -> None:
    store = ImageStore(destination / "images")
    missing = 0
    for done, sha256 in enumerate(images_of(connection), 1):
        told("images", done, manifest.images)
        refuse_links(store.root, str(store.path(sha256).relative_to(store.root)))
        try:
            store.read(sha256)
        except NotFound:
            missing += 1
        except StationError:
            raise BackupError(
                f"{store.path(sha256)} was altered after the backup was made; delete it and take another backup"
            ) from None
    if missing > manifest.lost:
        raise BackupError(
            f"{missing} images are missing in {destination / 'images'}, {manifest.lost} of them at the station already"
        )
