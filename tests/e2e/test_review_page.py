"""The Review page in a real browser: parts labelled by keyboard, regions drawn, what fails comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from people import logged_in
from served_pages import CHROMIUM, look
from sqlalchemy import Engine
from web_process import web_process

from inspection.domain import ImageKind, Scope, Verdict
from inspection.records.database import migrate, open_engine
from inspection.records.labels import add_label
from inspection.records.tokens import create_token

if not CHROMIUM.exists():
    pytest.skip(f"the page tests need a browser at {CHROMIUM}", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="the page tests need the playwright package")
expect = sync_api.expect

WIDTH, HEIGHT = 192, 144
LOT = "24/0917"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("review")


@pytest.fixture(scope="module")
def station(folder: Path, seeder_class: Any) -> Iterator[tuple[str, Engine, httpx.Client]]:
    """40 parts, numbered from 1: four in ten failed or for review, the others passed; each picture differs.

    With its address and records comes a program that may do everything.
    """
    database_url = f"sqlite:///{folder / 'records.db'}"
    engine = open_engine(database_url)
    migrate(engine)
    with engine.begin() as connection:
        seeder = seeder_class(connection, folder / "images")
        seeder.lot(LOT)
        for number in range(40):
            verdict = {3: Verdict.REVIEW, 6: Verdict.FAIL, 8: Verdict.FAIL, 9: Verdict.REVIEW}.get(number % 10, Verdict.PASS)
            seq = seeder.inspection(LOT, f"SN-{number}", verdict, proposed_class="dent" if verdict is Verdict.FAIL else None)
            y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
            seeder.image(seq, ImageKind.FRAME, ((x + y + 5 * seq) % 256).astype(np.uint8), "Mono8")
            scores = np.full((18, 24), 0.4)
            if verdict is not Verdict.PASS:
                scores[4:9, 5:11] = 3.1
            seeder.map(seq, scores)
        add_label(connection, 4, "dent", "ada", "seen under light")
        add_label(connection, 4, "ok", "bob", "dust")
        authorization = f"Bearer {create_token(connection, 'tests', Scope, 'tests')}"
    with (
        web_process(folder, database_url, products=["plate", "flange"]) as address,
        httpx.Client(base_url=f"{address}/api/v1", headers={"authorization": authorization}) as program,
    ):
        for name in ("dent", "scratch"):
            program.post("/defect-classes", json={"product": "plate", "defect_class": name}).raise_for_status()
        yield address, engine, program
    engine.dispose()


@pytest.fixture
def rest(station: tuple[str, Engine, httpx.Client]) -> httpx.Client:
    return station[2]


Visit = Callable[[str], Any]


@pytest.fixture
def visit(browser: Any, station: tuple[str, Engine, httpx.Client]) -> Iterator[Visit]:
    """Opens an address; the test fails if the browser complained, or anything was asked of another host."""
    url, engine, _ = station
    context = logged_in(browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light"), engine, url, "grace")
    trouble: list[str] = []
    requests: list[str] = []
    context.on("console", lambda message: message.type in ("error", "warning") and trouble.append(message.text))
    context.on("weberror", lambda error: trouble.append(str(error.error)))
    context.on("request", lambda request: requests.append(request.url))

    def opened(path: str) -> Any:
        page = context.new_page()
        page.goto(url + path)
        page.wait_for_selector("review-page part-panel, .sheet h1")
        return page

    yield opened
    context.close()
    # The browser reports an answer of 409 or 503 itself.
    assert [
        text for text in trouble if "the server responded with a status of" not in text and "net::ERR_FAILED" not in text
    ] == []
    assert [each for each in requests if not each.startswith((url, "data:", "blob:"))] == []


def in_sight(page: Any, serial: str) -> None:
    """Waits until this part is shown: keys before that are for nobody."""
    shown = (
        "name => { const page = document.querySelector('review-page'); "
        "return page?.inSight && page.inSight === page.queue.current && page.inSight.inspection.serial === name; }"
    )
    page.wait_for_function(shown, arg=serial)
    expect(page.locator("part-panel .serial")).to_have_text(serial)


def labels(rest: httpx.Client, seq: int) -> list[Any]:
    return rest.get(f"/inspections/{seq}/labels").json()["labels"]


def wait_for_labels(page: Any) -> None:
    page.evaluate("Promise.all(document.querySelector('review-page').queue.done.map((each) => each.sent))")


def test_parts_are_labelled_by_keyboard_and_taken_back(visit: Visit, rest: httpx.Client) -> None:
    page = visit("/review?labelled=false&verdict=fail&verdict=review")
    in_sight(page, "SN-39")
    expect(page.locator("part-panel .progress b").first).to_have_text("15")
    page.wait_for_function("document.querySelector('part-viewer .layers img')?.naturalWidth === 192")
    expect(page.locator("part-panel [data-class]")).to_have_count(2)
    page.keyboard.press("o")
    in_sight(page, "SN-38")
    page.keyboard.press("2")
    in_sight(page, "SN-36")
    page.keyboard.press("s")
    in_sight(page, "SN-33")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    in_sight(page, "SN-38")
    expect(page.locator("part-panel .said")).to_contain_text("scratch")
    page.keyboard.press("ArrowRight")
    in_sight(page, "SN-36")
    progress = page.locator("part-panel .progress b")
    expect(progress).to_have_text(["13", "2", "100 %"])
    wait_for_labels(page)
    assert [each["label"] for each in labels(rest, 40)] == ["ok"]
    assert [each["label"] for each in labels(rest, 39)] == ["scratch"]
    page.keyboard.press("Control+z")
    in_sight(page, "SN-38")
    expect(progress.nth(1)).to_have_text("1")
    assert [each["label"] for each in labels(rest, 39)] == [None, "scratch"]
    expect(page.locator("part-panel .said")).to_contain_text("took the label back")
    page.keyboard.press("z")
    in_sight(page, "SN-39")
    assert labels(rest, 40)[0]["label"] is None


def test_a_part_whose_label_was_not_taken_comes_back(visit: Visit, rest: httpx.Client) -> None:
    page = visit("/review?labelled=false&verdict=fail")
    in_sight(page, "SN-38")
    page.route("**/labels", lambda route: route.abort())
    page.keyboard.press("o")
    expect(page.locator(".message.problem")).to_contain_text("SN-38 was not labelled and comes back")
    in_sight(page, "SN-36")
    expect(page.locator("part-panel .progress b").nth(1)).to_have_text("0")
    page.unroute("**/labels")
    page.keyboard.press("s")
    in_sight(page, "SN-38")
    expect(page.locator(".returned")).to_contain_text("The station does not answer")

    # Somebody else was faster.
    rest.post("/inspections/39/labels", json={"label": "dent", "by": "ada"}).raise_for_status()
    page.keyboard.press("o")
    expect(page.locator(".message.problem").last).to_contain_text("ada (tests) said dent meanwhile")
    page.keyboard.press("s")
    in_sight(page, "SN-38")
    expect(page.locator("part-panel .said")).to_contain_text("ada (tests) said dent")
    page.keyboard.press("o")
    page.get_by_label("Why is it ok?").fill("a shadow")
    page.keyboard.press("Enter")
    expect(page.locator("part-panel .progress b").nth(1)).to_have_text("1")
    wait_for_labels(page)
    newest = labels(rest, 39)[0]
    assert (newest["label"], newest["reason"]) == ("ok", "a shadow")
    rest.post("/inspections/39/labels", json={"label": "ok", "by": "cleo"}).raise_for_status()


def drag(page: Any, *points: tuple[float, float]) -> None:
    """With the left button over these pixels of the frame."""
    place = page.evaluate(
        "() => { const v = document.querySelector('part-viewer.main'); const e = v.getBoundingClientRect();"
        " return [e.left + v.view.x, e.top + v.view.y, v.view.scale]; }"
    )
    on_screen = [(place[0] + x * place[2], place[1] + y * place[2]) for x, y in points]
    page.mouse.move(*on_screen[0])
    page.mouse.down()
    for point in on_screen[1:]:
        page.mouse.move(*point, steps=4)
    page.mouse.up()


def test_a_box_a_polygon_and_a_brush_stroke_are_regions_of_the_label(visit: Visit, rest: httpx.Client) -> None:
    page = visit("/review?seq=14")
    in_sight(page, "SN-13")
    expect(page.locator("part-panel [data-class]")).to_have_count(2)
    page.keyboard.press("b")
    drag(page, (10.5, 12.5), (29.5, 21.5))
    page.keyboard.press("p")
    for point in ((60.5, 20.5), (90.5, 20.5), (75.5, 40.5)):
        drag(page, point)
    page.keyboard.press("Enter")
    page.keyboard.press("r")
    drag(page, (40.5, 100.5), (100.5, 100.5))
    expect(page.locator(".drawn .line")).to_have_count(3)
    page.keyboard.press("1")
    expect(page.locator("part-panel .progress b").nth(1)).to_have_text("1")
    wait_for_labels(page)
    (given,) = labels(rest, 14)
    box, polygon, brush = given["regions"]
    assert box == {"x": 10, "y": 12, "width": 20, "height": 10, "polygon": None}
    assert polygon == {"x": 60, "y": 20, "width": 31, "height": 21, "polygon": [[60, 20], [90, 20], [75, 40]]}
    # A stroke of 24 pixels from one middle to the other: rounded at its ends.
    expected = {"x": 28, "y": 88, "width": 85, "height": 25}
    assert all(abs(brush[side] - pixels) <= 1 for side, pixels in expected.items()), brush
    assert len(brush["polygon"]) > 12

    page.keyboard.press("ArrowLeft")
    in_sight(page, "SN-13")
    expect(page.locator(".drawn .line")).to_have_count(3)
    # Across the brush's region, from above to below: two are left of it.
    page.keyboard.press("e")
    drag(page, (70.5, 70.5), (70.5, 130.5))
    expect(page.locator(".drawn .line")).to_have_count(4)
    page.keyboard.press("Delete")
    expect(page.locator(".drawn .line")).to_have_count(0)
    page.keyboard.press("u")
    expect(page.locator(".drawn .line")).to_have_count(1)
    page.keyboard.press("1")
    wait_for_labels(page)
    (suggested,) = labels(rest, 14)[0]["regions"]
    assert 38 <= suggested["x"] <= 44
    assert 28 <= suggested["y"] <= 36
    assert len(suggested["polygon"]) >= 4


def test_a_class_is_made_and_labels_with_its_key(visit: Visit, rest: httpx.Client) -> None:
    page = visit("/review?seq=17")
    in_sight(page, "SN-16")
    expect(page.locator("part-panel [data-class]")).to_have_count(2)
    page.keyboard.press("n")
    page.get_by_label("Name").fill("bent-lead")
    page.get_by_label("Key").fill("k")
    page.keyboard.press("Enter")
    expect(page.locator("[data-class=bent-lead] kbd")).to_have_text("K")
    page.keyboard.press("k")
    expect(page.locator("part-panel .progress b").nth(1)).to_have_text("1")
    wait_for_labels(page)
    assert labels(rest, 17)[0]["label"] == "bent-lead"
    listed = rest.get("/defect-classes", params={"product": "plate"}).json()["items"]
    assert ("bent-lead", "k") in [(each["defect_class"], each["key"]) for each in listed]


def test_a_conflict_shows_both_opinions_and_the_third_word_settles_it(visit: Visit, rest: httpx.Client) -> None:
    page = visit("/review")
    page.get_by_label("Conflicts only").check()
    in_sight(page, "SN-3")
    expect(page.locator(".conflict")).to_contain_text("ada: dent – seen under light")
    expect(page.locator(".conflict")).to_contain_text("bob: ok – dust")
    page.keyboard.press("1")
    page.get_by_label("Why is it dent?").fill("felt it")
    page.keyboard.press("Enter")
    expect(page.locator(".nothing")).to_contain_text("That was all of them")
    wait_for_labels(page)
    assert rest.get("/review", params={"conflicting": True}).json()["items"] == []
    page = visit("/inspections/4")
    said = page.locator(".label-history li")
    expect(said).to_have_count(3)
    expect(said.first).to_contain_text("dent by grace counts")
    expect(said.first).to_contain_text("felt it")
    page.get_by_role("link", name="Label again").click()
    in_sight(page, "SN-3")


def test_the_picture_is_zoomed_to_its_pixels_and_compared(visit: Visit) -> None:
    page = visit("/review?seq=24")
    in_sight(page, "SN-23")
    viewer = page.locator("part-viewer.main")
    frame, heat = viewer.locator("img").first, viewer.locator(".map")
    expect(heat).to_be_visible()
    assert {frame.bounding_box()[side] for side in ("width",)} == {heat.bounding_box()["width"]}
    page.keyboard.down("Space")
    expect(heat).to_be_hidden()
    page.keyboard.up("Space")
    expect(heat).to_be_visible()
    page.keyboard.press("m")
    expect(heat).to_be_hidden()
    page.keyboard.press("m")
    page.keyboard.press("f")
    expect(viewer.locator(".readout")).to_have_text("100 %")
    page.keyboard.press("g")
    expect(page.locator(".good-parts part-viewer")).to_have_count(3)
    for _ in range(3):
        page.keyboard.press("+")
    expect(frame).to_have_css("image-rendering", "pixelated")
    middles = page.evaluate(
        "() => [...document.querySelectorAll('part-viewer')].map((v) =>"
        " [(v.clientWidth / 2 - v.view.x) / v.view.scale, (v.clientHeight / 2 - v.view.y) / v.view.scale].map(Math.round))"
    )
    assert len(middles) == 4
    assert all(middle == middles[0] for middle in middles), "the same place in all four"
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("take the last label back")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_the_page_fits_the_screen_and_is_accessible(visit: Visit) -> None:
    page = visit("/review?seq=24")
    in_sight(page, "SN-23")
    expect(page.locator("part-panel [data-class]").first).to_be_visible()
    page.keyboard.press("g")
    expect(page.locator(".good-parts part-viewer")).to_have_count(3)
    page.keyboard.press("u")
    expect(page.locator(".drawn .line")).to_have_count(1)
    look(page, "review", whole=True)


def test_a_picture_that_is_stored_after_the_verdict_is_shown(
    visit: Visit, station: tuple[str, Engine, httpx.Client], folder: Path, seeder_class: Any
) -> None:
    engine = station[1]
    now = datetime.now(UTC)
    with engine.begin() as connection:
        seeder = seeder_class(connection, folder / "images", start=now, triggers=40, seqs=40)
        seq = seeder.inspection(LOT, "SN-new", Verdict.FAIL, decided_at=now + timedelta(seconds=30))
    page = visit(f"/review?seq={seq}")
    expect(page.locator("part-panel .serial")).to_have_text("SN-new")
    assert page.locator("part-viewer.main .layers img").count() == 0
    with engine.begin() as connection:
        seeder_class(connection, folder / "images").image(seq, ImageKind.FRAME, np.full((HEIGHT, WIDTH), 77, np.uint8), "Mono8")
    in_sight(page, "SN-new")
    page.wait_for_function("document.querySelector('part-viewer.main .layers img')?.naturalWidth === 192")
