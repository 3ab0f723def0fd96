"""Good images → artifact → detector, on synthetic parts: what is trained is what inspects."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from discs import HEIGHT, WIDTH, empty_fixture, frame, images, part, scratched
from typer.testing import CliRunner

from cameras.frame import Frame, PixelFormat
from inspection.artifact import MANIFEST, WEIGHTS
from inspection.detector import Detector
from inspection.domain import Verdict
from inspection.errors import ModelError
from inspection.verdict import decide
from training.__main__ import app
from training.dataset import TrainingImage, good_images, read_frame
from training.design import sized
from training.errors import ParityError, TrainingError, UnreadableImage
from training.train import STAGES, TrainedModel, train


@pytest.fixture(scope="module")
def progress() -> dict[str, tuple[int, int]]:
    """The last steps done, and all steps, of each stage of the training below."""
    return {}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, progress: dict[str, tuple[int, int]]) -> TrainedModel:
    def note(stage: str, done: int, steps: int) -> None:
        progress[stage] = (done, steps)

    return train(images(24), "disc", tmp_path_factory.mktemp("models"), progress=note)


@pytest.fixture(scope="module")
def detector(trained: TrainedModel) -> Detector:
    return Detector.load(trained.path, trained.digest)


def verdict(detector: Detector, inspected: Frame) -> Verdict:
    return decide(detector.inspect(inspected).score, detector.review_threshold, detector.fail_threshold)


def test_new_good_parts_mostly_pass(detector: Detector) -> None:
    verdicts = [verdict(detector, frame(part(seed))) for seed in range(1000, 1020)]
    assert verdicts.count(Verdict.PASS) >= 18
    assert Verdict.FAIL not in verdicts


def test_a_scratch_fails_and_is_found_where_it_is(detector: Detector) -> None:
    for seed in range(1000, 1010):
        detection = detector.inspect(frame(scratched(seed)))
        assert detection.score >= detector.fail_threshold
        strangest = detection.regions[0]
        assert strangest.x < 85 < strangest.x + strangest.width + 30
        assert strangest.y < 85
        assert strangest.y + strangest.height > 45
        assert detection.p_value == pytest.approx(1 / 25)


def test_a_missing_part_fails_although_each_patch_of_it_is_known(detector: Detector) -> None:
    assert verdict(detector, frame(empty_fixture(5))) is Verdict.FAIL


def test_a_part_that_does_not_pass_has_a_region(detector: Detector) -> None:
    for scene in (scratched(1), empty_fixture(5), np.zeros((HEIGHT, WIDTH, 3))):
        assert detector.inspect(frame(scene)).regions


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_a_frame_without_a_scene_does_not_pass(detector: Detector, level: float) -> None:
    assert verdict(detector, frame(np.full((HEIGHT, WIDTH, 3), level))) is not Verdict.PASS


def test_the_detection_is_complete(detector: Detector) -> None:
    detection = detector.inspect(frame(part(1000)))
    assert detection.anomaly_map.dtype == np.float32
    assert detection.anomaly_map.shape == (30, 40)
    assert set(detection.timings_ms) == {"preprocess", "optics", "infer", "regions"}
    assert min(detection.timings_ms.values()) >= 0
    assert 0 < detection.p_value <= 1


def test_the_same_frame_gives_the_same_score(detector: Detector, trained: TrainedModel) -> None:
    inspected = frame(scratched(3))
    first = detector.inspect(inspected)
    detector.inspect(frame(part(4)))
    assert first.score == detector.inspect(inspected).score == Detector.load(trained.path).inspect(inspected).score


def test_a_later_inspection_does_not_change_an_earlier_map(detector: Detector) -> None:
    first = detector.inspect(frame(scratched(3)))
    kept = first.anomaly_map.copy()
    detector.inspect(frame(part(4)))
    assert np.array_equal(first.anomaly_map, kept)


def test_bayer_and_rgb_of_one_scene_score_alike(detector: Detector) -> None:
    scene = cv2.GaussianBlur(scratched(1000), (0, 0), 1.5)
    colour = detector.inspect(frame(scene)).score
    for pixel_format in (PixelFormat.BayerRG8, PixelFormat.BayerRG12):
        assert detector.inspect(frame(scene, pixel_format)).score == pytest.approx(colour, rel=0.2)


def test_depths_of_one_scene_score_alike_and_dark_frames_are_not_stretched(tmp_path: Path) -> None:
    mono = Detector.load(train(images(12, PixelFormat.Mono12), "disc", tmp_path).path)
    for scene in (part(1000), scratched(1000)):
        twelve = mono.inspect(frame(scene, PixelFormat.Mono12)).score
        for pixel_format, tolerance in ((PixelFormat.Mono8, 0.1), (PixelFormat.Mono10, 0.03), (PixelFormat.Mono16, 0.03)):
            assert mono.inspect(frame(scene, pixel_format)).score == pytest.approx(twelve, rel=tolerance)
    assert verdict(mono, frame(part(1000), PixelFormat.Mono8)) is Verdict.PASS
    assert verdict(mono, frame(part(1000) / 16, PixelFormat.Mono12)) is Verdict.FAIL


def test_the_manifest_says_where_the_model_comes_from(detector: Detector, trained: TrainedModel) -> None:
    manifest = detector.manifest
    assert trained.path.name == trained.digest == detector.digest
    assert manifest.product == "disc"
    assert [(image.name, image.sha256) for image in manifest.provenance.images] == [(i.name, i.sha256) for i in images(24)]
    assert len(manifest.calibration.scores) == 24
    assert manifest.provenance.backbone.licence == "Apache-2.0"
    assert manifest.parity.max_relative_difference <= manifest.parity.tolerance
    assert manifest.parity.rank_correlation > 0.9
    assert detector.precision == manifest.parity.precision


@pytest.mark.by_hand
def test_the_same_images_and_seed_give_the_same_network_and_thresholds(trained: TrainedModel, tmp_path: Path) -> None:
    first, again = (Detector.load(path).manifest for path in (trained.path, train(images(24), "disc", tmp_path).path))
    assert again.files == first.files
    assert (again.thresholds, again.calibration) == (first.thresholds, first.calibration)
    other_seed = Detector.load(train(images(24), "disc", tmp_path, seed=1).path).manifest
    assert other_seed.files[WEIGHTS] != first.files[WEIGHTS]


def test_progress_names_every_stage_in_order_and_completes_it(
    trained: TrainedModel, progress: dict[str, tuple[int, int]]
) -> None:
    assert list(progress) == list(STAGES)
    assert all(done == steps for done, steps in progress.values())


def test_an_altered_network_is_not_loaded(trained: TrainedModel, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(trained.path, tmp_path / trained.digest))
    content = bytearray((copy / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (copy / WEIGHTS).write_bytes(content)
    with pytest.raises(ModelError, match=r"network\.bin .* altered"):
        Detector.load(copy, trained.digest)


def test_unreadable_images_and_copies_are_skipped_and_named(tmp_path: Path) -> None:
    def unreadable() -> Frame:
        raise UnreadableImage("the file ends early")

    given = [*images(12), TrainingImage("broken.png", "b" * 64, unreadable), replace(images(1)[0], name="copy.png")]
    model = train(given, "disc", tmp_path, design=sized(WIDTH))
    assert model.skipped == {"broken.png": "the file ends early", "copy.png": "same file as 0.png"}
    assert Detector.load(model.path).manifest.provenance.skipped == model.skipped


def test_too_few_images_are_refused_and_nothing_is_stored(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="9 of 9 images are usable, at least 10"):
        train(images(9), "disc", tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_a_network_that_scores_differently_after_export_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.export.TOLERANCE", {"bf16": -1.0, "f32": -1.0})
    with pytest.raises(ParityError, match="differ from the trained one's"):
        train(images(10), "disc", tmp_path / "models", design=sized(WIDTH))
    assert not (tmp_path / "models").exists()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Twelve training images, one of them cut short, and a test folder with masks."""
    root = tmp_path_factory.mktemp("dataset")
    for folder in ("train/good", "test/good", "test/scratch", "ground_truth/scratch"):
        (root / folder).mkdir(parents=True)
    for seed in range(12):
        cv2.imwrite(str(root / f"train/good/{seed:02}.png"), frame(part(seed)).pixels[..., ::-1])
    cut = root / "train/good/11.png"
    cut.write_bytes(cut.read_bytes()[:5000])
    for seed in range(6):
        cv2.imwrite(str(root / f"test/good/{seed}.png"), frame(part(500 + seed)).pixels[..., ::-1])
        cv2.imwrite(str(root / f"test/scratch/{seed}.png"), frame(scratched(600 + seed)).pixels[..., ::-1])
        mask = (np.abs(scratched(600 + seed) - part(600 + seed)).max(-1) > 0.05).astype(np.uint8) * 255
        cv2.imwrite(str(root / f"ground_truth/scratch/{seed}_mask.png"), mask)
    return root


def test_the_command_line_trains_and_evaluates(dataset: Path, tmp_path: Path) -> None:
    report = tmp_path / "t.json"
    arguments = ["train", str(dataset), "--out", str(tmp_path), "--product", "disc", "--json", str(report)]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    assert "skipped 11.png" in done.stderr
    model = json.loads(report.read_text())
    assert done.stdout.startswith(f"{model['path']} {model['digest']} trained on 11 images")
    assert (Path(model["path"]) / MANIFEST).exists()
    assert read_frame(dataset / "train/good/00.png").width == WIDTH
    assert len(good_images(dataset)) == 12

    arguments = ["evaluate", str(dataset), "--model", model["path"], "--json", str(tmp_path / "e.json")]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    result = json.loads((tmp_path / "e.json").read_text())
    assert result["model"] == model["digest"]
    assert result["image_auroc"] == 1.0
    assert result["pixel_auroc"] > 0.9
    assert sum(result["verdicts"]["scratch"].values()) == 6


def test_the_command_line_says_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training", "train", str(tmp_path), "--out", str(tmp_path), "--product", "disc"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "no folder train/good" in done.stderr
    assert "Traceback" not in done.stderr
