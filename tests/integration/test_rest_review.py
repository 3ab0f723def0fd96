"""REST: the reviewers' queue, labels with polygons, suggestions, and classes of defects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from inspection.domain import Box, ImageKind, Side, Source, Verdict
from inspection.images import ImageStore
from inspection.records.labels import label_history
from inspection.records.training_sets import freeze, members_of
from inspection.regions import mask_of
from inspection.training_set import draft
from training.perform import region_mask

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def code(response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json", response.text
    return response.status_code, response.json()["code"]


def test_the_queue_is_asked_page_by_page(api: TestClient, seeder) -> None:
    for number in range(1, 31):
        seq = seeder.inspection("L1", f"S{number}", Verdict.FAIL if number % 3 == 0 else Verdict.PASS)
        seeder.image(seq, ImageKind.FRAME, np.zeros((8, 8), np.uint8), "Mono8")
    seeder.inspection("L1", "lost", Verdict.NOT_INSPECTED)
    seeder.connection.commit()
    first = api.get("/api/v1/review", params={"limit": 4, "sample": 0}).json()
    assert [item["inspection"]["seq"] for item in first["items"]] == [30, 27, 24, 21]
    assert (first["left"], first["left_is_capped"], first["you"]) == (10, False, "unnamed")
    rest = api.get("/api/v1/review", params={"sample": 0, "cursor": first["next_cursor"]}).json()
    assert [item["inspection"]["seq"] for item in rest["items"]] == [18, 15, 12, 9, 6, 3]
    assert rest["next_cursor"] is None
    passed = api.get("/api/v1/review", params={"verdict": "pass", "sample": 1, "limit": 100}).json()
    assert passed["left"] == 20
    assert api.get("/api/v1/review", params={"verdict": "fail"}).json()["left"] == 10, "no sample unless pass is asked for"
    assert code(api.get("/api/v1/review", params={"cursor": first["next_cursor"], "lot": "L2"})) == (400, "bad_cursor")
    assert code(api.get("/api/v1/review", params={"from": "2026-01-01T00:00:00"})) == (422, "invalid_request")
    lost = api.get("/api/v1/review/31").json()["item"]
    assert (lost["inspection"]["serial"], lost["labels"], lost["conflicting"]) == ("lost", [], False)
    assert code(api.get("/api/v1/review/99")) == (404, "unknown_inspection")
    good = api.get("/api/v1/inspections/30/nearest-good").json()["inspections"]
    assert [each["verdict"] for each in good] == ["pass"] * 3


def test_a_polygon_is_kept_shown_and_learned_from(api: TestClient, seeder, image_dir: Path) -> None:
    seq = seeder.inspection("L1", "S1", Verdict.FAIL)
    seeder.image(seq, ImageKind.FRAME, np.zeros((48, 64), np.uint8), "Mono8")
    seeder.connection.commit()
    triangle = {"x": 10, "y": 10, "width": 21, "height": 11, "polygon": [[10, 10], [30, 10], [20, 20]]}
    box = {"x": 40, "y": 30, "width": 4, "height": 5, "polygon": None}
    labelled = {"label": "dent", "regions": [triangle, box], "by": "ada", "after": 0}
    given = api.post(f"/api/v1/inspections/{seq}/labels", json=labelled)
    assert (given.status_code, given.json()["regions"]) == (201, [triangle, box])
    assert api.get(f"/api/v1/inspections/{seq}/labels").json()["labels"][0]["regions"] == [triangle, box]
    assert code(api.post(f"/api/v1/inspections/{seq}/labels", json=labelled)) == (409, "stale_label")
    for wrong in ({**triangle, "width": 20}, {**triangle, "polygon": [[10, 10], [70, 10], [20, 20]], "width": 61}):
        refused = api.post(f"/api/v1/inspections/{seq}/labels", json={"label": "dent", "regions": [wrong]})
        assert code(refused) == (409, "invalid_label")
    assert code(api.post(f"/api/v1/inspections/{seq}/labels", json={"label": None, "regions": [box]})) == (409, "invalid_label")

    with api.app.state.context.writer.begin() as connection:
        frozen = freeze(connection, draft(connection, "plate"), "ada")
        (member,) = members_of(connection, frozen.training_set)
        (stored,) = label_history(connection, seq)
    assert member.regions == stored.regions == (Box(10, 10, 21, 11, ((10, 10), (30, 10), (20, 20))), Box(40, 30, 4, 5))
    assert (member.side, member.source) == (Side.TRAIN, Source.LABEL)
    mask = region_mask(ImageStore(image_dir), member)
    assert mask.shape == (48, 64)
    assert mask[10, 10:31].all(), "the outline belongs to it"
    assert mask[20, 20]
    assert not mask[19, 10]
    assert mask[30:35, 40:44].all()
    assert mask.sum() == 121 + 20, "rows of 21, 19 … 1 pixels, and the box"


def test_the_map_suggests_regions(api: TestClient, seeder) -> None:
    seq = seeder.inspection("L1", "S1", Verdict.FAIL)
    seeder.image(seq, ImageKind.FRAME, np.zeros((120, 160), np.uint8), "Mono8")
    scores = np.full((12, 16), 0.2)
    scores[3:6, 4:8] = 3.0
    scores[8:10, 12:14] = 1.8
    seeder.map(seq, scores)
    without = seeder.inspection("L1", "S2", Verdict.FAIL)
    seeder.connection.commit()
    at_review = api.get(f"/api/v1/inspections/{seq}/suggestion").json()
    assert at_review["threshold"] == 1.5
    large, small = at_review["regions"]
    assert (large["width"] > small["width"], len(large["polygon"]) >= 4) == (True, True)
    strange = np.zeros((120, 160), bool)
    strange[30:60, 40:80] = True
    drawn = mask_of([Box(**{**large, "polygon": tuple(map(tuple, large["polygon"]))})], 160, 120)
    assert (drawn & strange).sum() / (drawn | strange).sum() > 0.9
    assert len(api.get(f"/api/v1/inspections/{seq}/suggestion", params={"threshold": 2.5}).json()["regions"]) == 1
    assert code(api.get(f"/api/v1/inspections/{without}/suggestion")) == (404, "no_image")
    small_map = api.get(f"/api/v1/inspections/{seq}/map", params={"longest": 80})
    assert (small_map.content[16:24], small_map.headers["content-type"]) == (b"\0\0\0\x50\0\0\0\x3c", "image/png")


def test_classes_are_listed_changed_and_retired(api: TestClient, seeder) -> None:
    seq = seeder.inspection("L1", "S1", Verdict.FAIL)
    seeder.connection.commit()

    def classes() -> list[tuple[str, str | None, bool, bool]]:
        items = api.get("/api/v1/defect-classes", params={"product": "plate"}).json()["items"]
        return [(each["defect_class"], each["key"], each["listed"], each["retired_at"] is not None) for each in items]

    plate = {"product": "plate"}
    assert classes() == []
    made = api.post("/api/v1/defect-classes", json=plate | {"defect_class": "dent", "colour": "#aabbcc", "by": "ada"})
    assert (made.status_code, made.json()["key"], made.json()["colour"], made.json()["created_by"]) == (
        201,
        "1",
        "#aabbcc",
        "ada",
    )
    assert code(api.post("/api/v1/defect-classes", json=plate | {"defect_class": "dent"})) == (409, "invalid_defect_class")
    for wrong in ({"defect_class": "pit", "key": "1"}, {"defect_class": "pit", "key": "z"}, {"defect_class": "ok"}):
        assert code(api.post("/api/v1/defect-classes", json=plate | wrong)) == (409, "invalid_defect_class")
    api.post(f"/api/v1/inspections/{seq}/labels", json={"label": "a/scratch"})
    assert classes() == [("dent", "1", True, False), ("a/scratch", "2", False, False)]
    changed = api.patch("/api/v1/defect-classes/a%2Fscratch", params=plate, json={"key": "k"})
    assert (changed.json()["key"], changed.json()["listed"], changed.json()["created_by"]) == ("k", True, "unnamed")
    assert code(api.patch("/api/v1/defect-classes/dent", params=plate, json={"key": "k"})) == (409, "invalid_defect_class")
    gone = api.delete("/api/v1/defect-classes/dent", params=plate).json()
    assert (gone["key"], gone["retired_at"] is None) == (None, False)
    assert api.delete("/api/v1/defect-classes/dent", params=plate).json() == gone
    assert classes() == [("a/scratch", "k", True, False), ("dent", None, True, True)]
    assert code(api.patch("/api/v1/defect-classes/dent", params=plate, json={"key": "d"})) == (409, "invalid_defect_class")
    again = api.post("/api/v1/defect-classes", json=plate | {"defect_class": "dent"}).json()
    assert (again["key"], again["colour"], again["retired_at"]) == ("1", "#aabbcc", None)
    assert api.get("/api/v1/defect-classes", params={"product": "flange"}).json()["items"] == []
    assert code(api.delete("/api/v1/defect-classes/pit", params=plate)) == (404, "unknown_defect_class")
