"""REST: inspections, their images, the attempts of a part, and what changed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Response
from sqlalchemy import Connection

from cameras.frame import PixelFormat
from inspection import rendering
from inspection.domain import Image, ImageKind, Inspection, Reason, Verdict
from inspection.errors import NotFound
from inspection.images import ImageStore, decode_frame
from inspection.records import queries
from inspection.records.search import Found, Order, Wanted, find_inspections
from inspection.retention import in_words
from inspection.web.context import Context, InContext, Records
from inspection.web.names import LotFilter, ModelFilter, ProductFilter, SerialFilter, SerialName
from inspection.web.problems import Problem, documented, not_found_as
from inspection.web.routes_lots import Cursor, Limit
from inspection.web.times import From, To

router = APIRouter(prefix="/api/v1", tags=["inspections"], responses=documented())

MAX_NUMBER = 2**63 - 1
Seq = Annotated[int, Path(ge=1, le=MAX_NUMBER)]
IfNoneMatch = Annotated[str | None, Header(include_in_schema=False)]


class Rendering(StrEnum):
    """How to show a frame: at full size as an 8-bit PNG, or as a small JPEG."""

    PNG8 = "png8"
    THUMBNAIL = "thumbnail"


@dataclass(frozen=True, slots=True)
class Attempts:
    """All inspections of one serial, oldest first; none yet for a part that was only announced."""

    serial: str
    attempts: tuple[Inspection, ...]


@dataclass(frozen=True, slots=True)
class Changes:
    """Inspections after the asked seq, oldest first; ask again with ``last_seq``."""

    items: tuple[Inspection, ...]
    last_seq: int


@router.get("/parts/{serial}", responses=documented(HTTPStatus.NOT_FOUND))
def part(serial: SerialName, records: Records, lot: LotFilter = None) -> Attempts:
    """All attempts of a serial, in all lots or in one."""
    with not_found_as("unknown_serial"):
        return Attempts(serial, queries.attempts(records, serial, lot))


@router.get("/changes")
def changes(
    records: Records,
    after: Annotated[int, Query(ge=0, le=MAX_NUMBER)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Changes:
    """Inspections recorded after a seq. Output and late verdict may be added to an inspection later."""
    found = queries.changes_after(records, after, limit)
    return Changes(found, found[-1].seq if found else after)


@router.get("/inspections", responses=documented(HTTPStatus.BAD_REQUEST))
def search(
    records: Records,
    product: ProductFilter = None,
    lot: LotFilter = None,
    serial: SerialFilter = None,
    verdict: Verdict | None = None,
    reason: Reason | None = None,
    model: ModelFilter = None,
    recorded_from: From = None,
    recorded_to: To = None,
    order: Order = Order.NEWEST,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Found:
    """Inspections of all lots for which everything asked for holds, by seq; times are those of recording.

    A request looks at 20 000 parts at most. Where what is asked for is rarer than that, a page is short or empty and has a cursor
    all the same, and `searched_to` says how far it came: ask again with the cursor. Without a cursor, all is searched.
    A time finds all its parts as long as the station's clock was never set back by more than five minutes.
    """
    wanted = Wanted(product or None, lot or None, serial or None, verdict, reason, model, recorded_from, recorded_to)
    return find_inspections(records, wanted, order, cursor, limit)


@router.get("/inspections/{seq}", responses=documented(HTTPStatus.NOT_FOUND))
def inspection(seq: Seq, records: Records) -> Inspection:
    """One inspection."""
    with not_found_as("unknown_inspection"):
        return queries.get_inspection(records, seq)


_IMAGE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {}}, "description": "The image."},
    **documented(HTTPStatus.NOT_FOUND, HTTPStatus.GONE),
}


@router.get("/inspections/{seq}/image", response_class=Response, responses=_IMAGE_RESPONSES)
def frame_image(
    seq: Seq,
    records: Records,
    context: InContext,
    render: Rendering | None = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The frame as stored, at the camera's depth; ``render`` makes it viewable (8 bit, colour from Bayer)."""
    frame = find_image(records, seq, ImageKind.FRAME)
    tag = f'"{frame.sha256}-{render or "stored"}"'
    if if_none_match == tag:
        return _not_modified(tag)
    if render is None or (render is Rendering.PNG8 and frame.pixel_format in _SEEN_AS_STORED):
        return _tagged(read_stored(context, frame), frame.media_type, tag)
    view = _view(context, frame)
    if render is Rendering.THUMBNAIL:
        return _tagged(rendering.jpeg(rendering.thumbnail(view)), "image/jpeg", tag)
    return _tagged(rendering.png(view), "image/png", tag)


# A browser shows these files as ``view`` would.
_SEEN_AS_STORED = (PixelFormat.Mono8.name, PixelFormat.RGB8.name)


@router.get("/inspections/{seq}/map", response_class=Response, responses=_IMAGE_RESPONSES)
def map_image(
    seq: Seq,
    records: Records,
    context: InContext,
    overlay: bool = False,
    longest: Annotated[int | None, Query(ge=16, le=16_384, description="Longer side at most, in pixels.")] = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The anomaly map as a heat map of the frame's size, transparent where nothing is; or laid over the frame."""
    stored = find_image(records, seq, ImageKind.MAP)
    frame = find_image(records, seq, ImageKind.FRAME)
    share = 1.0 if longest is None or overlay else min(1.0, longest / max(frame.width, frame.height))
    tag = f'"{stored.sha256}-{frame.sha256}-{int(overlay)}-{share:.6f}"'
    if if_none_match == tag:
        return _not_modified(tag)
    width, height = (max(1, round(side * share)) for side in (frame.width, frame.height))
    heat = rendering.heat_map(rendering.decode_map(read_stored(context, stored)), width, height)
    if overlay:
        heat = rendering.overlay(_view(context, frame), heat)
    return _tagged(rendering.png(heat), "image/png", tag)


def find_image(records: Connection, seq: int, kind: ImageKind) -> Image:
    """The record of a frame or map; a Problem says which of inspection and image is not there, or that retention deleted it."""
    with not_found_as("unknown_inspection"):
        queries.get_inspection(records, seq)
    with not_found_as("no_image"):
        image = queries.get_image(records, seq, kind)
    if image.deleted_at is not None:
        raise Problem(HTTPStatus.GONE, "image_deleted", f"the {kind} of inspection {seq} was {in_words(image)}")
    return image


def read_stored(context: Context, image: Image) -> bytes:
    """The image's file, verified; a Problem if it is gone."""
    try:
        return ImageStore(context.settings.image_dir).read(image.sha256)
    except NotFound as error:
        raise Problem(HTTPStatus.GONE, "image_gone", str(error)) from None


def _view(context: Context, frame: Image) -> rendering.Pixels:
    pixel_format = PixelFormat.named(frame.pixel_format)
    return rendering.view(decode_frame(read_stored(context, frame), pixel_format), pixel_format)


def _tagged(content: bytes, media_type: str, tag: str) -> Response:
    # no-cache: the browser keeps the image and asks each time whether it is still this one.
    return Response(content, media_type=media_type, headers={"ETag": tag, "Cache-Control": "private, no-cache"})


def _not_modified(tag: str) -> Response:
    return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": tag, "Cache-Control": "private, no-cache"})
