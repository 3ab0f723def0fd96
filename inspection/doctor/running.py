"""What of this station runs now, found without touching it: who holds the locks, and the heartbeats."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from inspection.config import Config

# Heartbeats come twice a second, and are written down every second.
_FRESH_S = 5.0


@dataclass(frozen=True, slots=True)
class Running:
    """``pids`` of the processes that hold their locks, by name (``station`` is the manager); ``states``: what fresh heartbeats
    say, and whether the process can do its work.
    """

    pids: Mapping[str, int] = field(default_factory=dict)
    states: Mapping[str, tuple[str, bool]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.pids)


NOTHING = Running()


def running(config: Config) -> Running:
    """Nobody's lock is taken for that: the kernel tells who holds which."""
    directory = owners_run_dir(config)
    inodes = {}
    for lock in directory.glob("*.lock"):
        stat = lock.stat()
        inodes[(os.major(stat.st_dev), os.minor(stat.st_dev), stat.st_ino)] = lock.stem
    pids = {}
    for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
        # 1: FLOCK  ADVISORY  WRITE 4711 fd:01:12345 0 EOF
        parts = line.split()
        if len(parts) > 5 and parts[1] == "FLOCK":
            major, minor, inode = parts[5].split(":")
            name = inodes.get((int(major, 16), int(minor, 16), int(inode)))
            if name is not None:
                pids[name] = int(parts[4])
    return Running(pids, _states(directory / config.status_path.name) if pids else {})


def owners_run_dir(config: Config) -> Path:
    """That of the user who owns the data, who need not be the one who asks."""
    try:
        owner = config.data_dir.stat().st_uid
    except OSError:
        return config.run_dir
    _, _, digest = config.run_dir.name.split("-")
    return config.run_dir.with_name(f"station-{owner}-{digest}")


def _states(path: Path) -> dict[str, tuple[str, bool]]:
    try:
        beats = msgspec.json.decode(path.read_bytes())["processes"]
        return {
            name: (str(beat["state"]), bool(beat.get("ok", True)))
            for name, beat in beats.items()
            if time.time() - beat["at"] < _FRESH_S
        }
    except (OSError, msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return {}
