"""From a backup to a station that goes on: the records as they were, and no number given out twice."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, delete, make_url, update
from sqlalchemy.exc import DBAPIError

from inspection.artifact import MANIFEST as MODEL_MANIFEST
from inspection.artifact import read_artifact
from inspection.backup import postgresql
from inspection.backup.gently import Told, copy_file, sync_disk
from inspection.backup.manifest import CONFIGURATION, POSTGRESQL, SQLITE, BackupError
from inspection.backup.named import images_of, models_of, rows_of
from inspection.backup.verifying import Sound, read_model, refuse_links
from inspection.config import Config, prepare_directories
from inspection.errors import ModelError, NewerRecords, StationError
from inspection.images import ImageStore
from inspection.mes.outbox import Positions, positions_path
from inspection.processes import only_one, process_names
from inspection.records.audit import DONE, HEAD, Trace, append, note_head, read_head
from inspection.records.database import known_revisions, migrate, open_engine, schema_revision
from inspection.records.noted import Noted, note, read_noted
from inspection.records.numbers import highest, pass_over
from inspection.records.tables import idempotency_keys, models, sessions


@dataclass(frozen=True, slots=True)
class Restored:
    """``number``: everything is numbered after it. ``replaced``: where the former database was moved to, if there was one."""

    number: int
    images: int
    models: int
    replaced: Path | None


def restore_backup(sound: Sound, destination: Path, config: Config, by: str, overwrite: bool, told: Told) -> Restored:
    """Restore a verified backup of ``destination`` into data directory and database of ``config``, whose station does not run.

    ConfigError if it runs, BackupError if it has records that are not to be overwritten, or if the disk or the database refuses.
    The database is put in its place last, so that a station never starts on half of a backup.
    """
    prepare_directories(config)
    with ExitStack() as locks:
        for name in ("station", "trainer", *process_names(config)):
            locks.enter_context(only_one(config, name))
        if not overwrite and _has_records(config):
            raise BackupError(
                f"{config.data_dir} has records already, which would be replaced by those of {sound.name}; "
                "say --overwrite to do that (a former SQLite database is kept beside)"
            )
        try:
            return _restore(sound, destination, config, by, told)
        except OSError as error:
            raise BackupError(f"not restored: {error}; see to the disk, and restore again with --overwrite") from error
        except DBAPIError as error:
            raise BackupError(f"not restored, the database refuses: {error.orig}; see to it, and restore again") from error


def copy_configuration(sound: Sound, path: Path) -> None:
    """The configuration file of the backup, where there is none."""
    if not path.exists():
        copy_file(sound.folder / CONFIGURATION, path)


def _restore(sound: Sound, destination: Path, config: Config, by: str, told: Told) -> Restored:
    if sound.manifest.schema not in known_revisions():
        raise NewerRecords(
            f"{sound.name} has schema {sound.manifest.schema}: a newer version made it; restore it with that version"
        )
    known = _numbers_given_out(config)
    fresh = config.data_dir / "station.db.restoring"
    if SQLITE in sound.manifest.files:
        for left in config.data_dir.glob(f"{fresh.name}*"):
            left.unlink()
        copy_file(sound.folder / SQLITE, fresh)
        engine = open_engine(f"sqlite:///{fresh}")
    else:
        told("database", 0, 1)
        postgresql.restore(config.database_url, sound.folder / POSTGRESQL)
        engine = open_engine(config.database_url)
    try:
        _check(engine, sound)
        migrate(engine)
        with engine.begin() as connection:
            images = _copy_images(connection, destination, config, sound.manifest.images, told)
            found = _copy_models(connection, destination, config)
        _copy_beside(sound, config)
        sync_disk(config.data_dir)
        number = _go_on(engine, sound, config, known, by)
    finally:
        engine.dispose()
    replaced = _put_in_place(config, fresh) if SQLITE in sound.manifest.files else None
    note(config.data_dir, Noted(number, number))
    sync_disk(config.data_dir)
    return Restored(number, images, found, replaced)


def _has_records(config: Config) -> bool:
    url = make_url(config.database_url)
    if url.get_backend_name() == "sqlite":
        return Path(str(url.database)).exists()
    engine = open_engine(config.database_url, read_only=True)
    try:
        with engine.connect() as connection:
            return schema_revision(connection) is not None
    finally:
        engine.dispose()


def _numbers_given_out(config: Config) -> int:
    """The highest number that what is left of the former station tells of."""
    numbers = [0]
    noted = read_noted(config.data_dir)
    if noted is not None:
        numbers += [noted.inspections, noted.triggers]
    for receiver in config.receivers:
        numbers += Positions(positions_path(config.outbox_dir, receiver.name)).numbers.values()
    engine = open_engine(config.database_url, read_only=True)
    # Gone or damaged is why somebody restores.
    with suppress(DBAPIError), engine.connect() as connection:
        numbers.append(highest(connection))
    engine.dispose()
    return max(numbers)


def _check(engine: Engine, sound: Sound) -> None:
    """BackupError unless the database has the rows that were backed up, and names images and models by their digests."""
    with engine.connect() as connection:
        rows = rows_of(connection)
        # Both are checked as they are read.
        models_of(connection)
        for _ in images_of(connection):
            pass
    wrong = [
        f"{name} has {rows.get(name)} rows, not {count}" for name, count in sound.manifest.rows.items() if rows.get(name) != count
    ]
    if wrong:
        raise BackupError(f"what was restored is not what was backed up: {'; '.join(wrong)}; restore another backup")


def _copy_images(connection: Connection, destination: Path, config: Config, total: int, told: Told) -> int:
    there, here = ImageStore(destination / "images"), ImageStore(config.image_dir)
    count = 0
    for done, sha256 in enumerate(images_of(connection), 1):
        told("images", done, total)
        try:
            here.read(sha256)
        except StationError:
            # Gone or damaged here. What the backup lacks, the station lacked.
            if not there.path(sha256).exists():
                continue
            refuse_links(there.root, str(there.path(sha256).relative_to(there.root)))
            copy_file(there.path(sha256), here.path(sha256))
        count += 1
    return count


def _copy_models(connection: Connection, destination: Path, config: Config) -> int:
    count = 0
    for digest, path in models_of(connection).items():
        target = config.models_dir / digest
        try:
            read_artifact(config.data_dir / path, digest)
        except ModelError:
            try:
                artifact = read_model(destination, digest)
            except ModelError:
                continue
            shutil.rmtree(target, ignore_errors=True)
            making = target.with_name(f".{digest}.new")
            shutil.rmtree(making, ignore_errors=True)
            for file in (MODEL_MANIFEST, *artifact.files):
                copy_file(artifact.path / file, making / file)
            making.rename(target)
            connection.execute(update(models).where(models.c.model == digest).values(path=str(target)))
        count += 1
    return count


def _copy_beside(sound: Sound, config: Config) -> None:
    """What is there already is newer than the backup: a receiver's position above all."""
    for name in sound.manifest.files:
        if name in (SQLITE, POSTGRESQL, CONFIGURATION, HEAD):
            continue
        if not (config.data_dir / name).exists():
            copy_file(sound.folder / name, config.data_dir / name)


