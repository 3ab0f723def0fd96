"""What the harnesses share: a place for files, databases, and an event loop that tells what nobody caught."""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

TOP = Path(__file__).parents[2]
_SHARED_MEMORY = Path("/dev/shm")
_TROUBLE: list[BaseException | str] = []


@dataclass(frozen=True)
class Harness:
    """``run`` raises only if something is wrong with the station; the errors that a reader documents are let pass.

    ``seeds`` are inputs that are understood, from which others are made; ``slow``: below a thousand a second.
    """

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    slow: bool = False


@cache
def folder() -> Path:
    """Of this process alone, in memory."""
    made = Path(tempfile.mkdtemp(prefix="fuzz-", dir=_SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


@cache
def database(name: str) -> Engine:
    """A writer's engine on a database of the newest schema."""
    from inspection.records.database import migrate, open_engine

    engine = open_engine(database_url(name))
    migrate(engine)
    return engine


def database_url(name: str) -> str:
    return f"sqlite:///{folder()}/{name}.db"


class Transport(asyncio.Transport):
    """A connection to a client that reads everything."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 4711), "sockname": ("127.0.0.1", 1502)})
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close


@cache
def loop() -> asyncio.AbstractEventLoop:
    made = asyncio.new_event_loop()
    made.set_exception_handler(lambda _, context: _TROUBLE.append(context.get("exception") or context["message"]))
    return made


async def turns(number: int) -> None:
    """Let the others have so many turns."""
    for _ in range(number):
        await asyncio.sleep(0)


def raise_trouble() -> None:
    """What no task and no callback caught."""
    if _TROUBLE:
        trouble = _TROUBLE[0]
        _TROUBLE.clear()
        raise trouble if isinstance(trouble, BaseException) else RuntimeError(trouble)
