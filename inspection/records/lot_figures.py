"""What a lot's certificate says in figures. All reads of one certificate belong into one snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select

from inspection.domain import OK, ImageKind, Output, Verdict
from inspection.records.exports import newest_label
from inspection.records.tables import images, inspections, labels, models, parts, triggers

UNCLASSIFIED = "no class proposed"


@dataclass(frozen=True, slots=True)
class ModelShare:
    """How many inspections of the lot a model decided, and from when to when; ``model`` is None where none did.

    ``algorithm`` is None for a model that is not registered on this station.
    """

    model: str | None
    algorithm: str | None
    inspections: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Labelled:
    """How many of the labels that count one person gave, and when."""

    by: str
    ok: int
    defect: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class LotFigures:
    """Counts of one lot beside its summary.

    ``parts`` is the number of serials triggered, ``announced`` of those announced, ``not_seen`` of those announced and not yet
    inspected. ``first_attempts`` counts inspections that were the first of their serial, ``first_passes`` those that passed.
    ``rejects`` counts outputs that rejected, ``unconfirmed`` inspections without a confirmed output, which count as rejected too.
    ``accepted_without_pass`` must be 0. ``causes`` counts inspections that did not pass by cause, most first: what a person
    called it, or else the class that the model proposed, or else the reason why it was not inspected.
    ``labels_by_verdict`` is {verdict: (labelled ok, labelled as a defect)}.
    """

    parts: int
    announced: int
    not_seen: int
    first_attempts: int
    first_passes: int
    rejects: int
    unconfirmed: int
    accepted_without_pass: int
    first_triggered_at: datetime | None
    last_triggered_at: datetime | None
    causes: tuple[tuple[str, int], ...]
    models: tuple[ModelShare, ...]
    labelled: tuple[Labelled, ...]
    labels_by_verdict: dict[Verdict, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Sample:
    """A rejected inspection whose frame is recorded; ``map_sha256`` is None if no map is."""

    seq: int
    serial: str
    verdict: Verdict
    score: float
    fail_threshold: float
    proposed_class: str | None
    label: str | None
    frame_sha256: str
    pixel_format: str
    width: int
    height: int
    map_sha256: str | None


def lot_figures(connection: Connection, lot: str) -> LotFigures:
    """The counts of a lot; zeros for one that nothing names."""
    of_lot = inspections.c.lot == lot
    triggered = connection.execute(
        select(
            func.count(triggers.c.serial.distinct()).label("parts"),
            func.min(triggers.c.triggered_at).label("first_at"),
            func.max(triggers.c.triggered_at).label("last_at"),
        ).where(triggers.c.lot == lot)
    ).one()
    announced = select(func.count()).select_from(parts).where(parts.c.lot == lot, parts.c.announced_at.is_not(None))
    first = of_lot & (inspections.c.attempt == 1)

    def count(*where: Any) -> int:
        return int(connection.execute(select(func.count()).select_from(inspections).where(*where)).scalar_one())

    labelled, labels_by_verdict = _labelled(connection, lot)
    return LotFigures(
        parts=triggered.parts,
        announced=connection.execute(announced).scalar_one(),
        not_seen=connection.execute(announced.where(parts.c.attempts == 0)).scalar_one(),
        first_attempts=count(first),
        first_passes=count(first, inspections.c.verdict == Verdict.PASS),
        rejects=count(of_lot, inspections.c.output == Output.REJECT),
        unconfirmed=count(of_lot, inspections.c.output.is_(None)),
        accepted_without_pass=count(
            of_lot, inspections.c.output == Output.ACCEPT, inspections.c.verdict.in_(set(Verdict) - {Verdict.PASS})
        ),
        first_triggered_at=triggered.first_at,
        last_triggered_at=triggered.last_at,
        causes=_causes(connection, lot),
        models=_models(connection, lot),
        labelled=labelled,
        labels_by_verdict=labels_by_verdict,
    )


def worst_rejects(connection: Connection, lot: str, limit: int) -> tuple[Sample, ...]:
    """The rejects with the highest scores, by score, that have a frame and are not labelled ok."""
    frames, maps = images.alias("frames"), images.alias("maps")
    rows = connection.execute(
        select(
            inspections.c.seq,
            inspections.c.serial,
            inspections.c.verdict,
            inspections.c.score,
            inspections.c.fail_threshold,
            inspections.c.proposed_class,
            labels.c.label,
            frames.c.sha256.label("frame_sha256"),
            frames.c.pixel_format,
            frames.c.width,
            frames.c.height,
            maps.c.sha256.label("map_sha256"),
        )
        .join(frames, and_(frames.c.seq == inspections.c.seq, frames.c.kind == ImageKind.FRAME))
        .outerjoin(maps, and_(maps.c.seq == inspections.c.seq, maps.c.kind == ImageKind.MAP))
        .outerjoin(labels, labels.c.label_id == newest_label)
        .where(
            inspections.c.lot == lot,
            inspections.c.verdict.in_((Verdict.FAIL, Verdict.REVIEW)),
            inspections.c.score.is_not(None),
            inspections.c.fail_threshold.is_not(None),
            or_(labels.c.label.is_(None), labels.c.label != OK),
        )
        .order_by(inspections.c.score.desc(), inspections.c.seq)
        .limit(limit)
    ).mappings()
    return tuple(Sample(**{**row, "verdict": Verdict(row["verdict"])}) for row in rows)


def _causes(connection: Connection, lot: str) -> tuple[tuple[str, int], ...]:
    by = (inspections.c.reason, inspections.c.proposed_class, labels.c.label)
    rows = connection.execute(
        select(*by, func.count())
        .outerjoin(labels, labels.c.label_id == newest_label)
        .where(inspections.c.lot == lot, inspections.c.verdict.in_(set(Verdict) - {Verdict.PASS}))
        .group_by(*by)
    )
    causes: dict[str, int] = {}
    for reason, proposed, label, count in rows:
        named = f"labelled {label}" if label else f"proposed {proposed}" if proposed else reason or UNCLASSIFIED
        causes[named] = causes.get(named, 0) + count
    return tuple(sorted(causes.items(), key=lambda item: (-item[1], item[0])))


def _models(connection: Connection, lot: str) -> tuple[ModelShare, ...]:
    rows = connection.execute(
        select(
            inspections.c.model,
            func.max(models.c.algorithm),
            func.count(),
            func.min(inspections.c.decided_at),
            func.max(inspections.c.decided_at),
        )
        .outerjoin(models, models.c.model == inspections.c.model)
        .where(inspections.c.lot == lot)
        .group_by(inspections.c.model)
    )
    return tuple(sorted((ModelShare(*row) for row in rows), key=lambda share: (-share.inspections, share.model or "")))


def _labelled(connection: Connection, lot: str) -> tuple[tuple[Labelled, ...], dict[Verdict, tuple[int, int]]]:
    by = (inspections.c.verdict, labels.c.labelled_by, labels.c.label == OK)
    rows = connection.execute(
        select(*by, func.count(), func.min(labels.c.labelled_at), func.max(labels.c.labelled_at))
        .select_from(inspections)
        .join(labels, labels.c.label_id == newest_label)
        .where(inspections.c.lot == lot)
        .group_by(*by)
    )
    people: dict[str, Labelled] = {}
    verdicts: dict[Verdict, tuple[int, int]] = {}
    for verdict, person, is_ok, count, first_at, last_at in rows:
        ok, defect = (count, 0) if is_ok else (0, count)
        before = verdicts.get(Verdict(verdict), (0, 0))
        verdicts[Verdict(verdict)] = (before[0] + ok, before[1] + defect)
        known = people.get(person)
        if known is None:
            people[person] = Labelled(person, ok, defect, first_at, last_at)
        else:
            span = (min(known.first_at, first_at), max(known.last_at, last_at))
            people[person] = Labelled(person, known.ok + ok, known.defect + defect, *span)
    ordered = sorted(people.values(), key=lambda person: (-person.ok - person.defect, person.by))
    return tuple(ordered), verdicts
