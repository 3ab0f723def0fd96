"""Cells of the CSV, whatever names hold."""

from __future__ import annotations

import csv
import io
import re
from collections import namedtuple
from datetime import UTC, datetime, timedelta, timezone

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspection.mes.tabular import COLUMNS, csv_chunks, utc, write_parquet

Row = namedtuple("Row", [column.name for column in COLUMNS])
AT = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC)
PLAIN = Row(
    *(7, 8, "L1", "S1", 1, "plate", "top", "fail", None, 3.1, 0.01, 1.5, 2.0, "ab" * 32, "scratch", "dent", "Anna", AT, None),
    *(None, None, 9, AT, AT, AT, AT, "cd" * 32, [{"x": 1, "y": 2, "width": 3, "height": 4, "score": 3.1, "area": 5}]),
    None,
)
# What a requester may call things; more than the REST interface takes.
names = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters=[chr(code) for code in (*range(32), 127)]), min_size=1
)


def written(*rows: Row) -> str:
    return b"".join(csv_chunks([rows])).decode()


def as_it_was(cell: str) -> str:
    return ";".join(piece.removeprefix("'") for piece in cell.split(";"))


@given(st.lists(st.one_of(names, st.text("=+-@';\", x＝", min_size=1)), min_size=1, max_size=5))
def test_any_text_comes_back_and_none_runs(found: list[str]) -> None:
    text = written(*(PLAIN._replace(lot=name, serial=name, label=name, labelled_by=name) for name in found))
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    for column in ("lot", "serial", "label", "labelled_by"):
        assert [as_it_was(row[column]) for row in rows] == found
    for delimiter in ",;":
        for line in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            for cell in line:
                assert not re.match(r"""[\s"]*[=+@＝＋－＠]""", cell), cell


@given(st.floats())
def test_a_measure_comes_back_to_the_bit(score: float) -> None:
    (row,) = csv.DictReader(io.StringIO(written(PLAIN._replace(score=score)), newline=""))
    assert float(row["score"]) == score or score != score


def test_times_are_utc_with_microseconds_even_if_there_are_none() -> None:
    assert utc(datetime(2026, 3, 1, 13, 0, tzinfo=timezone(timedelta(hours=1)))) == "2026-03-01T12:00:00.000000Z"
    assert utc(AT) == "2026-03-01T12:00:00.000005Z"


def test_lines_end_as_rfc_4180_says_and_nothing_is_an_empty_cell() -> None:
    header, line, rest = written(PLAIN).split("\r\n")
    assert header == ",".join(Row._fields)
    assert rest == ""
    assert line.startswith("7,8,L1,S1,1,plate,top,fail,,3.1,0.01,1.5,2.0,")
    assert line.endswith(',"[{""x"":1,""y"":2,""width"":3,""height"":4,""score"":3.1,""area"":5}]",')


@pytest.mark.parametrize("batches", [[], [[PLAIN]]])
def test_parquet_of_any_number_of_batches_has_the_same_columns(batches: list[list[Row]]) -> None:
    file = io.BytesIO()
    write_parquet(batches, file)
    table = pq.read_table(file)
    assert table.column_names == list(Row._fields)
    assert table.num_rows == len(batches)
