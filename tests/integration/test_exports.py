"""A lot taken away over REST: CSV, Parquet, B2MML and certificate, on SQLite and PostgreSQL."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lxml import etree
from sqlalchemy import text

from inspection.domain import ImageKind, LotState, Verdict
from inspection.mes import tabular
from inspection.records import exports
from inspection.records.labels import add_label

SCHEMA = Path(__file__).parents[3] / "shared" / "standards" / "b2mml" / "B2MML-OperationsPerformance.xsd"
B2MML = {"b": "http://www.mesa.org/xml/B2MML"}
needs_schema = pytest.mark.skipif(not SCHEMA.is_file(), reason=f"needs the B2MML V0700 schemas at {SCHEMA.parent}")
needs_pdftotext = pytest.mark.skipif(shutil.which("pdftotext") is None, reason="needs pdftotext (Debian: poppler-utils)")


@pytest.fixture(scope="session")
def schema() -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(SCHEMA))


def fetched(api, lot: str, name: str):
    response = api.get(f"/api/v1/lots/{quote(lot, safe='')}/{name}")
    assert response.status_code == 200, response.text
    return response


def csv_rows(api, lot: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(fetched(api, lot, "results.csv").content.decode(), newline="")))


def as_it_was(cell: str) -> str:
    """The text of a cell, as the documentation says to get it back."""
    return ";".join(piece.removeprefix("'") for piece in cell.split(";"))


def pdf_text(document: bytes, mode: str = "-layout") -> str:
    return subprocess.run(["pdftotext", mode, "-", "-"], input=document, capture_output=True, check=True).stdout.decode()


def labelled_lot(seeder) -> dict[Verdict, int]:
    """Lot L1: one inspection of each verdict, the failed one with frame and map, labelled twice. Returns {verdict: seq}."""
    seeder.lot("L1", state=LotState.CLOSED, closed_at=seeder.start + timedelta(hours=1), expected_quantity=4)
    seqs = {verdict: seeder.inspection("L1", f"S-{verdict}", verdict) for verdict in Verdict}
    seeder.image(seqs[Verdict.FAIL], ImageKind.FRAME, np.full((48, 64), 90, np.uint8), "Mono8")
    seeder.map(seqs[Verdict.FAIL], np.full((6, 8), 2.5))
    seeder.inspection("L2", "of another lot")
    add_label(seeder.connection, seqs[Verdict.FAIL], "scratch", "Anna", "")
    add_label(seeder.connection, seqs[Verdict.FAIL], "dent", "Berta", "")
    seeder.connection.commit()
    return seqs


# --- tables -----------------------------------------------------------------------------------------------------------


def test_the_columns_are_those_of_the_rows(api, seeder, reader) -> None:
    labelled_lot(seeder)
    with reader.connect() as connection:
        batch = next(exports.lot_rows(reader.connect, exports.lot_head(connection, "L1")))
    assert batch[0]._fields == tuple(column.name for column in tabular.COLUMNS)


def test_csv_has_every_inspection_of_the_lot_with_the_label_that_counts(api, seeder) -> None:
    seqs = labelled_lot(seeder)
    response = fetched(api, "L1", "results.csv")
    assert response.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert response.headers["content-disposition"].startswith('attachment; filename="lot-L1-results.csv"')
    rows = csv_rows(api, "L1")
    assert [(int(row["seq"]), row["verdict"]) for row in rows] == [(seq, verdict) for verdict, seq in seqs.items()]
    failed = next(row for row in rows if row["verdict"] == "fail")
    shown = api.get(f"/api/v1/inspections/{seqs[Verdict.FAIL]}").json()
    for name in ("trigger_id", "attempt", "frame_id"):
        assert int(failed[name]) == shown[name]
    for name in ("score", "p_value", "review_threshold", "fail_threshold"):
        assert float(failed[name]) == shown[name]
    for name in ("lot", "serial", "product", "camera", "output", "model"):
        assert failed[name] == shown[name]
    for name in ("triggered_at", "acquired_at", "decided_at", "recorded_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", failed[name])
        assert datetime.fromisoformat(failed[name]) == datetime.fromisoformat(shown[name])
    assert (failed["label"], failed["labelled_by"], failed["reason"]) == ("dent", "Berta", "")
    assert failed["frame_sha256"] == next(image["sha256"] for image in shown["images"] if image["kind"] == "frame")
    assert json.loads(failed["regions"]) == shown["regions"]
    lost = next(row for row in rows if row["verdict"] == "not_inspected")
    assert (lost["reason"], lost["score"], lost["acquired_at"], lost["frame_sha256"]) == ("frame_lost", "", "", "")
    assert (json.loads(failed["label_regions"]), lost["label_regions"]) == ([], ""), "of the label that counts"


def test_parquet_has_the_rows_of_the_csv_with_types(api, seeder) -> None:
    labelled_lot(seeder)
    response = fetched(api, "L1", "results.parquet")
    table = pq.read_table(io.BytesIO(response.content))
    assert int(response.headers["content-length"]) == len(response.content)
    assert table.schema.field("triggered_at").type == pa.timestamp("us", tz="UTC")
    assert table.schema.field("score").type == pa.float64()
    assert table.schema.field("seq") == pa.field("seq", pa.int64(), nullable=False)
    assert pq.ParquetFile(io.BytesIO(response.content)).metadata.row_group(0).column(0).compression == "ZSTD"
    rows = csv_rows(api, "L1")
    assert table.column_names == list(rows[0])
    for kept, row in zip(table.to_pylist(), rows, strict=True):
        for name, value in kept.items():
            written = row[name]
            if value is None:
                assert written == ""
            elif isinstance(value, datetime):
                assert datetime.fromisoformat(written) == value
            else:
                assert type(value)(written) == value


def test_rows_go_on_from_batch_to_batch_and_stop_where_the_lot_stood(api, seeder, reader, engine, monkeypatch) -> None:
    monkeypatch.setattr(exports, "BATCH", 3)
    monkeypatch.setattr(tabular, "ROW_GROUP", 6)
    seeder.lot("L1")
    for number in range(10):
        seeder.inspection("L1" if number % 4 else "L2", f"S{number}")
    seeder.connection.commit()
    expected = [seq for seq in range(1, 11) if (seq - 1) % 4]
    assert [int(row["seq"]) for row in csv_rows(api, "L1")] == expected
    parquet = pq.ParquetFile(io.BytesIO(fetched(api, "L1", "results.parquet").content))
    assert parquet.read().column("seq").to_pylist() == expected
    assert [parquet.metadata.row_group(group).num_rows for group in range(parquet.num_row_groups)] == [6, 1]
    with reader.connect() as connection:
        batches = exports.lot_rows(reader.connect, exports.lot_head(connection, "L1"))
    found = [row.seq for row in next(batches)]
    seeder.inspection("L1", "came later")
    seeder.connection.commit()
    assert found + [row.seq for batch in batches for row in batch] == expected


def test_a_client_that_stops_reading_holds_no_connection(seeder, reader) -> None:
    labelled_lot(seeder)
    with reader.connect() as connection:
        head = exports.lot_head(connection, "L1")
    batches = exports.lot_rows(reader.connect, head)
    next(batches)
    assert reader.pool.checkedout() == 0


def test_no_batch_reads_a_whole_table(seeder, engine) -> None:
    """A batch costs the same whatever else is recorded: every table can be entered by an index."""
    labelled_lot(seeder)
    statement = exports._statement("L1", 0, 10**6).compile(engine, compile_kwargs={"literal_binds": True})
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            plan = "\n".join(str(row) for row in connection.execute(text(f"EXPLAIN QUERY PLAN {statement}")))
        else:
            # So few rows are read as a whole, unless that is forbidden.
            connection.execute(text("SET LOCAL enable_seqscan = off"))
            plan = "\n".join(line for (line,) in connection.execute(text(f"EXPLAIN {statement}")))
    assert "ix_inspections_lot_seq" in plan
    assert not re.search(r"\bSCAN \w|Seq Scan", plan), plan


@pytest.mark.parametrize("document", ["results.csv", "results.parquet", "b2mml.xml", "certificate.pdf"])
def test_records_that_cannot_be_read_are_a_problem_and_no_half_a_file(api, seeder, engine, document: str) -> None:
    labelled_lot(seeder)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE images RENAME TO images_gone"))
    response = api.get(f"/api/v1/lots/L1/{document}")
    assert (response.status_code, response.json()["code"]) == (503, "unavailable")


def test_a_disk_without_room_is_a_problem_that_says_so(api, seeder, monkeypatch, tmp_path) -> None:
    labelled_lot(seeder)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    response = api.get("/api/v1/lots/L1/results.parquet")
    assert (response.status_code, response.json()["code"]) == (507, "no_space")
    assert "make room" in response.json()["detail"]


# --- names ------------------------------------------------------------------------------------------------------------

DANGEROUS = ["=1+1", "+1", "-1", "@SUM(A1)", "'=1", "＝1+1", "a;=1+1", 'a;"=1+1', '"=1+1', "a,=1", "=cmd|'/C_calc'!A0", "''"]


@pytest.mark.parametrize("name", DANGEROUS)
def test_no_name_runs_in_a_spreadsheet_and_each_comes_back(api, seeder, name: str) -> None:
    seeder.lot(name)
    seeder.inspection(name, name, proposed_class=name)
    seeder.connection.commit()
    raw = fetched(api, name, "results.csv").content.decode()
    for delimiter in ",;\t":
        for line in csv.reader(io.StringIO(raw, newline=""), delimiter=delimiter):
            for cell in line:
                assert not re.match(r"""[\s"]*[=+\-@＝]""", cell), cell
    (row,) = csv_rows(api, name)
    assert [as_it_was(row[column]) for column in ("lot", "serial", "proposed_class")] == [name] * 3
    (kept,) = pq.read_table(io.BytesIO(fetched(api, name, "results.parquet").content)).to_pylist()
    assert (kept["lot"], kept["serial"]) == (name, name)


