"""REST: golden parts, and the challenges in which they are fed through the line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from inspection.challenges import Standing, outcome, standing, why_not_abandoned, why_not_finished
from inspection.commands import CloseLot, OpenLot, Refused
from inspection.domain import Challenge, ChallengeResult, ChallengeState, GoldenPart
from inspection.errors import Unavailable
from inspection.records import challenges
from inspection.records.deployments import model_in_service
from inspection.web import names
from inspection.web.context import Context, InContext, Records, User
from inspection.web.names import By, Name, ProductFilter, ProductQuery, SerialName, acting
from inspection.web.problems import Problem, conflict_as, documented, not_found_as, refusal
from inspection.web.routes_inspections import MAX_NUMBER

router = APIRouter(prefix="/api/v1", tags=["challenges"], responses=documented())

ChallengeNumber = Annotated[int, Path(ge=1, le=MAX_NUMBER)]


class NewGoldenPart(BaseModel):
    """A real part of known truth: ``ok``, or the defect that it has."""

    model_config = ConfigDict(extra="forbid")

    product: Name
    serial: Name
    label: Name
    by: By | None = None


class NewChallenge(BaseModel):
    """A product whose golden parts shall be fed."""

    model_config = ConfigDict(extra="forbid")

    product: Name
    by: By | None = None
    reason: names.Reason = ""


class ChallengeEnd(BaseModel):
    """Who ends a challenge, and why."""

    model_config = ConfigDict(extra="forbid")

    by: By | None = None
    reason: names.Reason = ""


@dataclass(frozen=True, slots=True)
class GoldenParts:
    """The golden parts of one product, by serial."""

    product: str
    items: tuple[GoldenPart, ...]


@dataclass(frozen=True, slots=True)
class Challenges:
    """The newest challenges, newest first."""

    items: tuple[Challenge, ...]


@dataclass(frozen=True, slots=True)
class ProductStanding:
    """Is production locked, and the challenge that runs, if one does."""

    standing: Standing
    running: Challenge | None


@dataclass(frozen=True, slots=True)
class Standings:
    """Where the products of this station stand, in the order of the configuration."""

    items: tuple[ProductStanding, ...]


@dataclass(frozen=True, slots=True)
class ChallengeNow:
    """A challenge with what its parts showed so far; of one that has ended, what was recorded then.

    ``strangers`` are serials in the lot of a running challenge that are no golden parts. ``to_do`` says what is left before it
    can be finished.
    """

    challenge: Challenge
    results: tuple[ChallengeResult, ...]
    strangers: tuple[str, ...]
    to_do: str | None


@router.get("/golden-parts")
def list_golden_parts(records: Records, product: ProductQuery) -> GoldenParts:
    """The real parts that are fed in a challenge of the product."""
    return GoldenParts(product, challenges.list_golden_parts(records, product))


@router.post("/golden-parts", status_code=HTTPStatus.CREATED, responses=documented(HTTPStatus.CONFLICT))
def add_golden_part(new: NewGoldenPart, context: InContext, user: User) -> GoldenPart:
    """Keep a part as golden, or change what is known of it."""
    _configured(context, new.product)
    with conflict_as("invalid_golden_part"), context.writer.begin() as connection:
        return challenges.add_golden_part(connection, new.product, new.serial, new.label, acting(user, new.by))


@router.delete("/golden-parts/{serial}", responses=documented(HTTPStatus.NOT_FOUND))
def remove_golden_part(serial: SerialName, product: ProductQuery, context: InContext) -> GoldenParts:
    """Keep a part as golden no longer."""
    with not_found_as("unknown_golden_part"), context.writer.begin() as connection:
        challenges.remove_golden_part(connection, product, serial)
        return GoldenParts(product, challenges.list_golden_parts(connection, product))


@router.get("/challenges")
def list_challenges(
    records: Records, product: ProductFilter = None, limit: Annotated[int, Query(ge=1, le=1000)] = 50
) -> Challenges:
    """Challenges, newest first."""
    return Challenges(challenges.list_challenges(records, product, limit))


@router.get("/challenges/standings")
def standings(records: Records, context: InContext) -> Standings:
    """Which products are locked, and when the next challenge of each is due."""
    settings, now = context.settings, datetime.now(UTC)
    return Standings(
        tuple(
            ProductStanding(
                standing(
                    product,
                    settings.challenges.get(product),
                    challenges.finished_challenge(records, product),
                    model_in_service(records, settings.station, product),
                    now,
                ),
                challenges.running_challenge(records, product),
            )
            for product in settings.products
        )
    )


@router.post("/challenges", status_code=HTTPStatus.CREATED, responses=documented(HTTPStatus.CONFLICT))
def start_challenge(new: NewChallenge, context: InContext, user: User) -> Challenge:
    """Begin a challenge: opens a lot of its own, in which the golden parts are to be fed."""
    _configured(context, new.product)
    by = acting(user, new.by)
    with conflict_as("cannot_challenge"), context.writer.begin() as connection:
        challenge = challenges.start_challenge(connection, new.product, by)
    # After the commit: the recorder writes the lot, and could not while this transaction holds the records.
    try:
        reply = context.recorder.execute(OpenLot(lot=challenge.lot, product=new.product, by=by, reason=new.reason))
    except Unavailable:
        _end(context, challenge, ChallengeState.ABANDONED, ())
        raise
    if isinstance(reply, Refused):
        _end(context, challenge, ChallengeState.ABANDONED, ())
        raise refusal(reply)
    return challenge


@router.get("/challenges/{challenge_id}", responses=documented(HTTPStatus.NOT_FOUND))
def show_challenge(challenge_id: ChallengeNumber, records: Records, context: InContext) -> ChallengeNow:
    """One challenge and what its parts showed; ask again while it is running."""
    with not_found_as("unknown_challenge"):
        challenge = challenges.get_challenge(records, challenge_id)
    if challenge.state is not ChallengeState.RUNNING:
        return ChallengeNow(challenge, challenge.results, (), None)
    results, strangers = _results(records, context, challenge)
    return ChallengeNow(challenge, results, strangers, why_not_finished(results))


@router.post("/challenges/{challenge_id}/finish", responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT))
def finish_challenge(challenge_id: ChallengeNumber, context: InContext, user: User, end: ChallengeEnd | None = None) -> Challenge:
    """Close its lot and record the outcome: passed if every golden part was judged right by the model in service."""
    end = end or ChallengeEnd()
    challenge, results = _running(context, challenge_id)
    problem = why_not_finished(results)
    if problem is not None:
        raise Problem(HTTPStatus.CONFLICT, "challenge_incomplete", problem)
    _close_lot(context, challenge, acting(user, end.by), end.reason)
    # Read again: now that the lot is closed, nothing more can come.
    with context.reader.connect() as records:
        results, _ = _results(records, context, challenge)
    return _end(context, challenge, outcome(results), results)


@router.post("/challenges/{challenge_id}/abandon", responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT))
def abandon_challenge(
    challenge_id: ChallengeNumber, context: InContext, user: User, end: ChallengeEnd | None = None
) -> Challenge:
    """End a challenge that shows nothing: what counted before counts. One that showed a wrong verdict has to be finished."""
    end = end or ChallengeEnd()
    challenge, results = _running(context, challenge_id)
    problem = why_not_abandoned(results)
    if problem is not None:
        raise Problem(HTTPStatus.CONFLICT, "challenge_failed", problem)
    _close_lot(context, challenge, acting(user, end.by), end.reason)
    return _end(context, challenge, ChallengeState.ABANDONED, results)


def _configured(context: Context, product: str) -> None:
    if product not in context.settings.products:
        known = ", ".join(repr(each) for each in context.settings.products) or "none"
        detail = f"product {product!r} has no recipe on this station; name one of {known} or add a recipe"
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "unknown_product", detail)


def _running(context: Context, challenge_id: int) -> tuple[Challenge, tuple[ChallengeResult, ...]]:
    """A running challenge and what it showed so far; answers with a problem if there is none."""
    with context.reader.connect() as records:
        with not_found_as("unknown_challenge"):
            challenge = challenges.get_challenge(records, challenge_id)
        if challenge.state is not ChallengeState.RUNNING:
            detail = f"challenge {challenge_id} has ended already, {challenge.state}; start another one"
            raise Problem(HTTPStatus.CONFLICT, "challenge_over", detail)
        results, _ = _results(records, context, challenge)
    return challenge, results


def _results(records: Connection, context: Context, challenge: Challenge) -> tuple[tuple[ChallengeResult, ...], tuple[str, ...]]:
    in_service = model_in_service(records, context.settings.station, challenge.product)
    return challenges.results_now(records, challenge, in_service)


def _close_lot(context: Context, challenge: Challenge, by: str, reason: str) -> None:
    reply = context.recorder.execute(CloseLot(lot=challenge.lot, by=by, reason=reason))
    # Closed before, by somebody or by a try whose answer was lost; never opened, if the station was killed in between.
    if isinstance(reply, Refused) and reply.code not in ("closed_lot", "unknown_lot"):
        raise refusal(reply)


def _end(context: Context, challenge: Challenge, state: ChallengeState, results: tuple[ChallengeResult, ...]) -> Challenge:
    with conflict_as("challenge_over"), context.writer.begin() as connection:
        return challenges.end_challenge(connection, challenge.challenge_id, state, results)
