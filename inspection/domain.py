"""The nouns of the station: frozen, standard library only, the same words in tables, messages, JSON and pages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Verdict(StrEnum):
    """The machine's word on one part."""

    PASS = "pass"  # noqa: S105  (a verdict, not a password)
    FAIL = "fail"
    REVIEW = "review"
    NOT_INSPECTED = "not_inspected"


class Reason(StrEnum):
    """Why a part was not inspected."""

    CAMERA_LOST = "camera_lost"
    FRAME_LOST = "frame_lost"
    FRAME_CORRUPT = "frame_corrupt"
    TRIGGER_MISSED = "trigger_missed"
    DESYNC = "desync"
    DEADLINE = "deadline"
    RING_FULL = "ring_full"
    LINE_DOWN = "line_down"
    OVERLOAD = "overload"
    UNKNOWN_LOT = "unknown_lot"
    CLOSED_LOT = "closed_lot"
    HELD_LOT = "held_lot"
    NO_MODEL = "no_model"
    DETECTOR_ERROR = "detector_error"
    SERIAL_MISMATCH = "serial_mismatch"
    SERIAL_UNREAD = "serial_unread"


class Output(StrEnum):
    """What the line commanded for the part. Reject is the default: it needs no command."""

    ACCEPT = "accept"
    REJECT = "reject"


class LotState(StrEnum):
    """A held lot takes no parts, and none of it is to leave; released, it is open or closed as it was before."""

    OPEN = "open"
    HELD = "held"
    CLOSED = "closed"


class LotChange(StrEnum):
    """What can happen to a lot."""

    OPENED = "opened"
    HELD = "held"
    RELEASED = "released"
    CLOSED = "closed"


class ImageKind(StrEnum):
    FRAME = "frame"
    MAP = "map"


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


class Scope(StrEnum):
    """What a token opens: reading everything; lots and their parts; triggers; labels and golden images; training; which model
    decides.
    """

    READ = "read"
    LOTS = "lots"
    TRIGGER = "trigger"
    LABEL = "label"
    TRAIN = "train"
    DEPLOY = "deploy"


@dataclass(frozen=True, slots=True)
class Token:
    """What a machine account may do, and how long. The token itself is known to its owner alone."""

    account: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Lot:
    lot: str
    product: str
    state: LotState
    opened_at: datetime
    closed_at: datetime | None = None
    expected_quantity: int | None = None


@dataclass(frozen=True, slots=True)
class LotEvent:
    """What happened to a lot, by whom and why; lots that were opened by former versions have none."""

    lot_event_id: int
    lot: str
    change: LotChange
    at: datetime
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Image:
    """A stored file, named by the SHA-256 of its bytes."""

    sha256: str
    kind: ImageKind
    media_type: str
    width: int
    height: int
    pixel_format: str
    nbytes: int


@dataclass(frozen=True, slots=True)
class Region:
    """One anomalous area in frame pixels: bounding box (x, y, width, height), peak score and area in pixels."""

    x: int
    y: int
    width: int
    height: int
    score: float
    area: int


@dataclass(frozen=True, slots=True)
class Inspection:
    """The one decision about one trigger.

    ``proposed_class`` is the class of labelled defects that the part is most like, as the model says; None unless the verdict is
    ``review`` or ``fail`` and the model has classes. What the part really has, its label says.
    """

    seq: int
    trigger_id: int
    lot: str
    serial: str
    attempt: int
    product: str | None
    camera: str
    verdict: Verdict
    reason: Reason | None
    score: float | None
    p_value: float | None
    review_threshold: float | None
    fail_threshold: float | None
    model: str | None
    proposed_class: str | None
    regions: tuple[Region, ...]
    frame_id: int | None
    triggered_at: datetime
    acquired_at: datetime | None
    decided_at: datetime
    recorded_at: datetime
    timings_ms: dict[str, float]
    output: Output | None
    late_verdict: Verdict | None
    late_score: float | None
    images: tuple[Image, ...] = ()


@dataclass(frozen=True, slots=True)
class LotSummary:
    """Reconciliation of one lot: triggered = passed + failed + review + not_inspected = accepted + rejected."""

    lot: str
    product: str | None
    state: LotState | None
    triggered: int
    passed: int
    failed: int
    review: int
    not_inspected: int
    accepted: int
    rejected: int
    open_triggers: int
    reasons: dict[str, int]

    @property
    def balanced(self) -> bool:
        decided = self.passed + self.failed + self.review + self.not_inspected
        return self.triggered == decided + self.open_triggers and self.triggered == self.accepted + self.rejected


@dataclass(frozen=True, slots=True)
class Fault:
    """One counted loss or failure: when, which process, what kind, how many, in words."""

    fault_id: int
    at: datetime
    source: str
    kind: str
    count: int
    detail: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """Which model decides for which product, from when to when, by whom and why. ``override``: why despite its gate.

    ``taken_out`` is the model that a rollback took out for this one; None for other deployments.
    """

    deployment_id: int
    station: str
    product: str
    model: str
    deployed_at: datetime
    ended_at: datetime | None
    deployed_by: str
    reason: str
    override: str | None = None
    taken_out: str | None = None


@dataclass(frozen=True, slots=True)
class Rollback:
    """What a rollback does: it takes out the ``present`` model and puts the ``former`` one in service. Both are digests."""

    present: str
    former: str


@dataclass(frozen=True, slots=True)
class Model:
    """A registered artifact: ``model`` is the SHA-256 digest of its manifest."""

    model: str
    product: str
    path: str
    algorithm: str
    created_at: datetime
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in frame pixels."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Label:
    """The human's word on an inspection: ``ok`` or a class of defects, and where the defects are."""

    label_id: int
    seq: int
    label: str
    regions: tuple[Box, ...]
    labelled_by: str
    labelled_at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class GoldenImage:
    """An image whose verdict is beyond doubt: every model must pass it (``ok``) or must not (a class of defects)."""

    product: str
    sha256: str
    label: str
    name: str
    pixel_format: str
    added_by: str
    added_at: datetime


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


@dataclass(frozen=True, slots=True)
class Check:
    """One question of a gate and its answer in words."""

    check: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Gate:
    """What a model showed before it may decide on a station, compared with the model then in service, if any.

    ``passed`` is None as long as the gate was asked for and the trainer has not come to it.
    """

    gate_id: int
    station: str
    product: str
    model: str
    passed: bool | None
    gated_at: datetime | None
    checks: tuple[Check, ...]
    compared_with: str | None
    gated_by: str


@dataclass(frozen=True, slots=True)
class Shadow:
    """A challenger that judges live parts beside the model in service, without effect on them."""

    shadow_id: int
    station: str
    product: str
    model: str
    started_at: datetime
    ended_at: datetime | None
    started_by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A part on which challenger and model in service differ."""

    seq: int
    trigger_id: int
    lot: str
    serial: str
    verdict: Verdict
    score: float
    shadow_verdict: Verdict
    shadow_score: float
    label: str | None


@dataclass(frozen=True, slots=True)
class ShadowSummary:
    """How a challenger's verdicts compare with those given: counts by ``given/challenger``."""

    model: str
    inspected: int
    agreed: int
    verdicts: dict[str, int]
