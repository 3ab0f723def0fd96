"""REST: models with their gates, deployments, and shadows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from inspection.artifact import model_at, read_artifact
from inspection.domain import Deployment, Disagreement, Gate, Model, Shadow, ShadowSummary
from inspection.errors import ModelError
from inspection.records import deployments, shadows
from inspection.records.gates import list_gates, request_gate
from inspection.thresholds import with_thresholds
from inspection.web.context import Context, InContext, Records, User
from inspection.web.names import By, Digest, Name, Reason, Why, acting
from inspection.web.problems import Problem, conflict_as, documented, not_found_as
from inspection.web.routes_inspections import MAX_NUMBER

router = APIRouter(prefix="/api/v1", tags=["models"], responses=documented())

Seen = Annotated[int | None, Field(ge=0, le=MAX_NUMBER)]
Threshold = Annotated[float, Field(gt=0, allow_inf_nan=False)]
ModelDigest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class NewGate(BaseModel):
    """Who wants to know."""

    model_config = ConfigDict(extra="forbid")

    by: By | None = None


class NewDeployment(BaseModel):
    """A model to put in service. ``override``: why it shall decide although it did not pass its gate.

    ``in_service``: the number of the deployment that was in service when this was decided, null or 0 for none. If another one is
    now, nothing happens (409 ``stale``). Left out, nothing is compared.
    """

    model_config = ConfigDict(extra="forbid")

    product: Name
    model: ModelDigest
    by: By | None = None
    reason: Why
    override: Why | None = None
    in_service: Seen = None


class NewRollback(BaseModel):
    """A product whose former model shall decide again. ``in_service`` as in a deployment."""

    model_config = ConfigDict(extra="forbid")

    product: Name
    by: By | None = None
    reason: Why
    in_service: Seen = None


class NewThresholds(BaseModel):
    """Thresholds for a model of this product that is else the same, in units of the score, and why."""

    model_config = ConfigDict(extra="forbid")

    product: Name
    review_threshold: Threshold
    fail_threshold: Threshold
    by: By | None = None
    reason: Why

    @model_validator(mode="after")
    def in_order(self) -> NewThresholds:
        if self.review_threshold >= self.fail_threshold:
            raise ValueError("review_threshold must be below fail_threshold")
        return self


class NewShadow(BaseModel):
    """A challenger for a product."""

    model_config = ConfigDict(extra="forbid")

    product: Name
    model: ModelDigest
    by: By | None = None
    reason: Reason = ""


class ShadowEnd(BaseModel):
    """A product whose challenger shall stop."""

    model_config = ConfigDict(extra="forbid")

    product: Name


@dataclass(frozen=True, slots=True)
class Models:
    """All models and this station's deployments, newest first; a deployment without ``ended_at`` is in service."""

    models: tuple[Model, ...]
    deployments: tuple[Deployment, ...]


@dataclass(frozen=True, slots=True)
class ModelWithGates:
    """A model and its gates on this station, newest first: the first one that is done counts."""

    model: Model
    gates: tuple[Gate, ...]


@dataclass(frozen=True, slots=True)
class Shadows:
    """Challengers, newest first; one without ``ended_at`` is running."""

    items: tuple[Shadow, ...]


@dataclass(frozen=True, slots=True)
class Disagreements:
    """How a challenger compares, and the parts on which it differs, oldest first; ask again with ``last_seq``."""

    summary: ShadowSummary
    items: tuple[Disagreement, ...]
    last_seq: int


@router.get("/models")
def list_models(records: Records, context: InContext) -> Models:
    """Registered models and their deployments."""
    return Models(deployments.list_models(records), deployments.list_deployments(records, context.settings.station))


@router.get("/models/{model}", responses=documented(HTTPStatus.NOT_FOUND))
def show_model(model: Digest, records: Records, context: InContext) -> ModelWithGates:
    """One model and what its gates said."""
    with not_found_as("unknown_model"):
        return ModelWithGates(deployments.get_model(records, model), list_gates(records, context.settings.station, model))


@router.post("/models/{model}/gates", status_code=HTTPStatus.ACCEPTED, responses=documented(HTTPStatus.NOT_FOUND))
def gate_model(model: Digest, context: InContext, user: User, new: NewGate | None = None) -> Gate:
    """Have the model gated; the trainer does it when it has time, and ``passed`` is null until then."""
    station = context.settings.station
    with not_found_as("unknown_model"), context.writer.begin() as connection:
        product = deployments.get_model(connection, model).product
        return request_gate(connection, station, product, model, acting(user, new.by if new else None))


