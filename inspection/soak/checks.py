"""What must hold after any fault, lot by lot and over the whole of the records. Each check says in words what does not hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, RowMapping, func, select

from cameras.frame import PixelFormat
from inspection.cell import Outcome
from inspection.domain import ImageKind, Output, Verdict
from inspection.errors import StationError
from inspection.images import ImageStore, decode_frame
from inspection.records.queries import lot_summary
from inspection.records.tables import faults, images, inspections, triggers
from inspection.soak.scenes import digest

# Violations that are kept in words, of each check.
_MOST = 50
_SHOWN = 5
_IMAGE_LOSSES = ("image_lost", "image_skipped")
_KEPT_FRAME = (images.c.kind == ImageKind.FRAME, images.c.deleted_at.is_(None))


@dataclass
class Findings:
    """How often each check was made, and what did not hold: {check: count}, {check: words}."""

    checked: Counter[str] = field(default_factory=Counter)
    violated: dict[str, list[str]] = field(default_factory=dict)

    def add(self, check: str, of: int, violations: Sequence[str]) -> None:
        self.checked[check] += of
        if violations:
            kept = self.violated.setdefault(check, [])
            kept += violations[: _MOST - len(kept)]

    @property
    def violations(self) -> list[str]:
        return [f"{check}: {detail}" for check, details in self.violated.items() for detail in details]


def check_lot(connection: Connection, lot: str, outcomes: Sequence[Outcome], findings: Findings) -> list[dict[str, Any]]:
    """Invariants 1 and 2 of a lot whose parts all have their results; its rows as ``lot_rows``."""
    rows = lot_rows(connection, lot)
    count = len(outcomes)
    findings.add("every trigger has one row", count, list(_one_row_each(rows, outcomes)))
    findings.add("the lot reconciles", 1, list(_reconciles(connection, lot, count)))
    findings.add("accepted only with a durable pass", count, list(_accepted_passes(rows, outcomes)))
    findings.add("the answer is the part's own", count, list(_answers(rows, outcomes)))
    findings.add("a row says why, or names its model", len(rows), list(_complete(rows)))
    return rows


def lot_rows(connection: Connection, lot: str) -> list[dict[str, Any]]:
    """Inspections of a lot by sequence number, each with ``frame_sha256`` of its kept frame or None."""
    of_lot = select(images.c.seq, images.c.sha256).join(inspections, inspections.c.seq == images.c.seq)
    frames = connection.execute(of_lot.where(inspections.c.lot == lot, *_KEPT_FRAME))
    stored = {row.seq: row.sha256 for row in frames}
    found = connection.execute(select(inspections).where(inspections.c.lot == lot).order_by(inspections.c.seq)).mappings()
    return [{**row, "frame_sha256": stored.get(row["seq"])} for row in found]


def _one_row_each(rows: Sequence[Mapping[str, Any]], outcomes: Sequence[Outcome]) -> Iterator[str]:
    recorded, conveyed = Counter(row["serial"] for row in rows), Counter(outcome.serial for outcome in outcomes)
    for serial in sorted((recorded - conveyed) | (conveyed - recorded))[:_SHOWN]:
        yield f"{serial} was conveyed {conveyed[serial]} times and has {recorded[serial]} rows"


def _reconciles(connection: Connection, lot: str, conveyed: int) -> Iterator[str]:
    summary = lot_summary(connection, lot)
    if not summary.balanced or summary.open_triggers or summary.triggered != conveyed:
        yield f"{conveyed} parts were conveyed: {summary}"


def _accepted_passes(rows: Sequence[Mapping[str, Any]], outcomes: Sequence[Outcome]) -> Iterator[str]:
    verdicts = {row["serial"]: row["verdict"] for row in rows}
    for outcome in outcomes:
        if outcome.output is Output.ACCEPT and verdicts.get(outcome.serial) != Verdict.PASS:
            yield f"{outcome.serial} was accepted, its row says {verdicts.get(outcome.serial)}"


def _answers(rows: Sequence[Mapping[str, Any]], outcomes: Sequence[Outcome]) -> Iterator[str]:
    by_trigger = {row["trigger_id"]: row for row in rows}
    for outcome in outcomes:
        row = by_trigger.get(outcome.trigger_id)
        if row is None or (row["serial"], row["verdict"], row["reason"]) != (outcome.serial, outcome.verdict, outcome.reason):
            yield f"{outcome.serial} was told {outcome.verdict} {outcome.reason} of trigger {outcome.trigger_id}; its row: {row}"


def _complete(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for row in rows:
        inspected = row["verdict"] != Verdict.NOT_INSPECTED
        if inspected == (row["reason"] is not None) or (inspected and len(row["model"] or "") != 64):
            yield f"inspection {row['seq']}: {row['verdict']}, reason {row['reason']}, model {row['model']}"


def check_images(
    connect: Callable[[], AbstractContextManager[Connection]],
    store: ImageStore,
    rows: Sequence[Mapping[str, Any]],
    shown: Callable[[str], str],
    findings: Findings,
) -> None:
    """Invariant 3: the image stored for a serial is the image shown for it, whose digest ``shown`` tells. That of a passed part
    may have been deleted since ``rows`` were read, if the records say so by now.
    """
    stored = [row for row in rows if row["frame_sha256"] is not None]
    findings.add("the image is the part's own", len(stored), list(_swapped(connect, store, stored, shown)))


def _swapped(
    connect: Callable[[], AbstractContextManager[Connection]],
    store: ImageStore,
    stored: Sequence[Mapping[str, Any]],
    shown: Callable[[str], str],
) -> Iterator[str]:
    for row in stored:
        try:
            pixels = decode_frame(store.read(row["frame_sha256"]), PixelFormat.Mono8)
        except StationError as error:
            with connect() as connection:
                kept = connection.execute(select(images.c.seq).where(images.c.seq == row["seq"], *_KEPT_FRAME)).first()
            if kept is not None or row["verdict"] != Verdict.PASS:
                yield f"{row['serial']}: {error}"
            continue
        if digest(pixels) != shown(row["serial"]):
            yield f"{row['serial']}, inspection {row['seq']}, has another part's image"


def missing_images(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Inspections whose frame was judged, did not simply pass, and is not stored."""
    return [
        row["seq"]
        for row in rows
        if row["frame_id"] is not None and row["verdict"] != Verdict.PASS and row["frame_sha256"] is None
    ]


