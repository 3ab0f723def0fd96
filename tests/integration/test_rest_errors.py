"""Every error of the REST API has the one shape, its code and a way out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from local_client import local_client
from people import add_user, headers
from sqlalchemy import Engine

from inspection.domain import ImageKind
from inspection.web.app import OPENAPI, create_api, openapi_document
from inspection.web.settings import Settings


def assert_problem(response, status: int, code: str) -> dict:
    assert response.headers["content-type"] == "application/problem+json", response.text
    body = response.json()
    assert (response.status_code, body["status"], body["code"]) == (status, status, code), body
    assert body["type"] == "about:blank"
    assert body["title"]
    assert len(body["detail"]) > 20
    assert body["instance"].startswith("/")
    return body


@pytest.mark.parametrize(
    ("path", "status", "code", "says"),
    [
        ("/api/v1/lots/L9", 404, "unknown_lot", "open it first"),
        ("/api/v1/lots/L9/summary", 404, "unknown_lot", "open it first"),
        ("/api/v1/lots/L9/results", 404, "unknown_lot", "open it first"),
        ("/api/v1/lots/L1/results?cursor=garbled", 400, "bad_cursor", "start again without"),
        ("/api/v1/lots?cursor=AAAA", 400, "bad_cursor", "start again without"),
        ("/api/v1/lots?limit=0", 422, "invalid_request", "query.limit"),
        ("/api/v1/lots?limit=many", 422, "invalid_request", "query.limit"),
        ("/api/v1/lots/L1/results?verdict=bad", 422, "invalid_request", "'pass', 'fail', 'review' or 'not_inspected'"),
        ("/api/v1/lots/%20", 422, "invalid_request", "visible characters only"),
        ("/api/v1/lots/a%00b", 422, "invalid_request", "visible characters only"),
        ("/api/v1/lots/%EE%80%80x", 404, "unknown_lot", "open it first"),
        (f"/api/v1/lots/{'L' * 65}", 422, "invalid_request", "1 to 64 characters"),
        ("/api/v1/parts/S9", 404, "unknown_serial", "announce it first"),
        ("/api/v1/parts/S1?lot=L9", 404, "unknown_serial", "in lot 'L9'"),
        ("/api/v1/parts/S1?lot=a%20b", 422, "invalid_request", "visible characters only"),
        ("/api/v1/inspections/99", 404, "unknown_inspection", "list results"),
        ("/api/v1/inspections/0", 422, "invalid_request", "path.seq"),
        ("/api/v1/inspections/99999999999999999999", 422, "invalid_request", "path.seq"),
        ("/api/v1/inspections/one", 422, "invalid_request", "path.seq"),
        ("/api/v1/inspections/99/image", 404, "unknown_inspection", "list results"),
        ("/api/v1/inspections/99/map", 404, "unknown_inspection", "list results"),
        ("/api/v1/inspections/1/image", 404, "no_image", "no frame is stored"),
        ("/api/v1/inspections/1/map", 404, "no_image", "no map is stored"),
        ("/api/v1/inspections/1/image?render=tiff", 422, "invalid_request", "query.render"),
        ("/api/v1/changes?after=-1", 422, "invalid_request", "query.after"),
        ("/api/v1/faults?after=x", 422, "invalid_request", "query.after"),
        ("/api/v1/nowhere", 404, "not_found", "openapi.json"),
        ("/api/", 404, "not_found", "openapi.json"),
        ("/api/v1/lots/L1/../../secret", 404, "not_found", "openapi.json"),
    ],
)
def test_what_cannot_be_read_is_a_problem(api, seeder, path: str, status: int, code: str, says: str) -> None:
    seeder.inspection("L1", "S1")
    seeder.connection.commit()
    assert says in assert_problem(api.get(path), status, code)["detail"]


def test_a_problem_names_the_address_as_it_was_asked_for(api) -> None:
    assert (
        assert_problem(api.get("/api/v1/lots/24%2F0815%20?x=1"), 422, "invalid_request")["instance"]
        == "/api/v1/lots/24%2F0815%20"
    )
    assert assert_problem(api.get("/api/v1/lots/24%2F0815"), 404, "unknown_lot")["instance"] == "/api/v1/lots/24%2F0815"


def test_a_wrong_method_is_a_problem(api) -> None:
    for method, path in (("DELETE", "/api/v1/lots"), ("PUT", "/api/v1/lots/L1"), ("POST", "/api/v1/health")):
        assert_problem(api.request(method, path), 405, "method_not_allowed")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body.lot"),
        ({"lot": "L1", "product": "plate", "colour": "red"}, "body.colour"),
        ({"lot": "", "product": "plate"}, "body.lot"),
        ({"lot": "L 1", "product": "plate"}, "body.lot"),
        ({"lot": "L1", "product": "plate", "expected_quantity": 0}, "body.expected_quantity"),
        ([1], "body"),
    ],
)
def test_a_malformed_body_is_a_problem_that_names_the_field(api, body: object, field: str) -> None:
    problem = assert_problem(api.post("/api/v1/lots", json=body), 422, "invalid_request")
    assert field in [error["field"] for error in problem["errors"]]


def test_broken_json_is_a_problem(api) -> None:
    response = api.post("/api/v1/lots", content=b'{"lot": ', headers={"content-type": "application/json"})
    assert_problem(response, 422, "invalid_request")


def test_a_missing_file_is_gone_and_an_altered_one_is_damaged(api, seeder, image_dir: Path) -> None:
    seq = seeder.inspection("L1", "S1")
    sha256 = seeder.image(seq, ImageKind.FRAME, np.zeros((4, 4), np.uint8), "Mono8")
    seeder.map(seq, np.zeros((2, 2)))
    seeder.connection.commit()
    path = image_dir / sha256[:2] / f"{sha256}.png"
    path.write_bytes(path.read_bytes()[:-1])
    for address in ("image", "image?render=png8", "map?overlay=1"):
        assert_problem(api.get(f"/api/v1/inspections/{seq}/{address}"), 500, "damaged")
    path.unlink()
    for address in ("image", "image?render=png8", "map?overlay=1"):
        assert_problem(api.get(f"/api/v1/inspections/{seq}/{address}"), 410, "image_gone")


def _without_database(tmp_path: Path) -> FastAPI:
    nowhere = tmp_path / "nowhere"
    return create_api(Settings("st-1", f"sqlite:///{nowhere}", nowhere, nowhere, f"ipc://{nowhere}.socket", ("plate",)))


def test_without_records_the_station_is_unavailable(tmp_path: Path) -> None:
    with local_client(_without_database(tmp_path)) as client:
        for path in ("lots", "lots/L1", "lots/L1/summary", "changes", "faults", "models", "parts/S1", "inspections/1"):
            assert_problem(client.get(f"/api/v1/{path}"), 503, "unavailable")
        problem = assert_problem(client.get("/api/v1/health"), 503, "not_ready")
        assert problem["live"] is True
        assert problem["ready"] is False


def test_a_defect_is_a_problem_too(engine: Engine, web_settings: Settings) -> None:
    app = create_api(web_settings)

    add_user(engine)

    @app.get("/defect")
    def defect() -> None:
        raise ZeroDivisionError("secret detail")

    with local_client(app, raise_server_exceptions=False) as client:
        problem = assert_problem(client.get("/defect", headers=headers(engine)), 500, "internal_error")
    assert "ZeroDivisionError" in problem["detail"]
    assert "secret" not in problem["detail"]


def test_the_committed_description_is_the_generated_one() -> None:
    assert json.loads(OPENAPI.read_text()) == openapi_document(), "run: python -m inspection.web.openapi"


def test_every_route_documents_its_problems() -> None:
    document = openapi_document()
    assert set(document["components"]["schemas"]) >= {"ProblemBody", "FieldError"}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            errors = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
            assert {"401", "403", "422", "429", "503"} <= set(errors), (method, path)
            for answer in errors.values():
                assert set(answer["content"]) == {"application/problem+json"}, (method, path)
