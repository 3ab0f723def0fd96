"""REST: what a quality engineer looks at next, and what helps to judge it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AfterValidator, AwareDatetime, BeforeValidator

from inspection import rendering
from inspection.commands import check_name
from inspection.domain import Box, ImageKind, Inspection, Verdict
from inspection.records import queries, review
from inspection.regions import suggested
from inspection.web.context import InContext, Records, User
from inspection.web.names import LotFilter, ProductFilter, acting
from inspection.web.problems import Problem, documented, not_found_as
from inspection.web.routes_inspections import Seq, find_image, read_stored

router = APIRouter(prefix="/api/v1", tags=["review"], responses=documented())

_NameQuery = Annotated[str | None, AfterValidator(lambda name: name and check_name(name))]


def _written(time: object) -> object:
    """pydantic would take a number for seconds since 1970."""
    if isinstance(time, str) and not re.match(r"\d{4}-\d\d-\d\d", time):
        raise ValueError("must be a time with its zone, such as 2026-03-01T12:00:00Z")
    return time


_Time = Annotated[AwareDatetime | None, BeforeValidator(_written)]
_Score = Annotated[float | None, Query(allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class Queue:
    """Inspections to look at. ``left`` counts them from the first of ``items`` on, and there may be more if ``left_is_capped``.

    A page may be short, even empty, and go on with ``next_cursor``. ``you``: for whom a label given now counts.
    """

    items: tuple[review.ReviewItem, ...]
    next_cursor: str | None
    left: int
    left_is_capped: bool
    you: str


@dataclass(frozen=True, slots=True)
class Part:
    """One inspection to look at."""

    item: review.ReviewItem
    you: str


@dataclass(frozen=True, slots=True)
class NearestGood:
    """Passed parts to compare an inspection with, by seq."""

    seq: int
    inspections: tuple[Inspection, ...]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Regions where the anomaly map is at or above ``threshold``, which is a score, the largest first."""

    seq: int
    threshold: float
    regions: tuple[Box, ...]


@router.get("/review", responses=documented(HTTPStatus.BAD_REQUEST))
def review_queue(
    records: Records,
    user: User,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: review.Order = review.Order.NEWEST,
    verdict: Annotated[
        list[Verdict] | None,
        Query(max_length=4, description="Else review, fail and pass; not_inspected shows nothing."),
    ] = None,
    sample: Annotated[
        int, Query(ge=0, le=100_000, description="Of passed parts with a frame one in so many; 0: none.")
    ] = review.SAMPLE,
    lot: LotFilter = None,
    product: ProductFilter = None,
    since: Annotated[_Time, Query(alias="from", description="Decided then or later.")] = None,
    until: Annotated[_Time, Query(alias="to", description="Decided before.")] = None,
    score_min: _Score = None,
    score_max: _Score = None,
    proposed_class: _NameQuery = None,
    model: _NameQuery = None,
    labelled: Annotated[bool | None, Query(description="With a label that counts, or without.")] = None,
    label: Annotated[_NameQuery, Query(description="With this label.")] = None,
    disagrees_with: Annotated[
        _NameQuery, Query(description="Digest of a challenger that gave another verdict; every pass counts then.")
    ] = None,
    conflicting: Annotated[bool, Query(description="Two people differ, and nobody settled it.")] = False,
) -> Queue:
    """Inspections to look at, the newest or the most uncertain first."""
    asked = verdict or (Verdict.REVIEW, Verdict.FAIL, Verdict.PASS)
    if Verdict.PASS not in asked:
        sample = 0
    wanted = review.Wanted(
        order=order,
        verdicts=tuple(each for each in (Verdict.REVIEW, Verdict.FAIL) if each in asked),
        sample=sample,
        lot=lot,
        product=product,
        since=since,
        until=until,
        score_min=score_min,
        score_max=score_max,
        proposed_class=proposed_class,
        model=model,
        labelled=labelled,
        label=label,
        disagrees_with=disagrees_with,
        conflicting=conflicting,
    )
    page = review.review_page(records, wanted, cursor, limit)
    return Queue(page.items, page.next_cursor, page.left, page.left_is_capped, acting(user, None))


@router.get("/review/{seq}", responses=documented(HTTPStatus.NOT_FOUND))
def review_part(seq: Seq, records: Records, user: User) -> Part:
    """One inspection with everything that was said of it."""
    with not_found_as("unknown_inspection"):
        return Part(review.review_item(records, seq), acting(user, None))


@router.get("/inspections/{seq}/nearest-good", responses=documented(HTTPStatus.NOT_FOUND))
def nearest_good(seq: Seq, records: Records, limit: Annotated[int, Query(ge=1, le=10)] = 3) -> NearestGood:
    """Passed parts of the same product and camera that were inspected around the same time, those with the lowest scores."""
    with not_found_as("unknown_inspection"):
        return NearestGood(seq, review.nearest_good(records, seq, limit))


@router.get("/inspections/{seq}/suggestion", responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.GONE))
def suggestion(
    seq: Seq,
    records: Records,
    context: InContext,
    threshold: Annotated[
        float | None, Query(ge=0, allow_inf_nan=False, description="A score; else the review threshold.")
    ] = None,
) -> Suggestion:
    """Regions for a label, from the stored anomaly map."""
    with not_found_as("unknown_inspection"):
        inspection = queries.get_inspection(records, seq)
    stored = find_image(records, seq, ImageKind.MAP)
    frame = find_image(records, seq, ImageKind.FRAME)
    if not inspection.fail_threshold or inspection.review_threshold is None:
        raise Problem(HTTPStatus.NOT_FOUND, "no_image", f"inspection {seq} has no thresholds, which its map is scaled by")
    level = inspection.review_threshold if threshold is None else threshold
    values = rendering.decode_map(read_stored(context, stored))
    return Suggestion(seq, level, suggested(values, level / (2 * inspection.fail_threshold), frame.width, frame.height))
