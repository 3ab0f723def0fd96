"""Labels, and what a model learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

OK = "ok"
"""The label of a good part. Any other label is a class of defects."""

MIN_IMAGES = 10
"""Fewer good images are not trained on."""

MIN_SIDE, MAX_SIDE = 96, 1024
"""How long the longer side of a network's input may be, in pixels."""

MAX_SEED = 2**31 - 1


class Side(StrEnum):
    """What a lot is used for in training sets: to learn from, or to check what was learned."""

    TRAIN = "train"
    VALIDATION = "validation"


class Source(StrEnum):
    """Who says that a member of a training set is what its label says: a person, the verdict `pass`, or the import."""

    LABEL = "label"
    PASS = "pass"  # noqa: S105
    FOLDER = "folder"


class RunState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Box:
    """A region that somebody marked: a rectangle in frame pixels, or the polygon that it encloses.

    ``polygon`` lists pixels (x, y), one after the other around the region; what they enclose belongs to it, they too.
    """

    x: int
    y: int
    width: int
    height: int
    polygon: tuple[tuple[int, int], ...] | None = None

    @classmethod
    def around(cls, polygon: Sequence[tuple[int, int]]) -> Box:
        """A polygon of at least one pixel with the rectangle that encloses it."""
        across, down = [x for x, _ in polygon], [y for _, y in polygon]
        left, top = min(across), min(down)
        return cls(left, top, max(across) - left + 1, max(down) - top + 1, tuple(polygon))


@dataclass(frozen=True, slots=True)
class Label:
    """The human's word on an inspection: ``ok`` or a class of defects, and where the defects are.

    ``label`` is None where somebody took back what was said before: the inspection then has no label.
    """

    label_id: int
    seq: int
    label: str | None
    regions: tuple[Box, ...]
    labelled_by: str
    labelled_at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class DefectClass:
    """A word for one kind of defect of a product, with a colour (``#rrggbb``) and the key that labels with it.

    ``listed`` is False for one that somebody only labelled with. A retired one is not offered any more, and has no key.
    """

    product: str
    defect_class: str
    colour: str
    key: str | None
    listed: bool
    created_by: str | None
    created_at: datetime | None
    retired_at: datetime | None


@dataclass(frozen=True, slots=True)
class Member:
    """One image of a training set. ``lot`` is a pseudo lot for imported images: the folder that they came from.

    ``seq`` is the number of its inspection; None for imported images, and in sets that were frozen before it was recorded.
    """

    sha256: str
    label: str
    lot: str
    side: Side
    source: Source
    name: str
    pixel_format: str
    regions: tuple[Box, ...] = ()
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """A frozen list of members; ``training_set`` is its digest, ``sizes`` counts members by side and label."""

    training_set: str
    product: str
    sizes: dict[str, dict[str, int]]
    warnings: tuple[str, ...]
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """What a training run is asked for.

    ``longer_side`` of the network's input, in pixels; without it, the training finds the best design for the product.
    ``false_rejects`` is the share of good parts that may be stopped at most, ``confidence`` how sure that has to be.
    """

    seed: int = 0
    longer_side: int | None = None
    false_rejects: float = 0.02
    confidence: float = 0.95


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """One attempt to make a model from a training set; ``attempts`` counts how often a trainer began it."""

    training_run_id: int
    station: str
    product: str
    training_set: str
    settings: TrainingSettings
    state: RunState
    stage: str
    done: int
    steps: int
    attempts: int
    requested_by: str
    requested_at: datetime
    reason: str
    started_at: datetime | None
    heartbeat_at: datetime | None
    ended_at: datetime | None
    cancelled_by: str | None
    model: str | None
    error: str | None
    log: str
