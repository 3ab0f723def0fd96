"""Engines for the records: SQLite on the station, PostgreSQL in a plant, with the same guarantees on both."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DatabaseError, DisconnectionError

from inspection.config import Config
from inspection.errors import ConfigError
from inspection.records.damage import identity

if TYPE_CHECKING:
    # Imported where it is used: half a second, which most processes never need.
    from alembic.config import Config as AlembicConfig

log = logging.getLogger(__name__)

BUSY_TIMEOUT_MS = 5_000
WAL_BYTES = 64_000_000
"""A write-ahead log that grew larger is cut back to this once no reader needs what is in it."""
_WAL_EVERY_S = 10.0
_WAL_WAIT_MS = 50
MIGRATIONS = Path(__file__).parent / "migrations"


def open_engine(url: str, read_only: bool = False) -> Engine:
    """An engine for ``sqlite:///file`` or ``postgresql://user@host/name``; ConfigError for any other URL.

    A transaction of a writer holds the write lock from its first statement, so it never fails half-way because another
    writer came first; a commit returns when it is on the disk. A transaction of a reader (``read_only``) sees one
    snapshot, and any write in it fails. A reader never creates a database file: connecting fails while there is none.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigError(f"database URL {url!r} is malformed; write sqlite:///file or postgresql://user@host/name") from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        return _open_sqlite(parsed, read_only)
    if backend == "postgresql":
        return _open_postgresql(parsed, read_only)
    raise ConfigError(f"database {backend!r} is not supported; use sqlite:///file or postgresql://user@host/name")


def migrate(engine: Engine) -> None:
    """Bring the database to the newest schema in one transaction; nothing happens if it is there already."""
    from alembic import command

    config = _alembic()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def schema_revision(connection: Connection) -> str | None:
    """The number of the newest migration that the database has seen; None before the first."""
    from alembic.runtime.migration import MigrationContext

    return MigrationContext.configure(connection).get_current_revision()


def known_revisions() -> list[str]:
    """The numbers of all migrations that this version has, newest first."""
    from alembic.script import ScriptDirectory

    return [each.revision for each in ScriptDirectory.from_config(_alembic()).walk_revisions()]


def up_to_date(engine: Engine) -> bool:
    """Has the database the newest schema?"""
    try:
        with engine.connect() as connection:
            revision = schema_revision(connection)
    except DatabaseError:
        return False  # there is no database yet; if there is another reason, the writer meets it too
    return revision == known_revisions()[0]


@contextmanager
def read_records(config: Config) -> Iterator[Engine]:
    """A reader's engine on the records of a station: it waits for no writer, and no writer waits for it.

    Records that are not there yet, or of a former version, are brought up to date by a writer first.
    """
    engine = open_engine(config.database_url, read_only=True)
    try:
        if not up_to_date(engine):
            with open_records(config):
                pass
        yield engine
    finally:
        engine.dispose()


@contextmanager
def open_records(config: Config) -> Iterator[Engine]:
    """A writer's engine on the records of a station, which are made if it never ran. Errors as of ``prepare``."""
    from inspection.records.preparing import prepare

    config.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = open_engine(config.database_url)
    try:
        prepare(config, engine)
        yield engine
    finally:
        engine.dispose()


class Wal:
    """The write-ahead log of a SQLite database: it begins anew only when no reader is in it, and where readers follow each other
    without a gap, that never happens by itself.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._path = Path(f"{unquote(urlsplit(engine.url.database).path)}-wal")
        self._due = 0.0

    @property
    def nbytes(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def cut_back(self) -> None:
        """Have a log that is too large begin anew. Called often; does something every ten seconds at most.

        It waits for readers, and lets writers wait, for a twentieth of a second at most; who stays longer is met again by the
        next try.
        """
        if time.monotonic() < self._due or self.nbytes <= WAL_BYTES:
            return
        self._due = time.monotonic() + _WAL_EVERY_S
        with self._engine.connect() as connection:
            driver = connection.connection
            driver.execute(f"PRAGMA busy_timeout={_WAL_WAIT_MS}")
            try:
                # What can be copied without anybody waiting is copied first.
                driver.execute("PRAGMA wal_checkpoint(PASSIVE)")
                driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.OperationalError as error:
                log.warning("the write-ahead log is not cut back: %s", error)
            finally:
                driver.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")


def wal_of(engine: Engine) -> Wal | None:
    """The write-ahead log of a writer's database; None on PostgreSQL, which looks after its own."""
    return Wal(engine) if engine.dialect.name == "sqlite" else None


def _alembic() -> AlembicConfig:
    from alembic.config import Config as AlembicConfig

    config = AlembicConfig()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def _open_sqlite(url: URL, read_only: bool) -> Engine:
    if not url.database or url.database == ":memory:":
        raise ConfigError("an in-memory database loses the records; name a file: sqlite:///file")
    # mode=ro cannot open a WAL database whose side files are gone; query_only refuses writes just as well.
    mode = "rw" if read_only else "rwc"
    file = Path(url.database).absolute()
    engine = create_engine(
        url.set(database=file.as_uri(), query={"mode": mode, "uri": "true"}),
        connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False},
        pool_size=5,
        max_overflow=40,
    )

    opened: set[tuple[int, int]] = set()
    shared = file.with_name(f"{file.name}-shm")

    @event.listens_for(engine, "do_connect")
    def make_once(_dialect: Any, _record: Any, arguments: list[Any], _options: Any) -> None:
        # A file that was there and is gone must not be made anew, empty.
        if opened and not read_only:
            arguments[0] = arguments[0].replace("mode=rwc", "mode=rw")

    @event.listens_for(engine, "checkin")
    def remember(_connection: Any, record: Any) -> None:
        # There since the first transaction, and as long as this connection.
        record.info.setdefault("shared", identity(shared))

    @event.listens_for(engine, "checkout")
    def still_there(_connection: Any, record: Any, _proxy: Any) -> None:
        # What is written to a file that was deleted or replaced is lost, and what is read is old; no error says so.
        if identity(file) != record.info["file"] or identity(shared) != record.info.get("shared", identity(shared)):
            raise DisconnectionError(f"{file} was deleted or replaced")

    @event.listens_for(engine, "connect")
    def configure(connection: Any, record: Any) -> None:
        # The driver's own transactions begin late and not before reads; BEGIN below replaces them.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys=ON")
        if read_only:
            connection.execute("PRAGMA query_only=ON")
        else:
            connection.execute("PRAGMA journal_mode=WAL")
            # FULL, not NORMAL: a verdict that was announced must survive a power cut.
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(f"PRAGMA journal_size_limit={WAL_BYTES}")
        record.info["file"] = identity(file)
        opened.add(record.info["file"])

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def _open_postgresql(url: URL, read_only: bool) -> Engine:
    # Readers get one snapshot per transaction, as in SQLite.
    options: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True} if read_only else {}
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        # A server whose machine or network is gone is an error soon, not after the minutes that TCP would wait: a question to it
        # and a new connection after that take less than a process may be silent.
        connect_args={"connect_timeout": 4, "tcp_user_timeout": 4_000},
        execution_options=options,
        pool_size=5,
        max_overflow=40,
        pool_pre_ping=True,
    )
