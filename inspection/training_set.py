"""Inspections, labels and imported images → a frozen training set, split by lot.

The digest of a set is the SHA-256 of its canonical JSON (keys sorted, no blanks, UTF-8): product and members, members by
SHA-256. The same images and labels give the same digest, whoever asks and whenever.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import msgspec
from sqlalchemy import Connection, and_, select

from inspection.domain import MIN_IMAGES, OK, ImageKind, Member, Side, Source, Verdict
from inspection.errors import Conflict
from inspection.images import ImageStore
from inspection.records.labels import boxes, is_labelled, region_as_json, valid_label_ids
from inspection.records.tables import challenges, golden_images, images, imported_images, inspections, labels, lots

STEADY_IMAGES = 30
"""From so many good images on, thresholds are steady."""
MAX_PASSES = 2_000
"""Passed parts that nobody labelled, the newest first: a training thins good images out anyway."""
VALIDATION_SHARE = 0.2
_FOLDER = "folder:"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What a person does not want in a training set, though it could be."""

    labels: frozenset[str] = frozenset()
    lots: frozenset[str] = frozenset()
    sources: frozenset[Source] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.labels or self.lots or self.sources)

    def takes(self, member: Member) -> bool:
        return member.label in self.labels or member.lot in self.lots or member.source in self.sources

    def in_words(self) -> str:
        names = (("label", self.labels), ("lot", self.lots), ("source", self.sources))
        return "; ".join(f"{word} {', '.join(sorted(chosen))}" for word, chosen in names if chosen)


NOTHING = LeftOut()


@dataclass(frozen=True, slots=True)
class Draft:
    """What may be frozen: the members, and what a person should know before a model learns from them.

    ``document`` is the canonical JSON. It is written here, because in the transaction that freezes it the recorder waits.
    """

    product: str
    members: tuple[Member, ...]
    warnings: tuple[str, ...]
    document: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        members = [
            {**msgspec.to_builtins(member), "regions": [region_as_json(box) for box in member.regions]} for member in self.members
        ]
        content = {"product": self.product, "members": members}
        written = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        object.__setattr__(self, "document", written)

    @property
    def sizes(self) -> dict[str, dict[str, int]]:
        counts: dict[str, Counter[str]] = {side: Counter() for side in Side}
        for member in self.members:
            counts[member.side][member.label] += 1
        return {side: dict(sorted(counted.items())) for side, counted in counts.items()}

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.document.encode()).hexdigest()


def draft(connection: Connection, product: str, left_out: LeftOut = NOTHING) -> Draft:
    """Everything that the station knows of a product and a model may learn from, but for what a person leaves out.

    Good: frames labelled ``ok``, the newest passed ones without a label, and imported images. Rejects: frames labelled with a
    class of defects. Golden images are left out, since a gate asks for them, and frames of golden parts, since a challenge does;
    so are images whose labels contradict each other.
    """
    found = [*_labelled(connection, product), *_passed(connection, product), *_imported(connection, product)]
    golden = set(connection.execute(select(golden_images.c.sha256).where(golden_images.c.product == product)).scalars())
    warnings = []
    said: dict[str, Member] = {}
    contradicted: set[str] = set()
    kept_golden = 0
    for member in found:
        if member.sha256 in golden:
            kept_golden += 1
        elif member.sha256 not in said:
            said[member.sha256] = member
        elif member.label != said[member.sha256].label and member.source is not Source.PASS:
            # A verdict does not stand against a label; two people may.
            contradicted.add(member.sha256)
    if kept_golden:
        warnings.append(f"{kept_golden} golden images are left out: a gate tests with them")
    if contradicted:
        names = ", ".join(sorted(said[sha256].name for sha256 in contradicted))
        warnings.append(f"{len(contradicted)} images are left out, whose labels contradict each other: {names}; label them again")
    members = [member for sha256, member in sorted(said.items()) if sha256 not in contradicted]
    sides = split({member.lot for member in members}, _first_lot(connection, product))
    members = [replace(member, side=sides[member.lot]) for member in members]
    if left_out:
        kept = [member for member in members if not left_out.takes(member)]
        warnings.append(f"{len(members) - len(kept)} images are left out as asked: {left_out.in_words()}")
        members = kept
    return Draft(product, tuple(members), (*warnings, *_advice(members)))


def checked(draft: Draft, store: ImageStore) -> Draft:
    """The draft without unlabelled frames whose files are gone; Conflict, saying what to do, if no model can come of it."""
    gone = [member for member in draft.members if not store.path(member.sha256).exists()]
    wanted = [member for member in gone if member.source is not Source.PASS]
    if wanted:
        names = ", ".join(f"{member.name} ({member.sha256[:12]})" for member in wanted[:5])
        raise Conflict(
            f"{len(wanted)} labelled or imported images are not in the image store: {names}; restore them from a "
            "backup, or import or label others in their place"
        )
    missing = {member.sha256 for member in gone}
    members = tuple(member for member in draft.members if member.sha256 not in missing)
    warnings = draft.warnings
    if gone:
        warnings = (*warnings, f"{len(gone)} passed frames are left out: their files are not in the image store any more")
    good = sum(member.label == OK and member.side is Side.TRAIN for member in members)
    if good < MIN_IMAGES:
        kept = sum(member.label == OK and member.side is Side.VALIDATION for member in members)
        raise Conflict(
            f"{good} good images of {draft.product} are there to learn from, at least {MIN_IMAGES} are needed"
            + (f" ({kept} more are of lots kept for validation; another lot may be learned from)" if kept else "")
            + "; inspect more good parts, label parts ok, or import a folder of good images"
        )
    return Draft(draft.product, members, warnings)


