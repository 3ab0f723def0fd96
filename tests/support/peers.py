"""The other processes of the station, played by a test: real mailboxes, and the process under test in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from cameras.bus import Bus

T = TypeVar("T", bound=msgspec.Struct)


class Peer:
    """One process's mailbox. What came and was not asked for yet waits in ``inbox``, in the order in which it came."""

    def __init__(self, run_dir: Path, name: str, messages: Any) -> None:
        self.name = name
        self.inbox: list[Any] = []
        self._bus = Bus(run_dir, name, messages)

    def send(self, peer: str, message: msgspec.Struct) -> None:
        assert self._bus.send(peer, message)

    def expect(self, kind: type[T], where: Callable[[T], bool] = lambda message: True, timeout_s: float = 20) -> T:
        """Take the first message of this kind that fulfils a condition; others stay."""
        until = time.monotonic() + timeout_s
        while True:
            for place, message in enumerate(self.inbox):
                if isinstance(message, kind) and where(message):
                    return self.inbox.pop(place)
            left_s = until - time.monotonic()
            assert left_s > 0, f"{self.name} got no {kind.__name__} in {timeout_s} s, but {self.inbox[-20:]}"
            self.inbox += self._bus.receive(min(left_s, 0.05))

    def came(self, kind: type[T]) -> list[T]:
        """What has come of this kind and was not taken."""
        self.inbox += self._bus.receive(0)
        return [message for message in self.inbox if isinstance(message, kind)]

    def close(self) -> None:
        self._bus.close()


class _Process(Protocol):
    running: bool

    def run(self) -> None: ...


@contextmanager
def in_thread(process: _Process, bus: Bus) -> Iterator[None]:
    """The process runs until the end of the block; its failure fails the test."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            process.run()
        except BaseException as error:
            failures.append(error)
            raise

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        process.running = False
        thread.join(10)
        stuck = thread.is_alive()
        if not stuck:
            bus.close()
    assert not stuck, "the process does not end"
    assert not failures, failures
