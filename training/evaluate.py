"""How a stored model does on test images whose labels are known."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from inspection.artifact import Thresholds
from inspection.detector import Detector
from inspection.domain import Verdict
from inspection.quality.curves import auroc, auroc_interval
from inspection.verdict import decide
from training.dataset import LabelledImage, read_frame, read_mask
from training.errors import UnreadableImage
from training.metrics import Interval, Scores, f1_max, false_reject_rate
from training.pixel_metrics import PixelScores

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class InspectedImage:
    """One test image as the detector saw it: ``anomaly_map`` float32 (rows, columns), frame size in pixels."""

    image: LabelledImage
    score: float
    verdict: Verdict
    proposed_class: str | None
    anomaly_map: NDArray[np.float32]
    width: int
    height: int
    inspect_ms: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What is measured; None where the test images do not allow it. Intervals are two-sided, 95 %.

    ``ms_per_image`` is the median of ``Detector.inspect``, without reading the file. ``verdicts`` counts by label, with
    the model's own thresholds. ``class_right`` is the share of stopped defective images whose class is proposed, if the model
    knows classes. ``fit_s`` is None if the model was not trained here. ``peak_memory_bytes`` is that of the
    whole process, from the beginning of the training (else of the process) to the last inspection.
    """

    image_auroc: float | None
    image_auroc_interval: Interval | None
    pixel_auroc: float | None
    aupro: float | None
    f1_max: float | None
    f1_max_interval: Interval | None
    frr_at_zero_escape: float | None
    frr_at_zero_escape_interval: Interval | None
    frr_at_1pct_escape: float | None
    frr_at_1pct_escape_interval: Interval | None
    class_right: float | None
    fit_s: float | None
    ms_per_image: float | None
    model_bytes: int
    peak_memory_bytes: int
    verdicts: dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A model on test images: figures, every inspection, files that could not be read and why, and what is missing."""

    model: str
    thresholds: Thresholds
    figures: Figures
    inspected: tuple[InspectedImage, ...]
    unreadable: dict[str, str]
    missing: tuple[str, ...]


def evaluate(
    artifact_path: Path,
    images: Sequence[LabelledImage],
    fit_s: float | None = None,
    progress: Progress = lambda stage, done, steps: None,
) -> Evaluation:
    """Inspect all images with a stored model and measure. Raises ModelError if the model cannot be loaded."""
    detector = Detector.load(artifact_path)
    inspected, unreadable = _inspect(detector, images, progress)
    peak_memory = peak_memory_bytes()
    good = np.array([each.score for each in inspected if each.image.good])
    defective = np.array([each.score for each in inspected if not each.image.good])
    pixels, bad_masks = _pixel_scores(inspected, progress)

    missing = []
    if not len(good):
        missing.append("no readable images in test/good: no AUROC, F1 or false-reject rates")
    if not len(defective):
        missing.append("no readable images in test/<defect>: no AUROC, F1 or false-reject rates")
    if not pixels.regions:
        missing.append("no readable masks in ground_truth/<defect>: no pixel AUROC or AUPRO")
    elif unmasked := sum(not each.image.good and each.image.mask is None for each in inspected):
        missing.append(f"{unmasked} defective images have no mask and are left out of pixel AUROC and AUPRO")
    counts: dict[str, Counter[str]] = {}
    for each in inspected:
        counts.setdefault(each.image.label, Counter())[each.verdict.value] += 1
    area, area_interval = _where_both(_auroc, good, defective)
    f1, f1_interval = _where_both(f1_max, good, defective)
    zero, zero_interval = _where_both(partial(false_reject_rate, escapes_percent=0), good, defective)
    one, one_interval = _where_both(partial(false_reject_rate, escapes_percent=1), good, defective)
    figures = Figures(
        image_auroc=area,
        image_auroc_interval=area_interval,
        f1_max=f1,
        f1_max_interval=f1_interval,
        frr_at_zero_escape=zero,
        frr_at_zero_escape_interval=zero_interval,
        frr_at_1pct_escape=one,
        frr_at_1pct_escape_interval=one_interval,
        pixel_auroc=pixels.auroc() if pixels.regions else None,
        aupro=pixels.aupro() if pixels.regions else None,
        class_right=_class_right(inspected) if detector.manifest.defect_classes else None,
        fit_s=fit_s,
        ms_per_image=median(each.inspect_ms for each in inspected) if inspected else None,
        model_bytes=sum(file.stat().st_size for file in artifact_path.iterdir()),
        peak_memory_bytes=peak_memory,
        verdicts={label: dict(verdicts) for label, verdicts in counts.items()},
    )
    return Evaluation(
        detector.digest, detector.manifest.thresholds, figures, tuple(inspected), unreadable | bad_masks, tuple(missing)
    )


def _class_right(inspected: Sequence[InspectedImage]) -> float | None:
    right = [
        each.proposed_class == each.image.label for each in inspected if not each.image.good and each.verdict is not Verdict.PASS
    ]
    return sum(right) / len(right) if right else None


def _auroc(good: Scores, defective: Scores) -> tuple[float, Interval]:
    area = auroc(good, defective)
    return area, auroc_interval(area, len(good), len(defective))


def _where_both(
    measure: Callable[[Scores, Scores], tuple[float, Interval]], good: Scores, defective: Scores
) -> tuple[float | None, Interval | None]:
    return measure(good, defective) if len(good) and len(defective) else (None, None)


def _inspect(
    detector: Detector, images: Sequence[LabelledImage], progress: Progress
) -> tuple[list[InspectedImage], dict[str, str]]:
    inspected, unreadable = [], {}
    for done, image in enumerate(images):
        progress("inspect", done, len(images))
        try:
            frame = read_frame(image.path)
        except UnreadableImage as error:
            unreadable[image.name] = str(error)
            continue
        started = time.perf_counter()
        detection = detector.inspect(frame)
        milliseconds = (time.perf_counter() - started) * 1e3
        verdict = decide(detection.score, detector.review_threshold, detector.fail_threshold)
        inspected.append(
            InspectedImage(
                image,
                detection.score,
                verdict,
                detection.proposed_class,
                detection.anomaly_map,
                frame.width,
                frame.height,
                milliseconds,
            )
        )
    progress("inspect", len(images), len(images))
    return inspected, unreadable


def _pixel_scores(inspected: Sequence[InspectedImage], progress: Progress) -> tuple[PixelScores, dict[str, str]]:
    """Pixels of good images and of those with a mask, at the size of the mask or else the frame; unreadable masks."""
    masked = [each for each in inspected if each.image.mask is not None]
    measured = masked + [each for each in inspected if each.image.good] if masked else []
    lowest = min((float(each.anomaly_map.min()) for each in measured), default=0.0)
    highest = max((float(each.anomaly_map.max()) for each in measured), default=1.0)
    pixels, unreadable = PixelScores(lowest, highest), {}
    for done, each in enumerate(measured):
        progress("measure", done, len(measured))
        if each.image.mask is None:
            mask = np.zeros((each.height, each.width), np.bool_)
        else:
            try:
                mask = read_mask(each.image.mask)
            except UnreadableImage as error:
                unreadable[f"mask of {each.image.name}"] = str(error)
                continue
        size = mask.shape[1], mask.shape[0]
        pixels.add(np.asarray(cv2.resize(each.anomaly_map, size, interpolation=cv2.INTER_LINEAR), np.float32), mask)
    progress("measure", len(measured), len(measured))
    return pixels, unreadable


def peak_memory_bytes() -> int:
    """The most memory that this process held at once since it started or since ``forget_peak_memory``."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:", 1)[1].split(maxsplit=1)[0]) * 1024


def forget_peak_memory() -> None:
    """Measure the peak from now on (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
