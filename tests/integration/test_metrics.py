"""What Prometheus scrapes: true sums, in its own words, for whoever may read, without work that grows with the records."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from people import add_user, headers
from prometheus import DEPLOY, RULES, expressions, names_used, promtool, samples, value
from sqlalchemy import Engine, event, insert
from starlette.testclient import TestClient

from inspection.domain import Reason, Role, Scope
from inspection.records import tables
from inspection.records.tokens import create_token
from inspection.tally import BOUNDS_S
from inspection.vitals import enter, started, vitals
from inspection.web.app import create_api
from inspection.web.degraded import Degraded
from inspection.web.metric_table import KNOWN_FAULTS, METRICS, QUEUES, STAGES
from inspection.web.settings import Settings

PAGE = (Path(__file__).parents[2] / ".github" / "interfaces" / "metrics.md").read_text(encoding="utf-8")
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def table_after(heading: str) -> list[list[str]]:
    """The cells of the first table after a line of the page, without its head."""
    lines = PAGE.split(heading, 1)[1].splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("|")) + 2
    rows = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def write_status(settings: Settings, tally: dict[str, Any], **counters: dict[str, float]) -> None:
    """As the recorder does, with these counters of processes besides."""
    beats = {
        name.replace("camera_", "camera@"): {"at": time.time(), "heard_s": time.monotonic(), "state": "well", "counters": each}
        for name, each in {"recorder": {}, "line": {}, **counters}.items()
    }
    settings.status_path.write_text(json.dumps({"processes": beats, "tally": tally}))


TIMES = [0, 1, *[0] * (len(BOUNDS_S) - 2), 2]
TALLY = {
    "inspections": [
        ["plate", "pass", "", 40],
        ["plate", "not_inspected", "deadline", 2],
        ["", "not_inspected", "unknown_lot", 1],
    ],
    "stages": [["plate", "total", TIMES, 12.5]],
    "commits": [TIMES, 20.0],
    "faults": [["camera@top", "frame_lost", 7]],
    "recent_faults": {"image_lost": 5.0, "clock_stepped": 4_000.0},
    "images": {"frame": 40, "map": 40},
    "image_bytes": {"frame": 4_000, "map": 400},
    "late_verdicts": 2,
}


# --- the page, the rules, the dashboard ---


def test_the_page_names_every_metric_stage_queue_and_reason() -> None:
    described = [
        (name.strip("`"), kind, tuple(re.findall(r"`(\w+)`", labels)), meaning)
        for name, kind, labels, _, meaning in table_after("## Metrics")
    ]
    assert described == [(metric.name, metric.kind, metric.labels, metric.meaning) for metric in METRICS]
    for name, _, _, unit, _ in table_after("## Metrics"):
        assert unit == ("s" if "_seconds" in name else "bytes" if "_bytes" in name else ""), name
    for heading, words in (("Stages of", STAGES), ("Queues of", QUEUES)):
        assert {name.strip("`"): meaning for name, meaning in table_after(heading)} == words
    assert {name.strip("`") for name, _ in table_after("*Not ready* means")} == set(Degraded)


def test_the_rules_are_good_and_say_what_they_shall() -> None:
    promtool("check", "rules", str(RULES))
    promtool("check", "config", str(DEPLOY / "prometheus" / "prometheus.yml"))
    promtool("test", "rules", "alerts.test.yml", cwd=DEPLOY / "prometheus")


def test_every_rule_is_tested_on_a_station_that_is_not_well_and_says_what_to_do() -> None:
    rules = re.findall(r"- alert: (\w+)\n(.*?)(?=\n\n|\Z)", RULES.read_text(encoding="utf-8"), re.DOTALL)
    tested = (DEPLOY / "prometheus" / "alerts.test.yml").read_text(encoding="utf-8")
    assert len(rules) > 10
    for name, rule in rules:
        assert re.search(rf"alertname: {name}\n +exp_alerts:\n", tested), name
        assert re.search(r"severity: (page|ticket)", rule), name
        assert re.search(r'summary: ".+"\n +description: ".{40,}"', rule), name


def test_every_expression_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(expressions())]
    path = tmp_path / "panels.yml"
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(path))


def test_dashboard_and_rules_ask_for_nothing_that_is_not_on_the_page() -> None:
    known = {metric.name for metric in METRICS}
    known |= {f"{metric.name}_{part}" for metric in METRICS if metric.kind == "histogram" for part in ("bucket", "sum", "count")}
    assert names_used() <= known


# --- a scrape ---


@on_sqlite
def test_a_scrape_tells_what_the_recorder_counted(api: TestClient, web_settings: Settings) -> None:
    outbox = {"outbox": {"mes_backlog": 3.0, "mes_age_s": 12.5, "mes_delivered": 9.0}}
    write_status(web_settings, TALLY, camera_top={"frames": 50.0, "ring_free": 12.0}, **outbox)
    answer = api.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    scrape = answer.text
    assert value(scrape, "station_inspections_total", product="plate", verdict="pass") == 40
    assert value(scrape, "station_inspections_total") == 43
    assert value(scrape, "station_not_inspected_total", product="plate", reason="deadline") == 2
    assert value(scrape, "station_not_inspected_total", product="", reason="unknown_lot") == 1
    stage = {"product": "plate", "stage": "total"}
    assert value(scrape, "station_stage_seconds_bucket", le="0.001", **stage) == 0
    assert value(scrape, "station_stage_seconds_bucket", le="0.002", **stage) == 1
    assert value(scrape, "station_stage_seconds_bucket", le="5.0", **stage) == 1
    assert value(scrape, "station_stage_seconds_count", **stage) == 3
    assert value(scrape, "station_stage_seconds_sum", **stage) == 12.5
    assert value(scrape, "station_faults_total", source="camera@top", kind="frame_lost") == 7
    assert value(scrape, "station_late_verdicts_total") == 2
    assert value(scrape, "station_camera_frames_total", camera="top") == 50
    assert value(scrape, "station_outbox_age_seconds", receiver="mes") == 12.5
    assert value(scrape, "station_outbox_delivered_total", receiver="mes") == 9
    assert value(scrape, "station_image_bytes_total", kind="frame") == 4_000
    assert value(scrape, "station_database_bytes", file="main") > 0
    promtool("check", "metrics", stdin=scrape)


@on_sqlite
def test_what_has_not_happened_counts_0_so_that_the_first_time_is_an_increase(api: TestClient, web_settings: Settings) -> None:
    write_status(web_settings, {}, camera_top={})
    scrape = api.get("/metrics").text
    for product in web_settings.products:
        for reason in Reason:
            assert value(scrape, "station_not_inspected_total", product=product, reason=reason.value) == 0
    for kind in KNOWN_FAULTS:
        assert value(scrape, "station_faults_total", kind=kind) == 0


@on_sqlite
def test_a_scraper_that_prefers_openmetrics_gets_it(api: TestClient, web_settings: Settings) -> None:
    write_status(web_settings, TALLY)
    answer = api.get("/metrics", headers={"accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


@on_sqlite
def test_a_station_that_was_never_started_is_scraped_as_not_ready(api: TestClient) -> None:
    scrape = api.get("/metrics").text
    assert (value(scrape, "station_ready"), value(scrape, "station_process_up")) == (0, 0)


@on_sqlite
def test_a_station_whose_records_cannot_be_read_is_scraped_all_the_same(engine: Engine, web_settings: Settings) -> None:
    write_status(web_settings, TALLY)
    app = create_api(web_settings)
    tables.metadata.drop_all(engine)
    scrape = TestClient(app, client=("127.0.0.1", 1)).get("/metrics").text
    assert (value(scrape, "station_ready"), value(scrape, "station_inspections_total", verdict="pass")) == (0, 40)
    app.state.context.recorder.close()


@on_sqlite
def test_the_work_of_a_scrape_does_not_grow_with_the_records(engine: Engine, web_settings: Settings) -> None:
    write_status(web_settings, TALLY)
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    def scrape() -> int:
        nonlocal steps
        app = create_api(web_settings)

        @event.listens_for(app.state.context.reader, "connect")
        def count(connection: sqlite3.Connection, _record: object) -> None:
            connection.set_progress_handler(step, 100)

        steps = 0
        assert TestClient(app, client=("127.0.0.1", 1)).get("/metrics").status_code == 200
        app.state.context.recorder.close()
        app.state.context.reader.dispose()
        return steps

    # More than those newest ones by which the disk is forecast.
    add_rows(engine, 1, 1_500)
    few = scrape()
    add_rows(engine, 1_501, 6_000)
    many = scrape()
    assert few > 0
    assert many <= few * 1.1


def add_rows(engine: Engine, first: int, last: int) -> None:
    now = datetime.now(UTC)
    at = {number: now + timedelta(seconds=number) for number in range(first, last + 1)}
    of_part = [{"lot": "L", "camera": "top", "trigger_id": n, "serial": f"S{n}", "triggered_at": at[n]} for n in at]
    judged = {"attempt": 1, "product": "plate", "verdict": "pass", "regions": [], "timings_ms": {}}
    image = {"kind": "frame", "media_type": "image/png", "width": 9, "height": 9, "pixel_format": "Mono8", "nbytes": 1_000}
    with engine.begin() as connection:
        requests = [{**part, "request_id": f"R{n}", "deadline_ms": 200.0} for n, part in zip(at, of_part, strict=True)]
        connection.execute(insert(tables.triggers), requests)
        rows = [
            {**part, **judged, "seq": n, "decided_at": at[n], "recorded_at": at[n]} for n, part in zip(at, of_part, strict=True)
        ]
        connection.execute(insert(tables.inspections), rows)
        connection.execute(insert(tables.images), [{**image, "seq": n, "sha256": f"{n:064x}"} for n in at])


# --- health ---


@on_sqlite
def test_health_says_live_ready_and_degraded_apart(api: TestClient, web_settings: Settings) -> None:
    assert api.get("/api/v1/health/live").json() == {"live": True}
    refused = api.get("/api/v1/health/ready")
    assert (refused.status_code, refused.json()["code"], refused.json()["ready"]) == (503, "not_ready", False)
    models = {"models_refused": 1.0, "challengers_suspended": 1.0}
    write_status(web_settings, TALLY, inspector=models, outbox={"mes_age_s": 3_600.0})
    ready = api.get("/api/v1/health/ready")
    assert (ready.status_code, ready.json()["ready"], ready.json()["reasons"]) == (200, True, [])
    found = {each["reason"]: each["detail"] for each in ready.json()["degraded"]}
    found.pop("disk_low", None)  # as it may be on this machine
    assert set(found) == {"outbox_behind", "model_refused", "challenger_suspended", "image_lost"}
    assert found["outbox_behind"].startswith("receiver mes is 60 min behind")
    assert found["image_lost"].endswith("(last 5 s ago)")
    scrape = api.get("/metrics").text
    present = {dict(labels)["reason"] for (name, labels), on in samples(scrape).items() if name == "station_degraded" and on}
    assert present - {"disk_low"} == set(found)


@on_sqlite
def test_a_clock_that_was_set_back_makes_no_silent_process_live(api: TestClient, web_settings: Settings) -> None:
    beat = {"at": time.time() + 3_600, "heard_s": time.monotonic() - 60, "state": "armed", "counters": {}}
    web_settings.status_path.write_text(json.dumps({"processes": {"recorder": beat, "line": beat}}))
    (line,) = [each for each in api.get("/api/v1/health").json()["processes"] if each["name"] == "line"]
    assert line["alive"] is False
    assert line["age_s"] >= 60


@on_sqlite
def test_the_machine_itself_reads_without_login_and_others_need_a_token(engine: Engine, web_settings: Settings) -> None:
    add_user(engine, "ada", Role.ADMIN)
    with engine.begin() as connection:
        read = {"authorization": f"Bearer {create_token(connection, 'prometheus', [Scope.READ], 'test')}"}
        lots = {"authorization": f"Bearer {create_token(connection, 'mes', [Scope.LOTS], 'test')}"}
    write_status(web_settings, TALLY)
    app = create_api(web_settings)
    here, there = TestClient(app, client=("127.0.0.1", 1)), TestClient(app, client=("192.0.2.7", 1))
    for path in ("/metrics", "/api/v1/health/live", "/api/v1/health/ready"):
        assert here.get(path).status_code == 200
        assert there.get(path).json()["code"] == "not_logged_in"
        assert there.get(path, headers=read).status_code == 200
        assert there.get(path, headers=lots).json()["code"] == "missing_scope"
        assert there.get(path, headers=headers(engine, url="http://testserver")).status_code == 200
        assert here.post(path, headers={"origin": "http://testserver"}).status_code == 401
    app.state.context.recorder.close()


def test_a_lock_tells_who_has_it_and_how_often_it_was_taken(tmp_path: Path) -> None:
    assert started(tmp_path, "line") is None
    for starts in (1, 2):
        with (tmp_path / "line.lock").open("a") as lock:
            enter(lock)
        last = started(tmp_path, "line")
        assert last is not None
        assert last.starts == starts
    # This process is no line: its number is not taken for one.
    assert vitals(tmp_path, "line") is None
