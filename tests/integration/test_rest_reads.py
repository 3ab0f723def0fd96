"""REST reads: the records as JSON, on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import quote

import cv2
import numpy as np
import pytest

from inspection.domain import ImageKind, LotState, Verdict


def test_lots_and_their_results_are_paged(api, seeder) -> None:
    for number in range(3):
        seeder.lot(f"L{number}", opened_at=seeder.start + timedelta(hours=number))
    for number in range(5):
        seeder.inspection("L1", f"S{number}", Verdict.FAIL if number % 2 else Verdict.PASS)
    seeder.connection.commit()

    first = api.get("/api/v1/lots", params={"limit": 2}).json()
    second = api.get("/api/v1/lots", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [lot["lot"] for lot in first["items"] + second["items"]] == ["L2", "L1", "L0"]
    assert second["next_cursor"] is None

    found, cursor = [], None
    while True:
        page = api.get("/api/v1/lots/L1/results", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        found += [item["seq"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == [1, 2, 3, 4, 5]
    failed = api.get("/api/v1/lots/L1/results", params={"verdict": "fail"}).json()
    assert [item["serial"] for item in failed["items"]] == ["S1", "S3"]


def test_results_are_asked_for_by_reason(api, seeder) -> None:
    reasons = ("deadline", "frame_lost", "deadline", "deadline")
    for number, reason in enumerate(reasons):
        seeder.inspection("L1", f"S{number}")
        seeder.inspection("L1", f"S{number}", Verdict.NOT_INSPECTED, reason=reason)
    seeder.connection.commit()
    first = api.get("/api/v1/lots/L1/results", params={"reason": "deadline", "limit": 2}).json()
    second = api.get("/api/v1/lots/L1/results", params={"reason": "deadline", "limit": 2, "cursor": first["next_cursor"]}).json()
    assert [item["seq"] for item in first["items"] + second["items"]] == [2, 6, 8]
    assert second["next_cursor"] is None
    assert api.get("/api/v1/lots/L1/results", params={"reason": "deadline", "verdict": "pass"}).json()["items"] == []
    of_another_list = api.get("/api/v1/lots/L1/results", params={"reason": "frame_lost", "cursor": first["next_cursor"]})
    assert of_another_list.json()["code"] == "bad_cursor"


def test_a_lot_and_its_summary(api, seeder) -> None:
    seeder.lot("L1", state=LotState.CLOSED, closed_at=seeder.start, expected_quantity=7)
    for verdict in (Verdict.PASS, Verdict.PASS, Verdict.FAIL, Verdict.REVIEW, Verdict.NOT_INSPECTED):
        seeder.inspection("L1", "S", verdict)
    seeder.trigger("L1", "S")
    seeder.connection.commit()
    lot = api.get("/api/v1/lots/L1").json()
    assert (lot["product"], lot["state"], lot["expected_quantity"]) == ("plate", "closed", 7)
    assert lot["opened_at"].endswith("Z")
    assert api.get("/api/v1/lots/L1/summary").json() == {
        "lot": "L1",
        "product": "plate",
        "state": "closed",
        "triggered": 6,
        "passed": 2,
        "failed": 1,
        "review": 1,
        "not_inspected": 1,
        "accepted": 2,
        "rejected": 4,
        "open_triggers": 1,
        "reasons": {"frame_lost": 1},
    }


def test_an_inspection_has_the_names_of_the_glossary(api, seeder) -> None:
    seq = seeder.inspection("L1", "S1", Verdict.FAIL)
    seeder.image(seq, ImageKind.FRAME, np.zeros((48, 64), np.uint8), "Mono8")
    seeder.connection.commit()
    found = api.get(f"/api/v1/inspections/{seq}").json()
    assert set(found) == {
        *("seq", "trigger_id", "lot", "serial", "attempt", "product", "camera", "verdict", "reason", "score", "p_value"),
        *("review_threshold", "fail_threshold", "model", "proposed_class", "regions", "frame_id", "triggered_at", "acquired_at"),
        *("decided_at", "recorded_at", "timings_ms", "output", "late_verdict", "late_score", "images", "challenge"),
        *("optics", "detail"),
    }
    assert (found["verdict"], found["output"], found["score"], found["fail_threshold"]) == ("fail", "reject", 3.1, 2.0)
    assert found["regions"] == [{"x": 20, "y": 10, "width": 12, "height": 8, "score": 3.1, "area": 80}]
    assert found["images"][0] | {"sha256": "", "nbytes": 0} == {
        "sha256": "",
        "kind": "frame",
        "media_type": "image/png",
        "width": 64,
        "height": 48,
        "pixel_format": "Mono8",
        "nbytes": 0,
        "deleted_at": None,
        "deleted_for": None,
    }


def test_the_proposed_class_is_read_with_the_inspection_and_null_where_there_is_none(api, seeder) -> None:
    seeder.lot("L1")
    seq = seeder.inspection("L1", "S1", Verdict.FAIL, proposed_class="bent lead")
    for verdict in (Verdict.PASS, Verdict.NOT_INSPECTED):
        seeder.inspection("L1", "S1", verdict)
    seeder.connection.commit()
    assert api.get(f"/api/v1/inspections/{seq}").json()["proposed_class"] == "bent lead"
    for path in ("/api/v1/lots/L1/results", "/api/v1/changes"):
        assert [item["proposed_class"] for item in api.get(path).json()["items"]] == ["bent lead", None, None]


def test_attempts_of_a_serial_and_changes(api, seeder) -> None:
    seeder.lot("L1")
    for lot, serial in (("L1", "S1"), ("L1", "S2"), ("L2", "S1")):
        seeder.inspection(lot, serial)
    seeder.connection.commit()
    assert [item["seq"] for item in api.get("/api/v1/parts/S1").json()["attempts"]] == [1, 3]
    assert [item["seq"] for item in api.get("/api/v1/parts/S1", params={"lot": "L2"}).json()["attempts"]] == [3]
    changes = api.get("/api/v1/changes", params={"after": 1, "limit": 1}).json()
    assert ([item["seq"] for item in changes["items"]], changes["last_seq"]) == ([2], 2)
    assert api.get("/api/v1/changes", params={"after": 3}).json() == {"items": [], "last_seq": 3}


def test_faults_are_read_on_from_the_last(api, seeder) -> None:
    seeder.fault(detail="one")
    seeder.fault(detail="two", count=3)
    seeder.connection.commit()
    found = api.get("/api/v1/faults", params={"after": 1}).json()
    assert found["last_fault_id"] == 2
    assert found["items"][0] | {"at": ""} == {
        "fault_id": 2,
        "at": "",
        "source": "camera:cam-1",
        "kind": "frame_lost",
        "count": 3,
        "detail": "two",
    }


@pytest.mark.parametrize("name", ["24/0815", "%2F", "a?b#c&d", "Ä-序列", "<script>", "a+b", "..."])
def test_any_visible_name_works_in_an_address(api, seeder, name: str) -> None:
    seeder.lot(name)
    seeder.inspection(name, name)
    seeder.connection.commit()
    quoted = quote(name, safe="")
    assert api.get(f"/api/v1/lots/{quoted}").json()["lot"] == name
    assert api.get(f"/api/v1/lots/{quoted}/summary").json()["triggered"] == 1
    assert api.get(f"/api/v1/lots/{quoted}/results").json()["items"][0]["lot"] == name
    assert api.get(f"/api/v1/parts/{quoted}", params={"lot": name}).json()["attempts"][0]["serial"] == name


# --- images -----------------------------------------------------------------------------------------------------------


def _decoded(response) -> np.ndarray:
    assert response.status_code == 200, response.text
    return cv2.imdecode(np.frombuffer(response.content, np.uint8), cv2.IMREAD_UNCHANGED)


def _stored(seeder, pixels: np.ndarray, pixel_format: str) -> int:
    seq = seeder.inspection("L1", "S1")
    seeder.image(seq, ImageKind.FRAME, pixels, pixel_format)
    seeder.connection.commit()
    return seq


def test_a_frame_is_served_as_stored(api, seeder) -> None:
    pixels = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)
    response = api.get(f"/api/v1/inspections/{_stored(seeder, pixels, 'Mono12')}/image")
    assert response.headers["content-type"] == "image/png"
    np.testing.assert_array_equal(_decoded(response), pixels)


def test_a_12_bit_frame_is_shown_by_the_full_scale_of_its_format(api, seeder) -> None:
    pixels = np.zeros((48, 64), np.uint16)
    pixels[0, :4] = (0, 819, 2048, 4095)
    seq = _stored(seeder, pixels, "Mono12")
    shown = _decoded(api.get(f"/api/v1/inspections/{seq}/image", params={"render": "png8"}))
    assert shown.dtype == np.uint8
    assert shown[0, :4].tolist() == [0, 51, 128, 255]
    # Dark stays dark: never stretched to the image's own maximum.
    dark = _stored(seeder, pixels // 16, "Mono12")
    assert _decoded(api.get(f"/api/v1/inspections/{dark}/image", params={"render": "png8"})).max() == 16


@pytest.mark.parametrize(("pixel_format", "dtype", "full_scale"), [("BayerRG8", np.uint8, 255), ("BayerRG12", np.uint16, 4095)])
def test_a_bayer_frame_is_shown_in_its_colours(api, seeder, pixel_format: str, dtype: type, full_scale: int) -> None:
    mosaic = np.zeros((48, 64), dtype)
    mosaic[0::2, 0::2] = full_scale  # red everywhere, green and blue nowhere
    seq = _stored(seeder, mosaic, pixel_format)
    shown = _decoded(api.get(f"/api/v1/inspections/{seq}/image", params={"render": "png8"}))
    blue, green, red = shown[24, 32]
    assert (blue, green, red) == (0, 0, 255)


def test_a_colour_frame_keeps_its_colours(api, seeder) -> None:
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:, :, 0] = 200
    seq = _stored(seeder, pixels, "RGB8")
    for params in ({}, {"render": "png8"}):
        assert _decoded(api.get(f"/api/v1/inspections/{seq}/image", params=params))[5, 5].tolist() == [0, 0, 200]


def test_a_thumbnail_is_small(api, seeder) -> None:
    seq = _stored(seeder, np.full((960, 1280), 90, np.uint8), "Mono8")
    response = api.get(f"/api/v1/inspections/{seq}/image", params={"render": "thumbnail"})
    assert response.headers["content-type"] == "image/jpeg"
    assert _decoded(response).shape == (240, 320)


def test_a_map_is_transparent_where_the_score_is_low_and_strong_at_the_threshold(api, seeder) -> None:
    seq = _stored(seeder, np.full((48, 64), 100, np.uint8), "Mono8")
    scores = np.zeros((6, 8))
    scores[:, 4:] = 2.0  # the fail threshold
    seeder.map(seq, scores)
    seeder.connection.commit()
    heat = _decoded(api.get(f"/api/v1/inspections/{seq}/map"))
    assert heat.shape == (48, 64, 4)
    assert heat[24, 5, 3] == 0
    assert heat[24, 58, 3] > 150
    laid_over = _decoded(api.get(f"/api/v1/inspections/{seq}/map", params={"overlay": 1}))
    assert laid_over.shape == (48, 64, 3)
    assert laid_over[24, 5].tolist() == [100, 100, 100]
    blue, _, red = laid_over[24, 58]
    assert red > blue + 100


def test_an_unchanged_image_is_not_sent_again(api, seeder) -> None:
    seq = _stored(seeder, np.zeros((48, 64), np.uint8), "Mono8")
    seeder.map(seq, np.zeros((6, 8)))
    seeder.connection.commit()
    for path in ("image", "image?render=png8", "map", "map?overlay=1"):
        first = api.get(f"/api/v1/inspections/{seq}/{path}")
        again = api.get(f"/api/v1/inspections/{seq}/{path}", headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
