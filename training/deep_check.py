"""What a model trained on a folder says of its labels: ``station check --deep``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from inspection.detector import Detector
from training.checking import GOOD_FOLDER, withheld
from training.dataset import LabelledImage, good_images, labelled_images, read_frame
from training.errors import UnreadableImage
from training.findings import Finding, Kind, Report, Severity
from training.layout import TEST
from training.reading import Progress
from training.suspects import Suspect, suspects
from training.train import train


def suspect_findings(root: Path, report: Report, progress: Progress) -> list[Finding]:
    """Train on train/good in a temporary folder and find images whose score contradicts their label.

    Raises TrainingError, ParityError and ModelError as ``train`` does.
    """
    with tempfile.TemporaryDirectory(prefix="check-") as folder:
        model = train(withheld(good_images(root), report), root.resolve().name, Path(folder), progress=progress)
        detector = Detector.load(model.path)
    learned = {f"{GOOD_FOLDER}/{name}": score for name, score in model.scores.items()}
    images = labelled_images(root)
    test_good = _scores(detector, (image for image in images if image.good))
    defective = _scores(detector, (image for image in images if not image.good))
    return [_finding(suspect) for suspect in suspects(learned, test_good, defective)]


def _scores(detector: Detector, images: Iterable[LabelledImage]) -> dict[str, float]:
    scores = {}
    for image in images:
        try:
            scores[f"{TEST}/{image.name}"] = detector.inspect(read_frame(image.path)).score
        except UnreadableImage:
            continue  # reported by the check before
    return scores


def _finding(suspect: Suspect) -> Finding:
    if suspect.labelled_good:
        todo = "look at it: move it to test/<defect> if it is defective"
    else:
        todo = "look at it: the label is wrong, or the model does not see this defect"
    return Finding(Severity.WARNING, Kind.SUSPECT, suspect.name, suspect.reason, todo)
