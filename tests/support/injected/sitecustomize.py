"""Faults that a test injects into processes of a station: with this folder in PYTHONPATH, every Python process obeys two signals.

SIGUSR1: the main thread takes memory until the process is ended. SIGUSR2: the main thread waits for ever, while the process's
other threads go on.
"""

import signal
import threading
import time

STEP_BYTES, MOST_BYTES = 32 << 20, 2 << 30


def swell(_signal: int, _frame: object) -> None:
    held = []
    for _ in range(MOST_BYTES // STEP_BYTES):
        held.append(b"x" * STEP_BYTES)
        time.sleep(0.02)


def wait_for_ever(_signal: int, _frame: object) -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


signal.signal(signal.SIGUSR1, swell)
signal.signal(signal.SIGUSR2, wait_for_ever)