@pytest.mark.parametrize("name", ["24/0815", 'a"b', "..\\..\\x", "Ä-序列", "a;b%0d", "<script>", "CON"])
@needs_schema
def test_any_name_has_a_file_name_and_is_in_every_document(api, seeder, schema, name: str) -> None:
    seeder.lot(name)
    seeder.inspection(name, name, Verdict.FAIL)
    seeder.connection.commit()
    for document in ("results.csv", "results.parquet", "b2mml.xml", "certificate.pdf"):
        disposition = fetched(api, name, document).headers["content-disposition"]
        plain, own = re.fullmatch(r"attachment; filename=\"([^\"]*)\"; filename\*=UTF-8''(\S+)", disposition).groups()
        assert re.fullmatch(r"lot-[A-Za-z0-9._-]+", plain)
        assert plain.endswith(document)
        assert not set('/\\:*?"<>|') & set(unquote(own))
    found = etree.fromstring(fetched(api, name, "b2mml.xml").content)
    schema.assertValid(found)
    assert found.xpath("//b:MaterialActual/b:MaterialSubLotID/text()", namespaces=B2MML) == [name]


@pytest.mark.parametrize("document", ["results.csv", "results.parquet", "b2mml.xml", "certificate.pdf"])
def test_an_unknown_lot_is_the_problem_of_the_other_routes(api, document: str) -> None:
    response = api.get(f"/api/v1/lots/L9/{document}")
    assert (response.status_code, response.json()["code"]) == (404, "unknown_lot")


