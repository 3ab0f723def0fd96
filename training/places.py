"""How strange good parts look at each place: where they vary much, a distance says less."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from training.calibration import folds

HIGH = 0.98
"""Quantile of a place's distances among good images that stands for how strange it may look."""
BLUR = 2.0
"""Patches (standard deviation) over which places are averaged: a part may lie a little differently."""
HALF = 100
"""With so many good images half of what the places show is believed (in the logarithm): few images show little."""


def place_factors(distances: torch.Tensor) -> torch.Tensor:
    """Factors in (0, 1], float32 (rows, columns), for cross-fitted distances of good images, float32 (n, rows, columns).

    Places that are stranger than most count less, none counts more. The logarithm shrinks by n / (n + HALF).
    """
    high = np.quantile(distances.numpy(), HIGH, axis=0).astype(np.float32)
    around = cv2.dilate(high, np.ones((3, 3), np.uint8))
    usual = torch.from_numpy(cv2.GaussianBlur(around, (0, 0), BLUR, borderType=cv2.BORDER_REFLECT))
    trust = len(distances) / (len(distances) + HALF)
    middle = usual.median().clamp_min(1e-6)
    return (usual.maximum(middle) / middle) ** -trust


def placed(distances: torch.Tensor) -> torch.Tensor:
    """Distances of good images, each times the factors that the images of other folds give, float32 (n, rows, columns)."""
    fold = folds(len(distances))
    result = torch.empty_like(distances)
    for number in np.unique(fold):
        own = torch.from_numpy(fold == number)
        result[own] = distances[own] * place_factors(distances[~own])
    return result
