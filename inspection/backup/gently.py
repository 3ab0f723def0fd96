"""Work beside a running line, which needs processor and disk more."""

from __future__ import annotations

import ctypes
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import psutil

Told = Callable[[str, int, int], None]
"""What is done, how much of it, and of how much."""

# So much is written before it is brought to the disk; all of it at the end would hold up everybody who syncs there.
_SYNC_BYTES = 32 << 20
_LONGEST_REST_S = 1.0


class Gently:
    """Works half of the time at most, so that the recorder never finds the disk busy for long."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._written = 0

    def rest(self) -> None:
        """Pause for as long as has been worked."""
        time.sleep(min(time.monotonic() - self._since, _LONGEST_REST_S))
        self._since = time.monotonic()

    def copy(self, source: Path, target: Path) -> None:
        """``copy_file``, then a rest."""
        copy_file(source, target)
        self._written += target.stat().st_size
        if self._written >= _SYNC_BYTES:
            self._written = 0
            sync_disk(target.parent)
        self.rest()


def copy_file(source: Path, target: Path) -> None:
    """A copy that is whole or not there, readable by its owner alone; on the disk after ``sync_disk``. OSError if it refuses."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        shutil.copyfile(source, fresh)
        fresh.chmod(0o600)
        fresh.replace(target)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def step_back() -> None:
    """Everybody else goes first: this process gets the processor and the disk that nobody wants."""
    os.nice(19)
    psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)


def sync_disk(folder: Path) -> None:
    """Everything that was written to the file system of this folder is on the disk: syncfs(2). OSError if it refuses."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), str(folder))
    finally:
        os.close(descriptor)
