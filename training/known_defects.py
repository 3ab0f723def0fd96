"""Labelled rejects → how much more a part counts because it looks like a known defect.

A linear head on the features that the memory bank compares. How far a part looks like the labelled defects is added to the
logarithm of its distance. The defect of a part may not be among the labelled ones, so a part that is strange enough by its
distance alone is never lost. Calibrated on good images that the head did not see. A second head proposes the class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import nn

from cameras.frame import Frame
from inspection.quality.claims import UPPER_QUANTILE
from training.calibration import folds, location_and_spread, patch_scores
from training.network import PatchDistance, strangest_patches

STRANGEST = 8
"""Patches taken for the defect of a reject without a mask, and patches whose mean says how far a part looks defective."""
MASKED_SHARE = 0.25
"""A patch shows the defect if the mask covers this much of it (or half of the most covered patch, for small defects)."""
HARD, RANDOM = 20, 60
"""Patches of each good image that the head learns from: its strangest ones, and random ones."""
STRENGTH, MASKED_STRENGTH = 0.5, 2.0
"""Spreads of good parts' log scores for each spread of the head's output; larger where masks tell it what the defect is."""
LEAST = -2.0
"""Looking less like the known defects than this (in spreads of good parts) takes nothing further off."""
UNKNOWN = 1.0
"""A part whose defect is not among the labelled ones has to be stranger by so many spreads of good parts than without labels."""
_INVERSE_REGULARISATION = 0.1
_CLASS_WEIGHT = 1000.0


@dataclass(frozen=True, slots=True)
class LabelledReject:
    """One image of a part with a defect of the class ``label``.

    ``read_mask`` gives its defective pixels, bool (height, width), None without a mask. Both readers raise UnreadableImage.
    """

    name: str
    sha256: str
    label: str
    read: Callable[[], Frame]
    read_mask: Callable[[], NDArray[np.bool_]] | None


@dataclass(frozen=True, slots=True)
class DefectPatches:
    """A reject of a class as the network sees it: features (rows, columns, d); the share of each patch that its mask covers, or
    None."""

    label: str
    features: torch.Tensor
    covered: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class Weighing:
    """An image's score from its ``distance`` and ``likeness``: the larger of ``least · distance`` and
    ``offset · distance ** power · exp(rate · likeness)``."""

    least: float
    offset: float
    power: float
    rate: float

    @classmethod
    def of_good(cls, distances: NDArray[np.float64], likeness: NDArray[np.float64], strength: float) -> Weighing:
        """Such that scores of good images keep the median and the spread of their distances, float64 (n,)."""
        middle, spread = location_and_spread(distances)
        both = (np.log(distances) - middle) / spread + strength * np.maximum(likeness, LEAST)
        usual, upper = np.quantile(both, (0.5, UPPER_QUANTILE))
        power = 1.0 / max(1.0, float(upper - usual) / NormalDist().inv_cdf(UPPER_QUANTILE))
        offset = float(np.exp(middle - power * (middle + spread * usual)))
        return cls(float(np.exp(-UNKNOWN * spread)), offset, power, power * spread * strength)


class KnownDefects(nn.Module):
    """Patches and their distances → distances weighed by how far they look like known defects.

    A patch's likeness is ``patch · weight + bias``, an image's the mean of the largest, both in spreads among good images.
    ``classes`` gives the logits, float32 (…, k), by which the classes of defects differ.
    """

    def __init__(self, weight: torch.Tensor, bias: float, weighing: Weighing, classes: nn.Linear) -> None:
        super().__init__()
        self.weight: torch.Tensor
        self.register_buffer("weight", weight)
        self.bias = bias
        self.weighing = weighing
        self.classes = classes

    def likeness(self, patches: torch.Tensor) -> torch.Tensor:
        """Likeness, float32 (…), of patches, float32 (…, d)."""
        return patches @ self.weight + self.bias

    def forward(self, patches: torch.Tensor, distances: torch.Tensor) -> torch.Tensor:
        """Distances, float32 (n, rows, columns), of patches (n, rows, columns, d), and their weighed distances."""
        return weighed(distances, self.likeness(patches), self.weighing)

    def class_likeness(self, patches: torch.Tensor) -> torch.Tensor:
        """How many spreads more than good parts an image looks like a defect of each class, float32 (n, k).

        The patches that look most like a defect say of which class it is; unlikely classes lose by the logarithm of their odds.
        """
        likeness = self.likeness(patches)
        told_by = likeness.flatten(1).softmax(1).unsqueeze(-1)
        logits = (told_by * self.classes(patches).flatten(1, 2)).sum(1)
        return most_alike(likeness).unsqueeze(1) + logits.log_softmax(1)


def weighed(distances: torch.Tensor, likeness: torch.Tensor, weighing: Weighing) -> torch.Tensor:
    """Distances, float32 (n, rows, columns), such that their strangest patches score what the weighing says, and patches that
    look like known defects stand out among them."""
    distance, alike = strangest_patches(distances), most_alike(likeness).clamp_min(LEAST)
    score = weighing.offset * distance**weighing.power * (weighing.rate * alike).exp()
    score = torch.maximum(score, weighing.least * distance)
    shown = distances**weighing.power * (weighing.rate * likeness.clamp_min(0.0)).exp()
    return shown * (score / strangest_patches(shown).clamp_min(1e-6)).reshape(-1, 1, 1)


def most_alike(likeness: torch.Tensor) -> torch.Tensor:
    """An image's likeness, (n,), from that of its patches, (n, rows, columns)."""
    patches = likeness.flatten(1)
    return patches.topk(min(STRANGEST, patches.shape[1]), dim=1).values.mean(1)


