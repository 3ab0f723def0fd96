"""The pages Golden set and Settings in a real browser, before a web process and a recorder."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peers import in_thread
from people import logged_in
from served_pages import CHROMIUM, look
from sqlalchemy import Engine
from web_process import web_process

from cameras.bus import Bus
from inspection.domain import Check, ImageKind, Model, Verdict
from inspection.housekeeping import Housekeeper
from inspection.images import ImageStore
from inspection.messages import RecorderMessage
from inspection.recorder import RecorderProcess
from inspection.records.database import migrate, open_engine, wal_of
from inspection.records.deployments import deploy, register_model
from inspection.records.gates import store_gate
from inspection.records.labels import add_label
from inspection.reserve import Reserve
from inspection.retention import Limits, Room
from inspection.rings import Rings
from inspection.storer import Storer

if not CHROMIUM.exists():
    pytest.skip(f"the page tests need a browser at {CHROMIUM}", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="the page tests need the playwright package")
expect = sync_api.expect

MODEL = "ab" * 32
CONFIG = """# Cell 7
[station]
name = "st-7"

[[cameras]]
name = "top"
serial = "SIM1"
[cameras.features]
PixelFormat = "Mono8"

[[products]]
part_number = "plate"
camera = "top"
deadline_ms = 200  # the rejector is near
challenge_every_hours = 8
"""
MANAGER = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
print("here", flush=True)
print(signal.sigwait([signal.SIGHUP]).name, flush=True)
"""


@dataclass
class Station:
    url: str
    engine: Engine
    seeder: Any
    config: Path
    manager: subprocess.Popen[str]

    def part(self, lot: str, serial: str, verdict: Verdict) -> int:
        """A part with its picture."""
        seq = self.seeder.inspection(lot, serial, verdict)
        y, x = np.mgrid[0:96, 0:128]
        self.seeder.image(seq, ImageKind.FRAME, ((x + y + 20 * seq) % 256).astype(np.uint8), "Mono8")
        self.seeder.connection.commit()
        return seq


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory, seeder_class: Any) -> Iterator[Station]:
    tmp_path = tmp_path_factory.mktemp("station")
    (tmp_path / "data").mkdir()
    url = f"sqlite:///{tmp_path / 'records.db'}"
    engine = open_engine(url)
    migrate(engine)
    with engine.begin() as connection:
        register_model(connection, Model(MODEL, "plate", f"models/{MODEL}", "patchcore", datetime.now(UTC), {}))
        deploy(connection, "st-7", "plate", MODEL, "ada", "first")
        store_gate(connection, "st-7", "plate", MODEL, [Check("golden", False, "1 of 2 golden images: x")], None, "ada")
    config = tmp_path / "station.toml"
    config.write_text(CONFIG)
    # Socket paths are short; pytest's are not.
    with tempfile.TemporaryDirectory(prefix="page-") as run_dir, engine.connect() as connection:
        commands = f"ipc://{run_dir}/commands"
        rings = Rings(Path(run_dir))
        images = ImageStore(tmp_path / "data" / "images")
        room = Room(images.root, Limits())
        storer = Storer(images, rings, 1.0, room)
        reader = open_engine(url, read_only=True)
        housekeeper = Housekeeper(reader, images, room, Reserve(tmp_path, 1_000_000), wal_of(engine))
        bus = Bus(Path(run_dir), "recorder", RecorderMessage)
        addresses = commands, Path(run_dir) / "status.json", Path(run_dir)
        recorder = RecorderProcess(open_engine(url), bus, storer, housekeeper, rings, *addresses)
        # In place of the station's manager: says when it is told to restart the station.
        manager = subprocess.Popen([sys.executable, "-c", MANAGER], stdout=subprocess.PIPE, text=True)
        settings = {"station": "st-7", "command_address": commands, "config_path": str(config), "manager": manager.pid}
        with in_thread(recorder, bus), manager, web_process(tmp_path / "data", url, **settings) as address:
            yield Station(address, engine, seeder_class(connection, tmp_path / "data" / "images"), config, manager)
            manager.kill()
    engine.dispose()


