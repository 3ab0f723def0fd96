"""The page beside a running line, in a real browser."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from people import headers, logged_in
from playwright.sync_api import Page, expect, sync_playwright
from running_station import RunningStation

from inspection.records.database import open_engine

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture
def page() -> Iterator[Page]:
    if BROWSER is None:
        pytest.skip("no chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 1440, "height": 900})
        browser.close()


@pytest.mark.by_hand
def test_parts_appear_on_the_page_as_they_are_inspected_and_faults_say_what_happened(station: RunningStation, page: Page) -> None:
    with station:
        station.open_lot("L1")
        engine = open_engine(station.config.database_url)
        logged_in(page.context, engine, station.url)
        page.goto(station.url)
        station.convey(station.parts("L1", range(8)), rate=8)
        expect(page.get_by_text("SN000007").first).to_be_visible(timeout=10_000)
        expect(page.get_by_text("Ready", exact=True)).to_be_visible()
        assert httpx.get(f"{station.url}/api/v1/health").json()["ready"] is True

        station.camera.unplug("error")
        station.wait_until(
            lambda: not httpx.get(f"{station.url}/api/v1/health").json()["ready"], 10, "health to notice the lost camera"
        )
        reasons = " ".join(httpx.get(f"{station.url}/api/v1/health").json()["reasons"])
        assert "lost" in reasons
        expect(page.get_by_text("Ready", exact=True)).to_be_hidden(timeout=10_000)
        station.convey(station.parts("L1", range(8, 10)), rate=8)
        expect(page.get_by_text("Not inspected").first).to_be_visible()

        station.camera.replug()
        station.wait_until(lambda: httpx.get(f"{station.url}/api/v1/health").json()["ready"], 20, "the camera to be back")
        station.convey(station.parts("L1", range(10, 12)), rate=8)
        expect(page.get_by_text("SN000011").first).to_be_visible(timeout=10_000)
        summary = httpx.get(f"{station.url}/api/v1/lots/L1/summary", headers=headers(engine, url=station.url)).json()
        engine.dispose()
        assert (summary["triggered"], summary["not_inspected"], summary["reasons"]) == (12, 2, {"camera_lost": 2})


@pytest.mark.by_hand
def test_a_second_station_on_the_same_data_is_refused(station: RunningStation) -> None:
    with station:
        environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
        for arguments in (["run", str(station.config_path)], ["process", "line", "--config", str(station.config_path)]):
            second = subprocess.run(
                [sys.executable, "-m", "inspection", *arguments],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
                env=environment,
            )
            assert second.returncode == 1
            assert "runs already" in second.stderr


PHOTOGRAPHS = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.by_hand
def test_the_demo_inspects_real_photographs(tmp_path: Path) -> None:
    images = PHOTOGRAPHS / "aws_cookies"
    if not images.is_dir():
        pytest.skip(f"{images} is not there")
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    command = [
        sys.executable,
        "-m",
        "inspection",
        "demo",
        "--images",
        str(images),
        "--exit",
        "--json",
        "-",
        "--data",
        str(tmp_path / "d"),
    ]
    done = subprocess.run([*command, "--lots", "3"], capture_output=True, text=True, timeout=280, check=True, env=environment)
    summary = json.loads(done.stdout)
    assert summary["parts"] == 54
    assert summary["balanced"] is True
    assert len(summary["lots"]) == 3
    assert sum(lot["not_inspected"] for lot in summary["lots"]) == 0
    assert all(lot["accepted"] == lot["accepted_by_cell"] for lot in summary["lots"])
    assert summary["image_auroc"] >= 0.98