def check_losses(connection: Connection, missing: Sequence[int], findings: Findings) -> None:
    """Invariant 5: no more of these images are missing now than are counted as lost."""
    frames = select(images.c.seq).where(images.c.seq.in_(missing), *_KEPT_FRAME)
    stored = set(connection.execute(frames).scalars())
    gone = [seq for seq in missing if seq not in stored]
    lost = select(func.coalesce(func.sum(faults.c.count), 0)).where(faults.c.kind.in_(_IMAGE_LOSSES))
    counted = connection.execute(lost).scalar_one()
    short = [f"{len(gone)} images are missing, {counted} losses are recorded; inspections {gone[:_SHOWN]}"]
    findings.add("images of rejects are kept, or their loss is recorded", 1, short if len(gone) > counted else [])


def check_numbers(connection: Connection, findings: Findings) -> int:
    """Invariant 1 over everything: no gap in the numbers, a row for each trigger; the last sequence number."""
    seqs = connection.execute(select(func.count(), func.coalesce(func.max(inspections.c.seq), 0))).one()
    ids = connection.execute(select(func.count(), func.coalesce(func.max(triggers.c.trigger_id), 0))).one()
    numbers = (("inspections", *seqs), ("triggers", *ids))
    gaps = [f"{count} {name}, the last is {last}" for name, count, last in numbers if count != last]
    findings.add("numbers have no gaps", 2, gaps)
    open_ = [] if seqs[0] == ids[0] else [f"{ids[0]} triggers, {seqs[0]} inspections"]
    findings.add("no trigger is left open", 1, open_)
    return int(seqs[1])


def check_delivered(
    connection: Connection, told: Sequence[tuple[int, Mapping[str, Any]]], violations: Sequence[str], findings: Findings
) -> None:
    """The receiver got the rows as they are, in order: ``told`` came for the first time, ``violations`` are the order's."""
    findings.add("receivers get everything in order", len(told), violations)
    if not told:
        return
    between = inspections.c.seq.between(told[0][0], told[-1][0])
    rows = {row["seq"]: row for row in connection.execute(select(inspections).where(between)).mappings()}
    differing = [f"inspection {seq} was told as {dict(data)}" for seq, data in told if not _same(rows.get(seq), data)]
    findings.add("receivers get the rows as they are", len(told), differing)


def _same(row: RowMapping | None, data: Mapping[str, Any]) -> bool:
    return row is not None and all(row[name] == data[name] for name in ("lot", "serial", "verdict", "reason"))
