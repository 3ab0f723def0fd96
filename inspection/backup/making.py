"""A backup of a station that goes on running: one snapshot of the records, and every file that they name."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from inspection.artifact import MANIFEST as MODEL_MANIFEST
from inspection.artifact import read_artifact
from inspection.backup import postgresql
from inspection.backup.gently import Gently, Told, sync_disk
from inspection.backup.manifest import (
    BESIDE,
    CONFIGURATION,
    POSTGRESQL,
    SQLITE,
    VERSION,
    BackupError,
    Manifest,
    entries,
    folder_of,
    write_manifest,
)
from inspection.backup.named import images_of, models_of, rows_of
from inspection.backup.verifying import check_sqlite
from inspection.config import Config
from inspection.errors import ModelError
from inspection.images import ImageStore
from inspection.records.damage import damage, file_of
from inspection.records.database import open_engine, schema_revision
from inspection.records.sqlite_copy import copy_sqlite


def make_backup(config: Config, config_path: Path, destination: Path, told: Told) -> tuple[str, Manifest]:
    """Make a backup in this folder, and return its name. BackupError if the disk or the database refuses; then nothing that looks
    like a backup is left.
    """
    made_at = datetime.now(UTC)
    name = f"{made_at:%Y-%m-%dT%H%M%SZ}"
    try:
        with _alone(destination):
            making = folder_of(destination, f"{name}.making")
            making.mkdir(parents=True, mode=0o700)
            manifest = _make(config, config_path, destination, making, made_at, told)
            write_manifest(making, manifest)
            sync_disk(making)
            making.rename(folder_of(destination, name))
            sync_disk(destination)
    except (OSError, sqlite3.Error) as error:
        raise BackupError(
            f"the backup in {destination} was not made: {error}; see whether there is room, and try again"
        ) from error
    except DBAPIError as error:
        found = damage(error)
        what = f"the database is damaged: {found}" if found else f"the database cannot be read: {error.orig}"
        raise BackupError(f"the backup was not made, {what}") from error
    return name, manifest


@contextmanager
def _alone(destination: Path) -> Iterator[None]:
    """One backup at a time in a folder, for its owner alone; what an interrupted one left is removed."""
    former = os.umask(0o077)
    try:
        destination.mkdir(parents=True, exist_ok=True)
        with (destination / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise BackupError(f"another backup is being made in {destination}; wait for its end") from None
            for left in destination.glob("backups/*.making"):
                shutil.rmtree(left)
            yield
    finally:
        os.umask(former)


def _make(config: Config, config_path: Path, destination: Path, making: Path, made_at: datetime, told: Told) -> Manifest:
    gently = Gently()
    # Before the records: what a receiver has got must not be ahead of them.
    _copy_beside(config, config_path, making, gently)
    engine = open_engine(config.database_url, read_only=True)
    try:
        with engine.connect() as snapshot:
            schema = schema_revision(snapshot)
            if schema is None:
                raise BackupError("the database holds no records; a station that never ran needs no backup")
            rows = rows_of(snapshot)
            file = file_of(engine)
            if file is None:
                told("database", 0, 1)
                exported = str(snapshot.exec_driver_sql("SELECT pg_export_snapshot()").scalar_one())
                postgresql.dump(config.database_url, making / POSTGRESQL, exported)
                postgresql.check(making / POSTGRESQL)
                images, lost = _copy_images(snapshot, config, destination, gently, told)
                models, lost_models = _copy_models(snapshot, config, destination, gently, told)
            else:
                _see_room(destination, file)
                copy_sqlite(snapshot, making / SQLITE, lambda done, total: _stepped(gently, told, done, total))
        if file is not None:
            # No reader of the station's database any more, which would keep its log from being emptied.
            told("verifying", 0, 1)
            check_sqlite(making / SQLITE, rows)
            copy = open_engine(f"sqlite:///{making / SQLITE}", read_only=True)
            with copy.connect() as connection:
                images, lost = _copy_images(connection, config, destination, gently, told)
                models, lost_models = _copy_models(connection, config, destination, gently, told)
            copy.dispose()
    finally:
        engine.dispose()
    return Manifest(
        version=VERSION,
        station=config.station.name,
        made_at=made_at,
        schema=schema,
        rows=rows,
        files=dict(entries(making)),
        images=images,
        lost=lost,
        models=models,
        lost_models=lost_models,
        left_out=_secrets(config),
    )


def _stepped(gently: Gently, told: Told, done: int, total: int) -> None:
    told("database", done, total)
    gently.rest()


def _see_room(destination: Path, file: Path) -> None:
    needed, free = file.stat().st_size, shutil.disk_usage(destination).free
    if free < needed:
        raise BackupError(
            f"{destination} has {free >> 20} MiB free, the database alone needs {needed >> 20}; make room or name another folder"
        )


def _copy_beside(config: Config, config_path: Path, making: Path, gently: Gently) -> None:
    gently.copy(config_path, making / CONFIGURATION)
    for pattern in BESIDE:
        for file in sorted(each for each in config.data_dir.glob(pattern) if each.is_file()):
            gently.copy(file, making / file.relative_to(config.data_dir))


def _copy_images(connection: Connection, config: Config, destination: Path, gently: Gently, told: Told) -> tuple[int, int]:
    """Those that no former backup has brought here; how many are named, and how many of them are lost."""
    there, here = ImageStore(config.image_dir), ImageStore(destination / "images")
    total = sum(1 for _ in images_of(connection))
    lost = 0
    for done, sha256 in enumerate(images_of(connection), 1):
        if not here.path(sha256).exists():
            try:
                lost += not _copied(there.path(sha256), here.path(sha256), sha256, gently)
            except FileNotFoundError:
                lost += 1
        told("images", done, total)
    return total, lost


def _copied(source: Path, target: Path, sha256: str, gently: Gently) -> bool:
    """False if the file is not what its name says."""
    with source.open("rb") as content:
        if hashlib.file_digest(content, "sha256").hexdigest() != sha256:
            return False
    gently.copy(source, target)
    return True


def _copy_models(
    connection: Connection, config: Config, destination: Path, gently: Gently, told: Told
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The digests of those that are whole, and of those that are not, which cannot be in service either."""
    found = models_of(connection)
    whole, lost = [], []
    for done, (digest, path) in enumerate(sorted(found.items()), 1):
        target = destination / "models" / digest
        try:
            artifact = read_artifact(config.data_dir / path, digest)
        except ModelError:
            lost.append(digest)
            continue
        whole.append(digest)
        if not target.exists():
            making = target.with_name(f".{digest}.new")
            shutil.rmtree(making, ignore_errors=True)
            for file in (MODEL_MANIFEST, *artifact.files):
                gently.copy(artifact.path / file, making / file)
            making.rename(target)
        told("models", done, len(found))
    return tuple(whole), tuple(lost)


def _secrets(config: Config) -> tuple[str, ...]:
    """Files that whoever restores brings from elsewhere: a backup that is read by others must open nothing."""
    files = [getattr(each, name, None) for each in config.receivers for name in ("secret_file", "password_file")]
    if config.opcua is not None:
        files += [config.data_dir / "opcua" / "own-key.pem", config.data_dir / "opcua" / "own.der"]
        files.append(config.data_dir / config.opcua.users_file)
    files += [config.web.tls_key, config.station.database_password_file]
    return tuple(str(each) for each in files if each is not None)