@router.post(
    "/models/{model}/thresholds",
    status_code=HTTPStatus.CREATED,
    responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
def choose_thresholds(model: Digest, new: NewThresholds, context: InContext, user: User) -> ModelWithGates:
    """Make a model that differs in thresholds alone, registered, and waiting for its gate as any other."""
    station, by = context.settings.station, acting(user, new.by)
    with not_found_as("unknown_model"), context.reader.connect() as records:
        former = deployments.get_model(records, model)
    if former.product != new.product:
        detail = f"model {model[:12]} was made for product {former.product!r}; name that product"
        raise Problem(HTTPStatus.CONFLICT, "wrong_product", detail)
    data_dir = context.settings.data_dir
    with damaged_as_conflict():
        artifact = read_artifact(data_dir / former.path, model)
        with conflict_as("same_thresholds"):
            path, digest = with_thresholds(
                artifact, data_dir / "models", new.review_threshold, new.fail_threshold, by, new.reason
            )
        made = model_at(path, former.product, digest)
    with context.writer.begin() as connection:
        deployments.register_model(connection, made)
        request_gate(connection, station, made.product, digest, by)
        return ModelWithGates(made, list_gates(connection, station, digest))


@router.post("/deployments", status_code=HTTPStatus.CREATED, responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT))
def deploy(new: NewDeployment, context: InContext, user: User) -> Deployment:
    """Put a model in service; the inspector takes it over between two parts."""
    with not_found_as("unknown_model"), conflict_as("wrong_product"):
        _check_artifact(context, new.model)
        with context.writer.begin() as connection:
            return deployments.deploy_gated(
                connection,
                context.settings.station,
                new.product,
                new.model,
                acting(user, new.by),
                new.reason,
                new.override,
                _seen(new),
            )


@router.post("/deployments/rollback", responses=documented(HTTPStatus.CONFLICT))
def roll_back(back: NewRollback, context: InContext, user: User) -> Deployment:
    """Put the model in service again that decided before the present one, which later rollbacks will not bring back."""
    station = context.settings.station
    with conflict_as("no_former_model"):
        with context.reader.connect() as records:
            wanted = deployments.next_rollback(records, station, back.product)
        _check_artifact(context, wanted.former)
        with context.writer.begin() as connection:
            by = acting(user, back.by)
            return deployments.rollback(connection, station, back.product, wanted, by, back.reason, _seen(back))


@router.get("/shadows")
def list_shadows(records: Records, context: InContext) -> Shadows:
    """Challengers of this station, newest first."""
    return Shadows(shadows.list_shadows(records, context.settings.station))


@router.post("/shadows", status_code=HTTPStatus.CREATED, responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT))
def start_shadow(new: NewShadow, context: InContext, user: User) -> Shadow:
    """Let a model judge live parts beside the one in service, when the inspector has time."""
    with not_found_as("unknown_model"), conflict_as("no_challenger"):
        _check_artifact(context, new.model)
        with context.writer.begin() as connection:
            by = acting(user, new.by)
            return shadows.start_shadow(connection, context.settings.station, new.product, new.model, by, new.reason)


@router.post("/shadows/stop", responses=documented(HTTPStatus.NOT_FOUND))
def stop_shadow(end: ShadowEnd, context: InContext) -> Shadows:
    """End the challenger of a product."""
    with not_found_as("no_shadow"), context.writer.begin() as connection:
        shadows.stop_shadow(connection, context.settings.station, end.product)
        return Shadows(shadows.list_shadows(connection, context.settings.station))


@router.get("/shadows/disagreements")
def list_disagreements(
    records: Records,
    model: Annotated[str, Query(pattern="^[0-9a-f]{64}$", description="Digest of the challenger.")],
    after: Annotated[int, Query(ge=0, le=MAX_NUMBER)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Disagreements:
    """Parts on which a challenger differs from the verdict that was given, with the label that counts if there is one."""
    found = shadows.disagreements(records, model, after, limit)
    return Disagreements(shadows.shadow_summary(records, model), found, found[-1].seq if found else after)


def _seen(new: NewDeployment | NewRollback) -> int | None:
    """The deployment that was seen, 0 for none; None if nothing is said of it."""
    return (new.in_service or 0) if "in_service" in new.model_fields_set else None


def _check_artifact(context: Context, model: str) -> None:
    """A model whose files are not whole is not put in service: the inspector would refuse it."""
    with context.reader.connect() as records:
        path = deployments.get_model(records, model).path
    with damaged_as_conflict():
        read_artifact(context.settings.data_dir / path, model)


@contextmanager
def damaged_as_conflict() -> Iterator[None]:
    """Answer 409 where a model's files are not whole."""
    try:
        yield
    except ModelError as error:
        raise Problem(HTTPStatus.CONFLICT, "damaged_model", str(error)) from None
