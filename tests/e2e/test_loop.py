"""The whole loop in a browser, by a QA engineer who never saw a terminal: a running demo line on photographs, its rejects
reviewed by keyboard, a model trained on the labels, compared, put in service and taken back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psutil
import pytest
from people import PASSWORD
from served_pages import CHROMIUM, PageVisit

from inspection.starting import free_port

if not CHROMIUM.exists():
    pytest.skip(f"the page tests need a browser at {CHROMIUM}", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="the page tests need the playwright package")
expect = sync_api.expect

ROOT = Path(__file__).parents[2]
PHOTOGRAPHS = ROOT.parent / "shared" / "data" / "aws_cookies"
REVIEWED = 40


@dataclass
class Line:
    """A demo line that conveys photographs until it is stopped."""

    url: str
    process: subprocess.Popen[bytes]
    summary: Path

    def stop(self) -> Any:
        """End it as a person would, with Ctrl-C; what it did."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(60) == 0
        return msgspec.json.decode(self.summary.read_bytes())


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    if not PHOTOGRAPHS.exists():
        pytest.skip("the photographs beside the checkout are missing")
    port = free_port(8090)
    summary = tmp_path / "summary.json"
    command = [sys.executable, "-m", "inspection", "demo", "--images", str(PHOTOGRAPHS), "--rate", "4", "--port", str(port)]
    command += ["--data", str(tmp_path / "demo"), "--json", str(summary)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            until(lambda: _answers(url), "the page", process, 250)
            yield Line(url, process, summary)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/api/v1/health", timeout=5).json()["ready"]
    except httpx.HTTPError:
        return False


def until(holds: Callable[[], Any], what: str, process: subprocess.Popen[bytes], seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert process.poll() is None, f"the line ended before {what}"
        assert time.monotonic() < deadline, f"{what} did not come in {seconds} s"
        time.sleep(0.1)  # between two looks
    return found


@pytest.fixture
def visit(browser: Any, line: Line) -> Iterator[PageVisit]:
    """A page that fails the test if the browser complained, or anything was asked of another host."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, base_url=line.url)
    visit = PageVisit(context.new_page(), line.url)
    yield visit
    context.close()
    # The browser reports refusals itself.
    visit.forgive("the server responded with a status of 4")
    visit.check()


def shown(page: Any, other_than: str = "") -> str:
    """The serial of the part that is shown, once it is not that one any more."""
    page.wait_for_function(
        "other => { const page = document.querySelector('review-page');"
        " return page?.inSight && page.inSight === page.queue.current && page.inSight.inspection.serial !== other; }",
        arg=other_than,
    )
    return page.evaluate("document.querySelector('review-page').inSight.inspection.serial")


def draw_box(page: Any) -> None:
    """With the tool for boxes, which stays in hand from part to part."""
    box = page.locator("part-viewer.main").bounding_box()
    page.mouse.move(box["x"] + 0.45 * box["width"], box["y"] + 0.4 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.55 * box["width"], box["y"] + 0.6 * box["height"], steps=5)
    page.mouse.up()
    expect(page.locator(".drawn .line")).to_have_count(1)


def newest(page: Any) -> Any:
    """The newest inspections that were judged."""
    answer = page.request.get("/api/v1/inspections", params={"order": "newest", "limit": 20})
    assert answer.ok, answer.text()
    return [each for each in answer.json()["items"] if each["model"]]


def confirm(page: Any, dialog: Any) -> None:
    """Show the password again if the page asks for it, and wait for the decision to be taken."""
    again = page.get_by_role("dialog", name="Your password, once more")
    dialog.or_(again).first.wait_for()
    if again.count():
        again.get_by_label("Password").fill(PASSWORD)
        again.get_by_role("button", name="Go on").click()


@pytest.mark.timeout(600)
def test_from_the_first_start_to_a_model_in_service_and_back(visit: PageVisit, line: Line) -> None:
    page = visit.page
    page.goto("/")
    page.get_by_label("Your name").fill("ada")
    page.get_by_label("Password", exact=False).first.fill(PASSWORD)
    page.get_by_label("Password once more").fill(PASSWORD)
    page.get_by_role("button", name="Make the administrator").click()
    page.wait_for_selector(".live")
    # Once round all photographs.
    until(lambda: page.request.get("/api/v1/changes?after=60").json()["items"], "sixty parts", line.process, 90)
    first_model = newest(page)[0]["model"]

    page.get_by_role("link", name="Review").click()
    serial = shown(page)
    page.keyboard.press("n")
    page.get_by_label("Name").fill("cracked")
    page.get_by_label("Key").fill("c")
    page.keyboard.press("Enter")
    expect(page.locator("[data-class=cracked] kbd")).to_have_text("C")
    said = {}
    page.keyboard.press("b")
    for number in range(REVIEWED):
        said[serial] = "ok" if serial.startswith("good") else "cracked"
        if said[serial] == "cracked" and number < 8:
            draw_box(page)
        page.keyboard.press("o" if said[serial] == "ok" else "c")
        serial = shown(page, serial)
    page.evaluate("Promise.all(document.querySelector('review-page').queue.done.map((each) => each.sent))")
    recorded = page.request.get("/api/v1/labels", params={"limit": 100}).json()["items"]
    assert sorted(each["label"] for each in recorded) == sorted(said.values())
    assert {each["labelled_by"] for each in recorded} == {"ada"}
    assert any(each["regions"] for each in recorded)

    page.get_by_role("link", name="Training", exact=True).click()
    page.get_by_label("fixed:").check()
    page.get_by_label("Longer side in pixels").fill("160")
    page.get_by_label("Why").fill("cracks that were labelled")
    page.get_by_role("button", name="Start training").click()
    expect(page.locator("h1")).to_contain_text("Training run")
    run = int(page.url.rpartition("/")[2])
    # The trainer dies in the middle; the manager starts it again, and it begins again.
    running = f"/api/v1/training-runs/{run}"
    until(lambda: page.request.get(running).json()["state"] == "running", "the training", line.process, 60)
    for process in psutil.Process(line.process.pid).children(recursive=True):
        if process.cmdline()[2:4] == ["training", "trainer"]:
            process.kill()
    expect(page.locator("training-run .state")).to_have_text("succeeded", timeout=240_000)
    assert page.request.get(running).json()["attempts"] == 2

    page.get_by_role("link", name="Compare and deploy the model").click()
    model = page.url.rpartition("/")[2]
    expect(page.locator(".changed-parts h2")).to_contain_text("Parts that change verdict")
    page.get_by_role("button", name="Deploy …").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Why this model").fill("it knows cracks")
    override = dialog.get_by_label("Why it shall decide nevertheless")
    if override.count():
        override.fill("the loop is what is tested")
    dialog.get_by_role("button", name="Deploy", exact=True).click()
    confirm(page, page.locator(".title .state", has_text="in service"))
    expect(page.locator(".title .state").first).to_have_text("in service")
    until(lambda: newest(page)[0]["model"] == model, "a part judged by the new model", line.process, 60)

    page.get_by_role("button", name="Roll back …").click()
    page.get_by_role("dialog").get_by_label("Why").fill("only tried")
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    confirm(page, page.locator(".title .states", has_text="was in service"))
    until(lambda: newest(page)[0]["model"] == first_model, "a part judged by the former model", line.process, 60)
    trail = page.request.get("/api/v1/audit-entries", params={"limit": 200}).json()["items"]
    assert {"POST /deployments", "POST /deployments/rollback", "POST /training-runs"} <= {each["action"] for each in trail}
    assert page.request.get("/api/v1/audit-entries/verification").json()["problem"] is None

    # Before the line is stopped, or the page complains that it is away.
    page.goto("about:blank")
    summary = line.stop()
    assert summary["balanced"], summary["lots"]
