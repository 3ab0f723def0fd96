"""REST: legal holds, which keep images whatever retention says. They stop no part; that is holding a lot."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from inspection.domain import LegalHold
from inspection.records.legal_holds import list_holds, place_hold, release_hold
from inspection.web.context import InContext, Records, User
from inspection.web.names import By, LotFilter, Name, Why, acting
from inspection.web.problems import conflict_as, documented, not_found_as
from inspection.web.routes_inspections import MAX_NUMBER

router = APIRouter(prefix="/api/v1/legal-holds", tags=["legal holds"], responses=documented())


class NewLegalHold(BaseModel):
    """What is to be kept: all images of a lot, of a serial in all lots, or of one inspection; name one of the three."""

    model_config = ConfigDict(extra="forbid")

    lot: Name | None = None
    serial: Name | None = None
    seq: int | None = Field(default=None, ge=1, le=MAX_NUMBER)
    by: By | None = None
    reason: Why


class Release(BaseModel):
    """Who releases it and why."""

    model_config = ConfigDict(extra="forbid")

    by: By | None = None
    reason: Why


@dataclass(frozen=True, slots=True)
class LegalHolds:
    """Newest first."""

    items: tuple[LegalHold, ...]


@router.get("")
def list_legal_holds(
    records: Records,
    lot: LotFilter = None,
    released: Annotated[bool, Query(description="Those that were released too.")] = False,
) -> LegalHolds:
    """Legal holds in force, on everything or on one lot."""
    return LegalHolds(list_holds(records, lot or None, released))


@router.post("", status_code=HTTPStatus.CREATED, responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT))
def place_legal_hold(new: NewLegalHold, context: InContext, user: User) -> LegalHold:
    """Keep images, those that are still to come too, until the hold is released. What was deleted before stays deleted."""
    by, at = acting(user, new.by), context.clock()
    with not_found_as("unknown_subject"), conflict_as("ambiguous"), context.writer.begin() as connection:
        return place_hold(connection, lot=new.lot, serial=new.serial, seq=new.seq, by=by, reason=new.reason, at=at)


@router.post("/{legal_hold_id}/release", responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT))
def release_legal_hold(
    legal_hold_id: Annotated[int, Path(ge=1, le=MAX_NUMBER)], release: Release, context: InContext, user: User
) -> LegalHold:
    """Leave the images to retention again."""
    with not_found_as("unknown_legal_hold"), conflict_as("released"), context.writer.begin() as connection:
        return release_hold(connection, legal_hold_id, acting(user, release.by), release.reason, context.clock())
