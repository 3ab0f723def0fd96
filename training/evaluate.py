"""How a stored model does on test images of a folder in the MVTec-AD layout (``test/good``, ``test/<defect>``)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from inspection.detector import Detector
from inspection.verdict import decide
from training.dataset import image_paths, read_frame
from training.errors import TrainingError

MASK_WIDTH = 256
"""Masks and maps are compared at this width: pixel AUROC needs no more, and full frames would need gigabytes."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """``image_auroc`` over scores, ``pixel_auroc`` over map values of images with a mask and good ones (None without masks).

    ``verdicts`` counts verdicts by folder, ``{"good": {"pass": 17, "review": 1}, …}``.
    """

    model: str
    image_auroc: float
    pixel_auroc: float | None
    verdicts: dict[str, dict[str, int]]
    infer_ms_median: float


def evaluate(artifact_path: Path, dataset_dir: Path) -> Evaluation:
    """Inspect all test images. Raises TrainingError if there are no good or no defective ones."""
    detector = Detector.load(artifact_path)
    folders = sorted(path for path in (dataset_dir / "test").glob("*") if path.is_dir())
    scores: list[float] = []
    defective: list[bool] = []
    pixels: list[NDArray[np.float32]] = []
    masks: list[NDArray[np.bool_]] = []
    milliseconds: list[float] = []
    verdicts: dict[str, Counter[str]] = {}
    for folder in folders:
        for path in image_paths(folder):
            frame = read_frame(path)
            detection = detector.inspect(frame)
            scores.append(detection.score)
            defective.append(folder.name != "good")
            milliseconds.append(detection.timings_ms["infer"])
            verdict = decide(detection.score, detector.review_threshold, detector.fail_threshold)
            verdicts.setdefault(folder.name, Counter())[verdict.value] += 1
            size = (MASK_WIDTH, max(1, round(MASK_WIDTH * frame.height / frame.width)))
            mask = _mask(dataset_dir, path, size)
            if mask is not None:
                pixels.append(np.asarray(cv2.resize(detection.anomaly_map, size), np.float32).ravel())
                masks.append(mask.ravel())
    if len(set(defective)) < 2:
        raise TrainingError(f"{dataset_dir}/test needs images in good and in at least one defect folder")
    has_masks = any(mask.any() for mask in masks)
    return Evaluation(
        model=detector.digest,
        image_auroc=float(roc_auc_score(defective, scores)),
        pixel_auroc=float(roc_auc_score(np.concatenate(masks), np.concatenate(pixels))) if has_masks else None,
        verdicts={name: dict(counts) for name, counts in verdicts.items()},
        infer_ms_median=float(np.median(milliseconds)),
    )


def _mask(dataset_dir: Path, path: Path, size: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Defective pixels, bool (height, width): none in a good image, None where a defective one has no mask."""
    if path.parent.name == "good":
        return np.zeros(size[::-1], dtype=np.bool_)
    file = dataset_dir / "ground_truth" / path.parent.name / f"{path.stem}_mask.png"
    if not file.exists():
        return None
    pixels = read_frame(file).pixels
    marked = (pixels if pixels.ndim == 2 else pixels[..., 0]) != 0
    return cv2.resize(marked.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
