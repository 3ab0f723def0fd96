"""REST: models compared, thresholds that a person chooses, decisions by pages that are out of date, drafts of training sets."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_models import network, small_model
from sqlalchemy import Engine
from starlette.testclient import TestClient

from inspection.artifact import MANIFEST, model_at, read_artifact
from inspection.domain import Check, GoldenImage, ImageKind, Verdict
from inspection.images import ImageStore, encode_map
from inspection.model_maps import MapStore
from inspection.records.deployments import register_model
from inspection.records.gates import store_gate, waiting_gate
from inspection.records.labels import add_label
from inspection.records.model_scores import store_scores
from inspection.records.stored_images import add_golden, add_imported

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def code(response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json", response.text
    assert len(response.json()["detail"]) > 20
    return response.status_code, response.json()["code"]


@pytest.fixture
def pair(seeder, image_dir: Path) -> tuple[str, str]:
    """Two registered models that passed a gate before any was in service."""
    folder = image_dir.parent / "models"
    digests = []
    for path in (small_model(folder), small_model(folder, files=network(0, gain=1.5))):
        register_model(seeder.connection, model_at(path, "plate"))
        store_gate(seeder.connection, "st-1", "plate", path.name, [Check("parity", True, "equal")], None, "trainer")
        digests.append(path.name)
    seeder.connection.commit()
    return digests[0], digests[1]


def scored(seeder, pair: tuple[str, str], scores: tuple[float | None, float | None], label: str | None) -> int:
    """A part with these scores of both models."""
    seq = seeder.inspection("L1", f"S{seeder.seqs}", Verdict.PASS)
    sha256 = seeder.image(seq, ImageKind.FRAME, np.full((12, 16), seq, np.uint8), "Mono8")
    if label is not None:
        add_label(seeder.connection, seq, label, "ada")
    for model, score in zip(pair, scores, strict=True):
        if score is not None:
            store_scores(seeder.connection, model, {sha256: score})
    return seq


def test_two_models_are_compared_on_the_same_parts(api: TestClient, seeder, pair) -> None:
    first, second = pair
    for scores, label in (
        ((0.1, 0.2), "ok"),
        ((0.4, 0.6), "ok"),
        ((0.3, 0.5), "dent"),
        ((0.9, 0.9), "dent"),
        ((0.9, None), "ok"),  # one of them did not score it
        ((0.2, 0.7), None),
    ):
        scored(seeder, pair, scores, label)
    seeder.connection.commit()
    address = f"/api/v1/models/{second}/comparison"
    alone = api.get(address).json()
    assert (alone["other"], alone["false_rejects"], alone["model"]["unscored"]) == (None, None, 1)
    api.post("/api/v1/deployments", json={"product": "plate", "model": first, "reason": "the first"})
    seen = api.get(address).json()
    assert (seen["model"]["model"], seen["other"]["model"], seen["product"]) == (second, first, "plate")
    # Thresholds of both: review 0.5, fail 0.8.
    mine, other = seen["model"]["figures"], seen["other"]["figures"]
    assert [(each["events"], each["parts"]) for each in (mine["false_rejects"], mine["escapes"], mine["to_review"])] == [
        (1, 2),
        (0, 2),
        (2, 4),
    ]
    assert [(each["events"], each["parts"]) for each in (other["false_rejects"], other["escapes"])] == [(0, 2), (1, 2)]
    assert (mine["auroc"], other["auroc"]) == (0.75, 0.75)
    assert (seen["false_rejects"]["only_model"], seen["escapes"]["only_other"]) == (1, 1)
    changes = {each["seq"]: (each["other_verdict"], each["verdict"]) for each in seen["parts"]}
    assert changes == {
        1: ("pass", "pass"),
        2: ("pass", "review"),
        3: ("pass", "review"),
        4: ("fail", "fail"),
        5: ("fail", None),
        6: ("pass", "review"),
    }
    assert api.get(address, params={"with": first}).json() == seen

    chosen = {"review_threshold": 0.65, "fail_threshold": 0.7, "parts": False}
    moved = api.get(address, params=chosen).json()
    assert moved["parts"] == []
    assert (moved["model"]["figures"]["false_rejects"]["events"], moved["model"]["figures"]["escapes"]["events"]) == (0, 1)
    assert (moved["model"]["figures"]["looked"], moved["other"]["figures"]["looked"]) == (True, False)
    assert moved["model"]["figures"]["escapes_claim"]["further_parts"] > mine["escapes_claim"]["further_parts"] > 0
    for unfit in ({"review_threshold": 0.7}, {"review_threshold": 0.7, "fail_threshold": 0.7}, {"escapes": 1}):
        assert code(api.get(address, params=unfit)) == (422, "invalid_request")
    assert code(api.get(address, params={"with": second})) == (409, "not_comparable")
    assert code(api.get(address, params={"with": "ef" * 32})) == (404, "unknown_model")
    assert code(api.get(f"/api/v1/models/{'ef' * 32}/comparison")) == (404, "unknown_model")


@SQLITE
def test_pictures_of_what_is_compared(api: TestClient, seeder, pair, image_dir: Path) -> None:
    seq = scored(seeder, pair, (0.4, 0.6), "ok")
    kept = ImageStore(image_dir).put(
        cv2.imencode(".png", np.full((30, 400), 7, np.uint8))[1].tobytes(), ImageKind.FRAME, 400, 30, "Mono8"
    )
    golden = GoldenImage("plate", kept.sha256, "ok", "a.png", "Mono8", "ada", datetime.now(UTC))
    add_golden(seeder.connection, golden)
    seeder.connection.commit()
    parts = api.get(f"/api/v1/models/{pair[0]}/comparison").json()["parts"]
    assert [(each["source"], each["seq"], each["map"]) for each in parts] == [("golden", None, None), ("label", seq, None)]
    small = api.get(f"/api/v1/images/{kept.sha256}", params={"render": "thumbnail"})
    assert small.headers["content-type"] == "image/jpeg"
    assert cv2.imdecode(np.frombuffer(small.content, np.uint8), cv2.IMREAD_UNCHANGED).shape == (24, 320)
    again = api.get(f"/api/v1/images/{kept.sha256}?render=thumbnail", headers={"if-none-match": small.headers["etag"]})
    assert again.status_code == 304
    assert code(api.get(f"/api/v1/images/{'ab' * 32}")) == (404, "no_image")
    ImageStore(image_dir).path(kept.sha256).unlink()
    assert code(api.get(f"/api/v1/images/{kept.sha256}")) == (410, "image_gone")

    frame = parts[1]["sha256"]
    assert code(api.get(f"/api/v1/models/{pair[0]}/maps/{frame}")) == (404, "no_map")
    scores = np.zeros((6, 8), np.float32)
    scores[2, 3] = 0.8
    MapStore(image_dir.parent / "maps").put(pair[0], frame, encode_map(scores, 0.8))
    (part,) = (each for each in api.get(f"/api/v1/models/{pair[0]}/comparison").json()["parts"] if each["seq"] == seq)
    heat = api.get(part["map"])
    pixels = cv2.imdecode(np.frombuffer(heat.content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels.shape == (480, 640, 4)
    assert pixels[200, 280, 3] > 0 == pixels[10, 10, 3], "a spot at the fail threshold is seen, the rest is not"


def test_a_decision_by_a_page_that_is_out_of_date_is_refused(api: TestClient, pair) -> None:
    first, second = pair
    wanted = {"product": "plate", "reason": "the first", "override": "a test"}
    shown = api.post("/api/v1/deployments", json=wanted | {"model": first, "in_service": None, "by": "kim"}).json()
    # Somebody still sees that nothing is in service, and somebody else that the first one is.
    for nothing in (None, 0):
        refused = api.post("/api/v1/deployments", json=wanted | {"model": second, "in_service": nothing})
        assert code(refused) == (409, "stale")
    assert f"kim put model {first[:12]} in service for plate at 20" in refused.json()["detail"]
    assert "UTC (the first), after what you saw" in refused.json()["detail"]
    body = wanted | {"model": second, "in_service": shown["deployment_id"], "by": "lee"}
    present = api.post("/api/v1/deployments", json=body).json()
    assert present["model"] == second
    back = {"product": "plate", "reason": "escapes"}
    stale = api.post("/api/v1/deployments/rollback", json=back | {"in_service": shown["deployment_id"]})
    assert code(stale) == (409, "stale")
    assert "lee put model" in stale.json()["detail"]
    rolled = api.post("/api/v1/deployments/rollback", json=back | {"in_service": present["deployment_id"]}).json()
    assert (rolled["model"], rolled["taken_out"]) == (first, second)
    # Who does not say what he saw is not asked.
    assert api.post("/api/v1/deployments", json=wanted | {"model": second}).status_code == 201
    assert code(api.post("/api/v1/deployments", json=wanted | {"model": first, "in_service": -1})) == (422, "invalid_request")


@SQLITE
def test_a_model_with_other_thresholds_is_made_registered_and_waits_for_its_gate(
    api: TestClient, pair, engine: Engine, image_dir: Path
) -> None:
    first, _ = pair
    address = f"/api/v1/models/{first}/thresholds"
    wanted = {"product": "plate", "review_threshold": 0.3, "fail_threshold": 0.6, "reason": "fewer escapes", "by": "kim"}
    answer = api.post(address, json=wanted)
    assert answer.status_code == 201
    made = answer.json()["model"]
    (gate,) = answer.json()["gates"]
    assert (gate["passed"], gate["gated_by"]) == (None, "kim")
    with engine.connect() as connection:
        assert waiting_gate(connection, "st-1").model == made["model"]
    manifest = read_artifact(image_dir.parent / "models" / made["model"], made["model"]).manifest
    assert (manifest.thresholds.review, manifest.thresholds.fail) == (0.3, 0.6)
    assert (manifest.chosen_thresholds.model, manifest.chosen_thresholds.by) == (first, "kim")
    assert api.get("/api/v1/models").json()["models"][0] == made, "the newest"
    deployment = {"product": "plate", "model": made["model"], "reason": "at once"}
    assert code(api.post("/api/v1/deployments", json=deployment)) == (409, "gate_not_passed")

    for unfit in (
        {"review_threshold": 0.6},
        {"review_threshold": 0.7},
        {"review_threshold": 0},
        {"review_threshold": -1},
        {"fail_threshold": "inf"},
        {"review_threshold": "nan"},
        {"reason": ""},
    ):
        assert code(api.post(address, json=wanted | unfit)) == (422, "invalid_request"), unfit
    assert code(api.post(address, json=wanted | {"product": "flange"})) == (409, "wrong_product")
    own = {"review_threshold": 0.5, "fail_threshold": 0.8}
    assert code(api.post(address, json=wanted | own)) == (409, "same_thresholds")
    assert code(api.post(f"/api/v1/models/{'ef' * 32}/thresholds", json=wanted)) == (404, "unknown_model")
    (image_dir.parent / "models" / first / MANIFEST).write_bytes(b"{}")
    assert code(api.post(address, json=wanted)) == (409, "damaged_model")
    assert code(api.get(f"/api/v1/models/{first}/comparison")) == (409, "damaged_model")


@SQLITE
def test_a_draft_shows_what_would_be_learned_and_what_is_left_out_stays_out(api: TestClient, seeder) -> None:
    nothing = api.get("/api/v1/training-sets/draft", params={"product": "plate"}).json()
    assert (nothing["groups"], nothing["sizes"]) == ([], {"train": {}, "validation": {}})
    assert "0 good images of plate are there to learn from" in nothing["problem"]
    for number in range(14):
        # L10 is a lot that is kept for validation.
        seq = seeder.inspection("L1" if number < 12 else "L10", f"S{number}")
        seeder.image(seq, ImageKind.FRAME, np.full((8, 8), number, np.uint8), "Mono8")
    for seq, label in ((1, "dent"), (2, "ok"), (13, "dent")):
        add_label(seeder.connection, seq, label, "ada")
    store = ImageStore(Path(seeder.image_dir))
    kept = store.put(cv2.imencode(".png", np.full((8, 8), 99, np.uint8))[1].tobytes(), ImageKind.FRAME, 8, 8, "Mono8")
    add_imported(seeder.connection, "plate", kept.sha256, "a.png", "/photographs", "Mono8", "ada")
    seeder.connection.commit()
    whole = api.get("/api/v1/training-sets/draft", params={"product": "plate"}).json()
    assert (whole["sizes"], whole["problem"]) == ({"train": {"dent": 1, "ok": 12}, "validation": {"dent": 1, "ok": 1}}, None)
    assert {(each["lot"], each["side"], each["source"], each["label"]): each["images"] for each in whole["groups"]} == {
        ("L1", "train", "label", "dent"): 1,
        ("L1", "train", "label", "ok"): 1,
        ("L1", "train", "pass", "ok"): 10,
        ("L10", "validation", "label", "dent"): 1,
        ("L10", "validation", "pass", "ok"): 1,
        ("folder: /photographs", "train", "folder", "ok"): 1,
    }
    asked = {"product": "plate", "without_label": "dent", "without_lot": "folder: /photographs"}
    less = api.get("/api/v1/training-sets/draft", params=asked).json()
    assert (less["sizes"], less["groups"]) == ({"train": {"ok": 11}, "validation": {"ok": 1}}, whole["groups"])
    assert "3 images are left out as asked: label dent; lot folder: /photographs" in less["warnings"]
    left_out = {"labels": ["dent"], "lots": ["folder: /photographs"]}
    frozen = api.post("/api/v1/training-sets", json={"product": "plate", "leave_out": left_out, "by": "kim"}).json()
    assert (frozen["sizes"], frozen["warnings"], frozen["created_by"]) == (less["sizes"], less["warnings"], "kim")
    assert (
        "2 good images of plate"
        in api.get("/api/v1/training-sets/draft", params={"product": "plate", "without_source": "pass"}).json()["problem"]
    )
    nowhere = api.post("/api/v1/training-sets", json={"product": "plate", "leave_out": {"sources": ["pass"]}})
    assert code(nowhere) == (409, "not_trainable")


@SQLITE
def test_good_images_come_from_a_browser_too(api: TestClient, image_dir: Path) -> None:
    def sent(content: bytes, **values: str):
        body = {"product": "plate", "name": "a.png", "folder": "Monday", "by": "kim"} | values
        return api.post("/api/v1/imported-images", json=body | {"content": base64.b64encode(content).decode()})

    pixels = np.random.default_rng(0).integers(0, 65536, (30, 40), np.uint16)
    deep = cv2.imencode(".png", pixels)[1].tobytes()
    first = sent(deep)
    assert (first.status_code, first.json()["pixel_format"], first.json()["new"]) == (201, "Mono16", True)
    assert sent(deep, name="b.png").json()["new"] is False
    stored = ImageStore(image_dir).frame(first.json()["sha256"], "Mono16")
    assert np.array_equal(stored.pixels, pixels), "to the bit"
    (group,) = api.get("/api/v1/training-sets/draft", params={"product": "plate"}).json()["groups"]
    assert group == {"lot": "folder: Monday", "side": "train", "source": "folder", "label": "ok", "images": 1}
    assert code(sent(deep[:500])) == (422, "unreadable_image")
    assert code(sent(b"GIF89a")) == (422, "unreadable_image")
    assert code(sent(deep, product="lid")) == (422, "invalid_request")
    assert code(sent(deep, name="a\nb")) == (422, "invalid_request")
