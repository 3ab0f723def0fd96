"""PostgreSQL's own programs, which alone know how its databases are saved."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from sqlalchemy import make_url

from inspection.backup.manifest import BackupError

_CLIENT = (
    "install PostgreSQL's client programs of the server's version or a newer one (Debian: postgresql-client) on this machine"
)


def dump(database_url: str, target: Path, snapshot: str) -> None:
    """Everything that a transaction sees which has exported ``snapshot``. BackupError with what pg_dump says."""
    if shutil.which("pg_dump") is None:
        raise BackupError(
            f"the records lie in PostgreSQL, and pg_dump is not on this machine: {_CLIENT}; or back the database up where it "
            "runs, and copy the station's data directory beside it"
        )
    arguments = ["--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}", f"--file={target}"]
    _run("pg_dump", database_url, arguments)
    target.chmod(0o600)


def check(target: Path) -> None:
    """Can it be read to its end? BackupError if not."""
    _run("pg_restore", None, ["--file=/dev/null", str(target)])


def restore(database_url: str, source: Path) -> None:
    """Replace what the dump holds, in one transaction. BackupError with what pg_restore says."""
    options = ["--clean", "--if-exists", "--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error"]
    _run("pg_restore", database_url, [*options, str(source)])


def _run(program: str, database_url: str | None, arguments: list[str]) -> None:
    if shutil.which(program) is None:
        raise BackupError(f"{program} is not on this machine: {_CLIENT}")
    environment = dict(os.environ)
    if database_url is not None:
        url = make_url(database_url)
        if url.password is not None:
            # Arguments can be read by everybody on this machine.
            environment["PGPASSWORD"] = str(url.password)
        plain = url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
        arguments = [f"--dbname={plain}", *arguments]
    done = subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BackupError(f"{program} ended with {done.returncode}: {done.stderr.strip()[-1_000:]}")
