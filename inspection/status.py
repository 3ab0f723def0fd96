"""The file in which the recorder says how every process is and what it counted; health and metrics are read from it."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import msgspec

from cameras.messages import Heartbeat

log = logging.getLogger(__name__)

_FRESH_S = 5.0


def write_status(path: Path, processes: dict[str, dict[str, Any]], tally: dict[str, Any]) -> None:
    """What the processes said of themselves last, for health; and what was counted, for metrics."""
    fresh = path.with_suffix(".new")
    try:
        fresh.write_bytes(msgspec.json.encode({"processes": processes, "tally": tally}))
        fresh.replace(path)
    except OSError as error:
        log.error("status not written: %s", error)


def is_recording(path: Path) -> bool:
    """Did the recorder say just now that it can write?"""
    try:
        recorder = msgspec.json.decode(path.read_bytes())["processes"]["recorder"]
    except (OSError, msgspec.DecodeError, KeyError):
        return False
    return bool(recorder["ok"]) and time.monotonic() - recorder["heard_s"] < _FRESH_S


def heard(message: Heartbeat) -> dict[str, Any]:
    """What is kept of a heartbeat. How old it is tells ``heard_s``, of the clock that all processes share and nobody sets."""
    return {
        "at": message.at,
        "heard_s": time.monotonic(),
        "state": message.state,
        "ok": message.ok,
        "counters": message.counters,
    }
