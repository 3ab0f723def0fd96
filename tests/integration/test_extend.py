"""Good images are added to a stored model: what it knew stays, and what they show is strange no more."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from discs import frame, images, part, scratched
from numpy.typing import NDArray

from inspection.artifact import read_artifact
from inspection.detector import Detector
from inspection.domain import Verdict
from inspection.verdict import decide
from training.dataset import TrainingImage
from training.errors import TrainingError, UnreadableImage
from training.extend import GROWTH, extend
from training.train import TrainedModel, train


def stickered(seed: int, scene: Callable[[int], NDArray[np.float64]] = part) -> NDArray[np.float64]:
    """A good part of a later delivery: with a round sticker that no part had before."""
    rgb = scene(seed)
    cv2.circle(rgb, (115, 30), 9, (0.1, 0.5, 0.2), -1)
    return rgb


def stickered_images(count: int) -> list[TrainingImage]:
    return [
        TrainingImage(f"s{seed}.png", hashlib.sha256(b"sticker %d" % seed).hexdigest(), lambda seed=seed: frame(stickered(seed)))
        for seed in range(100, 100 + count)
    ]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    return train(images(20), "disc", tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def extended(first: TrainedModel) -> TrainedModel:
    return extend(first.path, stickered_images(6), first.path.parent)


def verdicts(model: TrainedModel, scene: Callable[[int], NDArray[np.float64]]) -> list[Verdict]:
    detector = Detector.load(model.path, model.digest)
    scores = [detector.inspect(frame(scene(seed))).score for seed in range(1000, 1010)]
    return [decide(score, detector.review_threshold, detector.fail_threshold) for score in scores]


def test_what_was_a_false_alarm_passes_and_defects_still_fail(first: TrainedModel, extended: TrainedModel) -> None:
    assert Verdict.PASS not in verdicts(first, stickered)
    assert verdicts(extended, stickered).count(Verdict.PASS) >= 9
    assert verdicts(extended, part).count(Verdict.PASS) >= 9
    assert set(verdicts(extended, scratched)) == {Verdict.FAIL}
    assert set(verdicts(extended, lambda seed: stickered(seed, scratched))) == {Verdict.FAIL}


def test_the_manifest_says_what_was_extended_by_what(first: TrainedModel, extended: TrainedModel) -> None:
    before, after = read_artifact(first.path).manifest, read_artifact(extended.path).manifest
    assert after.provenance.extends == first.digest
    assert [image.name for image in after.provenance.images[20:]] == [f"s{seed}.png" for seed in range(100, 106)]
    assert len(after.calibration.scores) == 26
    assert set(before.calibration.scores) < set(after.calibration.scores)
    assert after.parity.max_relative_difference <= after.parity.tolerance


def test_images_like_known_ones_add_little_and_others_are_named(first: TrainedModel, extended: TrainedModel) -> None:
    def broken() -> None:
        raise UnreadableImage("cut off")

    alike = [replace(image, sha256=hashlib.sha256(image.name.encode()).hexdigest()) for image in images(26)[20:]]
    added = extend(first.path, [*images(2), TrainingImage("broken.png", "0" * 64, broken), *alike], first.path.parent)
    assert added.metrics["added"] == 6
    assert added.skipped == {
        "0.png": "the model has learned from it already",
        "1.png": "the model has learned from it already",
        "broken.png": "cut off",
    }
    grown, grown_by_others = (model.metrics["bank_patches"] - first.metrics["bank_patches"] for model in (added, extended))
    assert 0 < grown < grown_by_others <= (GROWTH - 1) * first.metrics["bank_patches"]


def test_what_cannot_be_added_is_refused_and_says_why(first: TrainedModel, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="learned from all of these 3 images"):
        extend(first.path, images(3), tmp_path)
    tall = TrainingImage("tall.png", "1" * 64, lambda: frame(np.rot90(part(1)).copy()))
    with pytest.raises(TrainingError, match="another shape"):
        extend(first.path, [tall], tmp_path)
    assert list(tmp_path.iterdir()) == []
