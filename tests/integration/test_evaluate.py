"""Train, inspect and measure on a small synthetic product, and the page and the text that tell of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from inspection.domain import Verdict
from inspection.errors import StationError
from training import claims_report, experiment
from training.claims import claims
from training.dataset import good_images, labelled_images
from training.errors import TrainingError
from training.evaluate import evaluate
from training.report import summary_lines, write_report
from training.train import TrainedModel, train

GOOD, SCRATCHED = 8, 6


def part(seed: int) -> NDArray[np.uint8]:
    """A bright ring on a dark ground, gray (96, 128); its place and light vary with the seed."""
    rng = np.random.default_rng(seed)
    image = np.full((96, 128), 50.0)
    cv2.circle(image, (64 + int(rng.integers(-2, 3)), 48 + int(rng.integers(-2, 3))), 28, 150.0, 9)
    return np.clip(image * rng.normal(1, 0.02) + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A product <ring> with one training image and one test image cut short, and a defect without masks."""
    root = tmp_path_factory.mktemp("data") / "ring<1>"
    for folder in ("train/good", "test/good", "test/scratch", "test/dent", "ground_truth/scratch"):
        (root / folder).mkdir(parents=True)
    for seed in range(13):
        cv2.imwrite(str(root / f"train/good/{seed:02}.png"), part(seed))
    for seed in range(GOOD):
        cv2.imwrite(str(root / f"test/good/{seed}.png"), part(100 + seed))
    for seed in range(SCRATCHED):
        image, mask = part(200 + seed), np.zeros((96, 128), np.uint8)
        cv2.line(mask, (20 + 10 * seed, 30), (40 + 10 * seed, 60), 255, 3)
        cv2.imwrite(str(root / f"test/scratch/{seed}.png"), np.where(mask > 0, 240, image))
        cv2.imwrite(str(root / f"ground_truth/scratch/{seed}_mask.png"), mask)
    cv2.imwrite(str(root / "test/dent/0.png"), np.where(np.hypot(*np.mgrid[-20:76, -60:68]) < 9, 0, part(300)).astype(np.uint8))
    for broken in ("train/good/12.png", "test/good/0.png"):
        (root / broken).write_bytes((root / broken).read_bytes()[:900])
    return root


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    return train(good_images(dataset), "ring", tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def run(dataset: Path, trained: TrainedModel) -> experiment.Run:
    return experiment.Run(0, evaluate(trained.path, labelled_images(dataset), trained.seconds), 12, trained.skipped)


def test_the_figures_are_those_of_a_product_whose_defects_are_plain(run: experiment.Run) -> None:
    figures = run.evaluation.figures
    assert figures.image_auroc == figures.f1_max == 1.0
    assert figures.frr_at_zero_escape == figures.frr_at_1pct_escape == 0.0
    assert figures.frr_at_zero_escape_interval == pytest.approx((0.0, 1 - 0.025 ** (1 / (GOOD - 1))))
    assert figures.pixel_auroc is not None
    assert 0.95 < figures.pixel_auroc < 1.0
    assert figures.aupro is not None
    assert 0.8 < figures.aupro < 1.0
    assert figures.verdicts["scratch"] == {"fail": SCRATCHED}
    assert sum(figures.verdicts["good"].values()) == GOOD - 1
    assert 0 < (figures.ms_per_image or 0) < 1000
    assert 1e6 < figures.model_bytes < figures.peak_memory_bytes


def test_damaged_images_and_missing_masks_are_named(run: experiment.Run) -> None:
    result = experiment.document([run])
    unreadable = result["unreadable"]
    assert isinstance(unreadable, dict)
    assert list(unreadable) == ["12.png", "good/0.png"]
    assert result["missing"] == ("1 defective images have no mask and are left out of pixel AUROC and AUPRO",)


def test_several_seeds_give_mean_and_spread(run: experiment.Run) -> None:
    figures = replace(run.evaluation.figures, image_auroc=0.8, aupro=None)
    other = replace(run, seed=1, evaluation=replace(run.evaluation, figures=figures))
    seeds = experiment.document([run, other])["seeds"]
    assert isinstance(seeds, dict)
    assert seeds["seeds"] == [0, 1]
    assert seeds["image_auroc"] == pytest.approx({"mean": 0.9, "std": 0.2 / np.sqrt(2), "min": 0.8, "max": 1.0})
    assert seeds["aupro"] is None
    assert "2 seeds: 0.9000 ± 0.1414" in summary_lines([run, other])[0]


class Links(HTMLParser):
    """What a page would load: every src and href, and every element."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.elements: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_holds_everything_it_shows(run: experiment.Run, dataset: Path, tmp_path: Path) -> None:
    # Nothing is wrong with this product, so thresholds that are: the good ones fail and a scratch passes.
    figures, inspected = run.evaluation.figures, run.evaluation.inspected
    wrong = tuple(replace(each, verdict=Verdict.FAIL if each.image.good else Verdict.PASS) for each in inspected)
    page = tmp_path / "report.html"
    write_report(page, dataset.name, [replace(run, evaluation=replace(run.evaluation, inspected=wrong))])
    text = page.read_text(encoding="utf-8")
    assert "ring&lt;1&gt;" in text
    links = Links()
    links.feed(text)
    assert "script" not in links.elements
    assert {"svg", "polyline", "rect", "circle", "img"} <= links.elements
    assert len(links.sources) == 2 * (6 + 6)
    assert all(source.startswith("data:image/jpeg;base64,") for source in links.sources)
    assert not re.search(r"url\(|@import|https?:", text)
    assert f"{figures.aupro:.4f}" in text
    assert "6 of 7, photograph and heat map" in text


def test_without_defects_or_test_images_the_rest_is_given(trained: TrainedModel, dataset: Path, tmp_path: Path) -> None:
    for images, missing in (
        ([image for image in labelled_images(dataset) if image.good], 2),
        ([image for image in labelled_images(dataset) if not image.good], 2),
        ([], 3),
    ):
        evaluation = evaluate(trained.path, images)
        assert evaluation.figures.image_auroc is None
        assert evaluation.figures.f1_max_interval is None
        assert evaluation.figures.model_bytes > 1e6
        assert len(evaluation.missing) == missing
        once = experiment.Run(0, evaluation, 12, {})
        write_report(tmp_path / "report.html", "ring", [once])
        assert "Missing" in (tmp_path / "report.html").read_text(encoding="utf-8")
        assert summary_lines([once])[0].split()[-1] == "–"


@pytest.mark.by_hand
def test_the_command_writes_both_files(dataset: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training", "evaluate", str(dataset), "--labelled", "2"]
    files = ["--json", str(tmp_path / "e.json"), "--html", str(tmp_path / "e.html")]
    done = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "left out good/0.png" in done.stderr
    assert done.stdout.startswith("Image AUROC")
    result = json.loads((tmp_path / "e.json").read_text())
    assert 1 < result["fit_s"] < 300
    assert 1e6 < result["model_bytes"] < result["peak_memory_bytes"]
    assert result["image_auroc"] == result["labelled"]["image_auroc"] == 1.0
    # The one dent stays in the test, and so does the same rest of the scratches, with labels and without.
    assert [name.split("/")[0] for name in result["labelled"]["images"]] == ["scratch", "scratch"]
    assert result["missing"][-1] == "0 of 1 images of dent were labelled, not 2: half is left for the test"
    for verdicts in (result["verdicts"], result["labelled"]["verdicts"]):
        assert verdicts["scratch"] == {"fail": SCRATCHED - 2}
    assert result["labelled"]["model"] != result["model"]
    tried = result["autopilot"]["tried"]
    assert result["design"] in [trial["design"] for trial in tried]
    assert all(trial["ms"] > 0 and 0 <= trial["auroc"] <= 1 for trial in tried)
    assert "(chosen)" in (tmp_path / "e.html").read_text(encoding="utf-8")
    assert "With 2 labelled rejects" in (tmp_path / "e.html").read_text(encoding="utf-8")
    assert result["verdicts"]["dent"] == {"fail": 1}
    assert (tmp_path / "e.html").stat().st_size > 5000

    done = subprocess.run([*command, "--model", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "leave --seeds and --labelled out" in done.stderr


def test_claims_of_a_model_are_made_from_its_calibration_and_from_labelled_images(
    trained: TrainedModel, dataset: Path, tmp_path: Path
) -> None:
    scratch = (dataset / "test/scratch/0.png").read_bytes()
    learned = (dataset / "train/good/03.png").read_bytes()
    labels = tmp_path / "labels"
    shutil.copytree(dataset / "test", labels / "test")
    (labels / "test/scratch/again.png").write_bytes(scratch)
    (labels / "test/good/learned.png").write_bytes(learned)
    command = [sys.executable, "-m", "inspection", "claims", str(trained.path), "--labels", str(labels)]
    asked = ["--false-rejects", "30%", "--escapes", "40 %", "--confidence", "90%", "--json", str(tmp_path / "c.json")]
    done = subprocess.run([*command, *asked], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "left out good/0.png" in done.stderr
    result = json.loads((tmp_path / "c.json").read_text())
    assert result["left_out"]["scratch/again.png"] == "same file as scratch/0.png"
    assert result["left_out"]["good/learned.png"] == "the model learned from it (03.png)"
    review = result["review"]
    assert review["calibration"]["parts"] == trained.metrics["images"] == 12
    assert (review["false_rejects"]["parts"], review["escapes"]["parts"]) == (GOOD - 1, SCRATCHED + 1)
    assert review["escapes"] | {"events": 0, "holds": True, "further_parts": 0} == review["escapes"]
    assert review["escapes"]["bound"] == pytest.approx(1 - 0.1 ** (1 / 7))
    assert review["escapes_by_defect"]["dent"]["further_parts"] == 4
    assert (result["least"]["basis"], result["changed"]) == ("distribution-free", False)
    assert result["highest"] > result["least"]["threshold"]
    assert "both are kept, together with 80 % confidence" in done.stdout
    assert "\n".join(result["words"]) == done.stdout.rstrip("\n")


def test_claims_without_labels_say_what_is_missing(trained: TrainedModel) -> None:
    result = claims(trained.path, None, claims_report.wish("0.5%", "1%", "95%"))
    words = "\n".join(claims_report.lines(result))
    assert "586 more for a claim with 95 % confidence" in words
    assert "name a folder with test/<defect> as --labels" in words
    assert (result.review.escapes, result.review.false_rejects, result.highest) == (None, None, None)


def test_claims_about_parts_that_have_changed_rest_on_these_alone(trained: TrainedModel, tmp_path: Path) -> None:
    (tmp_path / "test/good").mkdir(parents=True)
    for seed in range(8):
        cv2.imwrite(str(tmp_path / f"test/good/{seed}.png"), cv2.GaussianBlur(part(400 + seed), (0, 0), 3))
    result = claims(trained.path, tmp_path, claims_report.wish("30%", "30%", "90%"))
    assert result.changed
    assert result.least.parts == 8
    assert result.least.threshold > result.review.threshold
    assert "train again with images of today" in "\n".join(claims_report.lines(result))


def test_claims_that_contradict_each_other_are_said_to_be_impossible(
    trained: TrainedModel, dataset: Path, tmp_path: Path
) -> None:
    for number, source in enumerate(sorted((dataset / "train/good").iterdir())[:12]):
        target = tmp_path / f"test/invisible/{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        # Another file with all but the same pixels: what the model has learned is labelled defective.
        cv2.imwrite(str(target), cv2.add(cv2.imread(str(source), cv2.IMREAD_GRAYSCALE), 1))
    result = claims(trained.path, tmp_path, claims_report.wish("30%", "30%", "90%"))
    assert result.highest is not None
    assert result.highest < result.least.threshold
    words = claims_report.lines(result)
    assert words[-1].startswith("  No threshold keeps both.")
    assert result.at_highest is not None
    assert result.at_highest.events == 12


@pytest.mark.parametrize("share", ["0.5", "0%", "100%", "half %", "5%%"])
def test_shares_without_their_sign_are_refused(share: str) -> None:
    with pytest.raises(StationError, match=r"--escapes .*: write a share between 0% and 100%"):
        claims_report.wish("1%", share, "95%")


def test_labels_without_images_are_refused(trained: TrainedModel, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no images in test/good"):
        claims(trained.path, tmp_path, claims_report.wish("1%", "1%", "95%"))


def test_a_folder_without_training_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no folder train/good"):
        experiment.run(tmp_path, 0, lambda stage, done, steps: None)
