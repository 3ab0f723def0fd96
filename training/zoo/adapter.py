"""anomalib's model → a network with the outputs that the detector reads: ``anomaly_map`` and ``score``, raw and positive."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import torch
from anomalib.models.components.flow import AllInOneBlock
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from inspection.quality.claims import UPPER_QUANTILE
from training.errors import TrainingError
from training.zoo.algorithms import Algorithm

USUAL = 10.0
"""The score of a usual good part where an algorithm's own scores have no zero; one more for each spread of good parts."""


class RawScores(nn.Module):
    """RGB images in [0, 1] → anomaly map and score as the algorithm gives them. The input's normalisation is in here."""

    def __init__(self, algorithm: Algorithm, model: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.model = with_constant_scales(model)
        self._predict = algorithm.predict
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.register_buffer("mean", torch.tensor(mean).reshape(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(1, -1, 1, 1))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (1, 1, rows, columns) and score (1,) of one image (1, 3, height, width).

        An algorithm without a map gives one cell, which is the whole image.
        """
        anomaly_map, score = self._predict(self.model, (images - self.mean) / self.std)
        score = score.reshape(1)
        if anomaly_map is None:
            anomaly_map = score
            return anomaly_map.reshape(1, 1, 1, 1), score
        return anomaly_map.reshape(1, 1, *anomaly_map.shape[-2:]), score


def with_constant_scales(model: nn.Module) -> nn.Module:
    """The model with the scales of its normalising flows computed once.

    They come from a softplus with a beta, which OpenVINO 2026.4 converts as if it were 1: scores were off by 2 %.
    """
    for block in model.modules():
        if isinstance(block, AllInOneBlock):
            block.global_scale.data = block.global_scale_activation(block.global_scale.data)
            block.global_scale_activation = nn.Identity()
    return model


class Readout(nn.Module):
    """Raw map and score → both in the same units, positive and unbounded.

    Distances stay what they are, and the map is brought to them by a factor. Other scores, such as logits, are shifted
    and scaled by held-out good images to ``USUAL`` plus spreads, and the map by its maxima; a softplus keeps what is far
    below positive, and nothing above changes. The order of scores is that of the algorithm.
    """

    def __init__(self, raw: RawScores, positive: bool, scores: NDArray[np.float64], maxima: NDArray[np.float64]) -> None:
        """``scores`` and ``maxima`` of maps, float64 (n,), are the raw ones of good images that were held out."""
        super().__init__()
        self.raw = raw
        self.positive = positive
        if positive:
            self._score, self._map = (0.0, 1.0), (0.0, float(np.median(scores) / max(np.median(maxima), 1e-12)))
        else:
            self._score, self._map = _middle_and_scale(scores), _middle_and_scale(maxima)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Anomaly map (1, 1, rows, columns) and score (1,) of an RGB image (1, 3, height, width) in [0, 1]."""
        anomaly_map, score = self.raw(images)
        return self._in_units(anomaly_map, self._map), self._in_units(score, self._score)

    def _in_units(self, values: torch.Tensor, middle_and_scale: tuple[float, float]) -> torch.Tensor:
        middle, scale = middle_and_scale
        return values * scale if self.positive else functional.softplus((values - middle) * scale + USUAL)


def _middle_and_scale(values: NDArray[np.float64]) -> tuple[float, float]:
    middle, upper = np.quantile(values, (0.5, UPPER_QUANTILE))
    spread = float(upper - middle) / NormalDist().inv_cdf(UPPER_QUANTILE)
    if not spread > 1e-9 * max(1.0, abs(float(middle))):
        raise TrainingError("the good images all score alike; take images of different good parts, or choose another algorithm")
    return float(middle), 1.0 / spread
