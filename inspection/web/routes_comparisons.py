"""REST: two models on the same stored images, their maps, and stored images by their digest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from cameras.frame import PixelFormat
from inspection import rendering
from inspection.comparing import Comparison, Limits, compare
from inspection.errors import ModelError, NotFound
from inspection.images import ImageStore, decode_frame
from inspection.model_maps import MapStore
from inspection.quality.comparison import WISH, Wish
from inspection.records.comparisons import pixel_format_of
from inspection.web.context import InContext, Records
from inspection.web.names import Digest
from inspection.web.problems import Problem, conflict_as, documented, not_found_as
from inspection.web.routes_inspections import IfNoneMatch, Rendering

router = APIRouter(prefix="/api/v1", tags=["models"], responses=documented())

Chosen = Annotated[float | None, Query(gt=0, allow_inf_nan=False)]
Rate = Annotated[float, Query(gt=0, lt=1)]
Sha256 = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="SHA-256 of the frame.")]
_IMAGE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {}}, "description": "The image."},
    **documented(HTTPStatus.NOT_FOUND, HTTPStatus.GONE),
}


@router.get("/models/{model}/comparison", responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT))
def show_comparison(
    model: Digest,
    records: Records,
    context: InContext,
    other: Annotated[
        str | None,
        Query(alias="with", pattern="^[0-9a-f]{64}$", description="Digest of the other model; the one in service if left out."),
    ] = None,
    review_threshold: Chosen = None,
    fail_threshold: Chosen = None,
    learned: Annotated[bool, Query(description="Count parts too that a model learned from.")] = False,
    parts: Annotated[bool, Query(description="List the parts.")] = True,
    false_rejects: Rate = WISH.false_rejects,
    escapes: Rate = WISH.escapes,
    confidence: Rate = WISH.confidence,
) -> Comparison:
    """One model beside another on golden images, labelled parts and recent passes, at its own or at these thresholds.

    Scores are the line's, or what the trainer scored when it gated the model.
    """
    station, data_dir = context.settings.station, context.settings.data_dir
    wish = Wish(false_rejects, escapes, confidence)
    try:
        with not_found_as("unknown_model"), conflict_as("not_comparable"):
            limits = _limits(review_threshold, fail_threshold)
            compared = compare(records, data_dir, station, model, other, limits, learned, wish)
    except ModelError as error:
        raise Problem(HTTPStatus.CONFLICT, "damaged_model", str(error)) from None
    return compared if parts else replace(compared, parts=())


@router.get("/models/{model}/maps/{sha256}", response_class=Response, responses=_IMAGE)
def show_map(model: Digest, sha256: Sha256, context: InContext, if_none_match: IfNoneMatch = None) -> Response:
    """What a model saw in a stored image, as a heat map to be stretched over the frame; of the most telling images only."""

    def make() -> tuple[bytes, str]:
        with not_found_as("no_map"):
            values = rendering.decode_map(MapStore(context.settings.data_dir / "maps").read(model, sha256))
        height, width = values.shape
        larger = max(1, 640 // max(height, width))
        return rendering.png(rendering.heat_map(values, width * larger, height * larger)), "image/png"

    return _answer(f'"{model}-{sha256}"', if_none_match, make)


@router.get("/images/{sha256}", response_class=Response, responses=_IMAGE)
def show_image(
    sha256: Sha256,
    records: Records,
    context: InContext,
    render: Rendering = Rendering.PNG8,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """A stored frame, golden or imported image by its digest, made viewable."""

    def make() -> tuple[bytes, str]:
        named = pixel_format_of(records, sha256)
        if named is None:
            detail = f"no frame, golden or imported image {sha256[:12]} is recorded on this station; lists name those that are"
            raise Problem(HTTPStatus.NOT_FOUND, "no_image", detail)
        try:
            stored = ImageStore(context.settings.image_dir).read(sha256)
        except NotFound as error:
            raise Problem(HTTPStatus.GONE, "image_gone", str(error)) from None
        pixel_format = PixelFormat.named(named)
        view = rendering.view(decode_frame(stored, pixel_format), pixel_format)
        if render is Rendering.THUMBNAIL:
            return rendering.jpeg(rendering.thumbnail(view)), "image/jpeg"
        return rendering.png(view), "image/png"

    return _answer(f'"{sha256}-{render}"', if_none_match, make)


def _answer(tag: str, if_none_match: str | None, make: Callable[[], tuple[bytes, str]]) -> Response:
    """The picture, unless the browser has it: what a digest names never changes, but it may be deleted."""
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if if_none_match == tag:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    content, media_type = make()
    return Response(content, media_type=media_type, headers=headers)


def _limits(review: float | None, fail: float | None) -> Limits | None:
    if review is None and fail is None:
        return None
    if review is None or fail is None or review >= fail:
        detail = "give both thresholds, review_threshold below fail_threshold, or neither"
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request", detail)
    return Limits(review, fail, looked=True)