def split(names: Iterable[str], first: str | None = None) -> dict[str, Side]:
    """Which lots are learned from. A lot's side stays the same in every later set: it follows from its name, but for the
    ``first`` lot of a product, without which a new station might have nothing to learn from.

    Imported images are learned from.
    """
    return {lot: Side.VALIDATION if lot != first and _is_kept(lot) else Side.TRAIN for lot in names}


def pseudo_lot(folder: str) -> str:
    """The lot of images from a folder. No real lot is named so: names have 64 characters at most and no blanks."""
    return f"{_FOLDER} {folder}"


def parse_document(document: str) -> tuple[Member, ...]:
    """The members in a canonical JSON."""
    found: list[Mapping] = json.loads(document)["members"]
    return tuple(
        Member(**{**each, "side": Side(each["side"]), "source": Source(each["source"]), "regions": boxes(each["regions"])})
        for each in found
    )


def _is_kept(lot: str) -> bool:
    if lot.startswith(f"{_FOLDER} "):
        return False
    number = int.from_bytes(hashlib.sha256(lot.encode()).digest()[:8])
    return number / 2**64 < VALIDATION_SHARE


def _first_lot(connection: Connection, product: str) -> str | None:
    """The lot that was opened first of those with parts, challenges aside."""
    lot = lots.c.lot
    inspected = select(inspections.c.seq).where(inspections.c.lot == lot).exists()
    challenged = lot.in_(select(challenges.c.lot))
    found = select(lot).where(lots.c.product == product, inspected, ~challenged).order_by(lots.c.opened_at, lot).limit(1)
    return connection.execute(found).scalar_one_or_none()


_COLUMNS = (inspections.c.lot, inspections.c.serial, inspections.c.seq, images.c.sha256, images.c.pixel_format)
_FRAMES = inspections.join(
    images, and_(images.c.seq == inspections.c.seq, images.c.kind == ImageKind.FRAME, images.c.deleted_at.is_(None))
)


def _labelled(connection: Connection, product: str) -> list[Member]:
    rows = connection.execute(
        select(*_COLUMNS, labels.c.label, labels.c.regions)
        .select_from(_FRAMES.join(labels, labels.c.seq == inspections.c.seq))
        .where(
            inspections.c.product == product,
            labels.c.label_id.in_(valid_label_ids()),
            labels.c.label.is_not(None),
            inspections.c.lot.not_in(select(challenges.c.lot)),
        )
        .order_by(inspections.c.seq)
    )
    return [
        Member(
            row.sha256, row.label, row.lot, Side.TRAIN, Source.LABEL, _name(row), row.pixel_format, boxes(row.regions), row.seq
        )
        for row in rows
    ]


def _passed(connection: Connection, product: str) -> list[Member]:
    rows = connection.execute(
        select(*_COLUMNS)
        .select_from(_FRAMES)
        .where(
            inspections.c.product == product,
            inspections.c.verdict == Verdict.PASS,
            ~is_labelled(inspections.c.seq),
            inspections.c.lot.not_in(select(challenges.c.lot)),
        )
        .order_by(inspections.c.seq.desc())
        .limit(MAX_PASSES)
    )
    return [Member(row.sha256, OK, row.lot, Side.TRAIN, Source.PASS, _name(row), row.pixel_format, seq=row.seq) for row in rows]


def _imported(connection: Connection, product: str) -> list[Member]:
    rows = connection.execute(
        select(imported_images).where(imported_images.c.product == product).order_by(imported_images.c.sha256)
    )
    return [Member(row.sha256, OK, pseudo_lot(row.folder), Side.TRAIN, Source.FOLDER, row.name, row.pixel_format) for row in rows]


def _name(row: object) -> str:
    return f"{row.lot}/{row.serial}#{row.seq}"  # type: ignore[attr-defined]


def _advice(members: list[Member]) -> list[str]:
    advice = []
    good = [member for member in members if member.label == OK and member.side is Side.TRAIN]
    unlabelled = sum(member.source is Source.PASS for member in good)
    if MIN_IMAGES <= len(good) < STEADY_IMAGES:
        advice.append(f"{len(good)} good images to learn from; thresholds are steady from {STEADY_IMAGES} on")
    if unlabelled:
        advice.append(f"{unlabelled} of {len(good)} good images to learn from are passes that nobody labelled")
    rejects = [member for member in members if member.label != OK]
    if not rejects:
        advice.append("no labelled rejects")
    elif len({member.side for member in rejects}) == 1:
        advice.append(f"all {len(rejects)} labelled rejects are in lots for {rejects[0].side}")
    if not any(member.side is Side.VALIDATION for member in members):
        advice.append("nothing to validate with: about one lot in five is kept for that, by its name, and none is yet")
    return advice
