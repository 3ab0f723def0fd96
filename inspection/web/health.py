"""Is the station live and ready, and why not: from the heartbeats that the recorder writes to status.json."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from inspection.web.context import Context

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
    """``ready``: every process reports and the records can be read; otherwise ``reasons`` says in words why not."""

    station: str
    live: bool
    ready: bool
    reasons: tuple[str, ...]
    processes: tuple[Process, ...]


def read_health(context: Context) -> Health:
    """The station's health now. Never raises: what cannot be read is a reason."""
    settings = context.settings
    reasons: list[str] = []
    beats, complaint = _heartbeats(settings.status_path)
    if complaint:
        reasons.append(complaint)
    processes = []
    now = time.time()
    for name in dict.fromkeys((*settings.processes, *beats)):
        beat = beats.get(name)
        if beat is None:
            processes.append(Process(name, "never reported", None, False, False, {}))
            if not complaint:
                reasons.append(f"{name} has not reported; it is starting, or its log says why it cannot")
            continue
        age_s = max(0.0, now - beat["at"])
        alive = age_s <= STALE_AFTER_S
        processes.append(Process(name, beat["state"], round(age_s, 1), alive, alive and beat["ok"], beat["counters"]))
        if alive and not beat["ok"]:
            reasons.append(f"{name}: {beat['state']}")
        elif not alive:
            reasons.append(f"{name} has not reported for {age_s:.0f} s; it is being restarted, or its log says why not")
    if not _readable(context.reader):
        reasons.append("the records cannot be read; look whether the database is there and the recorder runs")
    return Health(settings.station, True, not reasons, tuple(reasons), tuple(processes))


def _heartbeats(path: Path) -> tuple[dict[str, dict], str | None]:
    """The heartbeats by process, and what is wrong with the file."""
    try:
        beats = json.loads(path.read_bytes())["processes"]
        return {
            str(name): {
                "at": float(beat["at"]),
                "state": str(beat["state"]),
                "ok": bool(beat.get("ok", True)),
                "counters": dict(beat["counters"]),
            }
            for name, beat in beats.items()
        }, None
    except FileNotFoundError:
        return {}, f"{path.name} is not there; start the station, its recorder writes the file"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}, f"{path.name} cannot be read; restart the recorder, which rewrites the file every second"


def _readable(reader: Engine) -> bool:
    try:
        with reader.connect() as connection:
            connection.execute(text("SELECT 1 FROM lots LIMIT 1"))
    except DBAPIError:
        return False
    return True
