"""The pages in a real browser: what people see, click and read, on a seeded station."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zmq
from people import logged_in
from served_pages import CHROMIUM, PageVisit, look
from sqlalchemy import Engine
from web_process import web_process

from inspection.commands import Command, HoldLot, OpenLot, execute
from inspection.domain import ImageKind, LotState, Verdict
from inspection.records.database import migrate, open_engine

if not CHROMIUM.exists():
    pytest.skip(f"the page tests need a browser at {CHROMIUM}", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="the page tests need the playwright package")
expect = sync_api.expect

ROOT = Path(__file__).parents[2]
WITH_TAGS = "<img/src=x/onerror=document.title='owned'>"


@dataclass
class Station:
    """A running web process on seeded records."""

    url: str
    engine: Engine
    seeder: Any
    status_path: Path
    command_address: str

    def beat(self, **recent_faults: float) -> None:
        """Let all processes report, for longer than the tests take; and faults of so many seconds ago."""
        beat = {"heard_s": time.monotonic() + 600, "state": "ready", "counters": {}}
        names = ("recorder", "line", "inspector", "camera@cam-1")
        status = {"processes": dict.fromkeys(names, beat), "tally": {"recent_faults": recent_faults}}
        self.status_path.write_text(json.dumps(status))

    def part(self, lot: str, serial: str, verdict: Verdict = Verdict.PASS, **values: Any) -> int:
        """One recorded part; with pictures if it was inspected."""
        seq = self.seeder.inspection(lot, serial, verdict, **values)
        if verdict is not Verdict.NOT_INSPECTED:
            y, x = np.mgrid[0:144, 0:192]
            self.seeder.image(seq, ImageKind.FRAME, ((x + y + 5 * seq) % 256).astype(np.uint8), "Mono8")
            scores = np.full((18, 24), 0.4)
            if verdict is Verdict.FAIL:
                scores[2:6, 3:8] = 3.1
            self.seeder.map(seq, scores)
        return seq


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory, seeder_class: Any) -> Iterator[Station]:
    folder = tmp_path_factory.mktemp("station")
    database_url = f"sqlite:///{folder / 'records.db'}"
    engine = open_engine(database_url)
    migrate(engine)
    with engine.connect() as connection:
        seeder = seeder_class(connection, folder / "images")
        station = Station("", engine, seeder, folder / "status.json", f"ipc://{folder}/commands")
        for number in range(30):
            seeder.lot(
                f"old-{number:02}", state=LotState.CLOSED, opened_at=seeder.start.replace(year=2024, month=1, day=1 + number)
            )
        seeder.lot("24/0917", opened_at=seeder.start, expected_quantity=100)
        for number in range(60):
            verdict = {9: Verdict.FAIL, 19: Verdict.REVIEW, 29: Verdict.NOT_INSPECTED}.get(number % 30, Verdict.PASS)
            station.part("24/0917", f"SN-{number}", verdict, proposed_class="bent lead" if verdict is Verdict.FAIL else None)
        station.part("24/0917", "SN-9", Verdict.PASS, attempt=2)
        seeder.fault("camera_lost", "cam-1 did not answer")
        connection.commit()
        station.beat()
        processes = ["recorder", "line", "inspector", "camera@cam-1"]
        with web_process(folder, database_url, processes=processes) as station.url:
            yield station
    engine.dispose()


@pytest.fixture
def recorder(station: Station) -> Iterator[None]:
    """Executes the web process's commands on lots, as the recorder does."""
    commands = zmq.Context.instance().socket(zmq.REP)
    commands.bind(station.command_address)
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            if commands.poll(20):
                command = msgspec.json.decode(commands.recv(), type=Command)
                with station.engine.begin() as connection:
                    reply = execute(connection, command)
                commands.send(msgspec.json.encode(reply))

    thread = threading.Thread(target=serve)
    thread.start()
    yield
    ended.set()
    thread.join()
    commands.close(linger=0)


