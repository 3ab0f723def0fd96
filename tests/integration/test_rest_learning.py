"""REST: labels, golden images, training sets and runs, deployments, rollbacks and shadows, on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest
from shadow_messages import found_fast, verdict
from sqlalchemy import Engine
from starlette.testclient import TestClient

from inspection import artifact
from inspection.domain import Check, ImageKind, Model, Verdict
from inspection.records.deployments import register_model
from inspection.records.gates import store_gate, waiting_gate
from inspection.records.shadows import shadow_inspected
from inspection.records.training_runs import claim_run

BY = {"by": "ada"}


def code(response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json", response.text
    assert len(response.json()["detail"]) > 20
    return response.status_code, response.json()["code"]


def test_who_and_why_have_no_control_characters(api: TestClient, seeder) -> None:
    """PostgreSQL stores no NUL, and no command line takes one."""
    seeder.inspection("L1", "S1")
    seeder.connection.commit()
    for path, body in (
        ("inspections/1/labels", {"label": "ok"}),
        ("training-sets", {"product": "plate"}),
        ("training-runs", {"training_set": "ab" * 32}),
        (f"models/{'ab' * 32}/gates", {}),
    ):
        for by in ("a\0", "a\nb", "\x1b[31m"):
            refused = api.post(f"/api/v1/{path}", json=body | {"by": by})
            assert code(refused) == (422, "invalid_request"), path
            assert "body.by: must have no control characters, has " in refused.json()["detail"]
    deployment = BY | {"product": "plate", "model": "ab" * 32}
    for why in ({"reason": "\0"}, {"reason": "a", "override": "\0"}):
        assert code(api.post("/api/v1/deployments", json=deployment | why)) == (422, "invalid_request")
    lines = api.post("/api/v1/inspections/1/labels", json=BY | {"label": "ok", "reason": "dust\n\tand light: ü, 检, 🙂"})
    assert lines.json()["reason"] == "dust\n\tand light: ü, 检, 🙂"


def test_labels_are_given_and_read_back(api: TestClient, seeder) -> None:
    seq = seeder.inspection("L1", "S1", Verdict.FAIL)
    seeder.image(seq, ImageKind.FRAME, np.zeros((48, 64), np.uint8), "Mono8")
    seeder.connection.commit()
    region = {"x": 1, "y": 2, "width": 3, "height": 4, "polygon": None}
    given = api.post(f"/api/v1/inspections/{seq}/labels", json=BY | {"label": "scratch", "regions": [region]})
    assert given.status_code == 201
    assert (given.json()["label"], given.json()["regions"], given.json()["labelled_by"]) == ("scratch", [region], "ada")
    api.post(f"/api/v1/inspections/{seq}/labels", json={"label": "ok", "by": "bob", "reason": "dust"})
    history = api.get(f"/api/v1/inspections/{seq}/labels").json()
    assert [(each["label"], each["labelled_by"], each["reason"]) for each in history["labels"]] == [
        ("ok", "bob", "dust"),
        ("scratch", "ada", ""),
    ]
    changes = api.get("/api/v1/labels", params={"after": given.json()["label_id"]}).json()
    assert [each["label"] for each in changes["items"]] == ["ok"]
    assert api.get("/api/v1/labels", params={"after": changes["last_label_id"]}).json() == changes | {"items": []}

    assert code(api.post("/api/v1/inspections/99/labels", json=BY | {"label": "ok"})) == (404, "unknown_inspection")
    assert code(api.get("/api/v1/inspections/99/labels")) == (404, "unknown_inspection")
    assert code(api.post(f"/api/v1/inspections/{seq}/labels", json=BY | {"label": "OK"})) == (409, "invalid_label")
    outside = BY | {"label": "dent", "regions": [region | {"x": 62}]}
    assert code(api.post(f"/api/v1/inspections/{seq}/labels", json=outside)) == (409, "invalid_label")
    assert code(api.post(f"/api/v1/inspections/{seq}/labels", json=BY)) == (422, "invalid_request")


def test_a_training_set_and_its_runs(api: TestClient, seeder, engine: Engine) -> None:
    for shade in range(11):
        seq = seeder.inspection("L1", f"S{shade}")
        seeder.image(seq, ImageKind.FRAME, np.full((8, 8), shade, np.uint8), "Mono8")
    seeder.connection.commit()
    assert code(api.post("/api/v1/training-sets", json=BY | {"product": "flange"})) == (409, "not_trainable")
    api.post("/api/v1/inspections/1/labels", json=BY | {"label": "dent"})
    created = api.post("/api/v1/training-sets", json=BY | {"product": "plate"})
    assert created.status_code == 201
    digest = created.json()["training_set"]
    assert created.json()["sizes"] == {"train": {"dent": 1, "ok": 10}, "validation": {}}
    assert any("10 of 10 good images" in warning for warning in created.json()["warnings"])
    assert api.get("/api/v1/training-sets", params={"product": "plate"}).json()["items"] == [created.json()]
    shown = api.get(f"/api/v1/training-sets/{digest}").json()
    assert shown["training_set"] == created.json()
    assert sorted(member["label"] for member in shown["members"]) == ["dent"] + ["ok"] * 10
    assert code(api.get(f"/api/v1/training-sets/{'ab' * 32}")) == (404, "unknown_training_set")
    assert code(api.get("/api/v1/training-sets/../x")) == (404, "not_found")

    wanted = BY | {"training_set": digest, "reason": "dents", "seed": 3, "longer_side": 160, "false_rejects": 0.005}
    queued = api.post("/api/v1/training-runs", json=wanted)
    assert (queued.status_code, queued.json()["state"]) == (201, "queued")
    assert queued.json()["settings"] == {"longer_side": 160, "seed": 3, "false_rejects": 0.005, "confidence": 0.95}
    number = queued.json()["training_run_id"]
    for unfit in ({"longer_side": 95}, {"false_rejects": 0}, {"confidence": 1}):
        assert code(api.post("/api/v1/training-runs", json=wanted | unfit)) == (422, "invalid_request")
    assert code(api.post("/api/v1/training-runs", json=wanted | {"training_set": "ab" * 32})) == (404, "unknown_training_set")
    with engine.begin() as connection:
        assert claim_run(connection, "st-1").training_run_id == number, "the station of the settings"
    assert api.get(f"/api/v1/training-runs/{number}").json()["state"] == "running"
    asked = api.post(f"/api/v1/training-runs/{number}/cancel", json={"by": "bob"}).json()
    assert (asked["state"], asked["cancelled_by"]) == ("running", "bob")
    without = api.post("/api/v1/training-runs", json=BY | {"training_set": digest}).json()
    assert without["settings"] == {"seed": 0, "longer_side": None, "false_rejects": 0.02, "confidence": 0.95}
    waiting = without["training_run_id"]
    assert api.post(f"/api/v1/training-runs/{waiting}/cancel", json=BY).json()["state"] == "cancelled"
    assert code(api.post(f"/api/v1/training-runs/{waiting}/cancel", json=BY)) == (409, "training_run_over")
    assert code(api.post("/api/v1/training-runs/99/cancel", json=BY)) == (404, "unknown_training_run")
    assert code(api.get("/api/v1/training-runs/99")) == (404, "unknown_training_run")
    assert [run["training_run_id"] for run in api.get("/api/v1/training-runs").json()["items"]] == [waiting, number]


def test_golden_images(api: TestClient, seeder) -> None:
    for number in range(2):
        seeder.image(seeder.inspection("L1", f"S{number}"), ImageKind.FRAME, np.full((8, 8), number, np.uint8), "Mono8")
    seeder.connection.commit()
    wanted = BY | {"product": "plate", "seqs": [1, 2]}
    api.post("/api/v1/inspections/1/labels", json=BY | {"label": "ok"})
    assert code(api.post("/api/v1/golden-images", json=wanted)) == (409, "invalid_golden_image")
    assert api.get("/api/v1/golden-images", params={"product": "plate"}).json()["images"] == [], "all or none"
    api.post("/api/v1/inspections/2/labels", json=BY | {"label": "dent"})
    added = api.post("/api/v1/golden-images", json=wanted).json()
    assert [image["label"] for image in added["images"]] == ["dent", "ok"]
    sha256 = added["images"][0]["sha256"]
    rest = api.delete(f"/api/v1/golden-images/{sha256}", params={"product": "plate"}).json()
    assert [image["label"] for image in rest["images"]] == ["ok"]
    gone = api.delete(f"/api/v1/golden-images/{sha256}", params={"product": "plate"})
    assert code(gone) == (404, "unknown_golden_image")
    assert code(api.post("/api/v1/golden-images", json=wanted | {"seqs": [99]})) == (404, "no_image")


@pytest.fixture
def digests(seeder, tmp_path: Path) -> tuple[str, str]:
    """Two registered models with whole artifacts; the first one passed its gate."""
    files = {artifact.NETWORK: b"network", artifact.WEIGHTS: b"weights"}
    written = []
    for seed in range(2):
        manifest = _manifest(seed, files)
        path, digest = artifact.write_artifact(tmp_path / "models", manifest, files)
        model = Model(digest, "plate", f"models/{path.name}", "PatchCore", datetime(2025, 1, 1, tzinfo=UTC), {})
        register_model(seeder.connection, model)
        written.append(digest)
    store_gate(seeder.connection, "st-1", "plate", written[0], [Check("parity", True, "equal")], None, "trainer")
    seeder.connection.commit()
    return written[0], written[1]


def _manifest(seed: int, files: dict[str, bytes]) -> artifact.Manifest:
    fields = {
        "schema_version": artifact.SCHEMA_VERSION,
        "product": "plate",
        "algorithm": "PatchCore",
        "preprocessing": {
            "width": 96,
            "height": 96,
            "resize": "area average, halved first",
            "scale": "full scale of the pixel format",
            "mono": "repeated to RGB",
            "bayer": "bilinear to RGB",
        },
        "calibration": {"method": "cross-fit", "scores": [1.0]},
        "thresholds": {"review": 1.5, "fail": 2.0, "rule": "a test"},
        "metrics": {},
        "parity": {
            "images": 1,
            "precision": "f32",
            "max_relative_difference": 0.0,
            "rank_correlation": 1.0,
            "tolerance": 0.01,
        },
        "provenance": {
            "created_at": "2025-01-01T00:00:00Z",
            "seed": seed,
            "backbone": {
                "name": "b",
                "layers": [],
                "package": "p",
                "version": "1",
                "weights_sha256": "ab" * 32,
                "licence": "Apache-2.0",
            },
            "versions": {},
            "images": [],
            "skipped": {},
        },
        "files": msgspec.to_builtins(artifact.file_entries(files)),
    }
    return msgspec.convert(fields, artifact.Manifest)


def test_deploying_asks_for_the_gate_and_rolling_back_does_not(api: TestClient, digests, tmp_path: Path) -> None:
    gated, other = digests
    assert api.get(f"/api/v1/models/{gated}").json()["gates"][0]["checks"] == [
        {"check": "parity", "passed": True, "detail": "equal"}
    ]
    assert code(api.get(f"/api/v1/models/{'ef' * 32}")) == (404, "unknown_model")
    wanted = BY | {"product": "plate", "reason": "the first"}
    back = BY | {"product": "plate", "reason": "escapes"}
    assert code(api.post("/api/v1/deployments", json=wanted | {"model": "ef" * 32})) == (404, "unknown_model")
    wrong = wanted | {"model": gated, "product": "flange"}
    assert code(api.post("/api/v1/deployments", json=wrong)) == (409, "wrong_product")
    assert code(api.post("/api/v1/deployments/rollback", json=back)) == (409, "no_former_model")
    first = api.post("/api/v1/deployments", json=wanted | {"model": gated})
    assert (first.status_code, first.json()["override"]) == (201, None)
    ungated = wanted | {"model": other}
    assert code(api.post("/api/v1/deployments", json=ungated)) == (409, "gate_not_passed")
    forced = api.post("/api/v1/deployments", json=ungated | {"override": "the line must run"}).json()
    assert (forced["model"], forced["override"]) == (other, "the line must run")
    rolled = api.post("/api/v1/deployments/rollback", json=back).json()
    assert (rolled["model"], rolled["reason"]) == (gated, "rolled back: escapes")
    assert [each["model"] for each in api.get("/api/v1/models").json()["deployments"]] == [gated, other, gated]
    assert (rolled["taken_out"], first.json()["taken_out"]) == (other, None)
    assert code(api.post("/api/v1/deployments/rollback", json=back)) == (409, "no_former_model")
    (tmp_path / "models" / other / artifact.WEIGHTS).write_bytes(b"altered")
    assert code(api.post("/api/v1/deployments", json=ungated | {"override": "now"})) == (409, "damaged_model")


def test_a_gate_is_asked_for_once_and_answered_by_the_next_gating(api: TestClient, digests, engine: Engine) -> None:
    gated, other = digests
    asked = api.post(f"/api/v1/models/{other}/gates", json={"by": "bob"})
    assert (asked.status_code, asked.json()["passed"], asked.json()["gated_at"]) == (202, None, None)
    assert api.post(f"/api/v1/models/{other}/gates", json=BY).json() == asked.json()
    assert code(api.post(f"/api/v1/models/{'ef' * 32}/gates", json=BY)) == (404, "unknown_model")
    wanted = BY | {"product": "plate", "reason": "the first"}
    assert code(api.post("/api/v1/deployments", json=wanted | {"model": other})) == (409, "gate_not_passed")
    with engine.begin() as connection:
        assert waiting_gate(connection, "st-1").model == other
        assert waiting_gate(connection, "st-2") is None
        store_gate(connection, "st-1", "plate", other, [Check("parity", True, "equal")], None, "trainer")
        assert waiting_gate(connection, "st-1") is None
    (done,) = api.get(f"/api/v1/models/{other}").json()["gates"]
    assert (done["gate_id"], done["passed"], done["gated_by"]) == (asked.json()["gate_id"], True, "bob")
    assert api.post("/api/v1/deployments", json=wanted | {"model": other}).status_code == 201
    # The other's gate did not compare it with the model that is in service now.
    stale = api.post("/api/v1/deployments", json=wanted | {"model": gated})
    assert code(stale) == (409, "gate_not_passed")
    assert f"was compared with no model, and {other[:12]} is in service now; gate it again" in stale.json()["detail"]


def test_a_challenger_and_where_it_differs(api: TestClient, seeder, digests) -> None:
    gated, other = digests
    api.post("/api/v1/deployments", json=BY | {"product": "plate", "reason": "the first", "model": gated})
    wanted = BY | {"product": "plate", "model": other}
    assert code(api.post("/api/v1/shadows", json=wanted | {"model": gated})) == (409, "no_challenger")
    assert code(api.post("/api/v1/shadows", json=wanted | {"model": "ef" * 32})) == (404, "unknown_model")
    assert code(api.post("/api/v1/shadows/stop", json={"product": "plate"})) == (404, "no_shadow")
    assert code(api.post("/api/v1/shadows", json=wanted)) == (409, "no_challenger"), "nobody knows how long it takes"
    found_fast(seeder.connection, "st-1", "plate", other)
    seeder.connection.commit()
    started = api.post("/api/v1/shadows", json=wanted)
    assert (started.status_code, started.json()["model"], started.json()["ended_at"]) == (201, other, None)
    assert api.get("/api/v1/shadows").json()["items"] == [started.json()]

    for said in (Verdict.PASS, Verdict.FAIL):
        number = seeder.inspection("L1", "S", Verdict.PASS)
        shadow_inspected(seeder.connection, verdict(number, said, model=other))
    seeder.connection.commit()
    found = api.get("/api/v1/shadows/disagreements", params={"model": other}).json()
    assert found["summary"] == {
        "model": other,
        "inspected": 2,
        "agreed": 1,
        "verdicts": {"pass/fail": 1, "pass/pass": 1},
    }
    assert [(each["seq"], each["verdict"], each["shadow_verdict"], each["label"]) for each in found["items"]] == [
        (2, "pass", "fail", None)
    ]
    after = api.get("/api/v1/shadows/disagreements", params={"model": other, "after": found["last_seq"]}).json()
    assert after["items"] == []
    ended = api.post("/api/v1/shadows/stop", json={"product": "plate"}).json()["items"]
    assert ended[0]["ended_at"] is not None
