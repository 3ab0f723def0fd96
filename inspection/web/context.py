"""What every request needs: the settings, the records to read and to write in, and the recorder, which writes lots."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import Connection, Engine

from inspection.web.commands import RecorderClient
from inspection.web.settings import Settings
from inspection.web.triggers import Triggers


@dataclass(frozen=True, slots=True)
class Context:
    """``writer`` writes labels, golden images, training sets, training runs, deployments, shadows and idempotency keys, nothing
    else."""

    settings: Settings
    reader: Engine
    writer: Engine
    recorder: RecorderClient
    triggers: Triggers


def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


def _records(request: Request) -> Iterator[Connection]:
    with _context(request).reader.connect() as connection:
        yield connection


InContext = Annotated[Context, Depends(_context)]

# One read-only transaction per request: everything in one answer belongs to one snapshot.
Records = Annotated[Connection, Depends(_records)]
