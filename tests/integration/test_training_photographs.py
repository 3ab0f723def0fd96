"""The default recipe on real photographs, through the detector, as it would decide in service."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inspection.detector import Detector
from inspection.domain import Verdict
from inspection.verdict import decide
from training.dataset import good_images, labelled_images, read_frame
from training.evaluate import evaluate
from training.train import train

PHOTOGRAPHS = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.by_hand
@pytest.mark.parametrize(("name", "image_auroc"), [("aws_aliens", 0.99), ("aws_cookies", 0.98)])
def test_defects_are_told_from_good_parts(name: str, image_auroc: float, tmp_path: Path) -> None:
    dataset = PHOTOGRAPHS / name
    if not dataset.is_dir():
        pytest.skip(f"the photographs are not here: {dataset}")
    model = train(good_images(dataset), name, tmp_path)
    result = evaluate(model.path, labelled_images(dataset)).figures
    assert result.image_auroc is not None
    assert result.image_auroc >= image_auroc
    good = result.verdicts.pop("good")
    assert good.get("fail", 0) == 0
    assert good.get("review", 0) <= 0.12 * sum(good.values())
    defective = sum(sum(counts.values()) for counts in result.verdicts.values())
    assert sum(counts.get("pass", 0) for counts in result.verdicts.values()) <= 0.04 * defective

    detector = Detector.load(model.path)
    frame = read_frame(next((dataset / "test" / "good").iterdir()))
    for level in (0, 127, 255):  # nothing in front of the camera, no light, too much
        frame.pixels[...] = np.uint8(level)
        assert decide(detector.inspect(frame).score, detector.review_threshold, detector.fail_threshold) is Verdict.FAIL
