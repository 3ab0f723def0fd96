"""The configuration file over REST: checked, tried, replaced and brought back."""

from __future__ import annotations

import dataclasses
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from local_client import local_client
from sqlalchemy import Engine
from starlette.testclient import TestClient

from cameras.simulator.scenes import render
from inspection import config as configuration
from inspection import config_history
from inspection.config_history import digest_of
from inspection.domain import ImageKind, LotState, Verdict
from inspection.errors import StationError
from inspection.records.audit import Wanted, list_entries
from inspection.records.database import known_revisions
from inspection.web.app import create_api
from inspection.web.settings import Settings

TEXT = """# The station of cell 7
[station]
name = "st-1"
database_url = "postgresql://station@db/station"
database_password_file = "database.password"

[[cameras]]
name = "top"
serial = "SIM1"
[cameras.features]
ExposureTime = 1000.0

[[products]]
part_number = "plate"
camera = "top"
deadline_ms = 200  # the rejector is near

[[receivers]]
kind = "http"
name = "mes"
url = "https://mes.example/events?token=hush"
secret_file = "mes.secret"
"""


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """SQLite: what is asked here is the file."""
    return f"sqlite:///{tmp_path / 'records.db'}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "station.toml"
    path.write_text(TEXT)
    path.chmod(0o640)
    return path


@pytest.fixture
def api(engine: Engine, web_settings: Settings, file: Path) -> Iterator[TestClient]:
    with local_client(create_api(dataclasses.replace(web_settings, config_path=file, config_text=TEXT))) as client:
        yield client


def problem(response) -> tuple[int, str]:
    assert len(response.json()["detail"]) > 20
    return response.status_code, response.json()["code"]


def save(api: TestClient, toml: str, digest: str, reason: str = "slower belt"):
    return api.put("/api/v1/settings", json={"toml": toml, "digest": digest, "reason": reason, "by": "ada"})


def test_a_change_is_checked_written_and_brought_back(api: TestClient, file: Path, tmp_path: Path) -> None:
    shown = api.get("/api/v1/settings").json()
    assert (shown["toml"], shown["digest"], shown["waiting"], shown["errors"]) == (TEXT, digest_of(TEXT), [], [])
    new = api.post(
        "/api/v1/settings/edit",
        json={"toml": TEXT, "section": "products", "name": "plate", "values": {"deadline_ms": 300, "serial_code": "(.+)"}},
    ).json()["toml"]
    assert "deadline_ms = 300  # the rejector is near" in new
    checked = api.post("/api/v1/settings/check", json={"toml": new}).json()
    assert (checked["valid"], checked["restart"]) == (True, ["station"])
    assert [each["key"] for each in checked["changes"]] == ["products.plate.deadline_ms", "products.plate.serial_code"]
    assert file.read_text() == TEXT, "a check writes nothing"

    written = save(api, new, shown["digest"]).json()
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == (new, 0o640)
    assert [each["key"] for each in written["waiting"]] == ["products.plate.deadline_ms", "products.plate.serial_code"]
    assert [path.name for path in tmp_path.glob(".*.new")] == []
    versions = api.get("/api/v1/settings/versions").json()["items"]
    assert [(each["version"], each["digest"], each["replaced_by"], each["reason"]) for each in versions] == [
        (1, shown["digest"], "ada", "slower belt")
    ]
    kept = api.get("/api/v1/settings/versions/1").json()["toml"]
    assert save(api, kept, written["digest"], "back to version 1").json()["waiting"] == []
    assert file.read_text() == TEXT
    assert [each["version"] for each in api.get("/api/v1/settings/versions").json()["items"]] == [2, 1]
    assert problem(api.get("/api/v1/settings/versions/9")) == (404, "unknown_version")


def test_what_the_station_would_not_start_with_is_not_written(api: TestClient, file: Path) -> None:
    wrong = TEXT.replace("deadline_ms = 200", "deadline_ms = 2\nspeed = 3")
    refused = save(api, wrong, digest_of(TEXT))
    assert problem(refused) == (422, "invalid_settings")
    assert [each["field"] for each in refused.json()["errors"]] == ["products.0.deadline_ms", "products.0.speed"]
    assert problem(save(api, TEXT, digest_of(TEXT), reason="")) == (422, "invalid_request")
    edit = {"toml": "= nonsense", "section": "line", "values": {}}
    assert problem(api.post("/api/v1/settings/edit", json=edit)) == (409, "invalid_settings")
    assert problem(api.post("/api/v1/settings/edit", json=edit | {"toml": TEXT, "section": "web"})) == (404, "unknown_setting")
    assert file.read_text() == TEXT
    assert api.get("/api/v1/settings/versions").json()["items"] == []


