"""REST: what the page of the golden set shows of its images: pictures, what could join them, and what models made of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from cameras.frame import PixelFormat
from inspection import rendering
from inspection.errors import NotFound
from inspection.images import ImageStore, decode_frame
from inspection.records.deployments import list_models, model_in_service
from inspection.records.gates import GOLDEN, latest_gate
from inspection.records.stored_images import GoldenCandidate, get_golden, golden_candidates
from inspection.web.context import InContext, Records
from inspection.web.names import Digest, ProductQuery
from inspection.web.problems import Problem, documented, not_found_as

router = APIRouter(prefix="/api/v1", tags=["labels"], responses=documented())

_JPEG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}}


@dataclass(frozen=True, slots=True)
class GoldenCandidates:
    """Labelled inspections with a stored frame that are not golden yet, newest label first."""

    items: tuple[GoldenCandidate, ...]


@dataclass(frozen=True, slots=True)
class GoldenGate:
    """What the newest gate of a model said of the golden set; None where it has not been gated."""

    model: str
    created_at: datetime
    in_service: bool
    gated_at: datetime | None
    passed: bool | None
    detail: str | None


@dataclass(frozen=True, slots=True)
class GoldenGates:
    """The models of one product, newest first."""

    product: str
    items: tuple[GoldenGate, ...]


@router.get("/labels/golden-candidates")
def list_candidates(
    records: Records,
    product: ProductQuery,
    text: Annotated[str | None, Query(max_length=64, description="Part of a serial, lot or label.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 48,
) -> GoldenCandidates:
    """Labelled inspections that could be made golden."""
    return GoldenCandidates(golden_candidates(records, product, text or "", limit))


@router.get("/gates/golden")
def list_golden_gates(records: Records, context: InContext, product: ProductQuery) -> GoldenGates:
    """Whether each model judged the golden set right, as its newest gate found."""
    deployed = model_in_service(records, context.settings.station, product)
    items = []
    for model in list_models(records):
        if model.product != product:
            continue
        gate = latest_gate(records, context.settings.station, model.model)
        found = next((check for check in gate.checks if check.check == GOLDEN), None) if gate is not None else None
        items.append(
            GoldenGate(
                model.model,
                model.created_at,
                deployed is not None and deployed.model == model.model,
                gate.gated_at if gate is not None else None,
                found.passed if found is not None else None,
                found.detail if found is not None else None,
            )
        )
    return GoldenGates(product, tuple(items))


@router.get(
    "/golden-images/{sha256}/image",
    response_class=Response,
    responses=_JPEG | documented(HTTPStatus.NOT_FOUND, HTTPStatus.GONE),
)
def golden_thumbnail(sha256: Digest, records: Records, context: InContext, product: ProductQuery) -> Response:
    """A golden image, small, as a JPEG."""
    with not_found_as("unknown_golden_image"):
        image = get_golden(records, product, sha256)
    try:
        data = ImageStore(context.settings.image_dir).read(sha256)
    except NotFound as error:
        raise Problem(HTTPStatus.GONE, "image_gone", str(error)) from None
    pixel_format = PixelFormat.named(image.pixel_format)
    view = rendering.view(decode_frame(data, pixel_format), pixel_format)
    # Its name is the hash of what it shows.
    headers = {"Cache-Control": "private, max-age=86400"}
    return Response(rendering.jpeg(rendering.thumbnail(view)), media_type="image/jpeg", headers=headers)
