"""What is kept: who may read it, and whether the database is whole and of this version."""

from __future__ import annotations

import os
import pwd
import sqlite3
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from inspection.config import Config, HttpReceiverConfig
from inspection.doctor.findings import Finding, failure, not_checked, ok, warning
from inspection.records.database import known_revisions, schema_revision

AREA = "records"
# A whole check of a large database takes minutes of a disk that a station may be using.
_CHECK_S = 10.0
_CONNECT_S = 3


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file or folder that others must not read. ``mode`` is None if it is not there; ``trouble`` why it cannot be looked at."""

    path: Path
    what: str
    folder: bool
    mode: int | None
    owner: str
    mine: bool
    needed: bool
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """``url`` without its password. ``problem``: what the database's own check says, or why it cannot be opened; None if it is
    whole. ``finished``: the check went through. ``careless``: settings of a PostgreSQL under which a commit may be lost.
    """

    url: str
    there: bool
    revision: str | None = None
    newest: str = ""
    problem: str | None = None
    finished: bool = True
    careless: tuple[str, ...] = ()
    inspections: int = 0


def probe_files(config: Config) -> list[FileFacts]:
    """The data directory, which keeps others from all that is in it, and every secret of the configuration."""
    data = config.data_dir
    wanted = [(data, "data directory", False)]
    for receiver in config.receivers:
        if isinstance(receiver, HttpReceiverConfig):
            wanted.append((receiver.secret_file, f"secret of receiver {receiver.name}", True))
        elif receiver.password_file is not None:
            wanted.append((receiver.password_file, f"password of receiver {receiver.name}", True))
    if config.opcua is not None:
        wanted.append((data / config.opcua.users_file, "users of OPC UA", False))
        wanted.append((data / config.opcua.trusted_dir.parent / "own-key.pem", "key of OPC UA", False))
    return [_file(path, what, needed) for path, what, needed in wanted]


def _file(path: Path, what: str, needed: bool) -> FileFacts:
    try:
        found = path.stat()
        with_it = os.access(path, os.R_OK)
    except FileNotFoundError:
        return FileFacts(path, what, False, None, "", True, needed)
    except OSError as error:
        return FileFacts(path, what, False, None, "", False, needed, error.strerror)
    try:
        owner = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        owner = str(found.st_uid)
    folder = stat.S_ISDIR(found.st_mode)
    mine = found.st_uid == os.geteuid()
    trouble = None if with_it else "it cannot be read"
    return FileFacts(path, what, folder, stat.S_IMODE(found.st_mode), owner, mine, needed, trouble)


def probe_database(config: Config) -> DatabaseFacts:
    """Reads, and writes nothing; a check that takes too long is left."""
    url = make_url(config.database_url)
    shown = url.render_as_string(hide_password=True)
    if url.get_backend_name() == "postgresql":
        return _postgresql(config.database_url, shown)
    if not url.database or not Path(url.database).exists():
        return DatabaseFacts(shown, False)
    return _sqlite(Path(url.database).absolute(), shown)


def _sqlite(path: Path, shown: str) -> DatabaseFacts:
    # Without a log there is no writer, and nothing but the file is touched, not even by making the side files of a reader.
    how = "mode=rw" if path.with_name(path.name + "-wal").exists() else "mode=ro&immutable=1"
    until = time.monotonic() + _CHECK_S
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?{how}", uri=True, timeout=_CONNECT_S)
    except sqlite3.Error as error:
        return DatabaseFacts(shown, True, problem=str(error))
    try:
        connection.execute("PRAGMA query_only=ON")
        revision, inspections, finished = None, 0, True
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "alembic_version" in tables:
            (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone() or (None,)
        if "inspections" in tables:
            (inspections,) = connection.execute("SELECT coalesce(max(seq), 0) FROM inspections").fetchone()
        connection.set_progress_handler(lambda: time.monotonic() > until, 10_000)
        said: Sequence[str] = ()
        try:
            said = [line for (line,) in connection.execute("PRAGMA quick_check(5)")]
        except sqlite3.OperationalError as error:
            if "interrupted" not in str(error):
                raise
            finished = False
        problem = None if said in ((), ["ok"]) else "; ".join(said)
        return DatabaseFacts(shown, True, revision, known_revisions()[0], problem, finished, (), inspections)
    except sqlite3.Error as error:
        return DatabaseFacts(shown, True, problem=str(error))
    finally:
        connection.close()


def _postgresql(url: str, shown: str) -> DatabaseFacts:
    engine = create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        connect_args={"connect_timeout": _CONNECT_S},
        execution_options={"postgresql_readonly": True},
    )
    try:
        with engine.connect() as connection:
            careless = tuple(
                f"{name} = off"
                for name in ("fsync", "synchronous_commit", "full_page_writes")
                if connection.execute(text(f"SHOW {name}")).scalar_one() == "off"
            )
            revision, inspections = schema_revision(connection), 0
            if revision is not None:
                inspections = connection.execute(text("SELECT coalesce(max(seq), 0) FROM inspections")).scalar_one()
            return DatabaseFacts(shown, True, revision, known_revisions()[0], None, False, careless, inspections)
    except DBAPIError as error:
        return DatabaseFacts(shown, False, problem=str(error.orig).strip().splitlines()[0])
    finally:
        engine.dispose()


# --- judgement ---


def judge_file(facts: FileFacts) -> Finding:
    """Secrets and records are for the station's user alone."""
    check, wanted = f"{facts.what} {facts.path.name}", "700" if facts.folder else "600"
    if facts.trouble is not None:
        return failure(AREA, check, f"{facts.path}: {facts.trouble}", "give it to the station's user: chown")
    if facts.mode is None:
        if facts.needed:
            return failure(AREA, check, f"{facts.path} is not there", f"write it there and chmod {wanted} it")
        return ok(AREA, check, f"{facts.path} is not there yet; the station makes it")
    found = f"mode {facts.mode:o}, owner {facts.owner}"
    others = facts.mode & 0o077
    if others and not facts.folder:
        return failure(AREA, check, f"{found}: others may read it", f"chmod 600 {facts.path}, and change it if they did")
    if others:
        return warning(AREA, check, f"{found}: others may look into it", f"chmod {wanted} {facts.path}")
    if not facts.mine:
        return warning(AREA, check, f"{found}, not of the user who asks", f"look as the station's user: sudo -u {facts.owner}")
    return ok(AREA, check, found)


