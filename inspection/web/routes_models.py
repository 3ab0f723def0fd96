"""REST: models with their gates, deployments, and shadows."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from inspection.artifact import read_artifact
from inspection.domain import Deployment, Disagreement, Gate, Model, Shadow, ShadowSummary
from inspection.errors import ModelError
from inspection.records import deployments, shadows
from inspection.records.gates import list_gates, request_gate
from inspection.web.context import Context, InContext, Records
from inspection.web.names import By, Digest, Name, Reason, Why
from inspection.web.problems import Problem, conflict_as, documented, not_found_as
from inspection.web.routes_inspections import MAX_NUMBER

router = APIRouter(prefix="/api/v1", tags=["models"], responses=documented())

ModelDigest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class NewGate(BaseModel):
    """Who wants to know."""

    model_config = ConfigDict(extra="forbid")

    by: By


class NewDeployment(BaseModel):
    """A model to put in service. ``override``: why it shall decide although it did not pass its gate."""

    model_config = ConfigDict(extra="forbid")

    product: Name
    model: ModelDigest
    by: By
    reason: Why
    override: Why | None = None


class NewRollback(BaseModel):
    """A product whose former model shall decide again."""

    model_config = ConfigDict(extra="forbid")

    product: Name
    by: By
    reason: Why


class NewShadow(BaseModel):
    """A challenger for a product."""

    model_config = ConfigDict(extra="forbid")

    product: Name
    model: ModelDigest
    by: By
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
def gate_model(model: Digest, new: NewGate, context: InContext) -> Gate:
    """Have the model gated; the trainer does it when it has time, and ``passed`` is null until then."""
    station = context.settings.station
    with not_found_as("unknown_model"), context.writer.begin() as connection:
        return request_gate(connection, station, deployments.get_model(connection, model).product, model, new.by)


@router.post("/deployments", status_code=HTTPStatus.CREATED, responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT))
def deploy(new: NewDeployment, context: InContext) -> Deployment:
    """Put a model in service; the inspector takes it over between two parts."""
    with not_found_as("unknown_model"), conflict_as("wrong_product"):
        _check_artifact(context, new.model)
        with context.writer.begin() as connection:
            return deployments.deploy_gated(
                connection, context.settings.station, new.product, new.model, new.by, new.reason, new.override
            )


@router.post("/deployments/rollback", responses=documented(HTTPStatus.CONFLICT))
def roll_back(back: NewRollback, context: InContext) -> Deployment:
    """Put the model in service again that decided before the present one, which later rollbacks will not bring back."""
    station = context.settings.station
    with conflict_as("no_former_model"):
        with context.reader.connect() as records:
            wanted = deployments.next_rollback(records, station, back.product)
        _check_artifact(context, wanted.former)
        with context.writer.begin() as connection:
            return deployments.rollback(connection, station, back.product, wanted, back.by, back.reason)


@router.get("/shadows")
def list_shadows(records: Records, context: InContext) -> Shadows:
    """Challengers of this station, newest first."""
    return Shadows(shadows.list_shadows(records, context.settings.station))


@router.post("/shadows", status_code=HTTPStatus.CREATED, responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT))
def start_shadow(new: NewShadow, context: InContext) -> Shadow:
    """Let a model judge live parts beside the one in service, when the inspector has time."""
    with not_found_as("unknown_model"), conflict_as("no_challenger"):
        _check_artifact(context, new.model)
        with context.writer.begin() as connection:
            return shadows.start_shadow(connection, context.settings.station, new.product, new.model, new.by, new.reason)


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


def _check_artifact(context: Context, model: str) -> None:
    """A model whose files are not whole is not put in service: the inspector would refuse it."""
    with context.reader.connect() as records:
        path = deployments.get_model(records, model).path
    try:
        # A relative path is relative to the data directory, where the image store lies.
        read_artifact(context.settings.image_dir.parent / path, model)
    except ModelError as error:
        raise Problem(HTTPStatus.CONFLICT, "damaged_model", str(error)) from None