# --- B2MML ------------------------------------------------------------------------------------------------------------


@needs_schema
def test_b2mml_is_valid_and_says_what_the_records_say(api, seeder, schema) -> None:
    seqs = labelled_lot(seeder)
    found = etree.fromstring(fetched(api, "L1", "b2mml.xml").content)
    schema.assertValid(found)

    def texts(path: str) -> list[str]:
        return found.xpath(f"{path}/text()", namespaces=B2MML)

    materials = "//b:SegmentResponse/b:MaterialActual"
    assert texts(f"{materials}/b:ID") == [str(seq) for seq in seqs.values()]
    assert set(texts(f"{materials}/b:MaterialLotID")) == {"L1"}
    assert set(texts(f"{materials}/b:MaterialDefinitionID")) == {"plate"}
    assert texts(f"{materials}/b:TestResult[b:ID='verdict']/b:EvaluatedCriterionResult") == list(Verdict)
    assert texts(f"{materials}/b:TestResult[b:ID='label']/b:EvaluatedCriterionResult") == ["dent"]
    measured = f"{materials}[b:ID='{seqs[Verdict.FAIL]}']/b:TestResult/b:PropertyMeasurement"
    assert texts(f"{measured}[b:ID='score']/b:Value/b:ValueString") == ["3.1"]
    data = "//b:SegmentData[b:ID='{}']/b:Value/b:ValueString"
    assert [texts(data.format(name)) for name in ("triggered", "expected_quantity", "rejected")] == [["4"], ["4"], ["3"]]
    assert texts("//b:OperationsResponse/b:ResponseState") == ["Closed"]


