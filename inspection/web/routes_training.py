"""REST: training sets and training runs."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from inspection.domain import MAX_SEED, MAX_SIDE, MIN_SIDE, Member, TrainingRun, TrainingSet, TrainingSettings
from inspection.images import ImageStore
from inspection.records.training_runs import DEFAULTS, cancel_run, get_run, list_runs, request_run
from inspection.records.training_sets import freeze, get_training_set, list_training_sets, members_of
from inspection.training_set import checked, draft
from inspection.web.context import InContext, Records
from inspection.web.names import By, Digest, Name, ProductFilter, Reason
from inspection.web.problems import conflict_as, documented, not_found_as
from inspection.web.routes_inspections import MAX_NUMBER

router = APIRouter(prefix="/api/v1", tags=["training"], responses=documented())

Limit = Annotated[int, Query(ge=1, le=1000)]
RunNumber = Annotated[int, Path(ge=1, le=MAX_NUMBER)]


class NewTrainingSet(BaseModel):
    """A product whose labelled and passed parts and imported images are to be frozen."""

    model_config = ConfigDict(extra="forbid")

    product: Name
    by: By


class NewTrainingRun(BaseModel):
    """A model to make.

    Without ``longer_side``, the training finds the best design that is fast enough for the product. Thresholds stop at most the
    share ``false_rejects`` of good parts, with ``confidence`` once there are good parts enough to be sure.
    """

    model_config = ConfigDict(extra="forbid")

    training_set: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    by: By
    reason: Reason = ""
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    longer_side: int | None = Field(default=None, ge=MIN_SIDE, le=MAX_SIDE)
    false_rejects: float = Field(default=DEFAULTS.false_rejects, gt=0, lt=1)
    confidence: float = Field(default=DEFAULTS.confidence, gt=0, lt=1)


class Cancellation(BaseModel):
    """Who cancels."""

    model_config = ConfigDict(extra="forbid")

    by: By


@dataclass(frozen=True, slots=True)
class TrainingSets:
    """Training sets, newest first."""

    items: tuple[TrainingSet, ...]


@dataclass(frozen=True, slots=True)
class TrainingSetWithMembers:
    """A training set and its images, by SHA-256."""

    training_set: TrainingSet
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class TrainingRuns:
    """Training runs, newest first."""

    items: tuple[TrainingRun, ...]


@router.post("/training-sets", status_code=HTTPStatus.CREATED, responses=documented(HTTPStatus.CONFLICT))
def create_training_set(new: NewTrainingSet, context: InContext) -> TrainingSet:
    """Freeze what can be learned from now; the same content again is the same training set."""
    # Looking for the files of all members takes time, in which the recorder must be able to write.
    with conflict_as("not_trainable"), context.reader.connect() as records:
        ready = checked(draft(records, new.product), ImageStore(context.settings.image_dir))
    with context.writer.begin() as connection:
        return freeze(connection, ready, new.by)


@router.get("/training-sets")
def list_sets(records: Records, product: ProductFilter = None, limit: Limit = 100) -> TrainingSets:
    """Training sets, newest first."""
    return TrainingSets(list_training_sets(records, product, limit))


@router.get("/training-sets/{training_set}", responses=documented(HTTPStatus.NOT_FOUND))
def show_training_set(training_set: Digest, records: Records) -> TrainingSetWithMembers:
    """One training set with its images."""
    with not_found_as("unknown_training_set"):
        return TrainingSetWithMembers(get_training_set(records, training_set), members_of(records, training_set))


@router.post("/training-runs", status_code=HTTPStatus.CREATED, responses=documented(HTTPStatus.NOT_FOUND))
def start_training_run(new: NewTrainingRun, context: InContext) -> TrainingRun:
    """Ask for a model; the station's trainer makes it."""
    with not_found_as("unknown_training_set"), context.writer.begin() as connection:
        settings = TrainingSettings(new.seed, new.longer_side, new.false_rejects, new.confidence)
        return request_run(connection, context.settings.station, new.training_set, new.by, new.reason, settings)


@router.get("/training-runs")
def list_training_runs(records: Records, product: ProductFilter = None, limit: Limit = 100) -> TrainingRuns:
    """Training runs, newest first."""
    return TrainingRuns(list_runs(records, product, limit))


@router.get("/training-runs/{training_run_id}", responses=documented(HTTPStatus.NOT_FOUND))
def show_training_run(training_run_id: RunNumber, records: Records) -> TrainingRun:
    """One training run: how far it is, its log, and the model that it made."""
    with not_found_as("unknown_training_run"):
        return get_run(records, training_run_id)


@router.post("/training-runs/{training_run_id}/cancel", responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT))
def cancel_training_run(training_run_id: RunNumber, by: Cancellation, context: InContext) -> TrainingRun:
    """End a run: one that waits at once; one that is under way is ended by its trainer within seconds."""
    with not_found_as("unknown_training_run"), conflict_as("training_run_over"), context.writer.begin() as connection:
        return cancel_run(connection, training_run_id, by.by)
