"""REST: the audit trail, to read, to verify, and to take away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, BeforeValidator

from inspection.domain import AuditEntry
from inspection.mes.tabular import csv_texts, utc
from inspection.records.audit import HEAD, Verified, Wanted, list_entries, verify
from inspection.web.context import Context, InContext, Records
from inspection.web.problems import documented
from inspection.web.routes_inspections import MAX_NUMBER

router = APIRouter(prefix="/api/v1/audit-entries", tags=["audit"], responses=documented())

CSV = "text/csv; charset=utf-8; header=present"
_CHUNK = 1_000
Number = Annotated[int, Query(ge=0, le=MAX_NUMBER)]


def _written_out(text: str) -> datetime:
    """Not a number, which could be seconds of any kind."""
    return datetime.fromisoformat(text)


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out, json_schema_input_type=AwareDatetime)]


def _wanted(
    by: Annotated[str | None, Query(max_length=64, description="Of this user or account alone.")] = None,
    action: Annotated[
        str | None, Query(max_length=64, description="Whose action holds this, such as `POST /deployments`.")
    ] = None,
    refused: Annotated[bool, Query(description="Only what was refused or failed.")] = False,
    since: Annotated[Moment | None, Query(description="Not before this time.")] = None,
    until: Annotated[Moment | None, Query(description="Before this time.")] = None,
) -> Wanted:
    return Wanted(by, action, refused, since, until)


Filter = Annotated[Wanted, Depends(_wanted)]


@dataclass(frozen=True, slots=True)
class AuditEntries:
    """Newest first; ask for those before ``next_before`` if it is not null."""

    items: tuple[AuditEntry, ...]
    next_before: int | None


@router.get("")
def list_audit_entries(
    records: Records,
    wanted: Filter,
    before: Annotated[int | None, Query(ge=1, le=MAX_NUMBER, description="next_before of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> AuditEntries:
    """What people and programs did or were refused."""
    found = list_entries(records, wanted, before, limit)
    return AuditEntries(found, found[-1].audit_id if len(found) == limit else None)


@router.get("/verification")
def verify_audit_entries(records: Records, context: InContext, after: Number = 0) -> Verified:
    """Do all entries behind a number fit to one another, and is none missing at the end? Reads every one of them."""
    return verify(records, context.settings.data_dir / HEAD, after)


@router.get(
    "/entries.csv",
    response_class=Response,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string", "format": "binary"}}}, "description": "All columns."}},
)
def audit_entries_csv(context: InContext, wanted: Filter) -> Response:
    """The entries as CSV, newest first. Text is kept from running as a formula as in the CSV of a lot."""
    headers = {"Content-Disposition": 'attachment; filename="audit-entries.csv"', "Cache-Control": "private, no-cache"}
    return StreamingResponse(_lines(context, wanted), media_type=CSV, headers=headers)


def _lines(context: Context, wanted: Wanted) -> Iterator[bytes]:
    yield csv_texts([[field.name for field in fields(AuditEntry)]])
    before: int | None = None
    while True:
        with context.reader.connect() as records:
            found = list_entries(records, wanted, before, _CHUNK)
        yield csv_texts([_cell(value) for value in astuple(entry)] for entry in found)
        if len(found) < _CHUNK:
            return
        before = found[-1].audit_id


def _cell(value: object) -> str:
    return utc(value) if isinstance(value, datetime) else str(value)
