"""Which process of the station computes where, and which one waits for which.

Cores: with two of them, the inspector has one for itself and all other processes share the other: nothing comes between two
parts, and the line holds a fifth to two fifths more parts per second (decision 13). Only encoding, which waits for everything
else, takes what is left of both. With more cores nobody has measured better than what the kernel does.

Priorities: who looks at pages, asks for results or trains waits for what judges parts (decision 27). They are wishes: a station
that may not raise them runs without, and where the kernel shares its time among sessions first they mean little (``station
doctor`` tells both).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_ALL = frozenset(os.sched_getaffinity(0))
FIRST, _INSPECTING, _BACKGROUND, _TRAINING = -20, -10, 5, 10
"""Nice values; what uses most of a core comes first of all, since nothing else can use what it leaves."""
_SERVERS = ("web", "outbox", "opcua")


def schedule(process: str) -> None:
    """Let this process, threads that it starts later included, compute on the cores and with the priority that are for it."""
    if len(_ALL) == 2:
        os.sched_setaffinity(0, {min(_ALL) if process == "inspector" else max(_ALL)})
    _prioritise(_BACKGROUND if process in _SERVERS else FIRST if process == "inspector" else _INSPECTING)


def wait_for_inspection() -> None:
    """Let this process, which trains or scores, compute when nothing that judges parts wants to."""
    _prioritise(_TRAINING)


@contextmanager
def beside_inspection() -> Iterator[None]:
    """As long as this lasts, let this thread, and threads that it starts, compute like what judges parts: they stand for the
    world outside a station that is measured, which does not wait for it.
    """
    with _prioritised(_INSPECTING):
        yield


@contextmanager
def in_background() -> Iterator[None]:
    """As long as this lasts, let this thread wait for what judges parts. For what hardly holds a lock meanwhile, the
    interpreter's included: who waits for that lock waits for everybody who comes before this thread.
    """
    with _prioritised(_BACKGROUND):
        yield


def compute_anywhere() -> None:
    """Let this thread alone compute on every core again."""
    os.sched_setaffinity(threading.get_native_id(), _ALL)


@contextmanager
def _prioritised(nice: int) -> Iterator[None]:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    _prioritise(nice)
    try:
        yield
    finally:
        _prioritise(before)


def _prioritise(nice: int) -> None:
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, nice)
