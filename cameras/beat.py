"""Proof of progress: the main loop of a process tells whoever started it that it has come round, as sd_notify(3) has it.

Called in the main loop itself: a thread of its own would go on beating while the loop hangs. The supervisor, or systemd, kills
a process that says nothing for longer than it announced. Without NOTIFY_SOCKET nobody listens, and nothing is sent.
"""

from __future__ import annotations

import os
import socket
import time

HANG_S = 10.0
"""A main loop that does not come round for so long hangs. More than one wait for SQLite's write lock, which is 5 s."""

_EVERY_S = 0.5
# A supervisor that is held up must not hold its processes up; but what announces a long wait has to arrive.
_PATIENCE_S = 0.2


class _Beat:
    """``said_s`` is what the last beat announced, 0 before the first; the next one is due at ``due``."""

    said_s = 0.0
    due = 0.0


def beat(within_s: float = HANG_S) -> None:
    """The loop has come round, and will again within this time: more than ``HANG_S`` before something that takes long."""
    now = time.monotonic()
    if now < _Beat.due and within_s == _Beat.said_s:
        return
    ready = "" if _Beat.said_s else "READY=1\n"
    if notify(f"{ready}WATCHDOG=1\nWATCHDOG_USEC={within_s * 1e6:.0f}", 0 if within_s == HANG_S else _PATIENCE_S):
        _Beat.said_s, _Beat.due = within_s, now + _EVERY_S


def notify(message: str, patience_s: float = _PATIENCE_S) -> bool:
    """Send this to NOTIFY_SOCKET; False if it was not taken."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return True
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(patience_s)
        try:
            # An @ stands for the NUL of Linux's abstract names.
            sender.sendto(message.encode(), "\0" + address[1:] if address.startswith("@") else address)
        except OSError:
            return False
    return True