@needs_schema
def test_a_lot_without_inspections_and_one_that_was_never_opened_are_valid(api, seeder, schema) -> None:
    seeder.lot("empty")
    seeder.inspection("never opened", "S1", Verdict.NOT_INSPECTED, product=None, reason="unknown_lot")
    seeder.inspection("never-opened", "S1\uffff", Verdict.NOT_INSPECTED, product=None, reason="unknown_lot")
    seeder.connection.commit()
    for lot, count in (("empty", 0), ("never-opened", 1)):
        found = etree.fromstring(fetched(api, lot, "b2mml.xml").content)
        schema.assertValid(found)
        assert len(found.xpath("//b:MaterialActual", namespaces=B2MML)) == count
        assert len(csv_rows(api, lot)) == count
        assert pq.read_table(io.BytesIO(fetched(api, lot, "results.parquet").content)).num_rows == count


# --- certificate ------------------------------------------------------------------------------------------------------


@needs_pdftotext
def test_the_certificate_holds_the_counts_and_the_digest_of_the_csv(api, seeder) -> None:
    labelled_lot(seeder)
    response = fetched(api, "L1", "certificate.pdf")
    assert response.headers["content-type"] == "application/pdf"
    found = pdf_text(response.content)
    assert hashlib.sha256(fetched(api, "L1", "results.csv").content).hexdigest() in found
    assert "ab" * 32 in found
    for line in (
        r"CLOSED\. All numbers agree\.",
        r"Expected +4 +Pass +1 +Accepted +1",
        r"Fail +1 +Rejected +3",
        r"Triggers +4 +Not inspected +1",
        r"Parts triggered = quantity expected +4 +4 +agrees",
        r"of parts inspected\s",
        r"Passed, of all triggers +1 of 4 +25\.00 % +0\.63 % to 80\.59 %",
        r"labelled dent +1 +33\.33 %",
        r"frame_lost +1 ",
        r"Berta +0 +1 ",
        r"Printed name +Signature +Date and time",
        r"Page 1 of \d",
    ):
        assert re.search(line, found), (line, found)
    assert "Anna" not in found  # her label was replaced


@needs_pdftotext
def test_certificates_asked_for_at_the_same_time_do_not_mix(api, seeder) -> None:
    lots = [f"{letter * 12}-ΩЖ{number}" for number, letter in enumerate("ABCD")]
    for lot in lots:
        seeder.lot(lot)
        seeder.inspection(lot, f"serial of {lot}"[:60], Verdict.FAIL)
    seeder.connection.commit()
    with ThreadPoolExecutor(len(lots)) as pool:
        documents = list(pool.map(lambda lot: fetched(api, lot, "certificate.pdf").content, lots))
    for lot, document in zip(lots, documents, strict=True):
        found = pdf_text(document)
        assert f"Lot {lot} · station st-1" in found
        assert not any(other in found for other in lots if other != lot)


