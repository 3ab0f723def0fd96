"""anomalib's PatchCore as one network for export: image → map of nearest-neighbour distances and image score."""

from __future__ import annotations

import torch
from torch import nn

from training.backbone import PatchcoreModel

TOP_PATCHES = 3
"""Patches score as the mean of this many largest distances: less noisy than the maximum, still local."""


class PatchFeatures(nn.Module):
    """Image → patch features, as anomalib's PatchCore computes them, with the backbone's normalisation in front."""

    def __init__(self, model: PatchcoreModel, mean: float, std: float) -> None:
        super().__init__()
        self.model = model
        self.mean = mean
        self.std = std

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features, float32 (n, rows, columns, d), of RGB images, float32 (n, 3, height, width) in [0, 1]."""
        features = self.model.feature_extractor((images - self.mean) / self.std)
        pooled = {layer: self.model.feature_pooler(feature) for layer, feature in features.items()}
        return self.model.generate_embedding(pooled).permute(0, 2, 3, 1)


class PatchDistance(nn.Module):
    """Patch → distance to its nearest neighbour in the memory bank, float32 (n, d).

    One matrix product with the bank's transpose, so that it runs in the exported graph. Patches and bank are centred
    on the bank's mean: squared distances are differences of squared norms, and smaller norms keep more of the few
    digits of bf16.
    """

    def __init__(self, bank: torch.Tensor) -> None:
        super().__init__()
        self.centre: torch.Tensor
        self.bank: torch.Tensor
        self.bank_squares: torch.Tensor
        centre = bank.mean(0)
        self.register_buffer("centre", centre)
        self.register_buffer("bank", (bank - centre).T.contiguous())
        self.register_buffer("bank_squares", (bank - centre).square().sum(1))

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Distances, float32 (…), of patches, float32 (…, d)."""
        centred = patches - self.centre
        nearest = (self.bank_squares - 2.0 * (centred @ self.bank)).amin(-1)
        return (nearest + centred.square().sum(-1)).clamp_min(0.0).sqrt()


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


class ScoringNetwork(nn.Module):
    """What is exported: features, distances and score in one graph, without anomalib's upsampling and blur.

    The score is the larger of two: that of the strangest patches, and the distance of the image's mean features from
    those of good images, brought to the patches' scale as ``scale · distance ** exponent``. A missing part shows only
    in the second, because each patch of an empty fixture also stands in good images. ``known`` gives the factor by
    which a patch's distance counts more because it looks like a labelled defect.
    """

    def __init__(
        self, features: PatchFeatures, image_bank: torch.Tensor, scale: float, exponent: float, known: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.features = features
        self.patch_distance = PatchDistance(features.model.memory_bank)
        self.image_distance = ImageDistance(image_bank)
        self.scale = scale
        self.exponent = exponent
        self.known = known

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Anomaly map (n, 1, rows, columns) and score (n,) of RGB images (n, 3, height, width) in [0, 1]."""
        patches = self.features(images)
        anomaly_map = self.patch_distance(patches)
        if self.known is not None:
            anomaly_map = anomaly_map * self.known(patches)
        whole = self.scale * self.image_distance(mean_features(patches)) ** self.exponent
        return anomaly_map.unsqueeze(1), torch.maximum(strangest_patches(anomaly_map), whole)


def mean_features(patches: torch.Tensor) -> torch.Tensor:
    """Mean features (n, d) of patches (n, rows, columns, d)."""
    return patches.flatten(1, 2).mean(1)


def strangest_patches(anomaly_map: torch.Tensor) -> torch.Tensor:
    """Mean of the largest distances, (n,), of maps (n, rows, columns)."""
    distances = anomaly_map.flatten(1)
    return distances.topk(min(TOP_PATCHES, distances.shape[1]), dim=1).values.mean(1)
