"""Room on the disk that is held back for the records: a file that is given up when nothing else can be written any more.

Without it, a disk that something else has filled could not even be relieved: deleting images takes a few pages of the database,
to record what is deleted.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

log = logging.getLogger(__name__)

NAME = "reserve"
BYTES = 16_000_000
"""Thousands of commits."""
# And of the whole disk, at most.
_SHARE = 0.02


class Reserve:
    """Thread-safe as the file system is: ``give_up`` is called by the recorder, ``fill`` by its housekeeper."""

    def __init__(self, data_dir: Path, nbytes: int = BYTES) -> None:
        self._path = data_dir / NAME
        self._nbytes = nbytes

    def give_up(self) -> None:
        """Let the records have the room."""
        try:
            self._path.unlink()
            log.warning("the disk takes no more; the reserve is given up, make room")
        except OSError:
            pass  # given up before, or the disk takes nothing at all

    def fill(self) -> None:
        """Hold room back, if there is plenty again. OSError if the disk refuses."""
        if self._path.exists():
            return
        usage = shutil.disk_usage(self._path.parent)
        nbytes = int(min(self._nbytes, _SHARE * usage.total))
        # Not the last room: what gave the reserve up would fail again.
        if usage.free < 3 * nbytes:
            return
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, nbytes)
        fresh.replace(self._path)
