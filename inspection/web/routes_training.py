"""REST: training sets and training runs."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import AfterValidator, Base64Bytes, BaseModel, ConfigDict, Field

from inspection.commands import check_text
from inspection.domain import (
    MAX_SEED,
    MAX_SIDE,
    MIN_SIDE,
    Member,
    Side,
    Source,
    TrainingRun,
    TrainingSet,
    TrainingSettings,
)
from inspection.errors import Conflict
from inspection.image_files import UnreadableFile, frame_of
from inspection.images import ImageStore
from inspection.records.stored_images import add_imported
from inspection.records.training_runs import DEFAULTS, cancel_run, get_run, list_runs, request_run
from inspection.records.training_sets import freeze, get_training_set, list_training_sets, members_of
from inspection.training_set import Draft, LeftOut, checked, draft
from inspection.web.context import InContext, Records, User
from inspection.web.names import By, Digest, Name, ProductFilter, ProductQuery, Reason, acting
from inspection.web.problems import Problem, conflict_as, documented, not_found_as
from inspection.web.routes_inspections import MAX_NUMBER

router = APIRouter(prefix="/api/v1", tags=["training"], responses=documented())

Limit = Annotated[int, Query(ge=1, le=1000)]
LotOrFolder = Annotated[str, Field(min_length=1, max_length=4_096), AfterValidator(check_text)]
MAX_UPLOAD = 64 * 2**20
"""Bytes of an image file: 16 megapixels of 16 bit, uncompressed, twice."""
# Pixels take many times the memory of their file.
_one_at_a_time = threading.Lock()
RunNumber = Annotated[int, Path(ge=1, le=MAX_NUMBER)]


class LeaveOut(BaseModel):
    """What is not to be learned from or validated with: labels, lots (imported images as the draft names them), sources."""

    model_config = ConfigDict(extra="forbid")

    labels: list[Name] = Field(default=[], max_length=200)
    lots: list[LotOrFolder] = Field(default=[], max_length=1_000)
    sources: list[Source] = []

    def chosen(self) -> LeftOut:
        return LeftOut(frozenset(self.labels), frozenset(self.lots), frozenset(self.sources))


class NewTrainingSet(BaseModel):
    """A product whose labelled and passed parts and imported images are to be frozen."""

    model_config = ConfigDict(extra="forbid")

    product: Name
    by: By | None = None
    leave_out: LeaveOut = LeaveOut()


class NewImportedImage(BaseModel):
    """A good image to learn from: the bytes of a PNG, JPEG, BMP or TIFF file in Base64.

    ``folder`` is what images that were imported together have in common; they are used or left out together.
    """

    model_config = ConfigDict(extra="forbid")

    product: Name
    name: Annotated[str, Field(min_length=1, max_length=255), AfterValidator(check_text)]
    folder: Annotated[str, Field(min_length=1, max_length=255), AfterValidator(check_text)]
    content: Base64Bytes = Field(max_length=MAX_UPLOAD)
    by: By | None = None


class NewTrainingRun(BaseModel):
    """A model to make.

    Without ``longer_side``, the training finds the best design that is fast enough for the product. Thresholds stop at most the
    share ``false_rejects`` of good parts, with ``confidence`` once there are good parts enough to be sure.
    """

    model_config = ConfigDict(extra="forbid")

    training_set: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    by: By | None = None
    reason: Reason = ""
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    longer_side: int | None = Field(default=None, ge=MIN_SIDE, le=MAX_SIDE)
    false_rejects: float = Field(default=DEFAULTS.false_rejects, gt=0, lt=1)
    confidence: float = Field(default=DEFAULTS.confidence, gt=0, lt=1)


class Cancellation(BaseModel):
    """Who cancels."""

    model_config = ConfigDict(extra="forbid")

    by: By | None = None


@dataclass(frozen=True, slots=True)
class ImportedImage:
    """A good image that was imported. ``new`` is false if the same pixels were there already."""

    product: str
    sha256: str
    name: str
    pixel_format: str
    new: bool


@dataclass(frozen=True, slots=True)
class DraftGroup:
    """Images of one lot (a folder's for imported ones), source and label, before anything is left out."""

    lot: str
    side: Side
    source: Source
    label: str
    images: int


@dataclass(frozen=True, slots=True)
class TrainingDraft:
    """What would be frozen now: ``sizes`` by side and label, and ``warnings``.

    ``groups`` counts everything there is, before anything is left out; ``problem`` says why nothing can be learned from the rest.
    """

    product: str
    sizes: dict[str, dict[str, int]]
    groups: tuple[DraftGroup, ...]
    warnings: tuple[str, ...]
    problem: str | None


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


@router.post("/imported-images", status_code=HTTPStatus.CREATED)
def import_image(new: NewImportedImage, context: InContext, user: User) -> ImportedImage:
    """Store a good image of a product without loss, to learn from: what a first model is made of."""
    if new.product not in context.settings.products:
        known = ", ".join(context.settings.products) or "none"
        detail = f"product {new.product!r} is not configured on this station; configured are: {known}"
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request", detail)
    with _one_at_a_time:
        try:
            frame = frame_of(new.content, new.name)
        except UnreadableFile as error:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "unreadable_image", str(error)) from None
        image = ImageStore(context.settings.image_dir).put_frame(frame)
    with context.writer.begin() as connection:
        by = acting(user, new.by)
        added = add_imported(connection, new.product, image.sha256, new.name, new.folder, image.pixel_format, by)
    return ImportedImage(new.product, image.sha256, new.name, image.pixel_format, added)


