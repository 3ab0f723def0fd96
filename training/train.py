"""Good images → a model artifact."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from inspection import artifact
from inspection.artifact import Precision
from inspection.detector import Detector, computing_threads
from inspection.preprocessing import network_input
from training.backbone import LITE0, Backbone, patchcore
from training.calibration import (
    FALSE_REJECTS,
    FalseRejects,
    combined,
    common_units,
    folds,
    patch_scores,
    thresholds,
    whole_image_scale,
)
from training.coreset import k_centre
from training.dataset import TrainingImage
from training.design import SMALL, Design
from training.errors import ParityError
from training.export import check_parity, export
from training.known_defects import KnownDefects, LabelledReject, defect_classes, learn
from training.memory import pack
from training.network import (
    ImageDistance,
    Level,
    PatchDistance,
    PatchFeatures,
    ScoringNetwork,
    mean_features,
)
from training.places import place_factors, placed
from training.reading import Patches, Progress, read_patches

POOL_PATCHES = 60_000
"""The bank is selected from a random sample of patches, which bounds the time that takes."""
PARITY_IMAGES = 32
STAGES = ("read", "bank", "calibrate", "export", "parity", "store")


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A stored model: where, its digest, what was measured, how long it took, and the images it did not use and why.

    ``scores`` are those of the images it used, each by a bank that does not hold it; ``rule`` says what the thresholds rest on.
    """

    path: Path
    digest: str
    metrics: dict[str, float]
    seconds: float
    skipped: dict[str, str]
    scores: dict[str, float]
    rule: str


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A network for one precision, calibrated in it and found equal to the trained one after export."""

    files: dict[str, bytes]
    scores: NDArray[np.float64]
    parity: artifact.Parity


def train(
    images: Sequence[TrainingImage],
    product: str,
    models_dir: Path,
    seed: int = 0,
    progress: Progress = lambda stage, done, steps: None,
    backbone: Backbone = LITE0,
    design: Design = SMALL,
    rejects: Sequence[LabelledReject] = (),
    tried: Sequence[artifact.Trial] = (),
    false_rejects: FalseRejects = FALSE_REJECTS,
) -> TrainedModel:
    """Train on good images of one product and store the model as ``models_dir/<digest>/``.

    Labelled rejects make parts that look like them count more. ``tried`` are designs that
    were compared before, for the record. ``false_rejects`` are what the thresholds are to keep.

    The same images, seed and machine give the same network and thresholds. Sets torch's number of threads.

    Raises TrainingError if too few images are readable, ParityError if the exported network scores differently,
    ModelError if the model cannot be stored.
    """
    started = time.monotonic()
    torch.set_num_threads(computing_threads())
    levels = level_features(backbone, design)
    patches = read_patches(images, rejects, levels, design, progress)

    # In f32, so that a bank does not depend on the processor that a model was trained on.
    banks = []
    for level, features in enumerate(patches.features["f32"]):
        progress("bank", level, design.levels)
        banks.append(select_bank(features, seed, design.bank_patches))
    progress("bank", design.levels, design.levels)
    candidate = _fastest(levels, banks, patches, seed, progress)

    progress("store", 0, 1)
    limits = thresholds(candidate.scores, false_rejects)
    metrics = {
        "images": float(len(patches.images)),
        "rejects": float(len(patches.used_rejects)),
        "bank_patches": float(sum(len(bank) for bank in banks)),
        "levels": float(design.levels),
        "calibration_median": float(np.median(candidate.scores)),
        "calibration_max": float(candidate.scores.max()),
        "calibration_review_share": float(np.mean((candidate.scores >= limits.review) & (candidate.scores < limits.fail))),
        "calibration_fail_share": float(np.mean(candidate.scores >= limits.fail)),
    }
    manifest = artifact.Manifest(
        schema_version=artifact.SCHEMA_VERSION,
        product=product,
        algorithm="PatchCore with whole-image distance" + (" and known defects" if patches.used_rejects else ""),
        preprocessing=artifact.Preprocessing(
            width=patches.width,
            height=patches.height,
            resize="area average, halved first",
            scale="full scale of the pixel format",
            mono="repeated to RGB",
            bayer="bilinear to RGB",
        ),
        calibration=artifact.Calibration(method="5-fold cross-fit", scores=tuple(sorted(candidate.scores.tolist()))),
        thresholds=limits,
        metrics=metrics,
        parity=candidate.parity,
        provenance=artifact.Provenance(
            created_at=datetime.now(UTC),
            seed=seed,
            backbone=artifact.Backbone(
                name=backbone.name,
                layers=design.layers,
                package=backbone.package,
                version=backbone.package_version,
                weights_sha256=backbone.sha256,
                licence=backbone.licence,
            ),
            versions={name: version(name) for name in ("anomalib", "torch", "timm", "openvino", "numpy")},
            images=tuple(artifact.TrainingImage(name=image.name, sha256=image.sha256) for image in patches.images),
            skipped=patches.skipped,
            rejects=tuple(artifact.TrainingImage(name=each.name, sha256=each.sha256) for each in patches.used_rejects),
            design=design,
            tried=tuple(tried),
        ),
        defect_classes=defect_classes(reject.label for reject in patches.used_rejects),
        files=artifact.file_entries(candidate.files),
        optics=patches.optics,
    )
    path, digest = artifact.write_artifact(models_dir, manifest, candidate.files)
    Detector.load(path, digest)
    progress("store", 1, 1)
    scores = dict(zip((image.name for image in patches.images), candidate.scores.tolist(), strict=True))
    return TrainedModel(path, digest, metrics, time.monotonic() - started, patches.skipped, scores, limits.rule)


def level_features(backbone: Backbone, design: Design) -> list[PatchFeatures]:
    """The feature networks of a design's levels, the largest first."""
    return [
        PatchFeatures(patchcore(replace(backbone, layers=design.layers)), backbone.mean, backbone.std, level)
        for level in range(design.levels)
    ]


