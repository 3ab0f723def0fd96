"""Which process of the station runs, how often it was started, and what it takes of memory and processor: from the file that
each holds locked, and from the kernel. Nothing is asked of the process, which may hang.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec
import psutil

# What stands in the command line of the one process that is not named in it: the manager, `station run`.
_WORDS = {"station": "run"}


class Started(msgspec.Struct, frozen=True):
    """What a process writes into its lock when it starts: ``starts`` counts those since the machine was switched on."""

    pid: int
    starts: int


@dataclass(frozen=True, slots=True)
class Vitals:
    """``private_bytes`` are those of ``resident_bytes`` that are not shared with others, as the rings of frames are;
    ``started_at`` is Unix time.
    """

    resident_bytes: int
    private_bytes: int
    cpu_s: float
    open_files: int
    started_at: float


def enter(lock: IO[str]) -> None:
    """This process has the lock: say so in it."""
    before = _decoded(Path(lock.name))
    lock.truncate(0)
    lock.write(msgspec.json.encode(Started(pid=os.getpid(), starts=before.starts + 1 if before else 1)).decode())
    lock.flush()


def started(run_dir: Path, name: str) -> Started | None:
    """The last start of a process with this name; None if there was none."""
    return _decoded(run_dir / f"{name}.lock")


def vitals(run_dir: Path, name: str) -> Vitals | None:
    """None if no process with this name runs now."""
    last = started(run_dir, name)
    if last is None:
        return None
    try:
        process = psutil.Process(last.pid)
        with process.oneshot():
            # After its end, its number may be another program's.
            if _WORDS.get(name, name) not in process.cmdline():
                return None
            memory, cpu = process.memory_info(), process.cpu_times()
            return Vitals(
                resident_bytes=memory.rss,
                private_bytes=memory.rss - memory.shared,
                cpu_s=cpu.user + cpu.system,
                open_files=process.num_fds(),
                started_at=process.create_time(),
            )
    except psutil.Error:
        return None


def _decoded(path: Path) -> Started | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Started)
    except (OSError, msgspec.DecodeError):
        return None
