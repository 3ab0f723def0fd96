"""Which recipe for a product: the best on its own images, among those that are fast enough on this machine.

Latency is measured here, with the network that would be exported. Quality is how well held-out good images are told from
the same kind of images with synthetic defects on them; all recipes see the same defects. Labelled rejects, where there are
any, count beside the synthetic ones.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from inspection.detector import CompiledNetwork, computing_threads, processor_precisions
from inspection.preprocessing import network_input
from training.backbone import LITE0, Backbone
from training.calibration import common_units
from training.dataset import MIN_IMAGES, TrainingImage
from training.errors import TrainingError, UnreadableImage
from training.export import export
from training.known_defects import LabelledReject
from training.metrics import auroc
from training.network import Level, PatchDistance, ScoringNetwork, strangest_patches
from training.reading import LevelFeatures, Progress
from training.recipe import COARSE_LAYERS, FINE_LAYERS, MAX_SIDE, Recipe
from training.synthetic_defects import Image, detail, with_defect
from training.train import level_features, select_bank

STAGE = "autopilot"
TRIAL_IMAGES = 40
TRIAL_REJECTS = 20
FOLDS = 3
INDIFFERENT = 0.01
"""A recipe must be better by this (AUROC) to be preferred to a faster one."""
_WARM_UP, _TIMED = 3, 15


@dataclass(frozen=True, slots=True)
class Trial:
    """One recipe that was tried: milliseconds for one frame here (90 % quantile), and its AUROC on held-out images.

    ``auroc`` is None if it was too slow to be tried further.
    """

    recipe: Recipe
    ms: float
    auroc: float | None


def candidates(width: int, height: int) -> list[Recipe]:
    """Recipes for frames of this size, the smallest first; none enlarges the frame."""
    largest = min(max(width, height), MAX_SIDE)
    recipes = [Recipe(min(320, largest))]
    for side in (448, 640, 960):
        if side <= largest:
            recipes.append(Recipe(side, layers=FINE_LAYERS))
            recipes += [Recipe(side, levels=2, layers=FINE_LAYERS)] if side > 448 else []
            recipes += [Recipe(side, layers=COARSE_LAYERS)] if side <= 640 else []
    return recipes


def choose(
    images: Sequence[TrainingImage],
    deadline_ms: float,
    rejects: Sequence[LabelledReject] = (),
    seed: int = 0,
    progress: Progress = lambda stage, done, steps: None,
    backbone: Backbone = LITE0,
) -> tuple[Recipe, list[Trial]]:
    """The recipe to train with, and what was tried. A frame takes at most ``deadline_ms`` here, nine times in ten.

    Raises TrainingError if fewer than MIN_IMAGES images can be read, or no recipe is fast enough.
    """
    torch.set_num_threads(computing_threads())
    good, defective, size = _material(images, rejects, seed)
    recipes, trials = candidates(*size), []
    for done, recipe in enumerate(recipes):
        progress(STAGE, done, len(recipes))
        ms = latency_ms(recipe, *size, backbone)
        trials.append(Trial(recipe, ms, _auroc(recipe, good, defective, seed, backbone) if ms <= deadline_ms else None))
    progress(STAGE, len(recipes), len(recipes))
    return best(trials, deadline_ms), trials


def best(trials: Sequence[Trial], deadline_ms: float) -> Recipe:
    """The fastest of those whose AUROC is within ``INDIFFERENT`` of the highest."""
    tried = [(trial.ms, trial.auroc, trial.recipe) for trial in trials if trial.auroc is not None]
    if not tried:
        fastest = min(trials, key=lambda trial: trial.ms)
        raise TrainingError(
            f"no recipe inspects a frame within {deadline_ms:g} ms on this machine, the fastest takes {fastest.ms:.1f} ms; "
            f"allow more time or choose --size {fastest.recipe.longer_side} or less"
        )
    highest = max(area for _, area, _ in tried)
    return min((ms, -area, recipe) for ms, area, recipe in tried if area >= highest - INDIFFERENT)[2]


def latency_ms(recipe: Recipe, width: int, height: int, backbone: Backbone = LITE0) -> float:
    """Milliseconds (90 % quantile) from network input to score for frames of this size, with banks of random patches."""
    columns, rows = recipe.input_size(width, height)
    generator = torch.Generator().manual_seed(0)
    levels = []
    for features in level_features(backbone, recipe):
        depth = features(torch.zeros(1, 3, rows, columns)).shape[-1]
        levels.append(Level(features, torch.rand(recipe.bank_patches, depth, generator=generator)))
    network = ScoringNetwork(levels, torch.rand(TRIAL_IMAGES, depth, generator=generator), 1.0, 1.0)
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
    and the size of frames. Images are as large as the largest recipe sees them."""
    wanted = [images[index] for index in np.linspace(0, len(images) - 1, min(len(images), TRIAL_IMAGES)).astype(int)]
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
    others = generator.integers(len(good), size=len(good))
    defective: list[tuple[int | None, Image]] = [
        (index, with_defect(image, good[others[index]], where, generator)[0]) for index, image in enumerate(good)
    ]
    for index in generator.permutation(len(rejects))[:TRIAL_REJECTS]:
        try:
            defective.append((None, _hwc(network_input(rejects[index].read(), *shown))))
        except UnreadableImage:
            continue
    return good, defective, size


