"""Good images → a model artifact with one of anomalib's algorithms."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from inspection import artifact, optics
from inspection.detector import CompiledNetwork, Detector, computing_threads, processor_precisions
from inspection.preprocessing import input_size, network_input
from training.calibration import FALSE_REJECTS, FalseRejects, folds, thresholds
from training.dataset import TrainingImage
from training.design import LONGER_SIDE
from training.errors import ParityError, TrainingError, UnreadableImage
from training.export import check_parity, export
from training.reading import MAX_IMAGES, Progress, thinned
from training.train import PARITY_IMAGES, TrainedModel
from training.zoo.adapter import RawScores, Readout
from training.zoo.algorithms import Algorithm, Task, algorithm
from training.zoo.fitting import fit
from training.zoo.weights import Pretrained, packaged

MIN_IMAGES = 20
"""A fifth is held out, and fewer than four scores give no thresholds."""
STAGES = ("read", "fit", "calibrate", "export", "parity", "store")


def train(
    images: Sequence[TrainingImage],
    product: str,
    models_dir: Path,
    name: str,
    pretrained: Pretrained | None = None,
    seed: int = 0,
    progress: Progress = lambda stage, done, steps: None,
    longer_side: int = LONGER_SIDE,
    epochs: int | None = None,
    hold_out: bool = True,
    options: dict[str, Any] | None = None,
    false_rejects: FalseRejects = FALSE_REJECTS,
) -> TrainedModel:
    """Train the algorithm ``name`` on good images of one product and store the model as ``models_dir/<digest>/``.

    Every fifth block of images is held out from fitting and calibrates the thresholds. Without ``hold_out`` all images
    are fitted and the thresholds mean nothing: that is for comparing orders of scores. ``options`` go to anomalib,
    ``false_rejects`` are what the thresholds are to keep.

    Raises TrainingError if the algorithm is not offered, does not fit the backbone or too few images are readable,
    ParityError if the exported network scores differently, ModelError if the model cannot be stored.
    """
    started = time.monotonic()
    torch.set_num_threads(computing_threads())
    chosen, pretrained = algorithm(name), pretrained or packaged()
    if chosen.resnet and not pretrained.name.split(".")[0].startswith(("resnet", "wide_resnet")):
        raise TrainingError(
            f"{name} is made for ResNets, and no package holds one's weights; "
            f"give --backbone resnet18 --weights FILE --licence TEXT"
        )
    if chosen.resnet and pretrained.layers:
        raise TrainingError(f"{name} takes the layers it was made for; leave --layers out")
    used, inputs, usual, skipped = _read(images, longer_side, progress)
    width, height = inputs.shape[3], inputs.shape[2]
    if min(width, height) < chosen.min_side:
        raise TrainingError(
            f"{name} needs inputs of at least {chosen.min_side} pixels on each side, these are {width} × {height}; raise --size"
        )
    held_out = folds(len(used), min(25, len(used))) % 5 == 2
    fitted = ~held_out if hold_out else np.ones(len(used), np.bool_)

    task = Task(pretrained, pretrained.layers_at(chosen.strides), width, height, int(fitted.sum()), options or {})
    fit_inputs, passes = inputs[torch.from_numpy(fitted)], epochs or chosen.epochs(task.images)
    try:
        model = fit(chosen, task, fit_inputs, passes, seed, lambda done, steps: progress("fit", done, steps))
    except RuntimeError as error:
        raise TrainingError(
            f"anomalib cannot fit {name} to {task.images} images of {width} × {height} pixels: {error}; try another --size"
        ) from error
    calibration = inputs[torch.from_numpy(held_out)].split(1)
    network = _readout(chosen, RawScores(chosen, model, pretrained.mean, pretrained.std).eval(), calibration, progress)
    progress("export", 0, 1)
    files = export(network, width, height)
    progress("export", 1, 1)
    progress("parity", 0, 1)
    parity = _fastest(network, files, [tensor.numpy() for tensor in calibration[:PARITY_IMAGES]])
    progress("parity", 1, 1)
    compiled = CompiledNetwork(files, parity.precision)
    scores = np.array([compiled.infer(tensor.numpy())[0] for tensor in calibration])

    progress("store", 0, 1)
    limits = thresholds(scores, false_rejects)
    metrics = {
        "images": float(len(used)),
        "fitted_images": float(fitted.sum()),
        "calibration_median": float(np.median(scores)),
        "calibration_max": float(scores.max()),
        "calibration_review_share": float(np.mean((scores >= limits.review) & (scores < limits.fail))),
        "calibration_fail_share": float(np.mean(scores >= limits.fail)),
    }
    manifest = artifact.Manifest(
        schema_version=artifact.SCHEMA_VERSION,
        product=product,
        algorithm=f"anomalib {name}",
        preprocessing=artifact.Preprocessing(
            width=width,
            height=height,
            resize="area average, halved first",
            scale="full scale of the pixel format",
            mono="repeated to RGB",
            bayer="bilinear to RGB",
        ),
        calibration=artifact.Calibration(
            method="every fifth of 25 blocks held out" if hold_out else "none: the images were fitted",
            scores=tuple(sorted(scores.tolist())),
        ),
        thresholds=limits,
        metrics=metrics,
        parity=parity,
        provenance=artifact.Provenance(
            created_at=datetime.now(UTC),
            seed=seed,
            backbone=msgspec.structs.replace(pretrained.provenance, layers=task.layers),
            versions={name: version(name) for name in ("anomalib", "torch", "timm", "lightning", "openvino", "numpy")},
            images=tuple(artifact.TrainingImage(name=image.name, sha256=image.sha256) for image in used),
            skipped=skipped,
        ),
        files=artifact.file_entries(files),
        optics=usual,
    )
    path, digest = artifact.write_artifact(models_dir, manifest, files)
    Detector.load(path, digest)
    progress("store", 1, 1)
    names = [image.name for image, out in zip(used, held_out, strict=True) if out]
    by_name = dict(zip(names, scores.tolist(), strict=True))
    return TrainedModel(path, digest, metrics, time.monotonic() - started, skipped, by_name, limits.rule)


def _read(
    images: Sequence[TrainingImage], longer_side: int, progress: Progress
) -> tuple[list[TrainingImage], torch.Tensor, artifact.OpticsRanges, dict[str, str]]:
    """The images that can be read, once each, their network inputs, float32 (n, 3, height, width), how they were taken, and the
    others and why.
    """
    wanted = thinned(images, MAX_IMAGES)
    used: list[TrainingImage] = []
    inputs: list[torch.Tensor] = []
    taken: list[optics.Figures] = []
    sizes: list[tuple[int, int]] = []
    skipped: dict[str, str] = {}
    seen: dict[str, str] = {}
    size: tuple[int, int] | None = None
    for done, image in enumerate(wanted):
        progress("read", done, len(wanted))
        if image.sha256 in seen:
            skipped[image.name] = f"same file as {seen[image.sha256]}"
            continue
        seen[image.sha256] = image.name
        try:
            frame = image.read()
        except UnreadableImage as error:
            skipped[image.name] = str(error)
            continue
        size = size or input_size(frame.width, frame.height, longer_side)
        tensor = network_input(frame, *size)
        inputs.append(torch.from_numpy(tensor))
        taken.append(optics.look(frame, tensor).figures)
        sizes.append((frame.width, frame.height))
        used.append(image)
    progress("read", len(wanted), len(wanted))
    if len(used) < MIN_IMAGES:
        raise TrainingError(
            f"{len(used)} of {len(images)} images are usable, at least {MIN_IMAGES} good images are needed, because a fifth is "
            f"held out; {'; '.join(skipped.values()) or 'add more'}"
        )
    return used, torch.cat(inputs), optics.ranges(taken, sizes), skipped


def _readout(chosen: Algorithm, raw: RawScores, calibration: Sequence[torch.Tensor], progress: Progress) -> Readout:
    scores, maxima = np.empty(len(calibration)), np.empty(len(calibration))
    for index, tensor in enumerate(calibration):
        progress("calibrate", index, len(calibration))
        with torch.inference_mode():
            anomaly_map, score = raw(tensor)
        scores[index], maxima[index] = score.item(), anomaly_map.max().item()
    progress("calibrate", len(calibration), len(calibration))
    if not (np.isfinite(scores).all() and np.isfinite(maxima).all()):
        raise TrainingError("the fitted model gives scores that are not finite; train with fewer epochs or another algorithm")
    return Readout(raw, chosen.positive, scores, maxima).eval()


def _fastest(network: Readout, files: dict[str, bytes], inputs: list[NDArray[np.float32]]) -> artifact.Parity:
    """Parity in the fastest precision of this processor that gives the scores of the fitted network."""
    *faster, exact = processor_precisions()
    for precision in faster:
        with suppress(ParityError):
            return check_parity(network, files, precision, inputs)
    return check_parity(network, files, exact, inputs)
