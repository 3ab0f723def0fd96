"""Structured logs: every process writes one JSON object a line to standard error, and never waits for whoever reads it.

A message that is repeated is left out and counted past some a second; a line that cannot be written at once (nobody reads the
pipe, the disk is full) is left out and counted too. A process that waits for its log would make parts late.
"""

from __future__ import annotations

import logging
import os
import select
import sys
import threading
import time
from collections import OrderedDict
from copy import copy
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

from pythonjsonlogger.json import JsonFormatter

LINE_BYTES = select.PIPE_BUF
"""A longer line is cut: up to here, a pipe takes a line whole or not at all, whoever else writes to it."""
BURST = 50
"""So many times a message may come at once; after that, PER_S times a second."""
PER_S = 1.0
# Messages of libraries may be different each time. The one that did not come for longest is forgotten.
_MESSAGES = 500
# Characters of message and traceback that are kept of lines that are too long, in this order until one fits.
_CUTS = ((1_500, 1_500), (400, 400), (60, 60))


def start(process: str) -> None:
    """From now on, all that this process logs, warns and prints goes to standard error, as of ``process``."""
    # What a library prints belongs to the log, whose file has one writer then.
    os.dup2(2, 1)
    handler = LineHandler(process, 2)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    # A line for each of its plugins, at each start.
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    logging.captureWarnings(True)
    log = logging.getLogger(process)

    def uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        log.critical("the process ends: %s", error, exc_info=(kind, error, trace))

    def uncaught_in_thread(failure: threading.ExceptHookArgs) -> None:
        if failure.exc_value is not None:
            trace = (failure.exc_type, failure.exc_value, failure.exc_traceback)
            log.critical("a thread ends: %s", failure.exc_value, exc_info=trace)

    sys.excepthook = uncaught
    threading.excepthook = uncaught_in_thread


class _Part(Protocol):
    """A ticket, or what else tells which part it is about."""

    @property
    def trigger_id(self) -> int: ...
    @property
    def lot(self) -> str: ...
    @property
    def serial(self) -> str: ...


def about(part: _Part, **others: object) -> dict[str, object]:
    """The fields of a line that is about a part; for ``extra``."""
    return {"trigger_id": part.trigger_id, "lot": part.lot, "serial": part.serial, **others}


class _Json(JsonFormatter):
    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        # When comes first, for those who read the file itself.
        at = log_data.pop("time")
        return {"time": at.strftime("%FT%T.%f")[:-3] + "Z", "level": log_data.pop("level").lower(), **log_data}


@dataclass(slots=True)
class _Bucket:
    """How often a message may still come, as of ``at`` on the monotonic clock; ``left_out`` since it last came."""

    left: float
    at: float
    left_out: int = 0


class LineHandler(logging.Handler):
    """Writes lines to a file descriptor. ``lost`` counts those that it did not take."""

    def __init__(self, process: str, descriptor: int) -> None:
        super().__init__()
        self.setFormatter(
            _Json(
                ["levelname", "process", "name", "message"],
                static_fields={"process": process},
                rename_fields={"levelname": "level", "name": "logger", "exc_info": "exception", "stack_info": "stack"},
                timestamp="time",
            )
        )
        self.lost = 0
        self._descriptor = descriptor
        self._writable = select.poll()
        self._writable.register(descriptor, select.POLLOUT)
        self._buckets: OrderedDict[tuple[str, str, object], _Bucket] = OrderedDict()

    def emit(self, record: logging.LogRecord) -> None:
        """Called by ``handle``, which holds the lock. Raises nothing: what cannot be logged must not stop an inspection."""
        bucket = self._bucket(record)
        if bucket.left < 1:
            bucket.left_out += 1
            return
        bucket.left -= 1
        if bucket.left_out:
            record.repeated = bucket.left_out
            bucket.left_out = 0
        if self.lost and self._write(self._notice("%d lines of this log were lost: it could not be written", self.lost)):
            self.lost = 0
        self.lost += not self._write(record)

    def close(self) -> None:
        """Say what was left out last."""
        for (name, message, _), bucket in self._buckets.items():
            if bucket.left_out:
                notice = self._notice("left out at the end, as it was repeated: %s", message)
                notice.name, notice.repeated = name, bucket.left_out
                self._write(notice)
        self._buckets.clear()
        super().close()

    def _bucket(self, record: logging.LogRecord) -> _Bucket:
        """That of messages which differ in their arguments alone. Faults of different kinds are different messages."""
        key = (record.name, str(record.msg), getattr(record, "kind", None))
        now = time.monotonic()
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(BURST, now)
            if len(self._buckets) > _MESSAGES:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
            bucket.left, bucket.at = min(BURST, bucket.left + PER_S * (now - bucket.at)), now
        return bucket

    def _notice(self, message: str, *arguments: object) -> logging.LogRecord:
        return logging.LogRecord(__name__, logging.WARNING, __file__, 0, message, arguments, None)

    def _write(self, record: logging.LogRecord) -> bool:
        try:
            line = self._line(record)
            if not self._writable.poll(0):
                return False
            return os.write(self._descriptor, line) == len(line)
        except Exception:  # noqa: BLE001  (a full disk, nobody at the other end, or something that cannot be formatted)
            return False

    def _line(self, record: logging.LogRecord) -> bytes:
        line = f"{self.format(record)}\n".encode()
        for of_message, of_trace in _CUTS:
            if len(line) <= LINE_BYTES:
                break
            short = copy(record)
            short.msg, short.args = record.getMessage()[:of_message] + " …", None
            if record.exc_info and self.formatter is not None:
                # The end of a traceback says what went wrong.
                short.exc_text = "… " + str(self.formatter.formatException(record.exc_info))[-of_trace:]
                short.exc_info = None
            line = f"{self.format(short)}\n".encode()
        return line
