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
    NO_MODEL = "no_model"
    DETECTOR_ERROR = "detector_error"


class Output(StrEnum):
    """What the line commanded for the part. Reject is the default: it needs no command."""

    ACCEPT = "accept"
    REJECT = "reject"


class LotState(StrEnum):
    OPEN = "open"
    CLOSED = "closed"


class ImageKind(StrEnum):
    FRAME = "frame"
    MAP = "map"


@dataclass(frozen=True, slots=True)
class Lot:
    lot: str
    product: str
    state: LotState
    opened_at: datetime
    closed_at: datetime | None = None
    expected_quantity: int | None = None


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
    """The one decision about one trigger."""

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
    """Which model decides for which product, from when to when, by whom and why."""

    deployment_id: int
    station: str
    product: str
    model: str
    deployed_at: datetime
    ended_at: datetime | None
    deployed_by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Model:
    """A registered artifact: ``model`` is the SHA-256 digest of its manifest."""

    model: str
    product: str
    path: str
    algorithm: str
    created_at: datetime
    metrics: dict[str, float]
