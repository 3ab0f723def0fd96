"""What is not as it should be on a station that inspects: each has a reason for machines, and words that say what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from cameras.fault_kinds import FaultKind
from inspection.web.disk import Disk

RECENT_S = 600.0
"""So long after it, a fault counts as one of now."""
OUTBOX_BEHIND_S = 300.0
_FAULTS = {
    FaultKind.IMAGE_LOST: "images of parts could not be stored; look at the room on the disk and its health",
    FaultKind.IMAGE_SKIPPED: "images of passed parts were not stored, to keep up; slow the line, or keep fewer of them",
    FaultKind.NO_ROOM: "images of passed parts were not stored, for want of room; make room, or keep them for fewer days",
    FaultKind.DEADLINE_MISSES: "verdicts were late or missing in a row; slow the line, or look what else takes the processor",
    FaultKind.REFUSED_MESSAGE: "the records refused what a process reported; report this with the log of the recorder",
    FaultKind.CLOCK_STEPPED: "the clock of this computer was set; times before and after do not fit together: use a time service",
}


class Degraded(StrEnum):
    """Why a station that is ready is not as it should be."""

    DISK_LOW = "disk_low"
    OUTBOX_BEHIND = "outbox_behind"
    MODEL_REFUSED = "model_refused"
    CHALLENGER_REFUSED = "challenger_refused"
    CHALLENGER_SUSPENDED = "challenger_suspended"
    IMAGE_LOST = "image_lost"
    IMAGE_SKIPPED = "image_skipped"
    NO_ROOM = "no_room"
    DEADLINE_MISSES = "deadline_misses"
    REFUSED_MESSAGE = "refused_message"
    CLOCK_STEPPED = "clock_stepped"


@dataclass(frozen=True, slots=True)
class Degradation:
    """One of them, and what it means now."""

    reason: Degraded
    detail: str


def degradations(
    disk: Disk | None, counters: Mapping[str, Mapping[str, float]], recent_faults: Mapping[str, float]
) -> Iterator[Degradation]:
    """``counters`` are those of each process that lives; ``recent_faults`` tells how many seconds ago each kind came last."""
    if disk is not None and disk.low:
        lasts = f", they last for {disk.hours_left:.0f} h" if disk.hours_left is not None else ""
        detail = f"{disk.free_bytes / 1e9:.1f} GB are free for images{lasts}; make room, or keep them for fewer days"
        yield Degradation(Degraded.DISK_LOW, detail)
    for name, age_s in sorted(counters.get("outbox", {}).items()):
        if name.endswith("_age_s") and age_s > OUTBOX_BEHIND_S:
            receiver = name.removesuffix("_age_s")
            detail = f"receiver {receiver} is {age_s / 60:.0f} min behind; look at the network and the receiver"
            yield Degradation(Degraded.OUTBOX_BEHIND, detail)
    inspector = counters.get("inspector", {})
    if inspector.get("models_refused"):
        detail = "a model that shall decide could not be loaded, and the former one decides; put another in service"
        yield Degradation(Degraded.MODEL_REFUSED, detail)
    if inspector.get("challengers_refused"):
        yield Degradation(Degraded.CHALLENGER_REFUSED, "a challenger could not be loaded; its fault says why: stop it")
    if inspector.get("challengers_suspended"):
        detail = "a challenger is suspended, as it would make parts late; stop it, and start a faster one"
        yield Degradation(Degraded.CHALLENGER_SUSPENDED, detail)
    for kind, detail in _FAULTS.items():
        ago_s = recent_faults.get(kind)
        if ago_s is not None and ago_s < RECENT_S:
            yield Degradation(Degraded(kind), f"{detail} (last {_ago(ago_s)})")


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} s ago" if seconds < 60 else f"{seconds / 60:.0f} min ago"
