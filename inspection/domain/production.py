"""Lots, inspections and what belongs to them."""

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
    CHALLENGE_DUE = "challenge_due"
    OPTICS = "optics"


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


@dataclass(frozen=True, slots=True)
class Lot:
    """``challenge``: the number of the challenge whose golden parts it holds; None for production."""

    lot: str
    product: str
    state: LotState
    opened_at: datetime
    closed_at: datetime | None = None
    expected_quantity: int | None = None
    challenge: int | None = None


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
class LegalHold:
    """An order to keep the images of a lot, of a serial in all lots, or of one inspection, whatever retention says.

    Exactly one of ``lot``, ``serial`` and ``seq`` is set. Not to be taken for holding a lot: it stops no part.
    """

    legal_hold_id: int
    lot: str | None
    serial: str | None
    seq: int | None
    placed_at: datetime
    placed_by: str
    reason: str
    released_at: datetime | None
    released_by: str | None
    release_reason: str | None


@dataclass(frozen=True, slots=True)
class Image:
    """A stored file, named by the SHA-256 of its bytes.

    ``deleted_at``: when retention deleted it; ``deleted_for``: by which rule of the configuration, such as "keep_pass_days = 90".
    """

    sha256: str
    kind: ImageKind
    media_type: str
    width: int
    height: int
    pixel_format: str
    nbytes: int
    deleted_at: datetime | None = None
    deleted_for: str | None = None


@dataclass(frozen=True, slots=True)
class Region:
    """One anomalous area in frame pixels: bounding box (x, y, width, height), peak score and area in pixels."""

    x: int
    y: int
    width: int
    height: int
    score: float
    area: int


def provisional_serial(trigger_id: int) -> str:
    """What stands for the serial of a part whose trigger named none, until or unless the code on the part was read."""
    return f"?{trigger_id}"


@dataclass(frozen=True, slots=True)
class Inspection:
    """The one decision about one trigger.

    ``proposed_class`` is the class of labelled defects that the part is most like, as the model says; None unless the verdict is
    ``review`` or ``fail`` and the model has classes. What the part really has, its label says. ``challenge`` is the number of
    the challenge that a golden part was fed for; None for production. ``optics`` says how the frame was taken, by figure of
    ``inspection.optics``; None where none was judged. ``detail`` says more about the reason, where there is more to say.
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
    challenge: int | None = None
    optics: dict[str, float] | None = None
    detail: str | None = None


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