def _fastest(
    levels: Sequence[PatchFeatures], banks: Sequence[torch.Tensor], patches: Patches, seed: int, progress: Progress
) -> _Candidate:
    """The candidate in the fastest precision of this processor that gives the scores of the trained network.

    In bf16, mean features can be off by as much as very uniform good images differ; such a product is inspected in f32.
    """
    *faster, exact = patches.features
    for precision in faster:
        with suppress(ParityError):
            return _candidate(levels, banks, patches, precision, seed, progress)
    return _candidate(levels, banks, patches, exact, seed, progress)


def _candidate(
    levels: Sequence[PatchFeatures],
    banks: Sequence[torch.Tensor],
    patches: Patches,
    precision: Precision,
    seed: int,
    progress: Progress,
) -> _Candidate:
    """Calibrate, export and compare. Raises ParityError if the exported network scores differently."""
    parts: list[tuple[torch.Tensor, KnownDefects | None]] = []
    level_distances: list[torch.Tensor] = []
    for number, bank in enumerate(banks):
        exact, inspected = patches.features["f32"][number], patches.features[precision][number]
        distances, image_distances = cross_fit(exact, inspected, seed, progress, len(bank))
        places, distances, known = place_factors(distances), placed(distances), None
        if patches.used_rejects:
            known, distances = learn(inspected, distances, bank, patches.rejects[precision][number], seed)
        parts.append((places, known))
        level_distances.append(distances)
    units = common_units([patch_scores(distances) for distances in level_distances])
    of_patches = combined(level_distances, units)
    scale, exponent = whole_image_scale(of_patches, image_distances)

    network_levels = [
        Level(features, bank, places, *unit, known)
        for features, bank, unit, (places, known) in zip(levels, banks, units, parts, strict=True)
    ]
    network = ScoringNetwork(network_levels, mean_features(exact), scale, exponent)
    files, parity = exported(network, patches, precision, progress)
    return _Candidate(files, np.maximum(of_patches, scale * image_distances**exponent), parity)


def exported(
    network: ScoringNetwork, patches: Patches, precision: Precision, progress: Progress
) -> tuple[dict[str, bytes], artifact.Parity]:
    """Files of the network, and how they compare with it. Raises ParityError if the exported network scores differently."""
    progress("export", 0, 1)
    files = export(network, patches.width, patches.height) | {artifact.MEMORY: pack(network)}
    progress("export", 1, 1)

    progress("parity", 0, 1)
    chosen = np.linspace(0, len(patches.images) - 1, min(PARITY_IMAGES, len(patches.images))).astype(int)
    # Mirrored: the images themselves are in the bank, where distances vanish and only rounding would be compared.
    mirrored = [
        np.ascontiguousarray(network_input(patches.images[index].read(), patches.width, patches.height)[..., ::-1])
        for index in chosen
    ]
    parity = check_parity(network, files, precision, mirrored)
    progress("parity", 1, 1)
    return files, parity


def select_bank(features: torch.Tensor, seed: int, count: int, images: NDArray[np.int64] | None = None) -> torch.Tensor:
    """A memory bank, float32 (≤ count, d), that covers patches, float16 (n, rows, columns, d), of all or of these images."""
    chosen = torch.arange(len(features)) if images is None else torch.from_numpy(images)
    each = features.shape[1] * features.shape[2]
    sample = torch.randperm(len(chosen) * each, generator=torch.Generator().manual_seed(seed))[:POOL_PATCHES]
    pool = features.flatten(0, 2)[chosen[sample // each] * each + sample % each].float()
    return pool[k_centre(pool - pool.mean(0), count, first=0)]


def cross_fit(
    bank: torch.Tensor, inspected: torch.Tensor, seed: int, progress: Progress, count: int
) -> tuple[torch.Tensor, NDArray[np.float64]]:
    """Patch distances, float32 (n, rows, columns), and whole-image distances, float64 (n,), by the other folds' banks.

    ``bank`` and ``inspected`` are patches of the same images, float16 (n, rows, columns, d): as banks hold them, and as
    the detector computes them.
    """
    fold = folds(len(bank))
    bank_means, inspected_means = mean_features(bank), mean_features(inspected)
    patch_distances, image_distances = torch.empty(bank.shape[:3]), np.empty(len(bank))
    numbers = np.unique(fold)
    for done, number in enumerate(numbers):
        progress("calibrate", done, len(numbers))
        others = np.flatnonzero(fold != number)
        patch_distance, image_distance = PatchDistance(select_bank(bank, seed, count, others)), ImageDistance(bank_means[others])
        for index in np.flatnonzero(fold == number):
            patch_distances[index] = patch_distance(inspected[index].float())
            image_distances[index] = image_distance(inspected_means[index]).item()
    progress("calibrate", len(numbers), len(numbers))
    return patch_distances, image_distances
