"""Models in service and beside it, and what lets them in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from inspection.domain.production import Verdict


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
