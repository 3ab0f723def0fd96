"""The audit trail: entries numbered without gaps, each with the digest of the one before.

Whoever can write the database could make the whole chain anew, or cut its end off. Against that, the number and digest of the
newest entry are kept in a file beside the database as well. Whoever can write that too is found out by what has left the machine:
a copy of the file, or the log, which tells number and digest of an entry of every hundred.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, or_, select

from inspection.domain import AuditEntry
from inspection.records.tables import audit_entries as entries

log = logging.getLogger(__name__)

HEAD = "audit.head"
FIRST = "0" * 64
"""Stands for the entry before the first."""
MAX_DETAIL = 2_000
ASKED, DONE, FAILED = "asked", "done", "failed"
"""Outcomes: before something is done; of a command that did it, and of one that did not."""
# On PostgreSQL: whoever appends holds it until the end of the transaction, so that the chain never forks.
_APPEND_LOCK = 7_002
_CHUNK = 2_000
# The log tells the first entry that a process writes in each further hundred.
_LOGGED_EVERY = 100


@dataclass(frozen=True, slots=True)
class Trace:
    """What an entry is about, before it has its place in the chain."""

    by: str
    role: str
    client: str
    action: str
    subject: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Verified:
    """``entries`` looked at, up to number ``last``; ``first_wrong`` is the first that does not fit, and ``problem`` says why."""

    entries: int
    last: int
    first_wrong: int | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries: all fields that are set must fit."""

    by: str | None = None
    action: str | None = None
    refused: bool = False
    since: datetime | None = None
    until: datetime | None = None


