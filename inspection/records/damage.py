"""When a database is no longer one to record in: damaged, deleted, replaced. Busy or full is another matter, and passes."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sqlalchemy import Engine

from inspection.errors import RecordsLost

WAY_OUT = "stop the station and restore the newest backup: station restore BACKUPS CONFIG"

_MAGIC = b"SQLite format 3\0"
# The primary result code is the low byte: https://sqlite.org/rescode.html
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# data_corrupted, index_corrupted, undefined_table, undefined_column: https://www.postgresql.org/docs/current/errcodes-appendix.html
_STATES = ("XX001", "XX002", "42P01", "42703")
# So many steps of SQLite's machine between two looks at the clock.
_STEPS = 100_000


def damage(error: BaseException) -> str | None:
    """What the database says is wrong with it; None if this error does not mean that it is damaged."""
    said = getattr(error, "orig", error)
    code = getattr(said, "sqlite_errorcode", None)
    # A table that is missing is a plain error to SQLite.
    missing = code == sqlite3.SQLITE_ERROR and str(said).startswith(("no such table", "no such column"))
    if missing or (code is not None and code & 0xFF in _DAMAGED) or getattr(said, "sqlstate", None) in _STATES:
        return str(said).splitlines()[0]
    return None


def file_of(engine: Engine) -> Path | None:
    """The file of an SQLite database; None for PostgreSQL."""
    if engine.dialect.name != "sqlite":
        return None
    return Path(unquote(urlsplit(str(engine.url.database)).path))


def quick_check(file: Path, budget_s: float | None = None) -> str | None:
    """What is wrong inside an SQLite file; None if nothing is, or nothing was found in the time that there was.

    Looks at every page, but not whether indexes agree with their tables (``PRAGMA quick_check``).
    """
    until = None if budget_s is None else time.monotonic() + budget_s
    connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=5)
    try:
        connection.set_progress_handler(lambda: until is not None and time.monotonic() > until, _STEPS)
        [(found,)] = connection.execute("PRAGMA quick_check(1)")
        return None if found == "ok" else str(found).replace("\n", " ")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode in (sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_BUSY):
            return None
        return str(error)
    except sqlite3.DatabaseError as error:
        return str(error)
    finally:
        connection.close()


def identity(file: Path) -> tuple[int, int]:
    """Device and inode: another file under the same name has others. Zeros where there is none."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return (0, 0)
    return found.st_dev, found.st_ino


class OpenFiles:
    """The files of an SQLite database that a process has open. While it has, nobody else may delete or replace them: what is
    written then goes nowhere, and no error says so.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._files = (file, file.with_name(f"{file.name}-wal"), file.with_name(f"{file.name}-shm"))
        self._known = [identity(each) for each in self._files]
        self._size = 0
        # Open, so that no new file gets the number of one that was deleted; never closed: that would drop every lock of SQLite's
        # on these files in this process (fcntl(2), howtocorrupt.html 2.2).
        self._open = [os.open(each, os.O_RDONLY | os.O_CLOEXEC) for each in self._files if each == file or each.exists()]
        self.check()

    def check(self) -> None:
        """RecordsLost unless the open files are the ones that lie there. Called after each commit, before it counts."""
        for each, known in zip(self._files, self._known, strict=True):
            if identity(each) != known:
                raise RecordsLost(f"{each} was deleted or replaced while it was in use; {WAY_OUT}")
        size = os.fstat(self._open[0]).st_size
        if size < self._size or (size and os.pread(self._open[0], len(_MAGIC), 0) != _MAGIC):
            raise RecordsLost(f"{self._file} was cut off or overwritten while it was in use; {WAY_OUT}")
        self._size = size
