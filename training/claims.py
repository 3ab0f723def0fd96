"""What the thresholds of a stored model can claim, from its calibration and from labelled images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inspection.artifact import Artifact, read_artifact
from inspection.detector import Detector
from inspection.quality.claims import (
    Claim,
    Limit,
    escape_limit,
    escapes_at,
    false_reject_limit,
    false_rejects_after_looking,
    false_rejects_at,
    p_higher,
)
from training.dataset import LabelledImage, file_sha256, labelled_images, read_frame
from training.errors import TrainingError, UnreadableImage
from training.evaluate import Progress

P_CHANGED = 0.01


@dataclass(frozen=True, slots=True)
class Wish:
    """The shares that shall not be exceeded, and how sure that has to be."""

    false_rejects: float
    escapes: float
    confidence: float


@dataclass(frozen=True, slots=True)
class LabelledScores:
    """Scores of labelled images by label; those that were left out, and why."""

    by_label: dict[str, NDArray[np.float64]]
    left_out: dict[str, str]

    @property
    def good(self) -> NDArray[np.float64]:
        return self.by_label.get("good", np.empty(0))

    @property
    def defective(self) -> NDArray[np.float64]:
        return np.concatenate([np.empty(0), *(scores for label, scores in self.by_label.items() if label != "good")])


@dataclass(frozen=True, slots=True)
class ThresholdClaims:
    """What one of the model's thresholds can claim.

    ``calibration`` is from the parts that the threshold was chosen by; ``false_rejects`` from labelled good parts, ``escapes``
    from all labelled defective parts, ``escapes_by_defect`` from those of each defect; None and empty without such parts.
    """

    threshold: float
    calibration: Claim
    false_rejects: Claim | None
    escapes: Claim | None
    escapes_by_defect: dict[str, Claim]


@dataclass(frozen=True, slots=True)
class ModelClaims:
    """Everything that is known of a model's thresholds, and the thresholds that would keep the wish.

    ``changed`` says that labelled good parts score higher than those of the calibration, which ``p_changed`` says how likely by
    chance. ``least`` is the lowest threshold with the wished false rejects, from all good scores there are, or from the labelled
    ones alone if they have changed; ``highest`` the highest one with the wished escapes, None without enough defective parts.
    """

    model: str
    product: str
    rule: str
    wish: Wish
    p_changed: float | None
    changed: bool
    review: ThresholdClaims
    fail: ThresholdClaims
    least: Limit
    highest: float | None
    at_least: Claim | None
    at_highest: Claim | None
    left_out: dict[str, str]


def claims(
    artifact_path: Path, labels: Path | None, wish: Wish, progress: Progress = lambda stage, done, steps: None
) -> ModelClaims:
    """What the thresholds of a stored model can claim, from its calibration and, if given, from the folder ``labels``/test/*.

    Raises ModelError if the model cannot be loaded, TrainingError if the folder holds no labelled images.
    """
    artifact = read_artifact(artifact_path)
    calibration = np.array(artifact.manifest.calibration.scores)
    labelled = LabelledScores({}, {}) if labels is None else score_labelled(artifact, labels, progress)
    p_changed = p_higher(calibration, labelled.good) if len(labelled.good) else None
    changed = p_changed is not None and p_changed < P_CHANGED
    # Cross-fitted with four fifths of the bank, calibration parts should score higher than later ones, if they differ at all.
    good = labelled.good if changed else np.concatenate((calibration, labelled.good))
    defective = labelled.defective
    least = false_reject_limit(good, wish.false_rejects, wish.confidence)
    highest = escape_limit(defective, wish.escapes, wish.confidence)
    limits = artifact.manifest.thresholds
    return ModelClaims(
        model=artifact.digest,
        product=artifact.manifest.product,
        rule=limits.rule,
        wish=wish,
        p_changed=p_changed,
        changed=changed,
        review=_threshold_claims(limits.review, calibration, labelled, wish),
        fail=_threshold_claims(limits.fail, calibration, labelled, wish),
        least=least,
        highest=highest,
        at_least=escapes_at(least.threshold, defective, wish.escapes, wish.confidence) if len(defective) else None,
        at_highest=None if highest is None else false_rejects_at(highest, good, wish.false_rejects, wish.confidence),
        left_out=labelled.left_out,
    )


def score_labelled(artifact: Artifact, dataset: Path, progress: Progress) -> LabelledScores:
    """Score the images of ``dataset``/test/* that the model has not learned from."""
    images = labelled_images(dataset)
    if not images:
        raise TrainingError(f"{dataset} has no images in test/good or test/<defect>; put labelled images there (MVTec-AD layout)")
    provenance = artifact.manifest.provenance
    seen = {image.sha256: f"the model learned from it ({image.name})" for image in (*provenance.images, *provenance.rejects)}
    detector = Detector(artifact)
    scores: dict[str, list[float]] = {}
    left_out: dict[str, str] = {}
    for done, image in enumerate(images):
        progress("inspect", done, len(images))
        reason = _score(detector, image, seen, scores)
        if reason is not None:
            left_out[image.name] = reason
    progress("inspect", len(images), len(images))
    return LabelledScores({label: np.array(values) for label, values in scores.items()}, left_out)


def _score(detector: Detector, image: LabelledImage, seen: dict[str, str], scores: dict[str, list[float]]) -> str | None:
    """Add the image's score to those of its label, or say why it counts for nothing."""
    try:
        digest = file_sha256(image.path)
        frame = read_frame(image.path)
    except UnreadableImage as error:
        return str(error)
    if digest in seen:
        return seen[digest]
    seen[digest] = f"same file as {image.name}"
    scores.setdefault(image.label, []).append(detector.inspect(frame).score)
    return None


def _threshold_claims(
    threshold: float, calibration: NDArray[np.float64], labelled: LabelledScores, wish: Wish
) -> ThresholdClaims:
    by_defect = {label: scores for label, scores in labelled.by_label.items() if label != "good"}
    return ThresholdClaims(
        threshold=threshold,
        calibration=false_rejects_after_looking(threshold, calibration, wish.false_rejects, wish.confidence),
        false_rejects=false_rejects_at(threshold, labelled.good, wish.false_rejects, wish.confidence)
        if len(labelled.good)
        else None,
        escapes=escapes_at(threshold, labelled.defective, wish.escapes, wish.confidence) if by_defect else None,
        escapes_by_defect={
            label: escapes_at(threshold, scores, wish.escapes, wish.confidence) for label, scores in by_defect.items()
        },
    )
