"""A lot's inspections as a table: CSV for people and scripts, Parquet with types for analysis. One row per inspection.

Both have the columns of ``COLUMNS``. CSV is UTF-8 with a header, commas and CRLF (RFC 4180); times are ISO 8601 in UTC with
microseconds and ``Z``, floats read back to the same bits, nothing is an empty cell.

No text of a CSV can run as a formula in a spreadsheet. Where a cell begins (at its start, and after a semicolon, which separates
cells in some countries), text that begins with one of ``= + - @``, their full-width forms or an apostrophe, with or without
quotes or blanks before it, gets an apostrophe in front. Programs get the text back by removing one apostrophe from the start of
the cell and after each semicolon; Parquet holds it as it is.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import IO, TYPE_CHECKING, Any

from inspection.records.exports import Rows

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP = 16_384
_FORMULA = re.compile(r"""[\s"]*[=+\-@'＝＋－＠]""")


class Kind(Enum):
    """What a column holds: an integer, a float, a string, an aware time, or JSON written as a string."""

    NUMBER = auto()
    MEASURE = auto()
    TEXT = auto()
    TIME = auto()
    JSON = auto()


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    kind: Kind
    nullable: bool = True


COLUMNS = (
    Column("seq", Kind.NUMBER, nullable=False),
    Column("trigger_id", Kind.NUMBER, nullable=False),
    Column("lot", Kind.TEXT, nullable=False),
    Column("serial", Kind.TEXT, nullable=False),
    Column("attempt", Kind.NUMBER, nullable=False),
    Column("product", Kind.TEXT),
    Column("camera", Kind.TEXT, nullable=False),
    Column("verdict", Kind.TEXT, nullable=False),
    Column("reason", Kind.TEXT),
    Column("score", Kind.MEASURE),
    Column("p_value", Kind.MEASURE),
    Column("review_threshold", Kind.MEASURE),
    Column("fail_threshold", Kind.MEASURE),
    Column("model", Kind.TEXT),
    Column("proposed_class", Kind.TEXT),
    Column("label", Kind.TEXT),
    Column("labelled_by", Kind.TEXT),
    Column("labelled_at", Kind.TIME),
    Column("output", Kind.TEXT),
    Column("late_verdict", Kind.TEXT),
    Column("late_score", Kind.MEASURE),
    Column("frame_id", Kind.NUMBER),
    Column("triggered_at", Kind.TIME, nullable=False),
    Column("acquired_at", Kind.TIME),
    Column("decided_at", Kind.TIME, nullable=False),
    Column("recorded_at", Kind.TIME, nullable=False),
    Column("frame_sha256", Kind.TEXT),
    Column("regions", Kind.JSON, nullable=False),
    Column("label_regions", Kind.JSON),
)
"""The columns of a row of ``inspection.records.exports.lot_rows``, in its order. ``label`` is the one that counts now."""


def csv_chunks(batches: Iterable[Rows]) -> Iterator[bytes]:
    """The CSV file in pieces: the header, then a batch at a time."""
    yield csv_header()
    yield from map(csv_rows, batches)


def csv_header() -> bytes:
    """The first line of the CSV file."""
    return _csv([[column.name for column in COLUMNS]])


def csv_rows(rows: Rows) -> bytes:
    """Lines of the CSV file."""
    cells = tuple(_CELLS[column.kind] for column in COLUMNS)
    return _csv(["" if value is None else cell(value) for cell, value in zip(cells, row, strict=True)] for row in rows)


def csv_texts(lines: Iterable[Iterable[str]]) -> bytes:
    """Lines of another CSV file, with the same promise about formulas."""
    return _csv([_text(cell) for cell in line] for line in lines)


def write_parquet(batches: Iterable[Rows], file: IO[bytes]) -> None:
    """The Parquet file, zstd, in row groups of ROW_GROUP: no more than one is in memory. OSError if the disk refuses."""
    # Twenty megabytes that the web process takes only when somebody asks for Parquet.
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema()
    waiting: list[pa.RecordBatch] = []
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for rows in batches:
            waiting.append(_record_batch(schema, rows))
            if sum(batch.num_rows for batch in waiting) >= ROW_GROUP:
                writer.write_table(pa.Table.from_batches(waiting))
                waiting = []
        if waiting:
            writer.write_table(pa.Table.from_batches(waiting))


def _schema() -> pa.Schema:
    import pyarrow as pa

    types = {
        Kind.NUMBER: pa.int64(),
        Kind.MEASURE: pa.float64(),
        Kind.TEXT: pa.string(),
        Kind.TIME: pa.timestamp("us", tz="UTC"),
        Kind.JSON: pa.string(),
    }
    return pa.schema([pa.field(column.name, types[column.kind], column.nullable) for column in COLUMNS])


def _record_batch(schema: pa.Schema, rows: Rows) -> pa.RecordBatch:
    import pyarrow as pa

    arrays = []
    for column, field, values in zip(COLUMNS, schema, zip(*rows, strict=True), strict=True):
        if column.kind is Kind.JSON:
            values = tuple(None if value is None else _json(value) for value in values)
        arrays.append(pa.array(values, field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _csv(lines: Iterable[list[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(lines)
    return text.getvalue().encode()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _text(value: str) -> str:
    return ";".join(f"'{piece}" if _FORMULA.match(piece) else piece for piece in value.split(";"))


def utc(value: datetime) -> str:
    """ISO 8601 in UTC with microseconds and ``Z``."""
    return f"{value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


_CELLS: dict[Kind, Callable[[Any], str]] = {
    Kind.NUMBER: str,
    Kind.MEASURE: repr,
    Kind.TEXT: _text,
    Kind.TIME: utc,
    Kind.JSON: _json,
}