def covered(mask: NDArray[np.bool_], rows: int, columns: int) -> torch.Tensor | None:
    """Share of each patch that a mask covers, float32 (rows, columns); None for an empty mask, which marks nothing."""
    if not mask.any():
        return None
    return torch.from_numpy(cv2.resize(mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA))


def learn(
    features: torch.Tensor, distances: torch.Tensor, bank: torch.Tensor, rejects: Sequence[DefectPatches], seed: int
) -> tuple[KnownDefects, torch.Tensor]:
    """What weighs distances, and the distances of good images, float32 (n, rows, columns), as heads weigh them that did not
    see these images.

    ``features`` are the good images' patches, float16 (n, rows, columns, d), ``distances`` their cross-fitted distances,
    float32 (n, rows, columns). ``rejects`` holds at least one.
    """
    centre, scale = bank.mean(0), bank.std(0).clamp_min(1e-6)
    defects, weights, of_class = _defect_patches(rejects, PatchDistance(bank))
    good = _good_patches(features, distances, seed)

    def head(images: NDArray[np.bool_]) -> tuple[torch.Tensor, float]:
        return _fit(centre, scale, defects, weights, good[torch.from_numpy(images)].flatten(0, 1))

    fold = folds(len(features))
    likeness = torch.empty_like(distances)
    for number in np.unique(fold):
        weight, bias = head(fold != number)
        for index in np.flatnonzero(fold == number):
            likeness[index] = features[index].float() @ weight + bias
    middle, upper = np.quantile(most_alike(likeness).double().numpy(), (0.5, UPPER_QUANTILE))
    spread = max(float(upper - middle) / NormalDist().inv_cdf(UPPER_QUANTILE), 1e-3)
    likeness = (likeness - float(middle)) / spread
    with_mask = np.mean([reject.covered is not None for reject in rejects])
    strength = float(STRENGTH + (MASKED_STRENGTH - STRENGTH) * with_mask)
    weighing = Weighing.of_good(patch_scores(distances), most_alike(likeness).double().numpy(), strength)
    weight, bias = head(np.ones(len(features), np.bool_))
    classes = _fit_classes(centre, scale, defects, weights, of_class)
    known = KnownDefects(weight / spread, (bias - float(middle)) / spread, weighing, classes)
    return known, weighed(distances, likeness, weighing)


def defect_classes(labels: Iterable[str]) -> tuple[str, ...]:
    """The classes among the labels of rejects, in the order of the network's output."""
    return tuple(sorted(set(labels)))


def _defect_patches(
    rejects: Sequence[DefectPatches], distance: PatchDistance
) -> tuple[torch.Tensor, NDArray[np.float64], NDArray[np.int64]]:
    """Patches that show a defect, float32 (m, d), their weights, float64 (m,), by which each reject counts alike, and the
    numbers of their classes, int64 (m,)."""
    classes = defect_classes(reject.label for reject in rejects)
    chosen, weights, of_class = [], [], []
    for reject in rejects:
        patches = reject.features.float().flatten(0, 1)
        if reject.covered is not None:
            share = reject.covered.flatten()
            picked = torch.nonzero(share >= min(MASKED_SHARE, float(share.max()) / 2)).squeeze(1)
        else:
            picked = distance(patches).topk(min(STRANGEST, len(patches))).indices
        chosen.append(patches[picked])
        weights.append(np.full(len(picked), 1.0 / len(picked)))
        of_class.append(np.full(len(picked), classes.index(reject.label)))
    return torch.cat(chosen), np.concatenate(weights), np.concatenate(of_class)


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
) -> tuple[torch.Tensor, float]:
    """Weight (d,) and bias of a logistic regression on standardised features, defects and good patches weighing alike."""
    inputs = ((torch.cat((defects, good)) - centre) / scale).numpy()
    labels = np.concatenate((np.ones(len(defects)), np.zeros(len(good))))
    sample_weights = np.concatenate((weights / weights.sum(), np.full(len(good), 1.0 / len(good)))) * _CLASS_WEIGHT
    regression = LogisticRegression(C=_INVERSE_REGULARISATION, max_iter=2000).fit(inputs, labels, sample_weight=sample_weights)
    weight = torch.from_numpy(regression.coef_[0]).float() / scale
    return weight, float(regression.intercept_[0]) - float(centre @ weight)


def _fit_classes(
    centre: torch.Tensor,
    scale: torch.Tensor,
    defects: torch.Tensor,
    weights: NDArray[np.float64],
    of_class: NDArray[np.int64],
) -> nn.Linear:
    """Features → logits of the classes, all classes weighing alike; the same for all if there is one class only."""
    count = int(of_class.max()) + 1
    weight, bias = torch.zeros(count, len(centre)), torch.zeros(count)
    if count > 1:
        inputs = ((defects - centre) / scale).numpy()
        share = np.bincount(of_class, weights)
        sample_weights = weights / share[of_class] * (_CLASS_WEIGHT / count)
        regression = LogisticRegression(C=_INVERSE_REGULARISATION, max_iter=2000)
        regression.fit(inputs, of_class, sample_weight=sample_weights)
        # Of two classes, one row tells them apart: half of it speaks for the second, half against the first.
        rows = regression.coef_ if count > 2 else np.concatenate((-regression.coef_, regression.coef_)) / 2
        offsets = regression.intercept_ if count > 2 else np.concatenate((-regression.intercept_, regression.intercept_)) / 2
        weight = torch.from_numpy(rows).float() / scale
        bias = torch.from_numpy(offsets).float() - weight @ centre
    classes = nn.Linear(len(centre), count)
    classes.load_state_dict({"weight": weight, "bias": bias})
    return classes.requires_grad_(False)
