"""Health from heartbeats, and models with their deployments."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime

import pytest

from inspection.domain import Model
from inspection.records import deployments


@pytest.fixture
def beat(web_settings):
    """Writes status.json as the recorder does; ages are in seconds."""

    def write(**ages: float) -> None:
        now_s = time.monotonic()
        beats = {name: {"heard_s": now_s - age, "state": "recording", "counters": {"rows": 7.0}} for name, age in ages.items()}
        web_settings.status_path.write_text(json.dumps({"processes": beats}))

    return write


def test_a_station_whose_processes_report_is_ready(api, beat) -> None:
    beat(recorder=0.5, line=1.0, inspector=2.0)
    response = api.get("/api/v1/health")
    body = response.json()
    assert (response.status_code, body["station"], body["live"], body["ready"]) == (200, "st-1", True, True)
    assert body["reasons"] == []
    assert {process["name"]: process["alive"] for process in body["processes"]} == {
        "recorder": True,
        "line": True,
        "inspector": True,
    }
    assert body["processes"][0]["counters"] == {"rows": 7.0}


def test_a_silent_process_is_the_reason_not_to_be_ready(api, beat) -> None:
    beat(recorder=0.5, line=9.0)
    response = api.get("/api/v1/health")
    body = response.json()
    assert (response.status_code, body["code"], body["live"], body["ready"]) == (503, "not_ready", True, False)
    assert response.headers["content-type"] == "application/problem+json"
    (reason,) = body["reasons"]
    assert re.fullmatch(r"line has not reported for (9|1\d) s; it is being restarted, or its log says why not", reason)
    assert body["detail"] == body["reasons"][0]


def test_a_process_that_never_reported_is_a_reason(api, beat) -> None:
    beat(recorder=0.0)
    assert api.get("/api/v1/health").json()["reasons"] == ["line has not reported; it is starting, or its log says why it cannot"]


@pytest.mark.parametrize(
    "content", [None, "", "{}", "[]", '{"processes": []}', '{"processes": {"line": {"heard_s": "soon"}}}', "\xff"]
)
def test_a_missing_or_broken_status_file_is_a_reason(api, web_settings, content: str | None) -> None:
    if content is not None:
        web_settings.status_path.write_text(content, encoding="latin-1")
    body = api.get("/api/v1/health").json()
    assert body["ready"] is False
    assert len(body["reasons"]) == 1
    assert "status.json" in body["reasons"][0]


def test_models_and_deployments(api, seeder) -> None:
    for digest, year in (("ab", 2024), ("cd", 2025)):
        deployments.register_model(
            seeder.connection,
            Model(
                model=digest * 32,
                product="plate",
                path=f"models/{digest}",
                algorithm="patchcore",
                created_at=datetime(year, 1, 1, tzinfo=UTC),
                metrics={"image_auroc": 0.99},
            ),
        )
        deployments.deploy(seeder.connection, "st-1", "plate", digest * 32, "ada", f"model of {year}")
    deployments.deploy(seeder.connection, "st-2", "plate", "ab" * 32, "ada", "elsewhere")
    seeder.connection.commit()
    body = api.get("/api/v1/models").json()
    assert [model["model"][:2] for model in body["models"]] == ["cd", "ab"]
    assert body["models"][1]["metrics"] == {"image_auroc": 0.99}
    assert [(found["model"][:2], found["ended_at"] is None) for found in body["deployments"]] == [("cd", True), ("ab", False)]
