"""Labelled rejects → a factor by which patches that look like known defects count more.

A linear head on the features that the memory bank compares. The factor is never below one: no part scores lower because
its defect is not among the labelled ones. Calibrated on good images that the head did not see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import nn

from cameras.frame import Frame
from training.calibration import folds, location_and_spread
from training.network import PatchDistance, strangest_patches

STRANGEST = 8
"""Patches taken for the defect of a reject without a mask."""
MASKED_SHARE = 0.25
"""A patch shows the defect if the mask covers this much of it (or half of the most covered patch, for small defects)."""
HARD, RANDOM = 20, 60
"""Patches of each good image that the head learns from: its strangest ones, and random ones."""
STRENGTH = 2.0
"""Exponent of the factor, in spreads of the patch scores of good images for each spread of the head's output."""
_INVERSE_REGULARISATION = 0.1
_CLASS_WEIGHT = 1000.0


@dataclass(frozen=True, slots=True)
class LabelledReject:
    """One image of a defective part; ``read_mask`` gives its defective pixels, bool (height, width), None without a mask.

    ``read`` and ``read_mask`` raise UnreadableImage.
    """

    name: str
    sha256: str
    read: Callable[[], Frame]
    read_mask: Callable[[], NDArray[np.bool_]] | None


@dataclass(frozen=True, slots=True)
class DefectPatches:
    """A reject as the network sees it: features (rows, columns, d); the share of each patch that its mask covers, or None."""

    features: torch.Tensor
    covered: torch.Tensor | None


class KnownDefects(nn.Module):
    """Patch → factor of its distance, at least 1: exp(max(0, (patch - centre) · weight + bias))."""

    def __init__(self, centre: torch.Tensor, weight: torch.Tensor, bias: float) -> None:
        super().__init__()
        self.centre: torch.Tensor
        self.weight: torch.Tensor
        self.register_buffer("centre", centre)
        self.register_buffer("weight", weight)
        self.bias = bias

    def outputs(self, patches: torch.Tensor) -> torch.Tensor:
        return (patches - self.centre) @ self.weight + self.bias

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Factors, float32 (…), of patches, float32 (…, d)."""
        return self.outputs(patches).clamp_min(0.0).exp()


def covered(mask: NDArray[np.bool_], rows: int, columns: int) -> torch.Tensor | None:
    """Share of each patch that a mask covers, float32 (rows, columns); None for an empty mask, which marks nothing."""
    if not mask.any():
        return None
    return torch.from_numpy(cv2.resize(mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA))


def learn(
    features: torch.Tensor, distances: torch.Tensor, bank: torch.Tensor, rejects: Sequence[DefectPatches], seed: int
) -> tuple[KnownDefects, torch.Tensor]:
    """The factor's network, and the factors, float32 (n, rows, columns), of good images by heads that did not see them.

    ``features`` are the good images' patches, float16 (n, rows, columns, d), ``distances`` their cross-fitted distances,
    float32 (n, rows, columns). ``rejects`` holds at least one.
    """
    centre, scale = bank.mean(0), bank.std(0).clamp_min(1e-6)
    defects, weights = _defect_patches(rejects, PatchDistance(bank))
    good = _good_patches(features, distances, seed)

    def head(images: NDArray[np.bool_]) -> KnownDefects:
        return _fit(centre, scale, defects, weights, good[torch.from_numpy(images)].flatten(0, 1))

    fold = folds(len(features))
    outputs = torch.empty_like(distances)
    for number in np.unique(fold):
        unseen = head(fold != number)
        for index in np.flatnonzero(fold == number):
            outputs[index] = unseen.outputs(features[index].float())
    usual, spread = _usual(strangest_patches(outputs))
    rate = STRENGTH * location_and_spread(strangest_patches(distances).double().numpy())[1] / spread
    final = head(np.ones(len(features), np.bool_))
    known = KnownDefects(centre, rate * final.weight, rate * (final.bias - usual))
    return known, (rate * (outputs - usual)).clamp_min(0.0).exp()


def _usual(outputs: torch.Tensor) -> tuple[float, float]:
    """Median and upper spread of the head's outputs on good images."""
    middle, upper = np.quantile(outputs.double().numpy(), (0.5, 0.9))
    return float(middle), max(float(upper - middle) / 1.2816, 1e-3)


def _defect_patches(rejects: Sequence[DefectPatches], distance: PatchDistance) -> tuple[torch.Tensor, NDArray[np.float64]]:
    """Patches that show a defect, float32 (m, d), and their weights, float64 (m,): each reject counts alike."""
    chosen, weights = [], []
    for reject in rejects:
        patches = reject.features.float().flatten(0, 1)
        if reject.covered is not None:
            share = reject.covered.flatten()
            picked = torch.nonzero(share >= min(MASKED_SHARE, float(share.max()) / 2)).squeeze(1)
        else:
            picked = distance(patches).topk(min(STRANGEST, len(patches))).indices
        chosen.append(patches[picked])
        weights.append(np.full(len(picked), 1.0 / len(picked)))
    return torch.cat(chosen), np.concatenate(weights)


def _good_patches(features: torch.Tensor, distances: torch.Tensor, seed: int) -> torch.Tensor:
    """The strangest and some random patches of each good image, float32 (n, k, d)."""
    generator = torch.Generator().manual_seed(seed)
    chosen = []
    for patches, strangeness in zip(features.flatten(1, 2), distances.flatten(1), strict=True):
        hard = strangeness.topk(min(HARD, len(patches))).indices
        chosen.append(patches[torch.cat((hard, torch.randperm(len(patches), generator=generator)[:RANDOM]))].float())
    return torch.stack(chosen)


def _fit(
    centre: torch.Tensor, scale: torch.Tensor, defects: torch.Tensor, weights: NDArray[np.float64], good: torch.Tensor
) -> KnownDefects:
    """Logistic regression on standardised features, defects and good patches weighing alike; output is the log odds."""
    inputs = ((torch.cat((defects, good)) - centre) / scale).numpy()
    labels = np.concatenate((np.ones(len(defects)), np.zeros(len(good))))
    sample_weights = np.concatenate((weights / weights.sum(), np.full(len(good), 1.0 / len(good)))) * _CLASS_WEIGHT
    regression = LogisticRegression(C=_INVERSE_REGULARISATION, max_iter=2000).fit(inputs, labels, sample_weight=sample_weights)
    return KnownDefects(centre, torch.from_numpy(regression.coef_[0]).float() / scale, float(regression.intercept_[0]))
