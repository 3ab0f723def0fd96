"""anomalib's PatchCore as one network for export: image → map of nearest-neighbour distances and image score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

import torch
from torch import nn
from torch.nn import functional

from training.backbone import PatchcoreModel

TOP_PATCHES = (1, 10, 100)
"""Patches score as the geometric mean of the means of so many largest distances: for a speck, a scar and a stain."""
PATCH = 8
"""Patches lie this many pixels apart, as the features of the first layer do; coarser ones are interpolated."""
DIRECTIONS = 64
"""Directions of the features along which patches are compared."""
_LEAST = 1e-6


class PatchFeatures(nn.Module):
    """Image → patch features as PatchCore compares them, with the backbone's normalisation in front.

    ``halvings`` is the level in the pyramid: so often is the image halved before. The features are those that anomalib's
    PatchCore computes.
    """

    def __init__(self, model: PatchcoreModel, mean: float, std: float, halvings: int = 0) -> None:
        super().__init__()
        self.model = model
        self.mean = mean
        self.std = std
        self.halvings = halvings

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features, float32 (n, rows, columns, d), of RGB images, float32 (n, 3, height, width) in [0, 1]."""
        for _ in range(self.halvings):
            images = functional.avg_pool2d(images, 2)
        grid = (images.shape[-2] // PATCH, images.shape[-1] // PATCH)
        layers = self.model.feature_extractor((images - self.mean) / self.std).values()
        return torch.cat([_on_grid(self.model.feature_pooler(layer), grid) for layer in layers], 1).permute(0, 2, 3, 1)


def _on_grid(features: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    return features if features.shape[-1] == grid[1] else functional.interpolate(features, grid, mode="bilinear")


class PatchDistance(nn.Module):
    """Patch → distance to its nearest neighbour in the memory bank ``patches``, float32 (n, d).

    Along the directions in which the bank varies most: the others hold a twentieth of its variance, more noise than sense. One
    matrix product with the bank's transpose, so that it runs in the exported graph. Patches and bank are centred on the bank's
    mean: squared distances are differences of squared norms, and smaller norms keep more of the few digits of bf16.
    """

    def __init__(self, patches: torch.Tensor, directions: int = DIRECTIONS) -> None:
        super().__init__()
        self.patches = patches
        self.centre: torch.Tensor
        self.axes: torch.Tensor
        self.bank: torch.Tensor
        self.bank_squares: torch.Tensor
        centre = patches.mean(0)
        # Ascending: the last eigenvectors of the covariance are the directions of most variance.
        axes = torch.linalg.eigh((patches - centre).T @ (patches - centre)).eigenvectors[:, -directions:].contiguous()
        bank = (patches - centre) @ axes
        self.register_buffer("centre", centre)
        self.register_buffer("axes", axes)
        self.register_buffer("bank", bank.T.contiguous())
        self.register_buffer("bank_squares", bank.square().sum(1))

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Distances, float32 (…), of patches, float32 (…, d)."""
        turned = (patches - self.centre) @ self.axes
        nearest = (self.bank_squares - 2.0 * (turned @ self.bank)).amin(-1)
        return (nearest + turned.square().sum(-1)).clamp_min(0.0).sqrt()


class ImageDistance(nn.Module):
    """Mean features of an image → distance to the nearest of good images, float32 (n, d).

    Differences, not a matrix product: good images are so close to each other that in bf16 nothing would remain of the
    difference of squared norms.
    """

    def __init__(self, bank: torch.Tensor) -> None:
        super().__init__()
        self.bank: torch.Tensor
        self.register_buffer("bank", bank)

    def forward(self, means: torch.Tensor) -> torch.Tensor:
        """Distances, float32 (…), of mean features, float32 (…, d)."""
        return (means.unsqueeze(-2) - self.bank).square().sum(-1).amin(-1).sqrt()


class Known(Protocol):
    """What a level knows of labelled defects, a module (``training.known_defects.KnownDefects``)."""

    def __call__(self, patches: torch.Tensor, distances: torch.Tensor) -> torch.Tensor: ...
    def class_likeness(self, patches: torch.Tensor) -> torch.Tensor: ...


class Level(nn.Module):
    """One level of the pyramid: image → patch features and their distances, in the units of the largest level.

    ``places``, float32 (rows, columns), makes distances count less where good parts vary much. ``known`` weighs them by what
    looks like a labelled defect. Then they come to the largest level's units as ``scale · distance ** exponent``.
    """

    def __init__(
        self,
        features: PatchFeatures,
        bank: torch.Tensor,
        places: torch.Tensor,
        scale: float = 1.0,
        exponent: float = 1.0,
        known: Known | None = None,
    ) -> None:
        super().__init__()
        self.features = features
        self.distance = PatchDistance(bank)
        self.places: torch.Tensor
        self.register_buffer("places", places)
        self.scale = scale
        self.exponent = exponent
        self.known = known

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (n, rows, columns, d) and distances (n, rows, columns) of images (n, 3, height, width)."""
        patches = self.features(images)
        return patches, self.compare(patches)

    def compare(self, patches: torch.Tensor) -> torch.Tensor:
        """Distances, float32 (n, rows, columns), of patches, float32 (n, rows, columns, d)."""
        distances = self.distance(patches) * self.places
        if self.known is not None:
            distances = self.known(patches, distances)
        return distances if self.exponent == 1.0 == self.scale else self.scale * distances**self.exponent


class ScoringNetwork(nn.Module):
    """What is exported: features, distances and score in one graph, without anomalib's upsampling and blur.

    The score is the largest of those of the levels' strangest patches, and of the distance of the image's mean features
    from those of good images, brought to the patches' scale as ``scale · distance ** exponent``. A missing part shows
    only in the last, because each patch of an empty fixture also stands in good images. ``levels`` begin with the
    largest; mean features are those of the smallest. The map is the geometric mean of the levels' maps.
    """

    def __init__(self, levels: Sequence[Level], image_bank: torch.Tensor, scale: float, exponent: float) -> None:
        super().__init__()
        self.levels = nn.ModuleList(levels)
        self.image_distance = ImageDistance(image_bank)
        self.scale = scale
        self.exponent = exponent

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Anomaly map (n, 1, rows, columns) and score (n,) of RGB images (n, 3, height, width) in [0, 1].

        And, if the largest level knows labelled defects, the likeness to each class of them (n, k).
        """
        patches, distances = self.levels[0](images)
        known = cast(Level, self.levels[0]).known
        classes = () if known is None else (known.class_likeness(patches),)
        anomaly_map, score = distances.unsqueeze(1), strangest_patches(distances)
        if len(self.levels) > 1:
            logarithms = anomaly_map.clamp_min(_LEAST).log()
            for level in self.levels[1:]:
                patches, distances = level(images)
                score = torch.maximum(score, strangest_patches(distances))
                coarse = functional.interpolate(distances.unsqueeze(1), anomaly_map.shape[-2:], mode="bilinear")
                logarithms = logarithms + coarse.clamp_min(_LEAST).log()
            # Where all levels find something strange, and as strange as the strangest of them does.
            anomaly_map = (logarithms / len(self.levels)).exp()
            shown = strangest_patches(anomaly_map.squeeze(1)).clamp_min(_LEAST)
            anomaly_map = anomaly_map * (score / shown).reshape(-1, 1, 1, 1)
        whole = self.scale * self.image_distance(mean_features(patches)) ** self.exponent
        return anomaly_map, torch.maximum(score, whole), *classes


def mean_features(patches: torch.Tensor) -> torch.Tensor:
    """Mean features, float32 (n, d), of patches (n, rows, columns, d)."""
    return patches.flatten(1, 2).mean(1, dtype=torch.float32)


def strangest_patches(anomaly_map: torch.Tensor) -> torch.Tensor:
    """Geometric mean over ``TOP_PATCHES`` of the means of so many largest distances, (n,), of maps (n, rows, columns).

    How many patches a defect covers is not known, and good texture strays here and there: a mean of a few patches finds specks
    best, one of many finds stains.
    """
    distances = anomaly_map.flatten(1)
    counts = [min(count, distances.shape[1]) for count in TOP_PATCHES]
    largest = distances.topk(max(counts), dim=1).values
    means = torch.stack([largest[:, :count].mean(1) for count in counts])
    return means.clamp_min(_LEAST).log().mean(0).exp()
