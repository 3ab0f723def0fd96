"""Engines for the records: SQLite on the station, PostgreSQL in a plant, with the same guarantees on both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, OperationalError

from inspection.config import Config
from inspection.errors import ConfigError

BUSY_TIMEOUT_MS = 5_000
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
    config = _alembic()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def up_to_date(engine: Engine) -> bool:
    """Has the database the newest schema?"""
    try:
        with engine.connect() as connection:
            revision = MigrationContext.configure(connection).get_current_revision()
    except OperationalError:
        return False  # there is no database yet; if there is another reason, the writer meets it too
    return revision == ScriptDirectory.from_config(_alembic()).get_current_head()


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
    """A writer's engine on the records of a station, which are made if it never ran."""
    config.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = open_engine(config.database_url)
    try:
        migrate(engine)
        yield engine
    finally:
        engine.dispose()


def _alembic() -> AlembicConfig:
    config = AlembicConfig()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def _open_sqlite(url: URL, read_only: bool) -> Engine:
    if not url.database or url.database == ":memory:":
        raise ConfigError("an in-memory database loses the records; name a file: sqlite:///file")
    mode = "rw" if read_only else "rwc"
    # mode=ro cannot open a WAL database whose side files are gone; query_only refuses writes just as well.
    path = Path(url.database).absolute().as_uri()
    engine = create_engine(
        url.set(database=path, query={"mode": mode, "uri": "true"}),
        connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False},
        pool_size=5,
        max_overflow=40,
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        # The driver's own transactions begin late and not before reads; BEGIN below replaces them.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys=ON")
        if read_only:
            connection.execute("PRAGMA query_only=ON")
        else:
            connection.execute("PRAGMA journal_mode=WAL")
            # FULL, not NORMAL: a verdict that was announced must survive a power cut.
            connection.execute("PRAGMA synchronous=FULL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def _open_postgresql(url: URL, read_only: bool) -> Engine:
    # Readers get one snapshot per transaction, as in SQLite.
    options: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True} if read_only else {}
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        execution_options=options,
        pool_size=5,
        max_overflow=40,
        pool_pre_ping=True,
    )