def test_a_file_that_was_changed_meanwhile_is_not_overwritten(api: TestClient, file: Path) -> None:
    digest = api.get("/api/v1/settings").json()["digest"]
    by_hand = TEXT.replace("= 200", "= 150")
    file.write_text(by_hand)
    assert problem(save(api, TEXT.replace("= 200", "= 300"), digest)) == (409, "stale_settings")
    assert file.read_text() == by_hand
    file.write_text("= nonsense")
    broken = api.get("/api/v1/settings").json()
    assert ([each["key"] for each in broken["errors"]], broken["forms"], broken["waiting"]) == (["file"], [], [])
    assert save(api, TEXT, broken["digest"]).status_code == 200, "and can be mended"


def test_a_disk_that_refuses_leaves_the_file_as_it_is(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StationError, match="No space left"):
            config_history.replace(file, tmp_path / "settings", "new", digest_of(TEXT), "ada", "why")
    assert file.read_text() == TEXT
    assert list(tmp_path.rglob("*.new")) == []


def test_the_last_versions_are_kept(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_history, "KEPT", 3)
    history, text = tmp_path / "settings", TEXT
    for number in range(5):
        new = f"{TEXT}# {number}\n"
        config_history.replace(file, history, new, digest_of(text), "ada", f"reason {number}")
        text = new
    kept = config_history.versions(history)
    assert [(each.version, each.reason) for each in kept] == [(5, "reason 4"), (4, "reason 3"), (3, "reason 2")]
    assert len(list(history.iterdir())) == 6
    assert config_history.version_text(history, 4) == f"{TEXT}# 2\n"


