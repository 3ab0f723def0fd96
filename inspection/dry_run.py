"""New settings tried on parts that were inspected already: what would have been different. Nothing is written.

Only what the records tell can be tried: a deadline by the times that were recorded, a ``serial_code`` by the frames that were
stored. Thresholds are the model's, and are tried by a shadow.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from cameras.errors import CameraError
from inspection.config import Config
from inspection.config_changes import SettingChange
from inspection.domain import ImageKind, Inspection, Reason, Verdict
from inspection.errors import StationError
from inspection.images import ImageStore
from inspection.records import queries
from inspection.records.challenges import challenge_lots
from inspection.records.tables import inspections

MAX_PARTS = 500
MAX_FRAMES = 100
# Reading codes takes the processor from the inspection.
_READING_S = 10.0
_SERIAL = (Reason.SERIAL_MISMATCH, Reason.SERIAL_UNREAD)
_JUDGED = (*_SERIAL, Reason.OPTICS)


@dataclass(frozen=True, slots=True)
class Concerned:
    """A part for which the new settings would have made a difference."""

    seq: int
    lot: str
    serial: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class DeadlineTrial:
    """``late_after`` of ``timed`` parts would have been late, ``late_before`` were. ``unknown``: given up before anybody knew how
    long they would have taken, and perhaps in time now.
    """

    before_ms: float | None
    after_ms: float
    timed: int
    late_before: int
    late_after: int
    unknown: int
    concerned: tuple[Concerned, ...]


@dataclass(frozen=True, slots=True)
class SerialTrial:
    """Of ``frames`` read, how many show the trigger's serial, another one, or none. ``without_frame`` parts have none stored."""

    before: str | None
    after: str | None
    frames: int
    same: int
    mismatch: int
    unread: int
    without_frame: int
    concerned: tuple[Concerned, ...]


@dataclass(frozen=True, slots=True)
class DryRun:
    """Over the newest ``parts`` of a product, from ``oldest_at`` on. A trial is None where its setting does not change."""

    product: str
    parts: int
    oldest_at: datetime | None
    deadline: DeadlineTrial | None
    serial_code: SerialTrial | None
    notes: tuple[str, ...]


def newest_parts(connection: Connection, product: str, parts: int) -> tuple[Inspection, ...]:
    """What settings are tried on: the newest inspections of production, newest first."""
    of_production = [inspections.c.product == product, inspections.c.lot.not_in(challenge_lots)]
    return queries.latest(connection, min(parts, MAX_PARTS), of_production)


def dry_run(
    before: Config | None,
    after: Config,
    product: str,
    found: Sequence[Inspection],
    store: ImageStore,
    changes: Sequence[SettingChange],
) -> DryRun:
    """Try the recipe of a product in ``after``; NotFound if it has none there. ``found`` are inspections, newest first."""
    recipe = after.recipe(product)
    former = before.product(product) if before is not None else None
    deadline = serial_code = None
    if former is None or former.deadline_ms != recipe.deadline_ms:
        deadline = _deadline(former.deadline_ms if former else None, recipe.deadline_ms, found)
    if (former.serial_code if former else None) != recipe.serial_code:
        serial_code = _serial(former.serial_code if former else None, recipe.serial_code, found, store)
    tried = {f"products.{product}.deadline_ms", f"products.{product}.serial_code"}
    untried = [change.key for change in changes if change.key not in tried]
    notes = ["Thresholds belong to the model, not to the settings: let a model judge beside the one in service to try others."]
    if untried:
        notes.append(f"What was recorded does not tell what these would change: {', '.join(untried)}.")
    return DryRun(product, len(found), found[-1].triggered_at if found else None, deadline, serial_code, tuple(notes))


def _deadline(before_ms: float | None, after_ms: float, found: Sequence[Inspection]) -> DeadlineTrial:
    timed = late_before = late_after = unknown = 0
    concerned = []
    for each in found:
        was_late = each.reason is Reason.DEADLINE
        if not was_late and each.verdict is Verdict.NOT_INSPECTED and each.reason not in _JUDGED:
            continue  # the deadline had no part in it
        at_least_ms = (each.recorded_at - each.triggered_at).total_seconds() * 1e3
        took_ms = each.timings_ms.get("total")
        if not was_late and took_ms is not None:
            # A verdict counts once it is durable, which is when the line hears of it.
            took_ms = max(took_ms, at_least_ms)
        if took_ms is None:
            if not was_late:
                continue
            if at_least_ms <= after_ms:
                unknown += 1
                late_before += 1
                continue
            took_ms = at_least_ms
        timed += 1
        late = took_ms > after_ms
        late_before += was_late
        late_after += late
        if late != was_late:
            said = {True: "late", False: "in time"}
            concerned.append(Concerned(each.seq, each.lot, each.serial, said[was_late], f"{said[late]}, {took_ms:.0f} ms"))
    return DeadlineTrial(before_ms, after_ms, timed, late_before, late_after, unknown, tuple(concerned))


def _serial(
    before: re.Pattern[str] | None, after: re.Pattern[str] | None, found: Sequence[Inspection], store: ImageStore
) -> SerialTrial:
    # Twenty megabytes of codes and pictures, taken only when somebody tries a serial_code.
    from inspection.codes import read_serials

    frames = same = mismatch = unread = without_frame = 0
    concerned = []
    until = time.monotonic() + _READING_S
    for each in found:
        was = each.reason if each.reason in _SERIAL else None
        if after is None:
            if was is not None:
                concerned.append(Concerned(each.seq, each.lot, each.serial, was.value, "not compared"))
            continue
        frame = next((image for image in each.images if image.kind is ImageKind.FRAME), None)
        if frame is None:
            without_frame += 1
            continue
        if frames == MAX_FRAMES or time.monotonic() > until:
            break
        try:
            serials = read_serials(store.frame(frame.sha256, frame.pixel_format), after)
        except (StationError, CameraError):
            without_frame += 1  # retention may have taken it
            continue
        frames += 1
        now = None if serials == [each.serial] else Reason.SERIAL_MISMATCH if serials else Reason.SERIAL_UNREAD
        same += now is None
        mismatch += now is Reason.SERIAL_MISMATCH
        unread += now is Reason.SERIAL_UNREAD
        if now is not was:
            shown = ", ".join(repr(serial) for serial in serials)
            said = "the same serial" if now is None else f"{now.value}: {shown}" if shown else now.value
            concerned.append(Concerned(each.seq, each.lot, each.serial, was.value if was else "judged", said))
    return SerialTrial(
        before.pattern if before else None,
        after.pattern if after else None,
        frames,
        same,
        mismatch,
        unread,
        without_frame,
        tuple(concerned),
    )
