"""How much memory each process may use and does use, and which of them the kernel is to end first when there is none left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")
# Of the machine's memory. Models of all products are in the inspector, and training needs what it can get.
_SHARES = {"inspector": 0.5, "trainer": 0.5}
_SHARE = 0.25
# Added to the OOM score: parts are still judged without pages, and recorded without training. The recorder comes last.
_EXPENDABLE = {"recorder": 0, "line": 100, "camera": 200, "plc": 200, "inspector": 300, "trainer": 900}
_OTHERS = 600


def limit_bytes(name: str, configured_mib: int | None) -> int:
    """What the process may use; unless it is configured, a share of what the machine or the container has."""
    if configured_mib is not None:
        return configured_mib << 20
    return int(_machine_bytes() * _SHARES.get(name, _SHARE))


def used_bytes(pid: int) -> dict[int, int]:
    """{process id: bytes} of a process and its children, in memory or swapped out; nothing of those that have ended.

    Without what is shared and what can be read again from files: rings, libraries, models.
    """
    used = {}
    for process in _tree(pid):
        try:
            status = (_PROC / str(process) / "status").read_text()
        except OSError:
            continue
        # Lines such as "RssAnon:    123456 kB"; a process that has ended has none.
        lines = (line.split() for line in status.splitlines() if line.startswith(("RssAnon:", "VmSwap:")))
        used[process] = sum(int(line[1]) << 10 for line in lines)
    return used


def _tree(pid: int) -> Iterator[int]:
    yield pid
    try:
        children = (_PROC / str(pid) / "task" / str(pid) / "children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from _tree(int(child))


def expendable(name: str) -> None:
    """Tell the kernel how soon this process, with its children, may be ended when memory runs out."""
    score = _PROC / "self" / "oom_score_adj"
    # Where /proc cannot be written, the kernel decides by itself.
    with suppress(OSError):
        now = int(score.read_text())
        score.write_text(str(min(1000, now + _EXPENDABLE.get(name.partition("@")[0], _OTHERS))))


def _machine_bytes() -> int:
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for line in (_PROC / "self" / "cgroup").read_text().splitlines():
        hierarchy, _, path = line.split(":", 2)
        if hierarchy == "0":  # cgroup v2
            own = _CGROUPS / path.lstrip("/")
            limits += [limit for group in (own, *own.parents) if (limit := _cgroup_bytes(group)) is not None]
    return min(limits)


def _cgroup_bytes(group: Path) -> int | None:
    try:
        limit = (group / "memory.max").read_text().strip()
    except OSError:
        return None
    return None if limit == "max" else int(limit)
