"""A defect among the good images and a good part among the defective ones are found by training on the folder."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from training.checking import check_folder
from training.deep_check import suspect_findings
from training.findings import Kind, Severity


def part(seed: int) -> NDArray[np.uint8]:
    """A bright ring on a dark ground, grey (96, 128); its place and light vary with the seed."""
    rng = np.random.default_rng(seed)
    image = np.full((96, 128), 50.0)
    cv2.circle(image, (64 + int(rng.integers(-2, 3)), 48 + int(rng.integers(-2, 3))), 28, 150.0, 9)
    return np.clip(image * rng.normal(1, 0.02) + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)


def scratched(seed: int) -> NDArray[np.uint8]:
    image = part(seed)
    cv2.line(image, (20 + 5 * (seed % 9), 30), (60 + 5 * (seed % 9), 70), 240, 3)
    return image


@pytest.mark.by_hand
def test_labels_that_the_model_contradicts_are_found(tmp_path: Path) -> None:
    root = tmp_path / "ring"
    for folder in ("train/good", "test/good", "test/scratch"):
        (root / folder).mkdir(parents=True)
    for seed in range(14):
        cv2.imwrite(str(root / f"train/good/{seed:02}.png"), scratched(seed) if seed == 6 else part(seed))
    # Blank frames in training must not reach the model: it would take them for usual.
    cv2.imwrite(str(root / "train/good/99.png"), np.zeros((96, 128), np.uint8))
    cv2.imwrite(str(root / "test/good/0.png"), part(100))
    cv2.imwrite(str(root / "test/good/1.png"), scratched(101))
    cv2.imwrite(str(root / "test/scratch/0.png"), scratched(200))
    # The same good part again, all but a little light: as usual as a picture can be.
    cv2.imwrite(str(root / "test/scratch/1.png"), np.clip(part(3).astype(int) + 1, 0, 255).astype(np.uint8))
    report = check_folder(root)
    assert [(each.kind, each.image) for each in report.findings] == [(Kind.BLANK, "train/good/99.png")]

    stages = set()
    findings = suspect_findings(root, report, lambda stage, done, steps: stages.add(stage))
    assert {each.kind for each in findings} == {Kind.SUSPECT}
    assert {each.severity for each in findings} == {Severity.WARNING}
    named = {each.image for each in findings}
    assert named >= {"train/good/06.png", "test/good/1.png", "test/scratch/1.png"}
    assert len(named) <= 5
    assert "test/scratch/0.png" not in named
    assert "train/good/99.png" not in named
    assert "labelled good" in next(each.what for each in findings if each.image == "train/good/06.png")
    assert "labelled defective" in next(each.what for each in findings if each.image == "test/scratch/1.png")
    assert "calibrate" in stages
