"""REST: open and close lots, announce their parts, read their results."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from inspection.commands import MAX_SERIALS, AnnounceParts, CloseLot, Command, HoldLot, OpenLot, Refused, ReleaseLot, check_name
from inspection.domain import Inspection, Lot, LotEvent, LotState, LotSummary, Reason, Verdict
from inspection.records import queries
from inspection.records.cursors import Page
from inspection.records.queries import LotsWanted
from inspection.web import names
from inspection.web.context import Context, InContext, Records, User
from inspection.web.names import By, LotName, Name, ProductFilter, Why, acting
from inspection.web.problems import Problem, documented, not_found_as, refusal
from inspection.web.times import From, To

router = APIRouter(prefix="/api/v1/lots", tags=["lots"], responses=documented())

Cursor = Annotated[str | None, Query(max_length=512, description="next_cursor of the page before; none for the first.")]
Limit = Annotated[int, Query(ge=1, le=1000)]
Prefix = Annotated[
    str | None, Query(description="Names that begin with this."), AfterValidator(lambda prefix: prefix and check_name(prefix))
]


class NewLot(BaseModel):
    """A lot to open."""

    model_config = ConfigDict(extra="forbid")

    lot: Name
    product: Name
    expected_quantity: int | None = Field(default=None, ge=1, le=2**31 - 1)
    by: By | None = None
    reason: names.Reason = ""


class Said(BaseModel):
    """Who did it and why, as far as known."""

    model_config = ConfigDict(extra="forbid")

    by: By | None = None
    reason: names.Reason = ""


class Explained(BaseModel):
    """Who did it and why."""

    model_config = ConfigDict(extra="forbid")

    by: By | None = None
    reason: Why


@dataclass(frozen=True, slots=True)
class LotEvents:
    """What happened to one lot, oldest first."""

    items: tuple[LotEvent, ...]


class NewParts(BaseModel):
    """Serials that will come in this lot."""

    model_config = ConfigDict(extra="forbid")

    serials: list[Name] = Field(min_length=1, max_length=MAX_SERIALS)


class Announced(BaseModel):
    """How many parts were announced."""

    lot: str
    announced: int


@router.post("", status_code=HTTPStatus.CREATED, responses=documented(HTTPStatus.CONFLICT))
def open_lot(new: NewLot, context: InContext, user: User) -> Lot:
    """Open a lot of a known product."""
    if new.product not in context.settings.products:
        known = ", ".join(repr(product) for product in context.settings.products) or "none"
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "unknown_product",
            f"product {new.product!r} has no recipe on this station; name one of {known} or add a recipe",
        )
    _command(context, OpenLot(**new.model_dump(exclude={"by"}), by=acting(user, new.by)))
    return _written(context, new.lot)


@router.post("/{lot}/close", responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT))
def close_lot(lot: LotName, context: InContext, user: User, said: Said | None = None) -> Lot:
    """Close a lot: parts that come later are not inspected, and rejected."""
    said = said or Said()
    _command(context, CloseLot(lot=lot, by=acting(user, said.by), reason=said.reason))
    return _written(context, lot)


@router.post("/{lot}/hold", responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT))
def hold_lot(lot: LotName, context: InContext, user: User, explained: Explained) -> Lot:
    """Hold an open or closed lot: nothing of it is to leave, and parts that come are not inspected, and rejected."""
    _command(context, HoldLot(lot=lot, by=acting(user, explained.by), reason=explained.reason))
    return _written(context, lot)


@router.post("/{lot}/release", responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT))
def release_lot(lot: LotName, context: InContext, user: User, explained: Explained) -> Lot:
    """Release a held lot: it is open or closed as it was before."""
    _command(context, ReleaseLot(lot=lot, by=acting(user, explained.by), reason=explained.reason))
    return _written(context, lot)


@router.get("/{lot}/events", responses=documented(HTTPStatus.NOT_FOUND))
def lot_events(lot: LotName, records: Records) -> LotEvents:
    """What happened to the lot, by whom and why, oldest first."""
    with not_found_as("unknown_lot"):
        queries.get_lot(records, lot)
    return LotEvents(queries.lot_history(records, lot))


@router.post("/{lot}/parts", status_code=HTTPStatus.CREATED, responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT))
def announce_parts(lot: LotName, new: NewParts, context: InContext) -> Announced:
    """Announce the serials of a lot, all or none."""
    _command(context, AnnounceParts(lot=lot, serials=tuple(new.serials)))
    return Announced(lot=lot, announced=len(new.serials))


@router.get("", responses=documented(HTTPStatus.BAD_REQUEST))
def list_lots(
    records: Records,
    prefix: Prefix = None,
    product: ProductFilter = None,
    state: LotState | None = None,
    opened_from: From = None,
    opened_to: To = None,
    with_challenges: bool = False,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[Lot]:
    """Lots, newest first, all or those asked for, those with the golden parts of a challenge only ``with_challenges``; times are
    those of opening.
    """
    wanted = LotsWanted(prefix or None, product or None, state, opened_from, opened_to, with_challenges)
    return queries.list_lots(records, cursor, limit, wanted)


@router.get("/{lot}", responses=documented(HTTPStatus.NOT_FOUND))
def get_lot(lot: LotName, records: Records) -> Lot:
    """One lot as opened."""
    with not_found_as("unknown_lot"):
        return queries.get_lot(records, lot)


@router.get("/{lot}/summary", responses=documented(HTTPStatus.NOT_FOUND))
def lot_summary(lot: LotName, records: Records) -> LotSummary:
    """The lot's reconciliation: triggered = passed + failed + review + not_inspected + open_triggers.

    Also triggered = accepted + rejected. Answers for lots too that were triggered and never opened.
    """
    with not_found_as("unknown_lot"):
        return queries.lot_summary(records, lot)


@router.get("/{lot}/results", responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST))
def lot_results(
    lot: LotName,
    records: Records,
    cursor: Cursor = None,
    limit: Limit = 100,
    verdict: Verdict | None = None,
    reason: Reason | None = None,
) -> Page[Inspection]:
    """The lot's inspections by seq, oldest first, all or those of one verdict or with one reason."""
    page = queries.lot_results(records, lot, cursor, limit, verdict, reason)
    if not page.items:
        with not_found_as("unknown_lot"):
            queries.lot_summary(records, lot)
    return page


def _command(context: Context, command: Command) -> None:
    reply = context.recorder.execute(command)
    if isinstance(reply, Refused):
        raise refusal(reply)


def _written(context: Context, lot: str) -> Lot:
    # A fresh snapshot: one taken before the command would not show what it did.
    with context.reader.connect() as connection:
        return queries.get_lot(connection, lot)
