"""Golden images and golden parts, with which a model and a line are tested."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from inspection.domain.production import Reason, Verdict


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
class GoldenPart:
    """A real part, kept beside the line, whose verdict is beyond doubt: ``ok`` must pass, a class of defects must not."""

    product: str
    serial: str
    label: str
    added_by: str
    added_at: datetime


class ChallengeState(StrEnum):
    """``running`` until it is finished (``passed``, ``failed``) or ``abandoned``, which says nothing."""

    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class ChallengeResult:
    """What the newest attempt of one golden part showed; nothing yet where ``seq`` is None.

    ``right`` is None as long as the part has to be fed: it was not inspected yet, or by another model than the one in service.
    """

    serial: str
    label: str
    seq: int | None = None
    attempt: int | None = None
    verdict: Verdict | None = None
    reason: Reason | None = None
    score: float | None = None
    model: str | None = None
    right: bool | None = None


@dataclass(frozen=True, slots=True)
class Challenge:
    """One feeding of the golden parts through the line, in a lot of its own; ``results`` by serial, once it has ended."""

    challenge_id: int
    product: str
    lot: str
    started_at: datetime
    started_by: str
    ended_at: datetime | None
    state: ChallengeState
    results: tuple[ChallengeResult, ...]