@pytest.fixture
def visit(browser: Any, station: Station) -> Iterator[PageVisit]:
    """A visit that fails the test if the browser complained or anything was asked of another host."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    visit = PageVisit(logged_in(context, station.engine, station.url).new_page(), station.url)
    yield visit
    context.close()
    visit.check()


def test_the_live_page_shows_the_last_part_its_lot_and_the_station(visit: PageVisit) -> None:
    visit.open("/")
    page = visit.page
    expect(page.locator(".last .word")).to_have_text("Pass")
    expect(page.locator(".last .serial")).to_have_text("SN-9")
    expect(page.locator(".last .score")).to_have_attribute("aria-label", "score 0.80, review from 1.50, fail from 2.00")
    expect(page.locator(".lot h2")).to_have_text("Lot 24/0917")
    cells = dict(zip(page.locator(".cell span").all_inner_texts(), page.locator(".cell b").all_inner_texts(), strict=True))
    assert cells == {
        "Triggered": "61",
        "Accepted": "55",
        "Rejected": "6",
        "Yield %": "90.1",
        "Pass": "55",
        "Fail": "2",
        "Review": "2",
        "Not inspected": "2",
    }
    assert page.locator(".tile").count() == 12
    expect(page.locator(".faults .ready")).to_have_text("Ready")
    expect(page.locator(".faults li").first).to_contain_text("Camera lost cam-1 did not answer")
    expect(page.locator(".faults li").first).to_contain_text("Look at the camera's cable and power")
    expect(page.locator(".target")).to_contain_text("61 of 100 · 39 to go")
    expect(page.locator(".station")).to_contain_text("free")
    expect(page.locator(".station")).to_contain_text("camera@cam-1")


def test_the_verdict_is_readable_from_two_metres_and_not_by_colour_alone(visit: PageVisit) -> None:
    visit.open("/")
    word = visit.page.locator(".last .word")
    # 1 mm of letter height per 0.2 to 0.3 m of distance: 20 mm at 2 m is far above; 1 px is about 0.26 mm.
    assert word.evaluate("element => parseFloat(getComputedStyle(element).fontSize)") * 0.26 > 20
    assert visit.page.locator(".last .verdict svg.symbol").count() == 1


def test_a_new_part_appears_without_reloading(visit: PageVisit, station: Station) -> None:
    visit.open("/")
    page = visit.page
    expect(page.locator(".last .serial")).to_be_visible()
    loads = visit.requests.count(f"{station.url}/")
    expect(page.locator(".picture .looks")).to_have_count(0)
    seq = station.part("24/0917", "SN-NEW", Verdict.FAIL, proposed_class="dent")
    station.seeder.connection.commit()
    expect(page.locator(".last .serial")).to_have_text("SN-NEW")
    expect(page.locator(".last .word")).to_have_text("Fail")
    expect(page.locator(".picture .looks")).to_have_text("Looks like: dent")
    assert page.locator(".tile").first.get_attribute("title") == "SN-NEW: Fail. Looks like: dent"
    expect(page.locator(".picture .frame")).to_have_attribute("src", f"/api/v1/inspections/{seq}/image?render=png8")
    page.wait_for_function("document.querySelector('.picture .frame').naturalWidth === 192")
    seq = station.part("24/0917", "SN-LOST", Verdict.NOT_INSPECTED, reason="deadline")
    station.seeder.connection.commit()
    expect(page.locator(".last .because")).to_have_text("Rejected, because the verdict came too late.")
    expect(page.locator(".no-picture")).to_be_visible()
    expect(page.locator(".picture .frame")).to_be_hidden()
    assert visit.requests.count(f"{station.url}/") == loads


def test_a_fast_line_shows_the_newest_part_and_makes_few_pictures(visit: PageVisit, station: Station) -> None:
    visit.open("/")
    page = visit.page
    expect(page.locator(".last .serial")).to_be_visible()
    station.seeder.lot("fast", opened_at=station.seeder.start)
    for batch in range(4):
        before = len(visit.requests)
        for number in range(50):
            station.part("fast", f"F-{batch}-{number}")
        station.seeder.connection.commit()
        expect(page.locator(".last .serial")).to_have_text(f"F-{batch}-49")
        expect(page.locator(".strip")).to_contain_text("without images")
        pictures = [url for url in visit.requests[before:] if "/image" in url]
        # The big one, twice if the page was just reading, and none for the tiles.
        assert 1 <= len(pictures) <= 2
    expect(page.locator(".lot")).to_contain_text("Lot fast")
    # A lot is not counted at every look.
    expect(page.locator(".cell b").first).to_have_text("200")


def test_a_silent_process_is_said_in_words(visit: PageVisit, station: Station) -> None:
    visit.open("/")
    beats = json.loads(station.status_path.read_text())
    beats["processes"]["inspector"]["heard_s"] = time.monotonic() - 30
    station.status_path.write_text(json.dumps(beats))
    expect(visit.page.locator(".not-ready")).to_have_text("Not ready")
    # Nothing on the page is louder.
    sizes = "elements => elements.map(element => parseFloat(getComputedStyle(element).fontSize))"
    others = visit.page.locator(".live *:not(.alarm *)").evaluate_all(sizes)
    assert visit.page.locator(".not-ready").evaluate_all(sizes)[0] > 2 * max(others)
    assert visit.page.evaluate("document.documentElement.scrollHeight") <= 900
    expect(visit.page.locator(".reason")).to_contain_text("inspector has not reported for 3")
    expect(visit.page.locator(".station .silent", has_text="inspector")).to_have_count(1)
    station.beat()
    expect(visit.page.locator(".ready")).to_have_text("Ready")


def test_what_is_not_as_it_should_be_is_said_on_a_station_that_inspects(visit: PageVisit, station: Station) -> None:
    visit.open("/")
    degraded = visit.page.locator(".faults")
    expect(visit.page.get_by_text("Ready", exact=True)).to_be_visible()
    station.beat(image_lost=3.0)
    expect(degraded).to_contain_text("Ready, but")
    expect(degraded).to_contain_text("images of parts could not be stored")
    expect(visit.page.locator(".not-ready")).to_have_count(0)
    look(visit.page, "live-degraded", whole=True)
    station.beat()
    expect(degraded).not_to_contain_text("images of parts could not be stored")


def test_from_the_lots_down_to_a_part(visit: PageVisit, station: Station) -> None:
    visit.open("/lots")
    page = visit.page
    assert page.locator("tbody tr").count() == 25
    page.get_by_text("Older lots").click()
    expect(page.locator("tbody tr td:first-child").last).to_have_text("old-00")
    page.get_by_text("Newest lots").click()
    page.get_by_role("link", name="24/0917").click()
    expect(page.locator("h1")).to_have_text("Lot 24/0917")
    expect(page.locator(".balance")).to_have_text("Every trigger is accounted for")
    expect(page.locator(".reasons")).to_contain_text("the camera's image never arrived")
    assert page.locator("tbody tr").count() == 50
    page.get_by_text("More results").click()
    expect(page.locator("tbody tr").first).to_contain_text("SN-50")

    page.locator(".filters").get_by_text("Fail").click()
    expect(page.locator("tbody .badge").first).to_have_text("Fail")
    assert set(page.locator("tbody .badge").all_inner_texts()) == {"Fail"}
    expect(page.locator("tbody .looks").first).to_have_text("Looks like: bent lead")
    page.get_by_role("link", name="SN-9", exact=True).click()
    expect(page.locator("h1")).to_have_text("SN-9")
    expect(page.locator(".data")).to_contain_text("review 1.500, fail 2.000")
    expect(page.locator(".data .because")).to_have_text("Looks like: bent lead")
    assert page.locator(".regions rect").count() == 1
    expect(page.locator(".attempts li")).to_have_count(2)
    page.locator(".attempts a").nth(1).click()
    expect(page.locator(".title")).to_contain_text("inspection 61, attempt 2")
    expect(page.locator(".data .because")).to_have_count(0)
    page.locator(".path").get_by_text("Lot 24/0917").click()
    expect(page).to_have_url(f"{station.url}/lots/24%2F0917")


def test_a_search_opens_what_it_found(visit: PageVisit, station: Station) -> None:
    page = visit.page

    def search(text: str) -> None:
        visit.open("/lots")
        page.get_by_label("Lot or serial").fill(text)
        page.get_by_role("button", name="Search").click()

    search("SN-9")
    expect(page).to_have_url(f"{station.url}/parts/SN-9")
    expect(page.locator("h1")).to_have_text("Part SN-9")
    assert page.locator(".part-attempts .badge").all_inner_texts() == ["Pass", "Fail"]
    expect(page.locator(".part-attempts li").nth(1)).to_contain_text("Looks like: bent lead")
    page.get_by_role("link", name="24/0917").first.click()
    expect(page.locator("h1")).to_have_text("Lot 24/0917")
    search("24/0917")
    expect(page).to_have_url(f"{station.url}/lots/24%2F0917")
    search("old-1")
    expect(page.locator("tbody tr")).to_have_count(10)
    page.get_by_label("State").select_option("open")
    page.get_by_role("button", name="Search").click()
    expect(page.locator(".sheet")).to_contain_text("Neither a lot nor a serial is or begins with old-1, or the other choices")
    visit.open("/lots?since=2024-01-03&until=2024-01-04")
    expect(page.locator("tbody tr")).to_have_count(2)


def test_a_lot_is_opened_held_and_released_on_the_page_with_reasons(visit: PageVisit, recorder: None) -> None:
    visit.open("/lots")
    page = visit.page
    page.get_by_role("button", name="Open a lot").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Lot", exact=True).fill("24/0917")
    dialog.get_by_role("button", name="Open lot").click()
    expect(dialog.get_by_role("alert")).to_contain_text("use it or choose another name")
    dialog.get_by_label("Lot", exact=True).fill("24/0919")
    dialog.get_by_label("Expected quantity").fill("250")
    dialog.get_by_role("button", name="Open lot").click()
    expect(page.locator("h1")).to_have_text("Lot 24/0919")
    expect(page.locator(".reconciliation")).to_contain_text("of 250 expected")
    done = {"Hold": ("held", "<i>dents</i>"), "Release": ("open", "looked through"), "Close": ("closed", "order is done")}
    for action, (state, why) in done.items():
        page.get_by_role("button", name=f"{action} lot").click()
        dialog.get_by_label("Reason").fill(why)
        dialog.get_by_role("button", name=f"{action} lot").click()
        expect(page.locator(".title .state")).to_have_text(state)
        expect(page.locator(".events li").last).to_contain_text(why)
    # The browser reports the refusal itself.
    visit.trouble[:] = [text for text in visit.trouble if "409 (Conflict)" not in text]


def test_quality_shows_lots_and_marks_the_one_out_of_control(visit: PageVisit, station: Station) -> None:
    seeder, page = station.seeder, visit.page
    for number in range(12):
        lot = f"Q/{number:02}"
        seeder.lot(lot, opened_at=seeder.start + timedelta(seconds=number))
        for part in range(20):
            stopped = part < (12 if number == 8 else 1 + number % 2)
            seeder.inspection(lot, f"{lot}-{part}", Verdict.FAIL if stopped else Verdict.PASS)
    seeder.connection.commit()
    visit.open("/quality")
    chart = page.locator(".chart").filter(has_text="Stopped parts by lot")
    expect(chart.locator("svg .point")).not_to_have_count(0)
    expect(chart.locator("svg .mark")).not_to_have_count(0)
    expect(page.locator(".signals")).to_contain_text("Lot Q/08: 60.0 % of 20 inspected parts stopped, beyond the control limit")
    expect(page.locator(".labelled")).to_contain_text("Label passed parts drawn at random")
    # The values without the picture, and by the keyboard.
    chart.get_by_text("Values as a table").click()
    expect(chart.get_by_role("row", name="Lot Q/08")).to_contain_text("beyond the control limit")
    chart.locator("svg").press("ArrowRight")
    expect(chart.locator(".told")).to_contain_text("limits")
    page.get_by_label("Time").select_option("30")
    expect(page).to_have_url(f"{station.url}/quality?days=30")
    page.locator(".signals").get_by_role("link", name="Lot Q/08").click()
    expect(page.locator("h1")).to_have_text("Lot Q/08")


def test_a_held_lot_says_who_held_it_and_can_be_taken_away_whole(visit: PageVisit, station: Station) -> None:
    with station.engine.begin() as connection:
        execute(connection, OpenLot(lot="24/0918", product="plate", by="mes", reason="order 7"))
        execute(connection, HoldLot(lot="24/0918", by="kim", reason="<b>dents</b> at station 3"))
    visit.open("/lots/24%2F0918")
    page = visit.page
    assert page.locator(".state.held").inner_text() == "held"
    told = page.locator(".events li").all_inner_texts()
    assert told[0].endswith("opened by mes: order 7")
    assert told[1].endswith("held by kim: <b>dents</b> at station 3")
    with page.expect_download() as download:
        page.get_by_role("link", name="certificate").click()
    assert Path(download.value.path()).read_bytes().startswith(b"%PDF-")


def test_the_map_is_laid_over_the_frame_hidden_and_faded(visit: PageVisit) -> None:
    visit.open("/inspections/10")
    page = visit.page
    heat = page.locator(".picture .map")
    page.wait_for_function("document.querySelector('.picture .map').naturalWidth === 192")
    assert heat.bounding_box() == page.locator(".picture .frame").bounding_box()
    page.get_by_role("button", name="Hide map").click()
    expect(heat).to_be_hidden()
    page.get_by_role("button", name="Show map").click()
    expect(heat).to_be_visible()
    page.get_by_label("Opacity of the map").fill("30")
    expect(heat).to_have_css("opacity", "0.3")
    visit.open("/inspections/40")
    expect(page.locator(".picture .map")).to_have_css("opacity", "0.3")


def test_light_and_dark_are_chosen_and_kept(visit: PageVisit) -> None:
    visit.open("/")
    page = visit.page
    light = page.locator("body").evaluate("element => getComputedStyle(element).backgroundColor")
    page.get_by_role("button", name="Dark").click()
    dark = page.locator("body").evaluate("element => getComputedStyle(element).backgroundColor")
    assert sum(map(int, dark[4:-1].split(","))) < 120 < 600 < sum(map(int, light[4:-1].split(",")))
    visit.open("/lots")
    assert page.locator("body").evaluate("element => getComputedStyle(element).backgroundColor") == dark


def test_serials_and_lots_are_shown_as_text(visit: PageVisit, station: Station) -> None:
    station.seeder.lot(WITH_TAGS, opened_at=station.seeder.start)
    seq = station.part(WITH_TAGS, WITH_TAGS, Verdict.REVIEW, proposed_class=WITH_TAGS)
    station.seeder.fault(detail=WITH_TAGS)
    station.seeder.connection.commit()
    page = visit.page
    visit.open("/")
    expect(page.locator(".last .serial")).to_have_text(WITH_TAGS)
    expect(page.locator(".lot h2")).to_have_text(f"Lot {WITH_TAGS}")
    expect(page.locator(".picture .looks")).to_have_text(f"Looks like: {WITH_TAGS}")
    expect(page.locator(".faults li").first).to_contain_text(WITH_TAGS)
    visit.open(f"/inspections/{seq}")
    expect(page.locator("h1")).to_have_text(WITH_TAGS)
    page.locator(".path a").nth(1).click()
    expect(page.locator("h1")).to_have_text(f"Lot {WITH_TAGS}")
    expect(page.locator("tbody .strong")).to_have_text(WITH_TAGS)
    expect(page.locator("tbody .looks")).to_have_text(f"Looks like: {WITH_TAGS}")
    assert page.locator("img[src=x]").count() == 0
    assert page.title() == f"Lot {WITH_TAGS} · station-7"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/lots/none", "lot 'none' is not recorded"),
        ("/lots/a%20b", "visible characters only"),
        ("/lots/24%2F0917?cursor=garbled", "start again without one"),
        ("/lots?cursor=garbled", "start again without one"),
        ("/lots/24%2F0917?verdict=great", "'great' is not a valid Verdict"),
        ("/inspections/99999", "inspection 99999 is not recorded"),
        ("/inspections/seven", "find the part by its lot"),
        ("/nowhere", "There is no page at this address"),
    ],
)
def test_what_is_not_there_is_said_with_a_way_out(visit: PageVisit, path: str, says: str) -> None:
    response = visit.open(path)
    assert response.status == 404
    expect(visit.page.locator("h1")).to_have_text("Not found")
    expect(visit.page.locator(".sheet")).to_contain_text(says)
    visit.page.get_by_role("link", name="Live page").click()
    expect(visit.page.locator(".last .word")).to_be_visible()
    # The browser reports the status itself.
    visit.trouble[:] = [text for text in visit.trouble if "404 (Not Found)" not in text]


def test_every_page_fits_the_screen_and_is_accessible(visit: PageVisit) -> None:
    paths = {"live": "/", "lots": "/lots", "lot": "/lots/24%2F0917", "inspection": "/inspections/10"}
    for name, path in (paths | {"part": "/parts/SN-9", "quality": "/quality"}).items():
        visit.open(path)
        if name == "quality":
            expect(visit.page.locator("svg .point")).not_to_have_count(0)
        look(visit.page, name, whole=name == "live")
