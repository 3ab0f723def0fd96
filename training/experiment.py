"""What the default recipe reaches on a product: train on ``train/good``, evaluate on ``test/*``, once for each seed."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path

import numpy as np

from training.autopilot import choose
from training.checking import check_folder, withheld
from training.dataset import LabelledImage, TrainingImage, good_images, labelled_images, read_frame, read_mask
from training.design import DEADLINE_MS, Design, Trial, sized
from training.evaluate import Evaluation, Figures, Progress, evaluate, forget_peak_memory
from training.known_defects import LabelledReject
from training.train import TrainedModel, train

MEASURED = tuple(field.name for field in fields(Figures) if field.name != "verdicts" and not field.name.endswith("_interval"))
"""The figures that are one number."""


@dataclass(frozen=True, slots=True)
class Run:
    """One training on ``trained_images`` good images and its evaluation; the images not used, and why, in ``skipped``.

    ``design`` is what it was trained with (None for a stored model), ``tried`` what the autopilot compared in ``search_s``
    seconds. ``labelled`` is the evaluation on the same test images after learning from the ``moved`` ones too.
    """

    seed: int
    evaluation: Evaluation
    trained_images: int
    skipped: dict[str, str]
    design: Design | None = None
    tried: tuple[Trial, ...] = ()
    search_s: float = 0.0
    labelled: Evaluation | None = None
    moved: tuple[str, ...] = ()


def run(
    dataset_dir: Path,
    seed: int,
    progress: Progress,
    labelled: int = 0,
    size: int | None = None,
    deadline_ms: float = DEADLINE_MS,
) -> Run:
    """Train and evaluate once, and once more with ``labelled`` images of each defect moved from test into training.

    With ``size`` the design is that of an input whose longer side has so many pixels; else the autopilot chooses, and
    the training with labels takes the same, so that labels are all that differs.

    Raises TrainingError, ParityError and ModelError as ``train`` does.
    """
    images = labelled_images(dataset_dir)
    moved, rest, notes = split(images, labelled, seed)
    good = withheld(good_images(dataset_dir), check_folder(dataset_dir))
    started = time.monotonic()
    design, tried = choose(good, deadline_ms, (), seed, progress) if size is None else (sized(size), [])
    search_s = time.monotonic() - started
    without, trained = _once(dataset_dir, good, (), rest, design, seed, progress)
    without = replace(without, missing=(*without.missing, *notes))
    if not moved:
        return Run(seed, without, int(trained.metrics["images"]), trained.skipped, design, tuple(tried), search_s)
    with_labels, taught = _once(dataset_dir, good, moved, rest, design, seed, progress)
    names = tuple(image.name for image in moved)
    images_used = int(trained.metrics["images"])
    return Run(seed, without, images_used, taught.skipped, design, tuple(tried), search_s, with_labels, names)


def split(
    images: Sequence[LabelledImage], labelled: int, seed: int
) -> tuple[list[LabelledImage], list[LabelledImage], list[str]]:
    """Random images of each defect for training, the rest for the test, and where a defect has too few for that.

    At most half of a defect's images are moved: the others must show what was learned.
    """
    generator = np.random.default_rng(seed)
    moved: list[LabelledImage] = []
    notes = []
    for label in sorted({image.label for image in images if not image.good}) if labelled else ():
        of_label = [image for image in images if image.label == label]
        count = min(labelled, len(of_label) // 2)
        if count < labelled:
            notes.append(f"{count} of {len(of_label)} images of {label} were labelled, not {labelled}: half is left for the test")
        moved += [of_label[index] for index in sorted(generator.choice(len(of_label), count, replace=False))]
    return moved, [image for image in images if image not in moved], notes


def _once(
    dataset_dir: Path,
    good: Sequence[TrainingImage],
    moved: Sequence[LabelledImage],
    rest: Sequence[LabelledImage],
    design: Design,
    seed: int,
    progress: Progress,
) -> tuple[Evaluation, TrainedModel]:
    forget_peak_memory()
    product = dataset_dir.resolve().name
    with tempfile.TemporaryDirectory(prefix="evaluate-") as folder:
        rejects = [reject(image) for image in moved]
        model = train(good, product, Path(folder), seed=seed, progress=progress, design=design, rejects=rejects)
        return evaluate(model.path, rest, model.seconds, progress), model


def reject(image: LabelledImage) -> LabelledReject:
    """A defective image, and its mask if there is one, for training."""
    return LabelledReject(
        image.name,
        hashlib.sha256(image.path.read_bytes()).hexdigest(),
        image.label,
        partial(read_frame, image.path),
        None if image.mask is None else partial(read_mask, image.mask),
    )


def document(runs: Sequence[Run]) -> dict[str, object]:
    """What is written as JSON: the first run's figures, and mean and spread over the seeds if there are several."""
    first = runs[0]
    result: dict[str, object] = asdict(first.evaluation.figures) | {
        "model": first.evaluation.model,
        "thresholds": {"review": first.evaluation.thresholds.review, "fail": first.evaluation.thresholds.fail},
        "design": first.design,
        "autopilot": {"seconds": first.search_s, "tried": first.tried},
        "missing": first.evaluation.missing,
        "unreadable": first.skipped | first.evaluation.unreadable,
    }
    if first.labelled is not None:
        result["labelled"] = asdict(first.labelled.figures) | {"model": first.labelled.model, "images": first.moved}
    if len(runs) > 1:
        seeds: dict[str, object] = {"seeds": [run.seed for run in runs]}
        seeds |= spread([run.evaluation.figures for run in runs])
        if first.labelled is not None:
            seeds["labelled"] = spread(labelled_figures(runs))
        result["seeds"] = seeds
    return result


def labelled_figures(runs: Sequence[Run]) -> list[Figures]:
    """The figures with labels of all runs that have them."""
    return [run.labelled.figures for run in runs if run.labelled is not None]


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
