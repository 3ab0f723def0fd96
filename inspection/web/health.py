"""Is the station live and ready, and why not: from the heartbeats that the recorder writes to status.json."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from inspection.web.context import Context
from inspection.web.degraded import Degradation, degradations
from inspection.web.disk import Disk

STALE_AFTER_S = 5.0


@dataclass(frozen=True, slots=True)
class Process:
    """The last heartbeat of one process; ``age_s`` is None if it never reported. ``ok``: alive, and able to do its work."""

    name: str
    state: str
    age_s: float | None
    alive: bool
    ok: bool
    counters: dict[str, float]


@dataclass(frozen=True, slots=True)
class Health:
    """``ready``: every process reports and the records can be read; otherwise ``reasons`` says in words why not.

    ``degraded`` is what is not as it should be, although parts are inspected. ``disk`` is the one with the images; None where it
    cannot be asked.
    """

    station: str
    live: bool
    ready: bool
    reasons: tuple[str, ...]
    degraded: tuple[Degradation, ...]
    processes: tuple[Process, ...]
    disk: Disk | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """What the recorder wrote last: heartbeats by process, its ``tally`` of all parts; and what is wrong with the file."""

    beats: Mapping[str, dict[str, Any]]
    tally: Mapping[str, Any]
    complaint: str | None = None


def read_health(context: Context) -> Health:
    """The station's health now. Never raises: what cannot be read is a reason."""
    return health_of(context, read_status(context.settings.status_path))


def health_of(context: Context, status: Status) -> Health:
    """The station's health, as of this status."""
    settings = context.settings
    reasons: list[str] = [status.complaint] if status.complaint else []
    processes = []
    now_s = time.monotonic()
    for name in dict.fromkeys((*settings.processes, *status.beats)):
        beat = status.beats.get(name)
        if beat is None:
            processes.append(Process(name, "never reported", None, False, False, {}))
            if not status.complaint:
                reasons.append(f"{name} has not reported; it is starting, or its log says why it cannot")
            continue
        age_s = max(0.0, now_s - beat["heard_s"])
        alive = age_s <= STALE_AFTER_S
        processes.append(Process(name, beat["state"], round(age_s, 1), alive, alive and beat["ok"], beat["counters"]))
        if alive and not beat["ok"]:
            reasons.append(f"{name}: {beat['state']}")
        elif not alive:
            reasons.append(f"{name} has not reported for {age_s:.0f} s; it is being restarted, or its log says why not")
    if not _readable(context.reader):
        reasons.append("the records cannot be read; look whether the database is there and the recorder runs")
    disk = context.disk.read(settings.image_dir, context.reader)
    counters = {process.name: process.counters for process in processes if process.alive}
    degraded = tuple(degradations(disk, counters, status.tally.get("recent_faults", {})))
    return Health(settings.station, True, not reasons, tuple(reasons), degraded, tuple(processes), disk)


def read_status(path: Path) -> Status:
    """The recorder's file. Never raises."""
    try:
        status = json.loads(path.read_bytes())
        beats = {
            str(name): {
                # Not when it was sent: that is of the clock that may be set.
                "heard_s": float(beat["heard_s"]),
                "state": str(beat["state"]),
                "ok": bool(beat.get("ok", True)),
                "counters": dict(beat["counters"]),
            }
            for name, beat in status["processes"].items()
        }
        return Status(beats, dict(status.get("tally", {})))
    except FileNotFoundError:
        return Status({}, {}, f"{path.name} is not there; start the station, its recorder writes the file")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return Status({}, {}, f"{path.name} cannot be read; restart the recorder, which rewrites the file every second")


def _readable(reader: Engine) -> bool:
    try:
        with reader.connect() as connection:
            connection.execute(text("SELECT 1 FROM lots LIMIT 1"))
    except DBAPIError:
        return False
    return True
