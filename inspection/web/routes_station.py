"""REST: faults and health of the station."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from inspection.domain import Fault
from inspection.records import queries
from inspection.web.context import InContext, Records
from inspection.web.degraded import Degradation
from inspection.web.health import Health, read_health
from inspection.web.problems import documented, problem_response

router = APIRouter(prefix="/api/v1", tags=["station"], responses=documented())


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults after the asked number, oldest first; ask again with ``last_fault_id``."""

    items: tuple[Fault, ...]
    last_fault_id: int


@router.get("/faults")
def list_faults(
    records: Records,
    after: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Faults:
    """Counted losses and failures."""
    found = queries.faults(records, after, limit)
    return Faults(found, found[-1].fault_id if found else after)


@dataclass(frozen=True, slots=True)
class Liveness:
    """The web process answers."""

    live: bool = True


@dataclass(frozen=True, slots=True)
class Readiness:
    """``ready``: parts are inspected; otherwise ``reasons`` says why not. ``degraded``: what is not as it should be anyway."""

    ready: bool
    reasons: tuple[str, ...]
    degraded: tuple[Degradation, ...]


@router.get("/health/live")
def live() -> Liveness:
    """200 as long as this process answers, whatever the others do: for whoever restarts it."""
    return Liveness()


@router.get("/health/ready", response_model=Readiness)
def ready(request: Request, context: InContext) -> Readiness | JSONResponse:
    """200 if parts are inspected; otherwise 503 ``not_ready`` with the same members: for whoever sends parts."""
    found = read_health(context)
    answer = Readiness(found.ready, found.reasons, found.degraded)
    if found.ready:
        return answer
    return problem_response(request, HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", "; ".join(found.reasons), **asdict(answer))


@router.get("/health", response_model=Health)
def health(request: Request, context: InContext) -> Health | JSONResponse:
    """200 if the station is ready; otherwise 503 ``not_ready`` with the same members and the reasons."""
    found = read_health(context)
    if found.ready:
        return found
    return problem_response(request, HTTPStatus.SERVICE_UNAVAILABLE, "not_ready", "; ".join(found.reasons), **asdict(found))
