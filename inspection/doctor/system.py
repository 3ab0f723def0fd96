"""Who runs the station, within which limits, and what the kernel does when something breaks at night."""

from __future__ import annotations

import os
import pwd
import resource
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from inspection.doctor.findings import Finding, not_checked, ok, warning
from inspection.scheduling import FIRST

AREA = "system"
_PANIC = Path("/proc/sys/kernel/panic")
_BY_SESSION = Path("/proc/sys/kernel/sched_autogroup_enabled")


@dataclass(frozen=True, slots=True)
class SystemFacts:
    """``data_owner``: of the data directory, None if there is none. ``watchdog``: the time after which systemd lets the
    hardware restart a machine that hangs, "" where there is no such device, None without systemd. ``panic_s``: None where the
    kernel does not say. ``by_session``: does the kernel share its time among sessions before it looks at priorities?
    """

    user: str
    root: bool
    data_owner: str | None
    nice: int
    watchdog: str | None
    watchdog_device: bool
    panic_s: int | None
    overcommit: int
    by_session: bool


def probe(data_dir: Path | None) -> SystemFacts:
    owner = data_dir.stat().st_uid if data_dir is not None and data_dir.exists() else None
    return SystemFacts(
        _name(os.geteuid()),
        os.geteuid() == 0,
        None if owner is None else _name(owner),
        resource.getrlimit(resource.RLIMIT_NICE)[1],
        _watchdog(),
        Path("/dev/watchdog").exists(),
        int(_PANIC.read_text(encoding="ascii")) if _PANIC.exists() else None,
        int(Path("/proc/sys/vm/overcommit_memory").read_text(encoding="ascii")),
        _BY_SESSION.exists() and _BY_SESSION.read_text(encoding="ascii").strip() == "1",
    )


def _name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _watchdog() -> str | None:
    if not Path("/run/systemd/system").is_dir() or shutil.which("systemctl") is None:
        return None
    command = ["systemctl", "show", "--property=RuntimeWatchdogUSec", "--value"]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout.strip()


def judge(facts: SystemFacts) -> Iterator[Finding]:
    if facts.data_owner is not None and facts.data_owner != facts.user:
        yield warning(
            AREA,
            "user",
            f"{facts.user}, the data are {facts.data_owner}'s: permissions were looked at for another user",
            f"sudo -u {facts.data_owner} station doctor …",
        )
    elif facts.root:
        yield warning(
            AREA,
            "user",
            "root: whoever breaks into the station has the machine",
            "make a user for the station, give it data_dir, and run the station as this user",
        )
    else:
        yield ok(AREA, "user", facts.user)
    yield _judge_priorities(facts)
    yield _judge_watchdog(facts)
    if facts.panic_s is None:
        yield not_checked(AREA, "kernel.panic", "the kernel does not say")
    elif facts.panic_s == 0:
        found = "0: after a failure of the kernel the machine stands still until somebody comes"
        yield warning(AREA, "kernel.panic", found, "sysctl kernel.panic=10, and write it into /etc/sysctl.d")
    else:
        yield ok(AREA, "kernel.panic", f"starts again after {facts.panic_s} s")
    if facts.overcommit == 2:
        found = "2: a process may be refused memory that is free"
        yield warning(AREA, "vm.overcommit_memory", found, "sysctl vm.overcommit_memory=0")
    else:
        yield ok(AREA, "vm.overcommit_memory", str(facts.overcommit))


def _judge_priorities(facts: SystemFacts) -> Finding:
    check = "priorities"
    # systemd makes one group of the whole station; started otherwise, each of its processes is a session.
    if facts.by_session and facts.watchdog is None:
        found = "the kernel shares its time among sessions first: who looks at pages on this machine makes parts late"
        return warning(AREA, check, found, "sysctl kernel.sched_autogroup_enabled=0, and write it into /etc/sysctl.d")
    # RLIMIT_NICE counts from 20 down.
    nice = min(19, max(-20, 20 - facts.nice)) if facts.nice >= 0 else -20
    if facts.root or nice <= FIRST:
        return ok(AREA, check, "what judges parts can come first")
    return ok(AREA, check, f"nice down to {nice} for who runs this; the unit allows {FIRST}: what judges parts comes first")


def _judge_watchdog(facts: SystemFacts) -> Finding:
    check, todo = "watchdog", "RuntimeWatchdogSec=30 in /etc/systemd/system.conf, where the machine has a watchdog"
    if facts.watchdog is None:
        return not_checked(AREA, check, "there is no systemd; whatever starts the station must restart it")
    if not facts.watchdog_device:
        return warning(AREA, check, "the machine has none: one that hangs stays so", "modprobe the board's, or softdog")
    if facts.watchdog in ("", "0", "infinity"):
        return warning(AREA, check, "nobody uses it: a machine that hangs stays so", todo)
    return ok(AREA, check, f"restarts a machine that hangs for {facts.watchdog}")
