"""A running station under Prometheus: what it says of parts, losses and processes, and what its logs say of a part."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus import expressions, names_used, promtool, samples, value
from running_station import RunningStation, scene

from inspection.cell import CellPart
from inspection.web.metric_table import CAMERA, HEARTBEATS, TOLD_OTHERWISE

# Nobody listens there: what is recorded waits.
RECEIVER = """
[[receivers]]
kind = "http"
name = "mes"
url = "http://127.0.0.1:9/"
secret_file = "secret"
"""


@pytest.fixture
def watched(tmp_path: Path, plate_model: Path) -> RunningStation:
    (tmp_path / "secret").write_text("whsec_" + "c2VjcmV0" * 4)
    (tmp_path / "secret").chmod(0o600)
    return RunningStation(tmp_path, plate_model, extra_config=RECEIVER)


@pytest.mark.by_hand
def test_a_running_station_shows_every_metric_and_its_logs_name_the_lost_part(watched: RunningStation) -> None:
    with watched as station:
        station.open_lot("L1")
        station.convey(station.parts("L1", range(20)), rate=20)
        # Its image is kept as that of a reject: how long the disk lasts is told by those.
        station.convey([CellPart("L1", "BLACK", np.zeros_like(scene(0)), None)], rate=1)
        station.camera.unplug("error")
        station.wait_until(lambda: "lost" in station.states().get("camera@top", ""), 30, "the camera to be lost")
        station.convey(station.parts("L1", range(20, 22)), rate=10)
        station.camera.replug()
        station.wait_until(station.ready, 60, "the camera to be back")
        station.kill("inspector")
        _until(station, 2, "station_process_starts_total", process="inspector")
        _until(station, 23, "station_inspections_total")
        _until(station, 21, "station_images_stored_total", kind="frame")
        _until(station, 23, "station_outbox_backlog", receiver="mes")
        _until(station, 1, "station_disk_left_seconds")
        scrape = _scrape(station)

        assert value(scrape, "station_inspections_total", verdict="not_inspected") == 3
        assert value(scrape, "station_not_inspected_total", reason="camera_lost") == 2
        # Over all parts that were judged, not some.
        for stage in ("expose", "transfer", "queue", "preprocess", "infer", "regions", "total", "durable"):
            assert value(scrape, "station_stage_seconds_count", product="plate", stage=stage) == 21
        totals = [row["timings_ms"]["total"] / 1e3 for row in station.rows("L1") if row["timings_ms"]]
        assert value(scrape, "station_stage_seconds_sum", stage="total") == pytest.approx(sum(totals))
        for bound in ("0.05", "0.1", "0.5", "5.0"):
            within = value(scrape, "station_stage_seconds_bucket", stage="total", le=bound)
            assert within == sum(total <= float(bound) for total in totals)
        assert value(scrape, "station_outputs_total") == 23
        assert value(scrape, "station_faults_total", source="camera@top", kind="camera_lost") >= 1
        assert value(scrape, "station_model_info", product="plate") == 1
        for process in ("recorder", "line", "inspector", "camera@top", "web", "outbox", "trainer", "station"):
            assert value(scrape, "station_process_starts_total", process=process) >= 1
            assert value(scrape, "station_process_private_memory_bytes", process=process) > 1e6
        names = {name for name, _ in samples(scrape)}
        assert names_used() <= names, "the dashboard or the rules ask for what is not there"
        promtool("check", "metrics", stdin=scrape)
        for process in httpx.get(f"{station.url}/api/v1/health").json()["processes"]:
            if process["name"] != "outbox":
                table = CAMERA if process["name"].startswith("camera@") else HEARTBEATS.get(process["name"], {})
                # How much memory each process has.
                counters = {each for each in process["counters"] if not each.endswith("_mib")}
                unknown = {each for each in counters if (process["name"], each) not in TOLD_OTHERWISE} - table.keys()
                assert not unknown, f"enter these counters of {process['name']} in metric_table.py: {unknown}"
    lines = [line for log in station.config.log_dir.glob("*.log") for line in log.read_text().splitlines()]
    _check_logs(lines)


def _check_logs(lines: list[str]) -> None:
    said: list[dict[str, Any]] = [json.loads(line) for line in lines if line.startswith("{")]
    # What a library prints when its process ends is no JSON.
    assert all("leaked" in line or "nanobind" in line for line in lines if not line.startswith("{"))
    for each in said:
        assert each["time"].endswith("Z")
        assert {"level", "process", "logger", "message"} <= each.keys()
    assert {"recorder", "line", "inspector", "camera@top", "web", "outbox", "trainer"} <= {each["process"] for each in said}
    lost = [each for each in said if each.get("kind") == "camera_lost" and "trigger_id" in each]
    assert {(each["lot"], each["serial"], each["process"]) for each in lost} == {
        ("L1", "SN000020", "line"),
        ("L1", "SN000021", "line"),
    }
    # Parts that are as they should be leave no line.
    assert "SN000007" not in "".join(lines)


@pytest.mark.by_hand
def test_a_real_prometheus_shows_every_panel(watched: RunningStation, tmp_path: Path) -> None:
    if shutil.which("prometheus") is None:
        pytest.skip("no prometheus on this machine; Debian has it in the package of that name")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    target = watched.url.removeprefix("http://")
    job = {"job_name": "station", "scrape_interval": "1s", "scrape_timeout": "1s", "static_configs": [{"targets": [target]}]}
    (tmp_path / "prometheus.json").write_text(json.dumps({"scrape_configs": [job]}))
    command = ["prometheus", f"--config.file={tmp_path}/prometheus.json", f"--storage.tsdb.path={tmp_path}/tsdb"]
    with watched as station, subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"]) as prometheus:
        try:
            station.open_lot("L1")
            query = f"http://127.0.0.1:{port}/api/v1/query"
            until = time.monotonic() + 120
            empty = list(expressions())
            # Some are empty as long as all is well.
            while [each for each in empty if not each.endswith(("> 0", "== 1", "== 0"))]:
                assert time.monotonic() < until, f"no data for {empty}"
                first = len(station.outcomes)
                station.convey(station.parts("L1", range(first, first + 40)), rate=10)
                empty = [each for each in empty if not httpx.get(query, params={"query": each}).json()["data"]["result"]]
        finally:
            prometheus.terminate()


def _scrape(station: RunningStation) -> str:
    return httpx.get(f"{station.url}/metrics", timeout=20).text


def _until(station: RunningStation, least: float, name: str, **labels: str) -> None:
    """Wait until a scrape shows so much of it."""

    def is_there() -> bool:
        try:
            return value(_scrape(station), name, **labels) >= least
        except AssertionError:
            return False

    station.wait_until(is_there, 60, f"{least} {name}")
