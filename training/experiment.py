"""What the default recipe reaches on a product: train on ``train/good``, evaluate on ``test/*``, once for each seed."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from training.dataset import good_images, labelled_images
from training.evaluate import Evaluation, Figures, Progress, evaluate, forget_peak_memory
from training.train import train

MEASURED = tuple(field.name for field in fields(Figures) if field.name != "verdicts" and not field.name.endswith("_interval"))
"""The figures that are one number."""


@dataclass(frozen=True, slots=True)
class Run:
    """One training on ``trained_images`` good images and its evaluation; the images not used, and why, in ``skipped``."""

    seed: int
    evaluation: Evaluation
    trained_images: int
    skipped: dict[str, str]


def run(dataset_dir: Path, seed: int, progress: Progress) -> Run:
    """Train and evaluate once. Raises TrainingError, ParityError and ModelError as ``train`` does."""
    forget_peak_memory()
    with tempfile.TemporaryDirectory(prefix="evaluate-") as folder:
        model = train(good_images(dataset_dir), dataset_dir.resolve().name, Path(folder), seed=seed, progress=progress)
        evaluation = evaluate(model.path, labelled_images(dataset_dir), model.seconds, progress)
    return Run(seed, evaluation, int(model.metrics["images"]), model.skipped)


def document(runs: Sequence[Run]) -> dict[str, object]:
    """What is written as JSON: the first run's figures, and mean and spread over the seeds if there are several."""
    first = runs[0]
    result: dict[str, object] = asdict(first.evaluation.figures) | {
        "model": first.evaluation.model,
        "thresholds": {"review": first.evaluation.thresholds.review, "fail": first.evaluation.thresholds.fail},
        "missing": first.evaluation.missing,
        "unreadable": first.skipped | first.evaluation.unreadable,
    }
    if len(runs) > 1:
        result["seeds"] = {"seeds": [run.seed for run in runs]} | spread([run.evaluation.figures for run in runs])
    return result


def spread(figures: Sequence[Figures]) -> dict[str, object]:
    """Mean, standard deviation (n - 1), least and largest of each figure that every run has; None for the others."""
    result: dict[str, object] = {}
    for name in MEASURED:
        values = [getattr(each, name) for each in figures]
        if None in values:
            result[name] = None
            continue
        result[name] = {
            "mean": float(np.mean(values)),
            "std": float(np.std(values, ddof=1)),
            "min": min(values),
            "max": max(values),
        }
    return result
