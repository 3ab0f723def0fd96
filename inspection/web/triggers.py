"""Triggers that come by REST, for stations without a PLC: the web process asks the line as a PLC does, and waits for its word."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

import msgspec

from cameras.bus import Bus
from inspection.errors import Unavailable
from inspection.messages import OutputCommand, TriggerRequest

INBOX = "web"
_WAIT_S = 0.005
_REPEAT_S = 1.0
# How long a part's result is asked for after its deadline, before the caller hears that it has to look later.
_PATIENCE_S = 5.0


@dataclass
class _Asked:
    request: TriggerRequest
    answer: Future[OutputCommand] = field(default_factory=Future)
    repeat_at: float = 0.0
    until: float = 0.0


def _part(request: TriggerRequest) -> str:
    return "the part" if request.serial is None else f"serial {request.serial!r}"


class Triggers:
    """One thread has the mailbox, because a mailbox belongs to one. Made when the first trigger comes."""

    def __init__(self, open_bus: Callable[[], Bus]) -> None:
        self._open_bus = open_bus
        self._asked: SimpleQueue[_Asked] = SimpleQueue()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def trigger(self, request: TriggerRequest, deadline_ms: float) -> OutputCommand:
        """The line's word on this part; Unavailable if none came until some seconds after the deadline."""
        patience_s = deadline_ms / 1000 + _PATIENCE_S
        now = time.monotonic()
        asked = _Asked(request, repeat_at=now + deadline_ms / 1000 + _REPEAT_S, until=now + patience_s)
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="triggers", daemon=True)
                self._thread.start()
        self._asked.put(asked)
        try:
            return asked.answer.result(patience_s)
        except NotYet:
            raise Unavailable(
                f"the line has not told what became of {_part(request)}; do not accept the part, and ask for its attempts later"
            ) from None

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(2)

    def _run(self) -> None:
        bus = self._open_bus()
        pending: dict[str, _Asked] = {}
        while not self._stop.is_set():
            for message in bus.receive(_WAIT_S):
                if isinstance(message, OutputCommand) and (asked := pending.pop(message.request_id, None)) is not None:
                    asked.answer.set_result(message)
            with contextlib.suppress(Empty):
                while True:
                    asked = self._asked.get_nowait()
                    pending[asked.request.request_id] = asked
                    bus.send("line", asked.request)
            now = time.monotonic()
            for request_id, asked in list(pending.items()):
                if now > asked.until:
                    del pending[request_id]
                elif now > asked.repeat_at:
                    asked.repeat_at = now + _REPEAT_S
                    bus.send("line", msgspec.structs.replace(asked.request, passed=True))
        bus.close()