def _hwc(tensor: NDArray[np.float32]) -> Image:
    return np.ascontiguousarray(tensor[0].transpose(1, 2, 0))


def _auroc(
    recipe: Recipe, good: Sequence[Image], defective: Sequence[tuple[int | None, Image]], seed: int, backbone: Backbone
) -> float:
    """AUROC of good against defective images, each scored by banks of other images than itself or its origin."""
    height, width = good[0].shape[:2]
    columns, rows = recipe.input_size(width, height)
    precision = processor_precisions()[0]
    compiled = LevelFeatures(level_features(backbone, recipe), columns, rows, (precision,))

    def features(image: Image) -> list[torch.Tensor]:
        small = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
        return compiled(np.ascontiguousarray(small.transpose(2, 0, 1)[np.newaxis]))[precision]

    of_good = [torch.stack(level) for level in zip(*(features(image) for image in good), strict=True)]
    of_defective = [torch.stack(level) for level in zip(*(features(image) for _, image in defective), strict=True)]
    # Every third image, not blocks: the few images stand far apart already.
    fold = np.arange(len(good)) % FOLDS
    origin = np.array([len(good) if index is None else index for index, _ in defective])
    fold_of_defective = np.append(fold, 0)[origin]
    good_scores, defective_scores = np.zeros(len(good)), np.zeros(len(defective))
    for number, (good_level, defective_level) in enumerate(zip(of_good, of_defective, strict=True)):
        level_good, level_defective = np.empty(len(good)), np.empty(len(defective))
        for part in range(FOLDS):
            bank = select_bank(good_level[torch.from_numpy(fold != part)], seed, recipe.bank_patches // 2)
            distance = PatchDistance(bank)
            for scores, level, chosen in (
                (level_good, good_level, fold == part),
                (level_defective, defective_level, fold_of_defective == part),
            ):
                for index in np.flatnonzero(chosen):
                    scores[index] = strangest_patches(distance(level[index : index + 1].float())).item()
        units = (1.0, 1.0) if number == 0 else common_units(reference, level_good)
        reference = level_good if number == 0 else reference
        good_scores = np.maximum(good_scores, units[0] * level_good ** units[1])
        defective_scores = np.maximum(defective_scores, units[0] * level_defective ** units[1])
    return auroc(good_scores, defective_scores)


def larger_bank(recipe: Recipe, width: int, height: int, deadline_ms: float) -> Recipe:
    """The recipe with twice the bank if a frame then still takes at most ``deadline_ms`` here."""
    larger = replace(recipe, bank_patches=2 * recipe.bank_patches)
    return larger if latency_ms(larger, width, height) <= deadline_ms else recipe
