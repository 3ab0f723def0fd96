"""Good images → a model artifact."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from inspection import artifact
from inspection.artifact import Precision
from inspection.detector import Detector, computing_threads, processor_precisions
from inspection.preprocessing import input_size, network_input
from training.backbone import LITE0, Backbone, patchcore
from training.calibration import folds, thresholds, whole_image_scale
from training.coreset import k_centre
from training.dataset import MIN_IMAGES, TrainingImage
from training.errors import ParityError, TrainingError, UnreadableImage
from training.export import CompiledFeatures, check_parity, export
from training.known_defects import DefectPatches, LabelledReject, covered, learn
from training.network import ImageDistance, PatchDistance, PatchFeatures, ScoringNetwork, mean_features, strangest_patches

LONGER_SIDE = 320
MAX_IMAGES = 500
"""More images are thinned out evenly: the patches of all those used are in memory at once."""
BANK_PATCHES = 2_000
POOL_PATCHES = 60_000
"""The bank is selected from a random sample of patches, which bounds the time that takes."""
PARITY_IMAGES = 32
STAGES = ("read", "bank", "calibrate", "export", "parity", "store")

Progress = Callable[[str, int, int], None]
"""Called with a stage of STAGES, the steps of it that are done, and all its steps."""


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A stored model: where, its digest, what was measured, how long it took, and the images it did not use and why.

    ``scores`` are those of the images it used, each by a bank that does not hold it.
    """

    path: Path
    digest: str
    metrics: dict[str, float]
    seconds: float
    skipped: dict[str, str]
    scores: dict[str, float]


@dataclass(frozen=True, slots=True)
class _Patches:
    """Patch features, float16 (n, rows, columns, d), of the images that could be read, by the precision of the network.

    ``rejects`` likewise, one by one, with the names and digests of those read in ``used_rejects``.
    """

    features: dict[Precision, torch.Tensor]
    images: list[TrainingImage]
    skipped: dict[str, str]
    width: int
    height: int
    rejects: dict[Precision, list[DefectPatches]]
    used_rejects: list[LabelledReject]


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
    longer_side: int = LONGER_SIDE,
    rejects: Sequence[LabelledReject] = (),
) -> TrainedModel:
    """Train on good images of one product and store the model as ``models_dir/<digest>/``.

    Labelled rejects make patches that look like theirs count more; no patch counts less for them. ``longer_side`` is that
    of the network's input, pixels.

    The same images, seed and machine give the same network and thresholds. Sets torch's number of threads.

    Raises TrainingError if too few images are readable, ParityError if the exported network scores differently,
    ModelError if the model cannot be stored.
    """
    started = time.monotonic()
    torch.set_num_threads(computing_threads())
    model = patchcore(backbone)
    network_features = PatchFeatures(model, backbone.mean, backbone.std)
    patches = _read(images, rejects, network_features, longer_side, progress)

    progress("bank", 0, 1)
    # In f32, so that the bank does not depend on the processor that a model was trained on.
    model.memory_bank = select_bank(patches.features["f32"], seed)
    progress("bank", 1, 1)
    candidate = _fastest(network_features, patches, seed, progress)

    progress("store", 0, 1)
    limits = thresholds(candidate.scores)
    metrics = {
        "images": float(len(patches.images)),
        "rejects": float(len(patches.used_rejects)),
        "bank_patches": float(len(model.memory_bank)),
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
                layers=backbone.layers,
                package=backbone.package,
                version=backbone.package_version,
                weights_sha256=backbone.sha256,
                licence=backbone.licence,
            ),
            versions={name: version(name) for name in ("anomalib", "torch", "timm", "openvino", "numpy")},
            images=tuple(artifact.TrainingImage(name=image.name, sha256=image.sha256) for image in patches.images),
            skipped=patches.skipped,
            rejects=tuple(artifact.TrainingImage(name=each.name, sha256=each.sha256) for each in patches.used_rejects),
        ),
        files=artifact.file_entries(candidate.files),
    )
    path, digest = artifact.write_artifact(models_dir, manifest, candidate.files)
    Detector.load(path, digest)
    progress("store", 1, 1)
    scores = dict(zip((image.name for image in patches.images), candidate.scores.tolist(), strict=True))
    return TrainedModel(path, digest, metrics, time.monotonic() - started, patches.skipped, scores)


