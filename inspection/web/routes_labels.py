"""REST: what people say of inspections, and the golden images."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from inspection.domain import Box, GoldenImage, Label
from inspection.records import queries
from inspection.records.labels import add_label, label_history, latest_labels
from inspection.records.stored_images import add_golden, golden_inspections, list_golden, remove_golden
from inspection.web.context import InContext, Records
from inspection.web.names import By, Digest, Name, ProductQuery, Reason
from inspection.web.problems import conflict_as, documented, not_found_as
from inspection.web.routes_inspections import MAX_NUMBER, Seq

router = APIRouter(prefix="/api/v1", tags=["labels"], responses=documented())

Pixels = Annotated[int, Field(ge=0, le=1_000_000)]


class NewRegion(BaseModel):
    """A rectangle in pixels of the frame."""

    model_config = ConfigDict(extra="forbid")

    x: Pixels
    y: Pixels
    width: Pixels
    height: Pixels


class NewLabel(BaseModel):
    """What a part really is: ``ok``, or the name of the defect and where it is."""

    model_config = ConfigDict(extra="forbid")

    label: Name
    by: By
    reason: Reason = ""
    regions: list[NewRegion] = Field(default=[], max_length=100)


class NewGolden(BaseModel):
    """Labelled inspections for the golden set of a product."""

    model_config = ConfigDict(extra="forbid")

    product: Name
    seqs: list[Annotated[int, Field(ge=1, le=MAX_NUMBER)]] = Field(min_length=1, max_length=1000)
    by: By


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels of one inspection, newest first: the first one counts."""

    seq: int
    labels: tuple[Label, ...]


@dataclass(frozen=True, slots=True)
class LabelChanges:
    """Labels after the asked number, oldest first; ask again with ``last_label_id``."""

    items: tuple[Label, ...]
    last_label_id: int


@dataclass(frozen=True, slots=True)
class GoldenImages:
    product: str
    images: tuple[GoldenImage, ...]


@router.post(
    "/inspections/{seq}/labels",
    status_code=HTTPStatus.CREATED,
    responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
)
def label_inspection(seq: Seq, new: NewLabel, context: InContext) -> Label:
    """Say what a part really is. The newest label counts; earlier ones stay as history."""
    regions = tuple(Box(each.x, each.y, each.width, each.height) for each in new.regions)
    with not_found_as("unknown_inspection"), conflict_as("invalid_label"), context.writer.begin() as connection:
        return add_label(connection, seq, new.label, new.by, new.reason, regions)


@router.get("/inspections/{seq}/labels", responses=documented(HTTPStatus.NOT_FOUND))
def inspection_labels(seq: Seq, records: Records) -> Labels:
    """All labels of an inspection, newest first; none if nobody said anything yet."""
    with not_found_as("unknown_inspection"):
        queries.get_inspection(records, seq)
    return Labels(seq, label_history(records, seq))


@router.get("/labels")
def list_labels(
    records: Records,
    after: Annotated[int, Query(ge=0, le=MAX_NUMBER)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> LabelChanges:
    """Labels given after a number, those that were replaced later too."""
    found = latest_labels(records, after, limit)
    return LabelChanges(found, found[-1].label_id if found else after)


@router.get("/golden-images")
def list_golden_images(records: Records, product: ProductQuery) -> GoldenImages:
    """The golden set of a product: images that every model must judge right before it may decide."""
    return GoldenImages(product, list_golden(records, product))


@router.post("/golden-images", responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT))
def add_golden_images(new: NewGolden, context: InContext) -> GoldenImages:
    """Put labelled inspections into the golden set, with their labels, all or none."""
    with not_found_as("no_image"), conflict_as("invalid_golden_image"):
        with context.reader.connect() as records:
            found = golden_inspections(records, new.product, new.seqs, new.by)
        with context.writer.begin() as connection:
            for image in found:
                add_golden(connection, image)
    with context.reader.connect() as records:
        return GoldenImages(new.product, list_golden(records, new.product))


@router.delete("/golden-images/{sha256}", responses=documented(HTTPStatus.NOT_FOUND))
def remove_golden_image(sha256: Digest, product: ProductQuery, context: InContext) -> GoldenImages:
    """Take an image out of the golden set."""
    with not_found_as("unknown_golden_image"), context.writer.begin() as connection:
        remove_golden(connection, product, sha256)
        return GoldenImages(product, list_golden(connection, product))
