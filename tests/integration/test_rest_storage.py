"""REST on what retention deleted, on legal holds, and on how long the disk lasts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, select
from starlette.testclient import TestClient

from inspection.domain import ImageKind, Verdict
from inspection.errors import Conflict, NotFound
from inspection.records.retention import count_images, deletable, mark_deleted
from inspection.records.stored_images import golden_inspections
from inspection.records.tables import audit_entries, images, training_set_members
from inspection.records.training_sets import freeze
from inspection.retention import Limits
from inspection.training_set import draft
from inspection.web.storage import storage_report

NOW = datetime(2026, 11, 29, 12, 30, tzinfo=UTC)


def code(response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def with_picture(seeder, lot: str, serial: str, verdict: Verdict = Verdict.PASS) -> int:
    seq = seeder.inspection(lot, serial, verdict)
    seeder.image(seq, ImageKind.FRAME, np.full((24, 32), seq, np.uint8), "Mono8")
    seeder.map(seq, np.full((2, 2), seq / 100))
    return seq


def delete(engine: Engine, *seqs: int, rule: str = "keep_pass_days = 30") -> list[str]:
    """As the recorder does it, and counts it."""
    with engine.begin() as connection:
        return mark_deleted(connection, seqs, rule, NOW)


# --- deleted images ---


def test_a_deleted_image_is_gone_with_when_and_why(api: TestClient, seeder, engine: Engine) -> None:
    seq = with_picture(seeder, "L1", "S1")
    seeder.connection.commit()
    assert api.get(f"/api/v1/inspections/{seq}/image").status_code == 200
    delete(engine, seq)
    for address in ("image", "image?render=thumbnail", "map", "map?overlay=1"):
        assert code(api.get(f"/api/v1/inspections/{seq}/{address}")) == (410, "image_deleted")
    assert api.get(f"/api/v1/inspections/{seq}/image").json()["detail"] == (
        "the frame of inspection 1 was deleted by retention on 2026-11-29 12:30 UTC: "
        "the part passed, and it was older than 30 days"
    )
    found = api.get(f"/api/v1/inspections/{seq}").json()
    assert [(each["kind"], each["deleted_at"], each["deleted_for"]) for each in found["images"]] == [
        ("frame", "2026-11-29T12:30:00Z", "keep_pass_days = 30"),
        ("map", "2026-11-29T12:30:00Z", "keep_pass_days = 30"),
    ]


def test_what_is_deleted_is_neither_learned_from_nor_made_golden(seeder, engine: Engine) -> None:
    seqs = [with_picture(seeder, "L1", f"S{number}") for number in range(3)]
    seeder.connection.commit()
    delete(engine, seqs[0])
    with engine.connect() as connection:
        assert sorted(member.seq for member in draft(connection, "plate").members) == seqs[1:]
        with pytest.raises(NotFound, match="no frame is stored for inspection 1"):
            golden_inspections(connection, "plate", [seqs[0]], "ada")


def test_a_training_set_is_not_frozen_with_images_that_went_meanwhile_and_keeps_those_that_it_has(seeder, engine: Engine) -> None:
    seqs = [with_picture(seeder, "L1", f"S{number}") for number in range(2)]
    seeder.connection.commit()
    with engine.connect() as connection:
        drawn = draft(connection, "plate")
    delete(engine, seqs[0])
    with engine.connect() as connection, pytest.raises(Conflict, match="1 images of the training set were deleted by retention"):
        freeze(connection, drawn, "ada")
    with engine.begin() as connection:
        frozen = freeze(connection, draft(connection, "plate"), "ada")
    with engine.connect() as connection:
        assert connection.execute(select(training_set_members.c.training_set)).scalars().all() == [frozen.training_set]
        assert deletable(connection, seqs) == [seqs[0]]
    assert delete(engine, seqs[1]) == []


# --- legal holds ---


def test_a_legal_hold_keeps_images_until_it_is_released(api: TestClient, seeder, engine: Engine) -> None:
    seqs = [with_picture(seeder, lot, serial) for lot, serial in (("L1", "S1"), ("L2", "S2"), ("L3", "S2"), ("L3", "S3"))]
    seeder.connection.commit()
    placed = api.post("/api/v1/legal-holds", json={"lot": "L1", "reason": "claim 7", "by": "ada"})
    assert placed.status_code == 201
    hold = placed.json()
    assert (hold["lot"], hold["serial"], hold["seq"], hold["placed_by"], hold["reason"]) == ("L1", None, None, "ada", "claim 7")
    assert api.post("/api/v1/legal-holds", json={"serial": "S2", "reason": "x"}).status_code == 201
    assert api.post("/api/v1/legal-holds", json={"seq": seqs[3], "reason": "y"}).status_code == 201
    assert delete(engine, *seqs) == []
    assert [each["legal_hold_id"] for each in api.get("/api/v1/legal-holds").json()["items"]] == [3, 2, 1]
    released = api.post("/api/v1/legal-holds/1/release", json={"reason": "settled", "by": "bob"}).json()
    assert (released["released_by"], released["release_reason"]) == ("bob", "settled")
    assert code(api.post("/api/v1/legal-holds/1/release", json={"reason": "again"})) == (409, "released")
    assert [each["legal_hold_id"] for each in api.get("/api/v1/legal-holds").json()["items"]] == [3, 2]
    assert api.get("/api/v1/legal-holds", params={"lot": "L1"}).json()["items"] == []
    assert api.get("/api/v1/legal-holds", params={"lot": "L1", "released": True}).json()["items"] == [released]
    assert len(delete(engine, *seqs)) == 2, "frame and map of the first"
    with engine.connect() as connection:
        entries = connection.execute(select(audit_entries.c.action, audit_entries.c.outcome)).all()
    assert ("POST /legal-holds", "201") in [tuple(entry) for entry in entries]


@pytest.mark.parametrize("named", [{}, {"lot": "L1", "serial": "S1"}])
def test_a_hold_is_on_one_thing(api: TestClient, seeder, named: dict[str, str]) -> None:
    seeder.inspection("L1", "S1")
    seeder.connection.commit()
    assert code(api.post("/api/v1/legal-holds", json={**named, "reason": "x"})) == (409, "ambiguous")


def test_what_was_never_seen_is_not_held_and_a_reason_is_needed(api: TestClient, seeder) -> None:
    seeder.inspection("L1", "S1")
    seeder.connection.commit()
    for named in ({"lot": "L2"}, {"serial": "S9"}, {"seq": 99}):
        assert code(api.post("/api/v1/legal-holds", json={**named, "reason": "x"})) == (404, "unknown_subject")
    assert code(api.post("/api/v1/legal-holds", json={"lot": "L1", "reason": ""})) == (422, "invalid_request")
    assert code(api.post("/api/v1/legal-holds/9/release", json={"reason": "x"})) == (404, "unknown_legal_hold")


# --- the disk ---


def test_the_disk_is_told_by_what_is_on_it(api: TestClient, seeder, engine: Engine, image_dir: Path) -> None:
    seeder.start = datetime.now(UTC) - timedelta(hours=2)
    for number in range(10):
        seq = with_picture(seeder, "L1", f"S{number}", Verdict.FAIL if number % 5 == 0 else Verdict.PASS)
    rows = seeder.connection.execute(select(images)).all()
    count_images(seeder.connection, [(row.seq, row.kind, row.nbytes) for row in rows], 1)
    seeder.connection.commit()
    found = api.get("/api/v1/storage").json()
    portions = {each["holds"]: each for each in found["portions"]}
    frames = [row for row in rows if row.kind == ImageKind.FRAME]
    assert portions["reject_frames"]["nbytes"] == sum(row.nbytes for row in frames if row.seq in (1, 6))
    assert portions["pass_frames"]["nbytes"] == sum(row.nbytes for row in frames if row.seq not in (1, 6))
    assert portions["maps"]["nbytes"] == sum(row.nbytes for row in rows if row.kind == ImageKind.MAP)
    assert portions["database"]["nbytes"] > 100_000
    # Ten parts in two hours are 120 in a day.
    assert found["parts_a_day"] == pytest.approx(120, rel=0.01)
    assert portions["maps"]["bytes_a_day"] == pytest.approx(12 * portions["maps"]["nbytes"], rel=0.01)
    assert found["free_bytes"] < found["disk_bytes"]
    assert found["forecast"]["pass_days"] is not None
    assert found["forecast"]["course"][0]["day"] == 0
    delete(engine, seq)
    with engine.connect() as connection:
        url = engine.url.render_as_string(hide_password=False)
        again = storage_report(image_dir.parent, url, Limits(), connection)
    passes = next(each for each in again.portions if each.holds == "pass_frames")
    assert passes.nbytes == sum(row.nbytes for row in frames if row.seq not in (1, 6, seq))


def test_an_empty_station_has_a_disk_too(api: TestClient) -> None:
    found = api.get("/api/v1/storage").json()
    assert found["parts_a_day"] is None
    assert found["forecast"]["short"] is None
