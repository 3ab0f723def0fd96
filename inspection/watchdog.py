"""Who hangs: hears the beats of the station's processes (cameras/beat.py), and tells whose next one is overdue."""

from __future__ import annotations

import re
import socket
import struct
import time
from contextlib import suppress
from pathlib import Path

START_S = 300.0
"""From the start of a process to its first beat: it loads libraries and models, and waits for the database."""

# The watchdog itself was held up: what was sent meanwhile may not have found room.
_AWAY_S = 2.0
_MESSAGE_BYTES = 4_096
_CREDENTIALS = struct.Struct("3i")
_WITHIN = re.compile(rb"^WATCHDOG_USEC=(\d{1,15})$", re.MULTILINE)


class Watchdog:
    """Binds the socket at ``path``. All times are those of CLOCK_MONOTONIC."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        # The kernel tells who sent: a process cannot beat for another one, nor for the next of its name.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(str(path))
        self._heard: dict[int, float] = {}
        self._until: dict[int, float] = {}
        self._looked_at = time.monotonic()

    def started(self, pid: int) -> None:
        """Expect the first beat of this process."""
        self._heard[pid] = time.monotonic()
        self._until[pid] = time.monotonic() + START_S

    def ended(self, pid: int) -> None:
        """Expect nothing more."""
        self._heard.pop(pid, None)
        self._until.pop(pid, None)

    def overdue(self) -> dict[int, float]:
        """{process id: seconds since its last sign} of those whose next one is overdue. To be called several times a second."""
        now = time.monotonic()
        away_s, self._looked_at = now - self._looked_at, now
        if away_s > _AWAY_S:
            self._until = {pid: until + away_s for pid, until in self._until.items()}
        self._listen(now)
        return {pid: now - self._heard[pid] for pid, until in self._until.items() if now > until}

    def close(self) -> None:
        self._socket.close()

    def _listen(self, now: float) -> None:
        with suppress(BlockingIOError):
            while True:
                message, ancillary, _, _ = self._socket.recvmsg(_MESSAGE_BYTES, socket.CMSG_SPACE(_CREDENTIALS.size))
                within = _WITHIN.search(message)
                pid = next((_CREDENTIALS.unpack(data)[0] for _, kind, data in ancillary if kind == socket.SCM_CREDENTIALS), 0)
                if within is not None and pid in self._until:
                    self._heard[pid] = now
                    self._until[pid] = now + int(within[1]) / 1e6