def _read(
    images: Sequence[TrainingImage],
    rejects: Sequence[LabelledReject],
    network: PatchFeatures,
    longer_side: int,
    progress: Progress,
) -> _Patches:
    """Patch features of the images, each read once; those that cannot be read or come twice are skipped, with the reason."""
    wanted = [images[index] for index in np.linspace(0, len(images) - 1, min(len(images), MAX_IMAGES)).astype(int)]
    precisions = processor_precisions()
    features: dict[Precision, list[torch.Tensor]] = {precision: [] for precision in precisions}
    used: list[TrainingImage] = []
    skipped: dict[str, str] = {}
    seen: dict[str, str] = {}
    size: tuple[int, int] | None = None
    for done, image in enumerate(wanted):
        progress("read", done, len(wanted))
        if image.sha256 in seen:
            # A copy in another fold would calibrate with its own patches in the bank.
            skipped[image.name] = f"same file as {seen[image.sha256]}"
            continue
        seen[image.sha256] = image.name
        try:
            frame = image.read()
        except UnreadableImage as error:
            skipped[image.name] = str(error)
            continue
        if size is None:
            size = input_size(frame.width, frame.height, longer_side)
            compiled = CompiledFeatures(network, *size, precisions)
        for precision, patches in compiled(network_input(frame, *size)).items():
            features[precision].append(patches)
        used.append(image)
    progress("read", len(wanted), len(wanted))
    if size is None or len(used) < MIN_IMAGES:
        raise TrainingError(
            f"{len(used)} of {len(images)} images are usable, at least {MIN_IMAGES} good images are needed; "
            f"{'; '.join(skipped.values()) or 'add more'}"
        )
    defects: dict[Precision, list[DefectPatches]] = {precision: [] for precision in precisions}
    used_rejects: list[LabelledReject] = []
    for reject in rejects:
        if reject.sha256 in seen:
            skipped[reject.name] = f"same file as {seen[reject.sha256]}"
            continue
        seen[reject.sha256] = reject.name
        try:
            tensor = network_input(reject.read(), *size)
            mask = None if reject.read_mask is None else reject.read_mask()
        except UnreadableImage as error:
            skipped[reject.name] = str(error)
            continue
        for precision, patches in compiled(tensor).items():
            share = None if mask is None else covered(mask, patches.shape[0], patches.shape[1])
            defects[precision].append(DefectPatches(patches, share))
        used_rejects.append(reject)
    stacked = {precision: torch.stack(patches) for precision, patches in features.items()}
    return _Patches(stacked, used, skipped, *size, defects, used_rejects)


def _fastest(network_features: PatchFeatures, patches: _Patches, seed: int, progress: Progress) -> _Candidate:
    """The candidate in the fastest precision of this processor that gives the scores of the trained network.

    In bf16, mean features can be off by as much as very uniform good images differ; such a product is inspected in f32.
    """
    *faster, exact = patches.features
    for precision in faster:
        with suppress(ParityError):
            return _candidate(network_features, patches, precision, seed, progress)
    return _candidate(network_features, patches, exact, seed, progress)


def _candidate(
    network_features: PatchFeatures, patches: _Patches, precision: Precision, seed: int, progress: Progress
) -> _Candidate:
    """Calibrate, export and compare. Raises ParityError if the exported network scores differently."""
    distances, image_distances = cross_fit(patches.features["f32"], patches.features[precision], seed, progress)
    known = None
    if patches.used_rejects:
        bank = network_features.model.memory_bank
        known, factors = learn(patches.features[precision], distances, bank, patches.rejects[precision], seed)
        distances = distances * factors
    patch_scores = strangest_patches(distances).double().numpy()
    scale, exponent = whole_image_scale(patch_scores, image_distances)

    progress("export", 0, 1)
    network = ScoringNetwork(network_features, mean_features(patches.features["f32"].float()), scale, exponent, known)
    files = export(network, patches.width, patches.height)
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
    return _Candidate(files, np.maximum(patch_scores, scale * image_distances**exponent), parity)


def select_bank(features: torch.Tensor, seed: int) -> torch.Tensor:
    """A memory bank, float32 (≤ BANK_PATCHES, d), that covers patches, float16 (n, rows, columns, d)."""
    patches = features.flatten(0, 2)
    sample = torch.randperm(len(patches), generator=torch.Generator().manual_seed(seed))[:POOL_PATCHES]
    pool = patches[sample].float()
    return pool[k_centre(pool - pool.mean(0), BANK_PATCHES, first=0)]


def cross_fit(
    bank: torch.Tensor, inspected: torch.Tensor, seed: int, progress: Progress
) -> tuple[torch.Tensor, NDArray[np.float64]]:
    """Patch distances, float32 (n, rows, columns), and whole-image distances, float64 (n,), by the other folds' banks.

    ``bank`` and ``inspected`` are patches of the same images, float16 (n, rows, columns, d): as banks hold them, and as
    the detector computes them.
    """
    fold = folds(len(bank))
    bank_means, inspected_means = mean_features(bank.float()), mean_features(inspected.float())
    patch_distances, image_distances = torch.empty(bank.shape[:3]), np.empty(len(bank))
    numbers = np.unique(fold)
    for done, number in enumerate(numbers):
        progress("calibrate", done, len(numbers))
        others = torch.from_numpy(fold != number)
        patch_distance, image_distance = PatchDistance(select_bank(bank[others], seed)), ImageDistance(bank_means[others])
        for index in np.flatnonzero(fold == number):
            patch_distances[index] = patch_distance(inspected[index].float())
            image_distances[index] = image_distance(inspected_means[index]).item()
    progress("calibrate", len(numbers), len(numbers))
    return patch_distances, image_distances
