"""One shape for every error: RFC 9457 application/problem+json with a ``code`` for machines."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from inspection.commands import Refused
from inspection.errors import BadCursor, Conflict, GateNotPassed, NotFound, Stale, StaleLabel, StationError, Unavailable

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

STATUS_OF_REFUSAL = {
    "unknown_lot": HTTPStatus.NOT_FOUND,
    "lot_exists": HTTPStatus.CONFLICT,
    "closed_lot": HTTPStatus.CONFLICT,
    "held_lot": HTTPStatus.CONFLICT,
    "not_held": HTTPStatus.CONFLICT,
    "duplicate_serial": HTTPStatus.CONFLICT,
    "invalid_request": HTTPStatus.UNPROCESSABLE_ENTITY,
    "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
}


class FieldError(BaseModel):
    """What is wrong with one part of the request."""

    field: str
    message: str


class ProblemBody(BaseModel):
    """RFC 9457 problem; ``code`` names the problem for machines, ``detail`` says what to do."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    instance: str
    errors: list[FieldError] | None = None


class Problem(Exception):
    """An error answer, with headers of its own if it needs some."""

    def __init__(self, status: HTTPStatus, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.headers = headers or {}
        self.status = status
        self.code = code
        self.detail = detail


@contextmanager
def not_found_as(code: str) -> Iterator[None]:
    """Answer 404 with this code where the records have nothing of the name."""
    try:
        yield
    except NotFound as error:
        raise Problem(HTTPStatus.NOT_FOUND, code, str(error)) from None


@contextmanager
def conflict_as(code: str) -> Iterator[None]:
    """Answer 409 with this code where the request contradicts the records; a model without a passed gate, a label that came too
    late, and a decision by a page that is out of date have their own codes."""
    try:
        yield
    except GateNotPassed as error:
        raise Problem(HTTPStatus.CONFLICT, "gate_not_passed", str(error)) from None
    except Stale as error:
        raise Problem(HTTPStatus.CONFLICT, "stale", str(error)) from None
    except StaleLabel as error:
        raise Problem(HTTPStatus.CONFLICT, "stale_label", str(error)) from None
    except Conflict as error:
        raise Problem(HTTPStatus.CONFLICT, code, str(error)) from None


def refusal(refused: Refused) -> Problem:
    """The answer to a refused command."""
    return Problem(STATUS_OF_REFUSAL.get(refused.code, HTTPStatus.CONFLICT), refused.code, refused.detail)


def problem_response(
    request: Request, status: HTTPStatus, code: str, detail: str, errors: list[FieldError] | None = None, **members: Any
) -> JSONResponse:
    """The response for a problem; ``members`` are further members of the body."""
    # As it was asked for, still encoded: instance is a URI reference.
    instance = request.scope["raw_path"].decode("latin-1")
    body = ProblemBody(title=status.phrase, status=status, code=code, detail=detail, instance=instance, errors=errors)
    return JSONResponse(body.model_dump(exclude_none=True) | members, status_code=status, media_type=MEDIA_TYPE)


def code_of(status: HTTPStatus) -> str:
    """The problem code of an answer that no route chose."""
    known = {404: "not_found", 405: "method_not_allowed", 408: "too_slow", 413: "too_large"}
    return known.get(status, status.name.lower())


def documented(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses of a route for these problems and those that any route can have: not known, not allowed, too large, too
    often, not to be understood, and not now.
    """
    always = (
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.SERVICE_UNAVAILABLE,
    )
    return {
        int(status): {
            "description": status.phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}},
        }
        for status in (*statuses, *always)
    }


def install(app: FastAPI) -> None:
    """Give every error of the app the one shape, and its description to the app's OpenAPI document."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        schemas = describe()["components"]["schemas"]
        schema = ProblemBody.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schema.pop("$defs"))
        schemas["ProblemBody"] = schema
        return describe()

    app.openapi = openapi  # type: ignore[method-assign]

    @app.exception_handler(Problem)
    def on_problem(request: Request, error: Problem) -> JSONResponse:
        response = problem_response(request, error.status, error.code, error.detail)
        response.headers.update(error.headers)
        return response

    @app.exception_handler(BadCursor)
    def on_bad_cursor(request: Request, error: BadCursor) -> JSONResponse:
        return problem_response(request, HTTPStatus.BAD_REQUEST, "bad_cursor", str(error))

    @app.exception_handler(Unavailable)
    def on_unavailable(request: Request, error: Unavailable) -> JSONResponse:
        return problem_response(request, HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", str(error))

    @app.exception_handler(StationError)
    def on_damage(request: Request, error: StationError) -> JSONResponse:
        log.error("%s: %s", request.url.path, error)
        return problem_response(request, HTTPStatus.INTERNAL_SERVER_ERROR, "damaged", str(error))

    @app.exception_handler(DBAPIError)
    @app.exception_handler(PoolTimeout)
    def on_database_error(request: Request, error: Exception) -> JSONResponse:
        log.error("records cannot be read for %s: %s", request.url.path, error)
        detail = "the records cannot be read now; try again, and look at the recorder if it stays so"
        return problem_response(request, HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", detail)

    @app.exception_handler(RequestValidationError)
    def on_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        errors = [
            FieldError(field=".".join(str(part) for part in found["loc"]), message=_message(found["msg"]))
            for found in error.errors()
        ]
        detail = "correct the request: " + "; ".join(f"{found.field}: {found.message}" for found in errors[:5])
        return problem_response(request, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request", detail, errors)

    @app.exception_handler(HTTPException)
    def on_http_exception(request: Request, error: HTTPException) -> JSONResponse:
        status = HTTPStatus(error.status_code)
        if status is HTTPStatus.BAD_REQUEST:
            detail = f"the request cannot be read: {error.detail}; send JSON in UTF-8"
            return problem_response(request, HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request", detail)
        code = code_of(status)
        detail = {
            404: "there is nothing at this address; the interface is described at /api/v1/openapi.json",
            405: f"{request.method} is not possible here; the interface is described at /api/v1/openapi.json",
        }.get(status, str(error.detail))
        response = problem_response(request, status, code, detail)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    def on_defect(request: Request, error: Exception) -> JSONResponse:
        # Starlette logs the traceback itself.
        detail = f"the station failed to answer ({type(error).__name__}); report this with the log of the web process"
        return problem_response(request, HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", detail)


def _message(message: str) -> str:
    return message.removeprefix("Value error, ")