@router.post("/training-sets", status_code=HTTPStatus.CREATED, responses=documented(HTTPStatus.CONFLICT))
def create_training_set(new: NewTrainingSet, context: InContext, user: User) -> TrainingSet:
    """Freeze what can be learned from now; the same content again is the same training set."""
    # Looking for the files of all members takes time, in which the recorder must be able to write.
    with conflict_as("not_trainable"), context.reader.connect() as records:
        ready = checked(draft(records, new.product, new.leave_out.chosen()), ImageStore(context.settings.image_dir))
    with conflict_as("not_trainable"), context.writer.begin() as connection:
        return freeze(connection, ready, acting(user, new.by))


@router.get("/training-sets/draft")
def show_draft(
    product: ProductQuery,
    records: Records,
    context: InContext,
    without_label: Annotated[list[str], Query(description="Labels to leave out.")] = [],  # noqa: B006  (FastAPI copies it)
    without_lot: Annotated[list[str], Query(description="Lots to leave out.")] = [],  # noqa: B006
    without_source: Annotated[list[Source], Query(description="Sources to leave out.")] = [],  # noqa: B006
) -> TrainingDraft:
    """What a training set of this product would hold if it were frozen now."""
    left_out = LeftOut(frozenset(without_label), frozenset(without_lot), frozenset(without_source))
    whole = draft(records, product)
    chosen = draft(records, product, left_out) if left_out else whole
    problem = None
    try:
        chosen = checked(chosen, ImageStore(context.settings.image_dir))
    except Conflict as error:
        problem = str(error)
    return TrainingDraft(product, chosen.sizes, _groups(whole), chosen.warnings, problem)


def _groups(whole: Draft) -> tuple[DraftGroup, ...]:
    counts = Counter((member.lot, member.side, member.source, member.label) for member in whole.members)
    return tuple(DraftGroup(*key, count) for key, count in sorted(counts.items()))


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
def start_training_run(new: NewTrainingRun, context: InContext, user: User) -> TrainingRun:
    """Ask for a model; the station's trainer makes it."""
    with not_found_as("unknown_training_set"), context.writer.begin() as connection:
        settings = TrainingSettings(new.seed, new.longer_side, new.false_rejects, new.confidence)
        by = acting(user, new.by)
        return request_run(connection, context.settings.station, new.training_set, by, new.reason, settings)


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
def cancel_training_run(
    training_run_id: RunNumber, context: InContext, user: User, by: Cancellation | None = None
) -> TrainingRun:
    """End a run: one that waits at once; one that is under way is ended by its trainer within seconds."""
    with not_found_as("unknown_training_run"), conflict_as("training_run_over"), context.writer.begin() as connection:
        return cancel_run(connection, training_run_id, acting(user, by.by if by else None))
