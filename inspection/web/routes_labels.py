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
from inspection.regions import MOST
from inspection.web.context import InContext, Records, User
from inspection.web.names import By, Digest, Name, ProductQuery, Reason, acting
from inspection.web.problems import conflict_as, documented, not_found_as
from inspection.web.routes_inspections import MAX_NUMBER, Seq

router = APIRouter(prefix="/api/v1", tags=["labels"], responses=documented())

Pixels = Annotated[int, Field(ge=0, le=1_000_000)]


class NewRegion(BaseModel):
    """A rectangle in pixels of the frame, or a polygon in the rectangle that encloses it.

    ``polygon`` lists pixels [x, y] around the region. What they enclose belongs to it, the pixels of the outline too.
    """

    model_config = ConfigDict(extra="forbid")

    x: Pixels
    y: Pixels
    width: Pixels
    height: Pixels
    polygon: list[tuple[Pixels, Pixels]] | None = Field(default=None, min_length=3, max_length=5000)


class NewLabel(BaseModel):
    """What a part really is: ``ok``, or the name of the defect and where it is; null takes back what was said.

    ``after`` is the number of the newest label that was known, 0 for none: a newer one refuses this.
    """

    model_config = ConfigDict(extra="forbid")

    label: Name | None
    by: By | None = None
    reason: Reason = ""
    regions: list[NewRegion] = Field(default=[], max_length=MOST)
    after: Annotated[int, Field(strict=True, ge=0, le=MAX_NUMBER)] | None = None


class NewGolden(BaseModel):
    """Labelled inspections for the golden set of a product."""

    model_config = ConfigDict(extra="forbid")

    product: Name
    seqs: list[Annotated[int, Field(ge=1, le=MAX_NUMBER)]] = Field(min_length=1, max_length=1000)
    by: By | None = None


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
def label_inspection(seq: Seq, new: NewLabel, context: InContext, user: User) -> Label:
    """Say what a part really is, or take it back. The newest label counts; earlier ones stay as history."""
    regions = tuple(
        Box(each.x, each.y, each.width, each.height, tuple(each.polygon) if each.polygon else None) for each in new.regions
    )
    with not_found_as("unknown_inspection"), conflict_as("invalid_label"), context.writer.begin() as connection:
        return add_label(connection, seq, new.label, acting(user, new.by), new.reason, regions, new.after)


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
def add_golden_images(new: NewGolden, context: InContext, user: User) -> GoldenImages:
    """Put labelled inspections into the golden set, with their labels, all or none."""
    with not_found_as("no_image"), conflict_as("invalid_golden_image"):
        with context.reader.connect() as records:
            found = golden_inspections(records, new.product, new.seqs, acting(user, new.by))
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