def _go_on(engine: Engine, sound: Sound, config: Config, known: int, by: str) -> int:
    """The number after which everything goes on. Who was logged in is not any more, and the loss is in faults and audit trail."""
    made_at = f"{sound.manifest.made_at:%F %T} UTC"
    former = read_head(config.data_dir / HEAD)
    with engine.begin() as connection:
        connection.execute(delete(sessions))
        connection.execute(delete(idempotency_keys))
        number = pass_over(connection, known, f"restored from the backup of {made_at}; what was recorded later is lost")
        said = {
            "made_at": made_at,
            "numbers_after": number,
            "former_audit_head": None if former is None else f"{former[0]} {former[1]}",
        }
        entry = append(connection, Trace(by, "command", "cli", "restore", f"backup {sound.name}", json.dumps(said)), DONE)
    # It would tell of entries that are lost; the entry above tells it instead.
    (config.data_dir / HEAD).unlink(missing_ok=True)
    note_head(config.data_dir / HEAD, entry)
    return number


def _put_in_place(config: Config, fresh: Path) -> Path | None:
    """Move the former database away, and this one to where it was; where it was moved to, if there was one."""
    file = Path(str(make_url(config.database_url).database))
    left = [each for each in (file, *(file.with_name(file.name + suffix) for suffix in ("-wal", "-shm"))) if each.exists()]
    replaced = None
    if left:
        replaced = config.data_dir / f"replaced-{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}"
        replaced.mkdir(mode=0o700, exist_ok=True)
        for each in left:
            each.rename(replaced / each.name)
    fresh.rename(file)
    return replaced
