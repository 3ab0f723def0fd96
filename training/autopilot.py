"""Which design for a product: the best on its own images, among those that are fast enough on this machine.

Latency is measured here, with the network that would be exported. Quality is how well held-out good images are told from
the same kind of images with synthetic defects on them; all designs see the same defects. Labelled rejects, where there are
any, count beside the synthetic ones.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from inspection.detector import CompiledNetwork, computing_threads, processor_precisions
from inspection.domain import MAX_SIDE
from inspection.preprocessing import network_input
from inspection.quality.curves import auroc
from training.backbone import LITE0
from training.calibration import FALSE_REJECTS, FalseRejects, combined, common_units, patch_scores
from training.dataset import MIN_IMAGES, TrainingImage
from training.design import Design, Trial, sized
from training.errors import TrainingError, UnreadableImage
from training.export import export
from training.known_defects import LabelledReject
from training.network import Level, PatchDistance, ScoringNetwork
from training.reading import LevelFeatures, Progress, thinned
from training.synthetic_defects import Image, detail, with_defect
from training.train import TrainedModel, level_features, select_bank, train

STAGE = "autopilot"
TRIAL_IMAGES = 40
"""Good images that designs are compared on, and synthetic defects on them."""
DEFECTS = 80
TRIAL_REJECTS = 20
FOLDS = 3
SIDES = (240, 320, 480, 640, 960)
INDIFFERENT = 0.02
"""A design must be better by this (AUROC) to be preferred to a larger one: what forty images cannot tell apart."""
_WARM_UP, _TIMED = 3, 15


def candidates(width: int, height: int) -> list[Design]:
    """Recipes for frames of this size, the smallest first; none enlarges the frame."""
    largest = min(max(width, height), MAX_SIDE)
    return [sized(side) for side in SIDES if side <= largest] or [sized(largest)]


def train_within(
    deadline_ms: float,
    images: Sequence[TrainingImage],
    product: str,
    models_dir: Path,
    seed: int = 0,
    progress: Progress = lambda stage, done, steps: None,
    rejects: Sequence[LabelledReject] = (),
    false_rejects: FalseRejects = FALSE_REJECTS,
) -> TrainedModel:
    """Train with the design that ``choose`` finds; its ``seconds`` include the search.

    Raises TrainingError if no design is fast enough, and as ``train`` does.
    """
    started = time.monotonic()
    design, trials = choose(images, deadline_ms, rejects, seed, progress)
    model = train(
        images, product, models_dir, seed, progress, design=design, rejects=rejects, tried=trials, false_rejects=false_rejects
    )
    return replace(model, seconds=time.monotonic() - started)


def choose(
    images: Sequence[TrainingImage],
    deadline_ms: float,
    rejects: Sequence[LabelledReject] = (),
    seed: int = 0,
    progress: Progress = lambda stage, done, steps: None,
) -> tuple[Design, list[Trial]]:
    """The design to train with, and what was tried. A frame takes at most ``deadline_ms`` here, nine times in ten.

    Raises TrainingError if fewer than MIN_IMAGES images can be read, or no design is fast enough.
    """
    torch.set_num_threads(computing_threads())
    good, defective, size = _material(images, rejects, seed)
    designs, trials = candidates(*size), []
    for done, design in enumerate(designs):
        progress(STAGE, done, len(designs))
        ms = latency_ms(design, *size)
        trials.append(Trial(design, ms, _auroc(design, good, defective, seed) if ms <= deadline_ms else None))
    progress(STAGE, len(designs), len(designs))
    chosen = best(trials, deadline_ms)
    return designs[trials.index(chosen)], trials


def best(trials: Sequence[Trial], deadline_ms: float) -> Trial:
    """The largest of those whose AUROC is within ``INDIFFERENT`` of the highest: real defects may be small."""
    tried = [(trial.auroc, trial) for trial in trials if trial.auroc is not None]
    if not tried:
        fastest = min(trials, key=lambda trial: trial.ms)
        raise TrainingError(
            f"no design inspects a frame within {deadline_ms:g} ms on this machine, the fastest takes {fastest.ms:.1f} ms; "
            f"allow more time or choose --size {fastest.design.longer_side} or less"
        )
    highest = max(area for area, _ in tried)
    return max((trial for area, trial in tried if area >= highest - INDIFFERENT), key=lambda trial: trial.design.longer_side)


def latency_ms(design: Design, width: int, height: int) -> float:
    """Milliseconds (90 % quantile) from network input to score for frames of this size, with banks of random patches."""
    columns, rows = design.input_size(width, height)
    generator = torch.Generator().manual_seed(0)
    levels = []
    for features in level_features(LITE0, design):
        grid = features(torch.zeros(1, 3, rows, columns)).shape[1:]
        levels.append(Level(features, torch.rand(design.bank_patches, grid[-1], generator=generator), torch.ones(grid[:2])))
    network = ScoringNetwork(levels, torch.rand(TRIAL_IMAGES, grid[-1], generator=generator), 1.0, 1.0)
    compiled = CompiledNetwork(export(network, columns, rows), processor_precisions()[0])
    tensor, times = np.random.default_rng(0).random((1, 3, rows, columns), np.float32), []
    for _ in range(_WARM_UP + _TIMED):
        started = time.perf_counter()
        compiled.infer(tensor)
        times.append((time.perf_counter() - started) * 1e3)
    return float(np.quantile(times[_WARM_UP:], 0.9))


def _material(
    images: Sequence[TrainingImage], rejects: Sequence[LabelledReject], seed: int
) -> tuple[list[Image], list[tuple[int | None, Image]], tuple[int, int]]:
    """Good images; defective ones with the number of the good image that they were made from (None: a real reject);
    and the size of frames. Images are as large as the largest design sees them."""
    wanted = thinned(images, TRIAL_IMAGES)
    good: list[Image] = []
    size: tuple[int, int] | None = None
    for image in wanted:
        try:
            frame = image.read()
        except UnreadableImage:
            continue  # the training says why
        if size is None:
            size = frame.width, frame.height
            scale = min(1.0, MAX_SIDE / max(size))
            shown = round(size[0] * scale), round(size[1] * scale)
        good.append(_hwc(network_input(frame, *shown)))
    if size is None or len(good) < MIN_IMAGES:
        raise TrainingError(f"{len(good)} of {len(wanted)} images can be read, at least {MIN_IMAGES} are needed; add more")
    generator, where = np.random.default_rng(seed), detail(good)
    defective: list[tuple[int | None, Image]] = []
    for index in range(max(DEFECTS, len(good))):
        origin, other = index % len(good), int(generator.integers(len(good)))
        defective.append((origin, with_defect(good[origin], good[other], where, generator)[0]))
    for index in generator.permutation(len(rejects))[:TRIAL_REJECTS]:
        try:
            defective.append((None, _hwc(network_input(rejects[index].read(), *shown))))
        except UnreadableImage:
            continue
    return good, defective, size


def _hwc(tensor: NDArray[np.float32]) -> Image:
    return np.ascontiguousarray(tensor[0].transpose(1, 2, 0))


def _auroc(design: Design, good: Sequence[Image], defective: Sequence[tuple[int | None, Image]], seed: int) -> float:
    """AUROC of good against defective images, each scored by banks of other images than itself or its origin."""
    height, width = good[0].shape[:2]
    columns, rows = design.input_size(width, height)
    precision = processor_precisions()[0]
    compiled = LevelFeatures(level_features(LITE0, design), columns, rows, (precision,))

    def features(image: Image) -> list[torch.Tensor]:
        small = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
        return compiled(np.ascontiguousarray(small.transpose(2, 0, 1)[np.newaxis]))[precision]

    of_good = [torch.stack(level) for level in zip(*(features(image) for image in good), strict=True)]
    of_defective = [torch.stack(level) for level in zip(*(features(image) for _, image in defective), strict=True)]
    # Every third image, not blocks: the few images stand far apart already.
    fold = np.arange(len(good)) % FOLDS
    origin = np.array([len(good) if index is None else index for index, _ in defective])
    fold_of_defective = np.append(fold, 0)[origin]
    good_maps: list[torch.Tensor] = []
    defective_maps: list[torch.Tensor] = []
    for good_level, defective_level in zip(of_good, of_defective, strict=True):
        good_map, defective_map = torch.empty(good_level.shape[:3]), torch.empty(defective_level.shape[:3])
        for part in range(FOLDS):
            distance = PatchDistance(select_bank(good_level, seed, design.bank_patches // 2, np.flatnonzero(fold != part)))
            for maps, level, chosen in (
                (good_map, good_level, fold == part),
                (defective_map, defective_level, fold_of_defective == part),
            ):
                for index in np.flatnonzero(chosen):
                    maps[index] = distance(level[index].float())
        defective_maps.append(defective_map)
        good_maps.append(good_map)
    units = common_units([patch_scores(maps) for maps in good_maps])
    return auroc(combined(good_maps, units), combined(defective_maps, units))
