"""Training and models in a real browser, by somebody who never saw a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from people import logged_in
from running_station import scene
from served_pages import CHROMIUM, PageVisit, look
from small_models import network, small_model
from sqlalchemy import Connection, Engine
from web_process import web_process

from inspection.artifact import Design, Trial, model_at, read_artifact, write_artifact
from inspection.domain import Check, ImageKind, LotState, RunState, Verdict
from inspection.images import ImageStore, encode_map
from inspection.model_maps import MapStore
from inspection.records.database import migrate, open_engine
from inspection.records.deployments import deploy, model_in_service, register_model
from inspection.records.gates import store_gate, waiting_gate
from inspection.records.labels import add_label
from inspection.records.model_scores import store_scores
from inspection.records.training_runs import beat, claim_run, end_run, get_run, request_run
from inspection.records.training_sets import freeze
from inspection.training_set import checked, draft

if not CHROMIUM.exists():
    pytest.skip(f"the page tests need a browser at {CHROMIUM}", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="the page tests need the playwright package")
expect = sync_api.expect

LOADED = "found => [...document.querySelectorAll(found)].every(image => image.complete && image.naturalWidth > 0)"
GOOD, DEFECTIVE, PASSES = 40, 10, 12
CHECKS = (
    Check("parity", True, "every byte is the one that was hashed; 9 frames scored twice alike"),
    Check("latency", True, "99 % of 200 inspections of a frame of 160×120 within 2.1 ms; the deadline is 500 ms"),
    Check("golden", True, "nothing to check against: the product has no golden images"),
    Check("comparison", True, "escapes 0 of 10, in service 1 of 10"),
)


@dataclass
class Learning:
    """A station with two models of `plate`, one in service; `flange` has nothing yet."""

    url: str
    engine: Engine
    old: str
    new: str
    run: int
    folder: Path

    def in_service(self) -> str | None:
        with self.engine.connect() as connection:
            deployed = model_in_service(connection, "station-7", "plate")
            return None if deployed is None else deployed.model


def _second_model(folder: Path, learned: tuple[str, ...]) -> Path:
    """With a design that was chosen among three, as the autopilot would."""
    path = small_model(folder, files=network(0, gain=1.5), learned=learned)
    former = read_artifact(path)
    designs = [
        Design(longer_side=side, levels=levels, layers=("a",), bank_patches=2_000) for side, levels in ((240, 1), (480, 2))
    ]
    tried = (Trial(designs[0], 3.1, 0.874), Trial(designs[1], 9.4, 0.931))
    provenance = msgspec.structs.replace(former.manifest.provenance, design=designs[1], tried=tried)
    return write_artifact(folder, msgspec.structs.replace(former.manifest, provenance=provenance), former.files)[0]


def _parts(seeder: Any, connection: Connection) -> list[tuple[int, str, str | None]]:
    """Number, SHA-256 and label of each: good and defective ones, and passes that nobody labelled."""
    seeder.lot("L1", state=LotState.CLOSED, opened_at=seeder.start)
    seeder.lot("L10", opened_at=seeder.start)
    found = []
    for number in range(GOOD + DEFECTIVE + PASSES):
        label = "ok" if number < GOOD else ("scratch", "dent")[number // 2 % 2] if number < GOOD + DEFECTIVE else None
        pixels = scene(number)
        if label not in ("ok", None):
            cv2.line(pixels, (40, 30 + number), (110, 60 + number), 235, 3)
        # L10 is kept for validation.
        seq = seeder.inspection("L10" if number % 2 else "L1", f"SN-{number:03}", Verdict.PASS)
        found.append((seq, seeder.image(seq, ImageKind.FRAME, pixels, "Mono8"), label))
        if label is not None:
            add_label(connection, seq, label, "kim")
    return found


def _judge(connection: Connection, folder: Path, parts: list[tuple[int, str, str | None]], old: str, new: str) -> None:
    """Scores and maps: the new model tells defective parts better apart, but stops three good ones."""
    maps, random = MapStore(folder / "maps"), np.random.default_rng(1)
    scores: dict[str, dict[str, float]] = {old: {}, new: {}}
    good = defective = 0
    for _, sha256, label in parts:
        if label in ("ok", None):
            scores[old][sha256] = float(np.clip(random.lognormal(-1.4, 0.2), 0.05, 0.45))
            scores[new][sha256] = (
                0.55 + good / 100 if good < 3 and label == "ok" else float(np.clip(random.lognormal(-1.5, 0.2), 0.05, 0.45))
            )
            good += label == "ok"
        else:
            # Two escape the old one.
            scores[old][sha256] = 0.4 if defective < 2 else 0.6 + defective / 20
            scores[new][sha256] = 0.7 + defective / 10
            defective += 1
        spot = np.full((12, 12), 0.1, np.float32)
        spot[4:7, 3:8] = scores[new][sha256]
        for model in (old, new):
            maps.put(model, sha256, encode_map(spot, 0.8))
    for model, known in scores.items():
        store_scores(connection, model, known)


def seed(folder: Path, seeder_class: Any) -> tuple[Engine, str, str, int]:
    """Records of a station whose first model is in service, and whose second one was trained and passed its gate."""
    engine = open_engine(f"sqlite:///{folder / 'records.db'}")
    migrate(engine)
    with engine.begin() as connection:
        seeder = seeder_class(connection, folder / "images")
        parts = _parts(seeder, connection)
        old = small_model(folder / "models")
        new = _second_model(folder / "models", tuple(sha256 for _, sha256, label in parts[:20:2] if label == "ok"))
        for path in (old, new):
            register_model(connection, model_at(path, "plate"))
        store_gate(connection, "station-7", "plate", old.name, CHECKS, None, "trainer")
        deploy(connection, "station-7", "plate", old.name, "kim", "the first")
        store_gate(connection, "station-7", "plate", new.name, CHECKS, old.name, "trainer")
        _judge(connection, folder, parts, old.name, new.name)
        frozen = freeze(connection, checked(draft(connection, "plate"), ImageStore(folder / "images")), "kim")
        number = request_run(connection, "station-7", frozen.training_set, "kim", "scratches escaped").training_run_id
        claimed = claim_run(connection, "station-7")
        assert claimed is not None
        stages = ("attempt 1", "autopilot", "read", "bank", "calibrate", "export", "parity", "store", f"made model {new.name}")
        begun = datetime.now(UTC) - timedelta(minutes=len(stages))
        log = "".join(f"{begun + timedelta(minutes=minute):%F %T} {line}\n" for minute, line in enumerate(stages))
        end_run(connection, claimed, RunState.SUCCEEDED, log, new.name)
    return engine, old.name, new.name, number


@pytest.fixture(scope="module")
def learning(tmp_path_factory: pytest.TempPathFactory, seeder_class: Any) -> Iterator[Learning]:
    folder = tmp_path_factory.mktemp("learning")
    engine, old, new, run = seed(folder, seeder_class)
    with web_process(folder, f"sqlite:///{folder / 'records.db'}", products=["plate", "flange"]) as url:
        yield Learning(url, engine, old, new, run, folder)
    engine.dispose()


@pytest.fixture
def visit(browser: Any, learning: Learning) -> Iterator[PageVisit]:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    visit = PageVisit(logged_in(context, learning.engine, learning.url).new_page(), learning.url)
    yield visit
    context.close()
    visit.check()


def test_a_model_is_compared_and_a_threshold_moved_with_the_keyboard(visit: PageVisit, learning: Learning) -> None:
    visit.open("/models")
    page = visit.page
    row = page.locator("tr", has_text=learning.old[:12]).first
    expect(row.locator(".state").first).to_have_text("in service")
    page.get_by_role("link", name=learning.new[:12]).first.click()
    expect(page.locator("h1")).to_have_text(f"Model {learning.new[:12]}")
    expect(page.locator(".checks li.passed")).to_have_count(4)
    false_rejects = page.locator("[data-figure=false_rejects] b")
    # Ten of the good parts were learned from.
    expect(false_rejects).to_have_text("1 of 30")
    expect(page.locator("[data-figure=other-escapes] b")).to_have_text("2 of 10")
    expect(page.locator("[data-figure=escapes] .interval")).to_have_text("0.0 % (0.0 % to 30.8 %)")
    expect(page.locator(".changed-parts h2")).to_contain_text("Parts that change verdict")

    handle = page.get_by_role("slider", name="Review threshold of this model")
    handle.focus()
    before = float(handle.get_attribute("aria-valuenow"))
    for _ in range(3):
        handle.press("PageUp")
        if page.locator("[data-figure=false_rejects] b").inner_text() == "0 of 30":
            break
    assert float(handle.get_attribute("aria-valuenow")) > before
    expect(false_rejects).to_have_text("0 of 30")
    expect(page.locator(".live-counts")).to_contain_text("0 of 30 good parts stopped")
    # The exact interval follows.
    expect(page.locator("[data-figure=false_rejects] .interval")).to_have_text("0.0 % (0.0 % to 11.6 %)")
    handle.press("End")
    fail = page.get_by_role("slider", name="Fail threshold of this model")
    assert float(handle.get_attribute("aria-valuenow")) < float(fail.get_attribute("aria-valuenow"))
    expect(page.locator("[data-figure=escapes] b")).not_to_have_text("0 of 10")
    page.get_by_role("button", name="Back to the model's own").click()
    expect(false_rejects).to_have_text("1 of 30")

    # The mouse moves it too.
    grip = handle.locator(".grip")
    grip.scroll_into_view_if_needed()
    box = grip.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 - 120, box["y"] + box["height"] / 2)
    page.mouse.up()
    assert float(handle.get_attribute("aria-valuenow")) < before

    page.get_by_role("button", name="Wrong by label").click()
    page.locator(".thumbnail").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("img.map")).to_have_count(2)
    page.wait_for_function(
        "[...document.querySelectorAll('dialog img')].every(image => image.complete && image.naturalWidth > 0)"
    )
    dialog.get_by_role("button", name="Close").click()


def test_thresholds_become_a_model_that_is_deployed_with_a_reason_and_rolled_back(visit: PageVisit, learning: Learning) -> None:
    visit.open(f"/models/{learning.new}")
    page = visit.page
    page.get_by_label("Review from").fill("0.6")
    page.get_by_label("Review from").press("Enter")
    expect(page.locator("[data-figure=false_rejects] b")).to_have_text("0 of 30")
    page.get_by_role("button", name="Make a model with these thresholds").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Make the model").click()
    expect(dialog).to_be_visible()  # without a reason nothing is made
    dialog.get_by_label("Why these thresholds").fill("no good part was stopped on these")
    dialog.get_by_role("button", name="Make the model").click()
    page.wait_for_url(lambda url: url.startswith(f"{learning.url}/models/") and not url.endswith(learning.new))
    made = page.url.rpartition("/")[2]
    expect(page.locator(".title .state")).to_have_text("waiting for its gate")
    facts = page.locator(".model-facts")
    expect(facts).to_contain_text("chosen by ada, not by calibration: no good part was stopped on these")
    expect(facts).to_contain_text(f"thresholds of {learning.new[:12]}")

    # The trainer comes to it, and it does not pass.
    with learning.engine.begin() as connection:
        assert waiting_gate(connection, "station-7").model == made
        failed = Check("golden", False, "1 of 3 golden images: a.png is labelled dent, and the verdict is pass")
        store_gate(connection, "station-7", "plate", made, (*CHECKS[:2], failed), learning.old, "trainer")
    expect(page.locator(".title .state")).to_have_text("gate not passed")
    expect(page.locator(".checks .not-passed")).to_contain_text("Golden set")
    page.get_by_role("button", name="Deploy …").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("did not pass its gate (golden: 1 of 3 golden images")
    dialog.get_by_label("Why this model").fill("scratches escape")
    dialog.get_by_label("Why it shall decide nevertheless").fill("a.png is labelled wrongly")
    dialog.get_by_role("button", name="Deploy", exact=True).click()
    expect(page.locator(".title .state").first).to_have_text("in service")
    assert learning.in_service() == made
    page.get_by_role("button", name="Roll back …").click()
    page.get_by_role("dialog").get_by_label("Why").fill("too many rejects")
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    expect(page.locator(".title .states")).to_contain_text("was in service")
    assert learning.in_service() == learning.old


def test_a_decision_on_an_old_page_is_refused_and_says_who_came_first(visit: PageVisit, learning: Learning) -> None:
    visit.open(f"/models/{learning.new}")
    page = visit.page
    page.get_by_role("button", name="Deploy …").click()
    with learning.engine.begin() as connection:
        deploy(connection, "station-7", "plate", learning.old, "lee", "at the same time")
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Why this model").fill("scratches escape")
    dialog.get_by_role("button", name="Deploy", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text(f"lee put model {learning.old[:12]} in service")
    assert learning.in_service() == learning.old
    dialog.get_by_role("button", name="Reload the page").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    # As a shadow it judges along, until it is stopped.
    page.get_by_role("button", name="Start as shadow …").click()
    page.get_by_role("dialog").get_by_role("button", name="Start").click()
    page.get_by_role("button", name="Stop the shadow").click()
    expect(page.get_by_role("button", name="Start as shadow …")).to_be_visible()
    page.get_by_role("button", name="Gate again").click()
    expect(page.locator(".title .state").first).to_have_text("waiting for its gate")
    with learning.engine.begin() as connection:
        store_gate(connection, "station-7", "plate", learning.new, CHECKS, learning.old, "trainer")
    expect(page.get_by_role("button", name="Gate again")).to_be_visible()
    visit.forgive("409 (Conflict)")


def test_labels_are_chosen_a_run_is_watched_and_cancelled_and_its_report_read(visit: PageVisit, learning: Learning) -> None:
    visit.open("/training")
    page = visit.page
    row = page.locator("training-start tr", has_text="scratch")
    expect(row.locator("td").first).to_have_text("3")
    expect(row.locator("td").nth(1)).to_have_text("3")
    page.get_by_label("dent", exact=True).uncheck()
    warnings = page.get_by_role("list", name="What to know before training")
    expect(warnings).to_contain_text("4 images are left out as asked: label dent")
    page.get_by_label("fixed:").check()
    page.get_by_label("Longer side in pixels").fill("160")
    page.get_by_label("Why").fill("without dents")
    page.get_by_role("button", name="Start training").click()
    expect(page.locator("h1")).to_contain_text("Training run")
    number = int(page.url.rpartition("/")[2])
    with learning.engine.begin() as connection:
        claimed = claim_run(connection, "station-7")
        assert claimed is not None
        assert (claimed.training_run_id, claimed.settings.longer_side, claimed.reason) == (number, 160, "without dents")
        beat(connection, claimed, "calibrate", 2, 5, "2026-01-02 10:00:00 calibrate\n")
    expect(page.locator(".run-progress")).to_contain_text("calibrating, 2 of 5")
    expect(page.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "40")
    expect(page.locator(".run-log")).to_contain_text("10:00:00 calibrate")
    page.get_by_role("button", name="Cancel this run").click()
    expect(page.get_by_role("button", name="Being cancelled for")).to_be_disabled()
    with learning.engine.begin() as connection:
        assert get_run(connection, number).cancelled_by is not None
        end_run(connection, claimed, RunState.CANCELLED, "2026-01-02 10:00:00 calibrate\n")
    expect(page.locator("training-run .state")).to_have_text("cancelled")

    page.locator(".path a").click()
    page.get_by_role("link", name=f"Run {learning.run}", exact=True).click()
    expect(page.locator("tr.chosen")).to_contain_text("480 pixels")
    expect(page.locator(".facts", has_text="Calibrating")).to_contain_text("60 s")
    expect(page.locator(".gallery").first.locator("a").first).to_contain_text("score 0.560")
    expect(page.locator(".gallery").nth(1).locator("a").first).to_contain_text("score 0.700")
    page.wait_for_function(
        "[...document.querySelectorAll('.gallery img')].slice(0, 4).every(image => image.complete && image.naturalWidth)"
    )
    page.get_by_role("link", name="Compare and deploy the model").click()
    expect(page.locator("h1")).to_have_text(f"Model {learning.new[:12]}")


def test_a_product_without_models_or_images_says_what_to_do(visit: PageVisit, learning: Learning) -> None:
    visit.open("/models?product=flange")
    page = visit.page
    page.get_by_role("link", name="Train the first one").click()
    expect(page.locator("training-start")).to_contain_text("Nothing of this product is stored yet")
    expect(page.get_by_role("button", name="Start training")).to_be_disabled()
    expect(page.locator("training-runs")).to_contain_text("No model of this product was trained")
    images = [
        {"name": f"{number}.png", "mimeType": "image/png", "buffer": cv2.imencode(".png", scene(900 + number))[1].tobytes()}
        for number in range(10)
    ]
    broken = {"name": "torn.png", "mimeType": "image/png", "buffer": images[0]["buffer"][:200]}
    page.get_by_label("Add images of good parts").set_input_files([*images, broken])
    expect(page.locator(".upload")).to_contain_text("10 images added")
    expect(page.locator(".upload .notes")).to_contain_text("torn.png")
    expect(page.get_by_role("button", name="Start training")).to_be_enabled()
    visit.forgive("422 (Unprocessable")
    for path, says in (
        ("/models/nonsense", "models are named by 64 hexadecimal digits"),
        (f"/models/{'ab' * 32}", "is not registered on this station"),
        ("/training/99", "training run 99 is not recorded"),
        ("/training/x", "training runs have numbers"),
        ("/models?product=none", "There is no product 'none'"),
    ):
        assert visit.open(path).status == 404
        expect(page.locator(".sheet")).to_contain_text(says)
    visit.forgive("404 (Not Found)")


def test_the_only_model_of_a_product_is_looked_at_alone(visit: PageVisit, learning: Learning, seeder_class: Any) -> None:
    with learning.engine.begin() as connection:
        only = small_model(learning.folder / "models", files=network(0, gain=2.0))
        register_model(connection, model_at(only, "flange"))
    visit.open(f"/models/{only.name}")
    page = visit.page
    expect(page.locator("model-comparison")).to_contain_text("There is no other model of this product")
    expect(page.locator("model-comparison")).to_contain_text("No part of this product has a stored image yet")
    expect(page.locator(".model-facts")).to_contain_text("No gate has been done yet")
    with learning.engine.begin() as connection:
        count = GOOD + DEFECTIVE + PASSES
        seeder = seeder_class(connection, learning.folder / "images", triggers=count, seqs=count)
        seq = seeder.inspection("L1", "F-1", Verdict.PASS, product="flange")
        sha256 = seeder.image(seq, ImageKind.FRAME, scene(700), "Mono8")
        add_label(connection, seq, "ok", "kim")
    page.reload()
    expect(page.locator("model-comparison")).to_contain_text("has not scored the 1 stored images")
    with learning.engine.begin() as connection:
        store_scores(connection, only.name, {sha256: 0.6})
    page.reload()
    expect(page.locator("[data-figure=false_rejects] b")).to_have_text("1 of 1")
    expect(page.locator("[data-figure=escapes]")).to_have_text("no such part")
    expect(page.locator(".roc-panel")).to_contain_text("Needs labelled good and labelled defective parts")
    page.get_by_label("Review from").fill("0.7")
    page.get_by_label("Review from").press("Enter")
    expect(page.locator("[data-figure=false_rejects] b")).to_have_text("0 of 1")
    expect(page.locator(".changed-parts")).to_contain_text("L1/F-1")


def test_the_pages_fit_the_screen_and_are_accessible(visit: PageVisit, learning: Learning) -> None:
    paths = {"models": "/models", "model": f"/models/{learning.new}", "training": "/training", "run": f"/training/{learning.run}"}
    for name, path in paths.items():
        visit.open(path)
        visit.page.wait_for_load_state("networkidle")
        look(visit.page, name)
