"""A disk of a few megabytes that tests may fill: a tmpfs of their own, where mounting is permitted."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """The folder, on a disk of its own until the end of the block; skips the test where nothing may be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        # Lazily: a process that a failed test left behind may still have files open.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Filler:
    """Something else that takes all room that there is, and whatever becomes free, until it is stopped."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "something-else"
        self._stop = threading.Event()
        self._full = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        with self._path.open("wb", buffering=0) as file:
            while not self._stop.is_set():
                try:
                    file.write(bytes(4096))
                except OSError:
                    self._full.set()
                    self._stop.wait(0.002)

    def __enter__(self) -> Filler:
        """Returns when nothing is left."""
        self._thread.start()
        assert self._full.wait(30), "the disk is not full"
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._path.unlink()


@contextlib.contextmanager
def refusing_writes(process: Callable[[], int | None]) -> Iterator[None]:
    """A process whose every write to a file fails, as on a disk that went read-only; what it had open it can read.

    ``mount -o remount,ro`` is refused by the kernel as long as anything is open for writing.
    """
    pid = process()
    assert pid is not None, "the process does not run"
    limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    try:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, limits[1]))
    except PermissionError:
        pytest.skip("limits of other processes cannot be set here")
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
