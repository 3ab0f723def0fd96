"""REST: a lot to take away, as CSV, Parquet, B2MML and a certificate.

CSV and B2MML are sent as they are read, with no connection to the records held while the client takes its time; if the records
fail half-way, so does the transfer, which the client sees. Parquet and the certificate are made whole first.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import chain, islice
from typing import IO, Any
from urllib.parse import quote

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from inspection.images import ImageStore
from inspection.mes.b2mml import b2mml_chunks
from inspection.mes.certified import certify
from inspection.mes.tabular import csv_chunks, write_parquet
from inspection.records.exports import LotHead, lot_head, lot_rows
from inspection.web.context import Context, InContext
from inspection.web.names import LotName
from inspection.web.problems import Problem, conflict_as, documented, not_found_as

router = APIRouter(prefix="/api/v1/lots/{lot}", tags=["exports"], responses=documented())

CSV, PARQUET = "text/csv; charset=utf-8; header=present", "application/vnd.apache.parquet"
XML, PDF = "application/xml", "application/pdf"
CHUNK_BYTES = 1 << 18


def _answers(media_type: str, description: str) -> dict[int | str, dict[str, Any]]:
    content = {media_type.partition(";")[0]: {"schema": {"type": "string", "format": "binary"}}}
    return {200: {"content": content, "description": description}, **documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)}


@router.get("/results.csv", response_class=Response, responses=_answers(CSV, "One row per inspection, with a header."))
def results_csv(lot: LotName, context: InContext) -> Response:
    """The lot's inspections as CSV, oldest first, with the label that counts now and the SHA-256 of the frame.

    UTF-8, RFC 4180, times in UTC. So that no text runs as a formula in a spreadsheet, an apostrophe is put before text that
    begins with one of `= + - @ '`, at the start of a cell and after each semicolon; remove one there to get the text back.
    """
    return _attachment(csv_chunks(lot_rows(context.reader.connect, _head(context, lot))), CSV, lot, "results.csv")


@router.get(
    "/results.parquet",
    response_class=Response,
    responses=_answers(PARQUET, "The columns of the CSV, typed.") | documented(HTTPStatus.INSUFFICIENT_STORAGE),
)
def results_parquet(lot: LotName, context: InContext) -> Response:
    """The lot's inspections as Parquet, with the columns of the CSV, text as it is and times in UTC."""
    rows = lot_rows(context.reader.connect, _head(context, lot))
    with ExitStack() as stack:
        try:
            file = stack.enter_context(tempfile.TemporaryFile())
            write_parquet(rows, file)
        except OSError as error:
            detail = f"the file cannot be made ({error.strerror}); make room where the station keeps temporary files"
            raise Problem(HTTPStatus.INSUFFICIENT_STORAGE, "no_space", detail) from None
        nbytes = file.tell()
        file.seek(0)
        stack.pop_all()
    return _attachment(_pieces(file), PARQUET, lot, "results.parquet", nbytes)


@router.get("/b2mml.xml", response_class=Response, responses=_answers(XML, "OperationsPerformance of B2MML V0700."))
def b2mml(lot: LotName, context: InContext) -> Response:
    """The lot as an operations performance of ISA-95: one MaterialActual with its TestResults per inspection."""
    head = _head(context, lot)
    rows = lot_rows(context.reader.connect, head)
    return _attachment(b2mml_chunks(context.settings.station, head, rows, datetime.now(UTC)), XML, lot, "b2mml.xml")


@router.get("/certificate.pdf", response_class=Response, responses=_answers(PDF, "The certificate, to be signed by hand."))
def lot_certificate(lot: LotName, context: InContext) -> Response:
    """The lot's certificate: its reconciliation, yield, causes, models, labels, and the SHA-256 of its CSV."""
    # Fifteen megabytes of reportlab, taken only when somebody asks for a certificate.
    from inspection.mes.certificate import certificate

    settings = context.settings
    with not_found_as("unknown_lot"), conflict_as("challenge_lot"), context.reader.connect() as connection:
        certified = certify(connection, lot, settings.station, settings.recipes, datetime.now(UTC))
    document = certificate(certified, ImageStore(settings.image_dir))
    return Response(document, media_type=PDF, headers=_headers(lot, "certificate.pdf"))


def _head(context: Context, lot: str) -> LotHead:
    with not_found_as("unknown_lot"), conflict_as("challenge_lot"), context.reader.connect() as connection:
        return lot_head(connection, lot)


def _attachment(pieces: Iterator[bytes], media_type: str, lot: str, name: str, nbytes: int | None = None) -> StreamingResponse:
    headers = _headers(lot, name) | ({} if nbytes is None else {"Content-Length": str(nbytes)})
    # Head and first rows, before the answer begins: if the records cannot be read, the answer is a problem.
    begun = list(islice(pieces, 2))
    return StreamingResponse(chain(begun, pieces), media_type=media_type, headers=headers)


def _headers(lot: str, name: str) -> dict[str, str]:
    """RFC 6266: a plain file name for old clients, and the lot's own; neither with what a file system takes for more."""
    own = re.sub(r'[\s/\\:*?"<>|]', "_", f"lot-{lot}-{name}")
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", own)
    return {
        "Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(own, safe='')}",
        "Cache-Control": "private, no-cache",
    }


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(CHUNK_BYTES):
            yield piece
