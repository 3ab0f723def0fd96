"""Which cores a process of the station computes on.

With two cores, the inspector has one for itself and all other processes share the other: nothing comes between two parts, and
the line holds a fifth to two fifths more parts per second (decision 13). Only encoding, which waits for everything else, takes
what is left of both. With more cores nobody has measured better than what the kernel does.
"""

from __future__ import annotations

import os
import threading

_ALL = frozenset(os.sched_getaffinity(0))


def keep_to_core(process: str) -> None:
    """Let this process, threads that it starts later included, compute on the cores that are for it."""
    if len(_ALL) == 2:
        os.sched_setaffinity(0, {min(_ALL) if process == "inspector" else max(_ALL)})


def compute_anywhere() -> None:
    """Let this thread alone compute on every core again."""
    os.sched_setaffinity(threading.get_native_id(), _ALL)