def judge_database(facts: DatabaseFacts) -> Iterator[Finding]:
    check = "database"
    if facts.problem is not None:
        if facts.there:
            todo = "stop the station, keep a copy of the files, and restore the newest backup"
        else:
            todo = "look whether the server runs and lets this user in; nothing is inspected without it"
        yield failure(AREA, check, f"{facts.url}: {facts.problem}", todo)
        return
    if not facts.there:
        yield ok(AREA, check, f"{facts.url} is not there yet; the station makes it")
        return
    found = f"{facts.url}, {facts.inspections} inspections"
    if facts.careless:
        yield failure(AREA, check, f"{found}; {', '.join(facts.careless)}: a commit may be lost", "turn it on in postgresql.conf")
    elif facts.url.startswith("sqlite") and not facts.finished:
        yield not_checked(AREA, check, f"{found}; not all of it was checked in {_CHECK_S:.0f} s, what was is whole")
    else:
        yield ok(AREA, check, f"{found}{', whole' if facts.finished else ''}")
    yield _judge_schema(facts)


def _judge_schema(facts: DatabaseFacts) -> Finding:
    check, revision = "schema", facts.revision
    if revision is None or revision == facts.newest:
        return ok(AREA, check, "none yet" if revision is None else f"{revision}, of this version")
    if revision > facts.newest:
        return failure(
            AREA,
            check,
            f"{revision}, of a newer version; this one knows {facts.newest}",
            "install the version that the station had, or restore a backup made by this one",
        )
    return warning(AREA, check, f"{revision}; {facts.newest} at the next start", "make a backup first: it cannot be undone")