def append(connection: Connection, trace: Trace, outcome: str) -> AuditEntry:
    """The next entry of the chain."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_APPEND_LOCK)))
    newest = connection.execute(select(entries.c.audit_id, entries.c.digest).order_by(entries.c.audit_id.desc()).limit(1)).first()
    row: dict[str, Any] = {
        "audit_id": newest.audit_id + 1 if newest else 1,
        "at": datetime.now(UTC),
        "by": _storable(trace.by)[:64],
        "role": trace.role[:16],
        "client": _storable(trace.client)[:64],
        "action": _storable(trace.action)[:64],
        "subject": _storable(trace.subject),
        "outcome": outcome[:64],
        "detail": _storable(trace.detail)[:MAX_DETAIL],
        "previous": newest.digest if newest else FIRST,
    }
    row["digest"] = _digest(row)
    connection.execute(insert(entries).values(**row))
    return AuditEntry(**row)


class Trail:
    """Appends to the audit trail, each entry in a transaction of its own. Thread-safe."""

    def __init__(self, writer: Engine, data_dir: Path) -> None:
        self._writer = writer
        self.head = data_dir / HEAD
        self._logged = 0

    def write(self, trace: Trace, outcome: str) -> AuditEntry:
        """The entry, when it is durable. DBAPIError or OSError if it is not."""
        with self._writer.begin() as connection:
            entry = append(connection, trace, outcome)
        note_head(self.head, entry)
        # Not the hundredth itself: others write too, and do not tell.
        if entry.audit_id // _LOGGED_EVERY > self._logged:
            self._logged = entry.audit_id // _LOGGED_EVERY
            log.info("audit entry %d has the digest %s", entry.audit_id, entry.digest)
        return entry


def list_entries(connection: Connection, wanted: Wanted, before: int | None, limit: int) -> tuple[AuditEntry, ...]:
    """Entries, newest first, below number ``before`` if that is given."""
    statement = select(entries).order_by(entries.c.audit_id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(entries.c.audit_id < before)
    if wanted.by is not None:
        statement = statement.where(entries.c.by == wanted.by)
    if wanted.action is not None:
        statement = statement.where(entries.c.action.contains(wanted.action, autoescape=True))
    if wanted.refused:
        statement = statement.where(or_(*(entries.c.outcome.startswith(first) for first in ("4", "5", FAILED))))
    if wanted.since is not None:
        statement = statement.where(entries.c.at >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(entries.c.at < wanted.until)
    return tuple(AuditEntry(**row) for row in connection.execute(statement).mappings())


def verify(connection: Connection, head: Path, after: int = 0, anchors: Mapping[int, str] | None = None) -> Verified:
    """Walk the chain from the entry behind ``after`` on, and compare its end with the file that holds the head.

    ``anchors`` are digests by number that were kept where nobody of this machine can change them.
    """
    anchors = anchors or {}
    # Before the entries are read: what is appended meanwhile is no fault.
    noted = read_head(head)
    count, last, previous = 0, after, FIRST
    if after:
        previous = connection.execute(select(entries.c.digest).where(entries.c.audit_id == after)).scalar_one_or_none() or FIRST
    for row in _rows(connection, after):
        number = last + 1
        if row["audit_id"] != number:
            return Verified(count, last, number, f"entry {number} is missing; entry {row['audit_id']} follows entry {last}")
        if row["previous"] != previous:
            return Verified(count, last, number, f"entry {number} does not follow entry {last}: one was put in or left out")
        if row["digest"] != _digest(row):
            return Verified(count, last, number, f"entry {number} was altered: its digest is of something else")
        if noted is not None and noted[0] == number and noted[1] != row["digest"]:
            return Verified(count, last, number, f"entry {number} is not the one that {head.name} noted: the chain was made anew")
        if anchors.get(number, row["digest"]) != row["digest"]:
            return Verified(
                count, last, number, f"entry {number} is not the one that was kept elsewhere: the chain was made anew"
            )
        count, last, previous = count + 1, number, row["digest"]
    if noted is None and last:
        return Verified(count, last, last + 1, f"{head} is missing or unreadable, so entries may be missing at the end")
    if noted is not None and noted[0] > last:
        return Verified(count, last, last + 1, f"entries {last + 1} to {noted[0]} are missing at the end; {head.name} noted them")
    newest = max(anchors, default=0)
    if newest > last:
        return Verified(
            count, last, last + 1, f"entries {last + 1} to {newest} are missing at the end; they were noted elsewhere"
        )
    return Verified(count, last)


def note_head(head: Path, entry: AuditEntry) -> None:
    """Note the newest entry beside the database, once it is committed. Never goes back to an older one."""
    head.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = os.open(head, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        noted = _parsed(os.pread(file, 200, 0))
        if noted is None or noted[0] < entry.audit_id:
            # Always as long, in place: one sector, which is written whole or not at all.
            os.pwrite(file, f"{entry.audit_id:020d} {entry.digest}\n".encode(), 0)
    finally:
        os.close(file)


def read_head(head: Path) -> tuple[int, str] | None:
    """Number and digest of the newest entry as noted; None if there is no such file, or it cannot be read as one."""
    try:
        return _parsed(head.read_bytes())
    except OSError:
        return None


def _parsed(text: bytes) -> tuple[int, str] | None:
    number, _, digest = text.decode("ascii", "replace").strip().partition(" ")
    return (int(number), digest) if number.isdigit() and len(digest) == 64 else None


def _rows(connection: Connection, after: int) -> Iterator[dict[str, Any]]:
    while True:
        chunk = select(entries).where(entries.c.audit_id > after).order_by(entries.c.audit_id).limit(_CHUNK)
        found = connection.execute(chunk).mappings().all()
        yield from (dict(row) for row in found)
        if len(found) < _CHUNK:
            return
        after = found[-1]["audit_id"]


def _digest(row: dict[str, Any]) -> str:
    """SHA-256 over the canonical JSON of all columns but the digest itself."""
    plain = {name: value for name, value in row.items() if name != "digest"}
    plain["at"] = row["at"].astimezone(UTC).isoformat(timespec="microseconds")
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _storable(text: str) -> str:
    """PostgreSQL stores no NUL, and no database a lone surrogate."""
    return text.replace("\0", "\N{SYMBOL FOR NULL}").encode("utf-8", "replace").decode()