@pytest.fixture
def page(station: Station) -> Iterator[Any]:
    """A page that fails the test if the browser complained."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light", base_url=station.url)
        page = logged_in(context, station.engine, station.url).new_page()
        trouble: list[str] = []
        page.on("console", lambda said: trouble.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith((station.url, "data:")) else trouble.append(asked.url))
        yield page
        browser.close()
    # The browser reports refusals itself.
    assert [text for text in trouble if "the server responded with a status of 409" not in text] == []


def test_golden_parts_are_fed_until_production_is_unlocked(page: Any, station: Station) -> None:
    page.goto("/golden")
    expect(page.locator(".state-word")).to_have_text("Locked")
    for serial, label in (("G-1", "ok"), ("B-1", "dent")):
        page.get_by_role("button", name="Add part").click()
        page.get_by_label("Serial").fill(serial)
        page.get_by_label("What it is").fill(label)
        page.get_by_role("button", name="Add", exact=True).click()
        expect(page.locator(".golden-parts tbody")).to_contain_text(serial)
    page.get_by_role("button", name="Start challenge").click()
    page.get_by_label("Occasion").fill("shift start")
    page.get_by_role("button", name="Start", exact=True).click()
    lot = page.locator(".lot-name")
    expect(lot).to_have_text("challenge-plate-1")
    expect(page.locator(".to-do")).to_contain_text("'B-1', 'G-1'")
    station.part("challenge-plate-1", "G-1", Verdict.PASS)
    station.part("challenge-plate-1", "B-1", Verdict.PASS)
    expect(page.locator(".golden-parts tr.wrong")).to_contain_text("B-1")
    expect(page.get_by_role("button", name="Abandon")).to_be_disabled()
    look(page, "golden-running")
    station.part("challenge-plate-1", "B-1", Verdict.FAIL)
    expect(page.locator(".golden-parts .right")).to_have_count(2)
    page.wait_for_function("[...document.querySelectorAll('.golden-parts img')].filter(image => image.naturalWidth).length === 2")
    page.get_by_role("button", name="Finish challenge").click()
    page.get_by_role("button", name="Finish", exact=True).click()
    expect(page.locator(".state-word")).to_have_text("Unlocked")
    expect(page.locator(".challenges tbody tr")).to_contain_text(["2 of 2"])

    seq = station.part("L", "S-1", Verdict.FAIL)
    with station.engine.begin() as connection:
        add_label(connection, seq, "dent", "ada")
    page.get_by_role("button", name="Add images").click()
    page.locator(".candidates").get_by_text(f"S-1 · {seq}").click()
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator(".golden-tile .name")).to_have_text("L/S-1")
    page.wait_for_function("document.querySelector('.golden-tile img').naturalWidth > 0")
    expect(page.locator("golden-images .not-right")).to_have_text("✗ wrong")
    look(page, "golden")
    page.get_by_role("button", name="Remove L/S-1").click()
    page.locator("dialog").get_by_role("button", name="Remove").click()
    expect(page.locator(".golden-tile")).to_have_count(0)


def test_settings_are_changed_tried_saved_and_restored(page: Any, station: Station) -> None:
    station.seeder.inspection("L", "S-1", timings_ms={"total": 80.0})
    station.seeder.connection.commit()
    page.goto("/settings")
    deadline = page.get_by_label("Deadline, ms")
    expect(deadline).to_have_value("200")
    look(page, "settings")
    deadline.fill("50")
    deadline.press("Tab")
    expect(page.locator(".draft .changes")).to_contain_text("products.plate.deadline_ms")
    page.get_by_role("button", name="Dry run").click()
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator(".trial tbody tr")).to_contain_text(["late, 80 ms"])
    look(page, "settings-dry-run")
    page.get_by_role("button", name="Close").click()
    page.get_by_text("Difference line by line").click()
    expect(page.locator(".diff .plus")).to_have_text("+deadline_ms = 50  # the rejector is near\n")
    look(page, "settings-draft")
    page.get_by_role("button", name="Save").click()
    page.get_by_label("Why").fill("slower belt")
    page.locator("dialog").get_by_role("button", name="Save").click()
    expect(page.locator(".alert")).to_contain_text("One change takes effect when the station is restarted.")
    assert station.config.read_text() == CONFIG.replace("deadline_ms = 200", "deadline_ms = 50")

    page.get_by_role("tab", name="File").click()
    page.get_by_label("Text of the configuration file").fill(CONFIG + "speed = 3\n")
    expect(page.locator(".draft .wrong-key")).to_contain_text("products.0.speed")
    expect(page.get_by_role("button", name="Save")).to_be_disabled()
    look(page, "settings-errors")
    page.get_by_role("button", name="Discard").click()
    page.get_by_role("tab", name="History").click()
    page.get_by_role("button", name="Restore version 1").click()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_label("Why")).to_have_value("restored version 1")
    page.locator("dialog").get_by_role("button", name="Save").click()
    expect(page.locator(".alert")).to_have_count(0)
    assert station.config.read_text() == CONFIG
    page.get_by_role("tab", name="Station").click()
    expect(page.locator(".form-grid")).to_contain_text("PixelFormat")
    expect(page.locator(".form-grid")).to_contain_text("Modbus")
    look(page, "settings-station")


def test_the_station_is_restarted_once_the_person_knows_what_is_in_production(page: Any, station: Station) -> None:
    assert station.manager.stdout is not None
    assert station.manager.stdout.readline() == "here\n"
    station.seeder.lot("in-work")
    station.seeder.connection.commit()
    page.goto("/settings")
    page.get_by_role("button", name="Restart station").click()
    page.get_by_label("Why").fill("new deadline")
    look(page, "settings-restart")
    page.locator("dialog").get_by_role("button", name="Restart", exact=True).click()
    asked = page.get_by_role("dialog", name="Lots are in production")
    expect(asked).to_contain_text("In production: in-work; their parts are rejected")
    asked.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Restart station").click()
    page.get_by_label("Why").fill("new deadline")
    page.locator("dialog").get_by_role("button", name="Restart", exact=True).click()
    asked.get_by_role("button", name="Restart all the same").click()
    expect(page.get_by_role("dialog", name="The station restarts")).to_be_visible()
    assert station.manager.stdout.readline() == "SIGHUP\n"
