"""Whether the station can inspect, from the heartbeats in the recorder's status file."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

STALE_AFTER_S = 5.0


def troubles(path: Path, processes: Sequence[str]) -> list[str]:
    """Why these processes cannot work now, in words; empty if they can."""
    try:
        beats = json.loads(path.read_bytes())["processes"]
        found = {name: (float(beat["heard_s"]), str(beat["state"]), bool(beat["ok"])) for name, beat in beats.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return [f"{path.name} cannot be read; the recorder writes it every second"]
    said = []
    for name in processes:
        heard_s, state, ok = found.get(name, (0.0, "", False))
        if name not in found:
            said.append(f"{name} has not reported")
        elif time.monotonic() - heard_s > STALE_AFTER_S:
            said.append(f"{name} has not reported for {time.monotonic() - heard_s:.0f} s")
        elif not ok:
            said.append(f"{name}: {state}")
    return said