def test_processes_that_are_started_again_find_the_settings_of_the_start(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "run" / "station.toml"
    copy.parent.mkdir()
    copy.write_text(TEXT)
    file.write_text(TEXT.replace("= 200", "= 300"))
    assert configuration.load(file).recipe("plate").deadline_ms == 300
    monkeypatch.setenv(configuration.IN_FORCE, str(copy))
    loaded = configuration.load(file)
    assert (loaded.recipe("plate").deadline_ms, loaded.data_dir) == (200, tmp_path / "data")


def test_the_manager_is_told_to_restart_the_station_unless_lots_are_in_production(
    engine: Engine, web_settings: Settings, file: Path, seeder
) -> None:
    wait = "from signal import *; pthread_sigmask(SIG_BLOCK, [SIGHUP]); print(flush=True); sigwait([SIGHUP])"
    settings = dataclasses.replace(web_settings, config_path=file, config_text=TEXT)
    why = {"reason": "slower belt", "by": "ada"}

    def restart(settings: Settings, **wanted: object):
        with local_client(create_api(settings)) as client:
            return client.post("/api/v1/settings/restart", json=why | wanted)

    assert problem(restart(settings)) == (409, "no_manager")
    with subprocess.Popen([sys.executable, "-c", wait], stdout=subprocess.PIPE) as manager:
        assert manager.stdout is not None
        assert manager.stdout.readline() == b"\n"
        managed = dataclasses.replace(settings, manager=manager.pid)
        file.write_text("= nonsense")
        assert problem(restart(managed)) == (409, "invalid_settings")
        file.write_text(TEXT)
        assert problem(restart(managed, reason="")) == (422, "invalid_request")
        for number in range(7):
            seeder.lot(f"lot-{number}")
        seeder.lot("held", state=LotState.HELD)
        seeder.connection.commit()
        refused = restart(managed)
        assert problem(refused) == (409, "in_production")
        assert " and more; their parts are rejected" in refused.json()["detail"]
        assert manager.poll() is None
        accepted = restart(managed, in_production=True)
        assert (accepted.status_code, len(accepted.json()["lots"])) == (202, 5)
        assert manager.wait(10) == 0
    with engine.connect() as connection:
        newest, asked = list_entries(connection, Wanted(), None, 2)
    assert [(each.action, each.outcome) for each in (asked, newest)] == [
        ("POST /settings/restart", "asked"),
        ("POST /settings/restart", "202"),
    ]


def test_no_secret_is_among_what_the_station_is_made_of(api: TestClient, file: Path, tmp_path: Path) -> None:
    (tmp_path / "data" / "images").mkdir(parents=True)
    (tmp_path / "data" / "images" / "a.png").write_bytes(b"12345")
    password = tmp_path / "database.password"
    password.touch(0o600)
    password.write_text("hush")
    made = api.get("/api/v1/settings/station")
    assert made.json()["database"] == "postgresql://station@db/station"
    assert "hush" not in made.text
    seen = made.json()
    assert seen["cameras"][0]["features"] == {"ExposureTime": "1000.0"}
    facts = {each["name"]: each["facts"] for each in seen["interfaces"] if each["on"]}
    assert facts["Receiver mes"]["address"] == "https://mes.example/events"
    assert (seen["schema"], seen["software"]["pymodbus"]) == (known_revisions()[0], "3.16.1")
    folders = api.get("/api/v1/settings/storage").json()["folders"]
    assert [(each["name"], each["files"], each["nbytes"]) for each in folders] == [(".", 0, 0), ("images", 1, 5)]


def test_a_web_process_without_a_file_says_so(engine: Engine, web_settings: Settings) -> None:
    with local_client(create_api(web_settings)) as client:
        for path in ("", "/versions", "/station", "/storage"):
            assert problem(client.get(f"/api/v1/settings{path}")) == (404, "no_settings")


def test_reading_settings_needs_their_scope(engine: Engine, web_settings: Settings, file: Path) -> None:
    settings = dataclasses.replace(web_settings, config_path=file, config_text=TEXT, tokens=True)
    with local_client(create_api(settings)) as client:
        assert client.get("/api/v1/lots").status_code == 200
        assert problem(client.get("/api/v1/settings")) == (401, "no_valid_token")


# --- the dry run ---


def tried(api: TestClient, **values: object) -> dict:
    edit = {"toml": TEXT, "section": "products", "name": "plate", "values": values}
    toml = api.post("/api/v1/settings/edit", json=edit).json()["toml"]
    answer = api.post("/api/v1/settings/dry-run", json={"toml": toml, "product": "plate", "parts": 100})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_deadline_is_tried_on_recorded_times(api: TestClient, seeder) -> None:
    for number, total_ms in enumerate((30, 80, 140)):
        seeder.inspection("L", f"S{number}", timings_ms={"total": total_ms})
    late = {"reason": "deadline", "score": None}
    seeder.inspection("L", "late", Verdict.NOT_INSPECTED, timings_ms={"total": 260.0}, **late)
    seeder.inspection("L", "given up", Verdict.NOT_INSPECTED, timings_ms={}, **late)
    seeder.inspection("L", "lost", Verdict.NOT_INSPECTED)
    seeder.connection.commit()
    sooner = tried(api, deadline_ms=100)["deadline"]
    assert (sooner["before_ms"], sooner["after_ms"]) == (200, 100)
    assert (sooner["late_before"], sooner["late_after"], sooner["timed"]) == (2, 2, 4)
    assert [(each["serial"], each["before"], each["after"]) for each in sooner["concerned"]] == [
        ("S2", "in time", "late, 140 ms")
    ]
    later = tried(api, deadline_ms=300)["deadline"]
    assert (later["late_before"], later["late_after"], later["unknown"]) == (2, 0, 1)
    assert [(each["serial"], each["after"]) for each in later["concerned"]] == [("late", "in time, 260 ms")]


def test_a_serial_code_is_tried_on_stored_frames(api: TestClient, seeder) -> None:
    for serial, shown in (("P-1", "P-1"), ("P-2", "P-9"), ("P-3", None)):
        seq = seeder.inspection("L", serial)
        pixels = np.full((64, 64), 90, np.uint8) if shown is None else render(shown, 1).pixels
        seeder.image(seq, ImageKind.FRAME, pixels, "Mono8")
    seeder.inspection("L", "P-4")
    seeder.connection.commit()
    found = tried(api, serial_code="(.+)", challenge_every_hours=8)
    code = found["serial_code"]
    assert [code[name] for name in ("frames", "same", "mismatch", "unread", "without_frame")] == [3, 1, 1, 1, 1]
    assert {each["serial"]: each["after"] for each in code["concerned"]} == {
        "P-2": "serial_mismatch: 'P-9'",
        "P-3": "serial_unread",
    }
    assert (found["deadline"], found["parts"]) == (None, 4)
    assert any("products.plate.challenge_every_hours" in note for note in found["notes"])
    wrong = {"toml": "= nonsense", "product": "plate"}
    assert problem(api.post("/api/v1/settings/dry-run", json=wrong)) == (409, "invalid_settings")
    unknown = {"toml": TEXT, "product": "none"}
    assert problem(api.post("/api/v1/settings/dry-run", json=unknown)) == (404, "unknown_product")
