"""Good images → a stored model that knows them too, without the images that it was trained on.

What the model has learned stays: its bank is kept whole and gets only patches that it does not cover yet, so an image that looks
like known ones adds next to nothing, and a false alarm teaches what it showed. Until the bank has grown to twice its size.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from inspection import artifact, optics
from inspection.artifact import MEMORY, Artifact, Precision, read_artifact
from inspection.detector import Detector, computing_threads, usable_precision
from training.backbone import LITE0
from training.calibration import FALSE_REJECTS, FalseRejects, folds, thresholds
from training.coreset import further_centres
from training.dataset import TrainingImage
from training.design import Design
from training.errors import TrainingError
from training.memory import pack, unpack
from training.network import Level, PatchDistance, ScoringNetwork, mean_features, strangest_patches
from training.reading import MAX_IMAGES, Patches, Progress, read_patches
from training.train import POOL_PATCHES, TrainedModel, exported, level_features

GROWTH = 2
"""A bank grows to at most so many times the patches of its design."""
STAGES = ("read", "calibrate", "export", "parity", "store")


def extend(
    path: Path,
    images: Sequence[TrainingImage],
    models_dir: Path,
    progress: Progress = lambda stage, done, steps: None,
    false_rejects: FalseRejects = FALSE_REJECTS,
) -> TrainedModel:
    """Add good images (at least one) to the model in ``path`` and store the result as ``models_dir/<digest>/``.

    The new images are scored by banks without them and join the calibration; the scores of the model's own images stay. The
    bank only grows, so they are rather too high, but for its main directions, which turn a little.

    Raises TrainingError if the model cannot be extended or no image is new, ParityError and ModelError as ``train``.
    """
    started = time.monotonic()
    torch.set_num_threads(computing_threads())
    model = read_artifact(path)
    manifest, design = model.manifest, _design(model)
    network = unpack(model.files[MEMORY], level_features(LITE0, design))
    known = {image.sha256 for image in (*manifest.provenance.images, *manifest.provenance.rejects)}
    new = [image for image in images if image.sha256 not in known]
    skipped = {image.name: "the model has learned from it already" for image in images if image.sha256 in known}
    if not new:
        raise TrainingError(f"the model has learned from all of these {len(images)} images already; add others")
    precision = usable_precision(manifest.parity.precision)
    precisions: tuple[Precision, ...] = ("f32",) if precision == "f32" else (precision, "f32")
    levels = [level.features for level in _levels(network)]
    patches = read_patches(new, (), levels, design, progress, precisions, least=1)
    wanted = manifest.preprocessing.width, manifest.preprocessing.height
    if (patches.width, patches.height) != wanted:
        raise TrainingError(
            f"the images have another shape than those of the model (input {patches.width} x {patches.height} instead of "
            f"{wanted[0]} x {wanted[1]} pixels); take images of the same camera and setting"
        )
    scores = _cross_fit(network, patches, precision, design, progress)
    _add(network, patches, np.arange(len(patches.images)), design)

    files, parity = exported(network, patches, precision, progress)
    progress("store", 0, 1)
    calibration = tuple(sorted((*manifest.calibration.scores, *scores.tolist())))
    limits = thresholds(np.array(calibration), false_rejects)
    metrics = manifest.metrics | {
        "images": float(len(manifest.provenance.images) + len(patches.images)),
        "bank_patches": float(sum(len(level.distance.patches) for level in _levels(network))),
        "added": float(len(patches.images)),
    }
    extended = msgspec.structs.replace(
        manifest,
        calibration=artifact.Calibration(method=manifest.calibration.method, scores=calibration),
        thresholds=limits,
        metrics=metrics,
        parity=parity,
        provenance=msgspec.structs.replace(
            manifest.provenance,
            created_at=datetime.now(UTC),
            images=(
                *manifest.provenance.images,
                *(artifact.TrainingImage(name=image.name, sha256=image.sha256) for image in patches.images),
            ),
            skipped=manifest.provenance.skipped | patches.skipped,
            extends=model.digest,
        ),
        files=artifact.file_entries(files),
        chosen_thresholds=None,
        optics=manifest.optics and optics.widened(manifest.optics, patches.optics),
    )
    stored, digest = artifact.write_artifact(models_dir, extended, files)
    Detector.load(stored, digest)
    progress("store", 1, 1)
    of_new = dict(zip((image.name for image in patches.images), scores.tolist(), strict=True))
    return TrainedModel(stored, digest, metrics, time.monotonic() - started, skipped | patches.skipped, of_new, limits.rule)


def _design(model: Artifact) -> Design:
    """Raises TrainingError if the model was made by something else than ``train`` with the backbone of this station."""
    provenance = model.manifest.provenance
    if MEMORY not in model.files or provenance.design is None:
        raise TrainingError(f"model {model.digest} keeps no memory that images could be added to; train it again with them")
    if (provenance.backbone.name, provenance.backbone.weights_sha256) != (LITE0.name, LITE0.sha256):
        raise TrainingError(f"model {model.digest} rests on other weights than this station has; train it again with the images")
    return Design(**msgspec.structs.asdict(provenance.design))


def _levels(network: ScoringNetwork) -> list[Level]:
    return [level for level in network.levels if isinstance(level, Level)]


def _cross_fit(
    network: ScoringNetwork, patches: Patches, precision: Precision, design: Design, progress: Progress
) -> NDArray[np.float64]:
    """Scores, float64 (n,), of the new images by the model with the other folds of them added."""
    fold, scores = folds(len(patches.images)), np.empty(len(patches.images))
    numbers = np.unique(fold)
    memory = pack(network)
    for done, number in enumerate(numbers):
        progress("calibrate", done, len(numbers))
        other = unpack(memory, [level.features for level in _levels(network)])
        _add(other, patches, np.flatnonzero(fold != number), design)
        for index in np.flatnonzero(fold == number):
            scores[index] = _score(other, [level[index : index + 1].float() for level in patches.features[precision]])
    progress("calibrate", len(numbers), len(numbers))
    return scores


def _score(network: ScoringNetwork, patches: Sequence[torch.Tensor]) -> float:
    """Score of one image from its patches, float32 (1, rows, columns, d), at all levels."""
    levels = zip(_levels(network), patches, strict=True)
    strangest = max(strangest_patches(level.compare(of_level)).item() for level, of_level in levels)
    whole = network.scale * network.image_distance(mean_features(patches[-1])).item() ** network.exponent
    return float(max(strangest, whole))


def _add(network: ScoringNetwork, patches: Patches, images: NDArray[np.int64], design: Design) -> None:
    """Put what these images show, and the banks do not cover, into the banks."""
    if not len(images):
        return
    for level, features in zip(_levels(network), patches.features["f32"], strict=True):
        pool = features[torch.from_numpy(images)].flatten(0, 2)
        bank = level.distance.patches
        sample = torch.randperm(len(pool), generator=torch.Generator().manual_seed(len(bank)))[:POOL_PATCHES]
        points = pool[sample].float()
        room = max(0, GROWTH * design.bank_patches - len(bank))
        level.distance = PatchDistance(torch.cat((bank, points[further_centres(points, bank, room)])))
    means = mean_features(patches.features["f32"][-1][torch.from_numpy(images)])
    room = max(0, GROWTH * MAX_IMAGES - len(network.image_distance.bank))
    network.image_distance.bank = torch.cat((network.image_distance.bank, means[:room]))