@needs_pdftotext
def test_names_in_other_scripts_are_printed_with_embedded_fonts_or_as_codes(api, seeder) -> None:
    for lot in ("批号-24/序7", "ロット7", "로트-한국", "Партия-Ω", "מנה"):
        seeder.lot(lot)
        seq = seeder.inspection(lot, "序列号0001", Verdict.FAIL)
        seeder.image(seq, ImageKind.FRAME, np.full((8, 8), 100, np.uint8), "Mono8")
        seeder.connection.commit()
        document = fetched(api, lot, "certificate.pdf").content
        found = pdf_text(document)
        assert f"Lot {lot} · station" in found or (lot == "מנה" and "Lot ⟨U+05DE⟩⟨U+05E0⟩⟨U+05D4⟩ · station" in found)
        assert "序列号0001" in found
        listed = subprocess.run(["pdffonts", "-"], input=document, capture_output=True, check=True).stdout.decode()
        fonts = [re.split(r" {2,}| (?=yes|no)", line) for line in listed.splitlines()[2:]]
        assert len(fonts) >= 3
        used = [columns for columns in fonts if not columns[0].startswith(("Helvetica", "ZapfDingbats"))]
        assert all("yes" in columns for columns in used), listed


@needs_pdftotext
def test_the_certificate_says_what_does_not_agree(api, seeder) -> None:
    seeder.lot("L1", state=LotState.CLOSED, closed_at=seeder.start, expected_quantity=5)
    seeder.inspection("L1", "S1", Verdict.FAIL, output="accept")
    seeder.trigger("L1", "S2")
    seeder.connection.commit()
    found = pdf_text(fetched(api, "L1", "certificate.pdf").content)
    assert "CLOSED. Comparisons below that DIFFER: 3 of 6." in found
    for line in (
        r"Triggers still open = 0 +1 +0 +DIFFERS by \+1",
        r"Accepted parts without the verdict pass = 0 +1 +0 +DIFFERS",
        r"quantity expected +2 +5 +DIFFERS by -3",
    ):
        assert re.search(line, found), line


@needs_pdftotext
def test_lots_that_are_open_empty_or_never_opened_are_certified_as_such(api, seeder) -> None:
    seeder.lot("open")
    seeder.inspection("never", "S1", Verdict.NOT_INSPECTED, product=None, reason="unknown_lot")
    seeder.connection.commit()
    found = pdf_text(fetched(api, "open", "certificate.pdf").content)
    assert "PRELIMINARY" in found
    assert "The lot has no inspections." in found
    assert "NEVER OPENED" in pdf_text(fetched(api, "never", "certificate.pdf").content)


@needs_pdftotext
def test_a_certificate_says_which_image_is_gone_or_altered(api, seeder, image_dir) -> None:
    seeder.lot("L1")
    shades = {}
    for shade in (10, 20):
        seq = seeder.inspection("L1", f"S{shade}", Verdict.FAIL)
        shades[shade] = seeder.image(seq, ImageKind.FRAME, np.full((8, 8), shade, np.uint8), "Mono8")
    seeder.connection.commit()
    (image_dir / shades[10][:2] / f"{shades[10]}.png").unlink()
    (image_dir / shades[20][:2] / f"{shades[20]}.png").write_bytes(b"something else")
    found = " ".join(pdf_text(fetched(api, "L1", "certificate.pdf").content, "-raw").split())
    assert "not in the store" in found
    assert "altered" in found


@needs_pdftotext
def test_the_longest_names_and_many_causes_fit(api, seeder) -> None:
    lot = "W" * 64
    seeder.lot(lot, product="&" * 64)
    for number in range(40):
        seq = seeder.inspection(
            lot, "序" * 64, Verdict.FAIL, proposed_class=f"{number:02}" + "<b>"[number % 3] * 62, model=f"{number:064}"
        )
        add_label(seeder.connection, seq, "ok" if number % 2 else f"{number:02}" + "M" * 62, f"{number:02}" + "\u202e" * 30)
        seeder.image(seq, ImageKind.FRAME, np.full((4, 400), number, np.uint8), "Mono8")
    seeder.connection.commit()
    found = pdf_text(fetched(api, lot, "certificate.pdf").content)
    assert "further causes" in found
    assert "further models" in found
    assert "further people" in found
    assert "序" in found
    assert "U+202E" in found
