"""Before anybody writes: is this the database that the station had, is it whole, and has it the newest schema?"""

from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
from pathlib import Path

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import DBAPIError

from cameras.fault_kinds import FaultKind
from inspection.config import Config
from inspection.errors import NewerRecords, RecordsLost
from inspection.records.damage import WAY_OUT, damage, file_of, quick_check
from inspection.records.database import known_revisions, migrate, open_engine, schema_revision
from inspection.records.noted import HEAD, Noted, note, read_noted
from inspection.records.numbers import pass_over, passed_over
from inspection.records.sqlite_copy import copy_sqlite
from inspection.records.tables import inspections, triggers

log = logging.getLogger(__name__)

BEFORE_UPGRADE = "before-upgrade"
"""The folder, beside the database, of the copy that is made before the schema is changed."""


def prepare(config: Config, engine: Engine, look_s: float = 0.0) -> None:
    """Make the database of a new station, or bring that of an older version up to date, after a copy of it was made.

    RecordsLost if the database is gone, emptied or damaged, as far as is seen in ``look_s`` seconds; NewerRecords if a newer
    version wrote it. A database that is older than the one before is gone on with: the loss is recorded, and no number is given
    twice.
    """
    noted = read_noted(config.data_dir)
    file = file_of(engine)
    if file is not None:
        _look_at(file, noted, config.data_dir, look_s)
    revision = _revision(engine)
    if revision is None and noted is not None:
        raise RecordsLost(
            f"{_name(engine)} holds no records, but this station had some ({HEAD} says so); {_ways_out(config.data_dir)}"
        )
    known = known_revisions()
    if revision is not None and revision not in known:
        raise NewerRecords(
            f"{_name(engine)} has schema {revision}, this version knows up to {known[0]}: a newer version wrote it; "
            "start that version, or restore a backup that was made before"
        )
    if revision is not None and revision != known[0]:
        _keep_copy(engine, file, config.data_dir, revision)
    migrate(engine)
    older = noted is not None and _is_older(engine, noted)
    if noted is None or older:
        # What was decided in another database says nothing of this one.
        note(config.data_dir, Noted() if noted is None else Noted(noted.inspections, noted.triggers))


def note_damage(data_dir: Path, why: str) -> None:
    """So that whoever starts next looks through the whole database first. A disk that takes nothing leaves it at the log."""
    noted = read_noted(data_dir) or Noted()
    with contextlib.suppress(OSError):
        note(data_dir, Noted(noted.inspections, noted.triggers, why))


def _look_at(file: Path, noted: Noted | None, data_dir: Path, look_s: float) -> None:
    if not file.exists():
        if noted is None:
            return
        raise RecordsLost(f"{file} is missing, but this station had it ({HEAD} says so); {_ways_out(data_dir)}")
    damaged = noted is not None and noted.damage is not None
    if look_s == 0 and not damaged:
        return
    found = quick_check(file, None if damaged else look_s)
    if found is not None:
        raise RecordsLost(f"{file} is damaged: {found}; {WAY_OUT}")
    if noted is not None and noted.damage is not None:
        # Somebody has mended it.
        note(data_dir, Noted(noted.inspections, noted.triggers))


def _revision(engine: Engine) -> str | None:
    try:
        with engine.connect() as connection:
            return schema_revision(connection)
    except DBAPIError as error:
        found = damage(error)
        if found is None:
            raise
        raise RecordsLost(f"{_name(engine)} is damaged: {found}; {WAY_OUT}") from error


def _keep_copy(engine: Engine, file: Path | None, data_dir: Path, revision: str) -> None:
    """The way back to the former version. The migration itself is one transaction, and needs no copy to be safe."""
    if file is None:
        log.warning("schema %s is changed on %s, of which no copy is made here", revision, _name(engine))
        return
    folder = data_dir / BEFORE_UPGRADE
    target = folder / f"schema-{revision}.db"
    needed = 2 * sum(each.stat().st_size for each in file.parent.glob(f"{file.name}*"))
    if shutil.disk_usage(data_dir).free < needed:
        log.warning("no copy is made before schema %s is changed: %d bytes would have to be free", revision, needed)
        return
    folder.mkdir(exist_ok=True, mode=0o700)
    fresh = target.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    reader = open_engine(f"sqlite:///{file}", read_only=True)
    try:
        with reader.connect() as connection:
            copy_sqlite(connection, fresh, lambda _done, _total: None)
    except (OSError, sqlite3.Error, DBAPIError) as error:
        fresh.unlink(missing_ok=True)
        log.warning("no copy could be made before schema %s is changed: %s", revision, error)
        return
    finally:
        reader.dispose()
    found = quick_check(fresh)
    if found is not None:
        raise RecordsLost(f"{file} is damaged: {found}; {WAY_OUT}")
    fresh.replace(target)
    log.warning("schema %s is changed; the database as it was is kept as %s", revision, target)


def _is_older(engine: Engine, noted: Noted) -> bool:
    """What was noted was durable: where the database has less, it is an older one, or its log was taken away. Recorded then."""
    with engine.begin() as connection:
        lost = passed_over(connection)
        newest = connection.execute(select(func.coalesce(func.max(inspections.c.seq), 0))).scalar_one()
        trigger = connection.execute(select(func.coalesce(func.max(triggers.c.trigger_id), 0))).scalar_one()
        if max(lost, newest) >= noted.inspections and max(lost, trigger) >= noted.triggers:
            return False
        missing = max(noted.inspections - newest, noted.triggers - trigger)
        known = max(noted.inspections, noted.triggers)
        number = pass_over(connection, known, f"the database is older than {HEAD} beside it: {missing} triggers are not in it")
    log.error("%s: %d triggers are not in the database; numbers go on after %d", FaultKind.RECORDS_LOST, missing, number)
    return True


def _name(engine: Engine) -> str:
    file = file_of(engine)
    return str(file) if file is not None else f"the database {engine.url.database}"


def _ways_out(data_dir: Path) -> str:
    return f"{WAY_OUT}; or, to begin anew without what was recorded, delete {data_dir / HEAD}"
