"""Learning from labelled rejects: what looks like them counts more, nothing counts less."""

from __future__ import annotations

import numpy as np
import torch

from training.known_defects import DefectPatches, covered, learn
from training.network import PatchDistance, strangest_patches

ROWS, COLUMNS, FEATURES = 6, 8, 10


def good_features(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, ROWS, COLUMNS, FEATURES, generator=torch.Generator().manual_seed(seed)).half()


def defect(seed: int, along: int = 3) -> torch.Tensor:
    """A part whose patch (2, 5) differs a little along one feature: less than its other features vary."""
    features = good_features(1, seed)[0]
    features[2, 5, along] += 5.0
    return features


def mask() -> torch.Tensor:
    marked = torch.zeros(ROWS, COLUMNS)
    marked[2, 5] = 1.0
    return marked


GOOD = good_features(40, 1)
BANK = GOOD[:30].float().flatten(0, 2)
DISTANCE = PatchDistance(BANK)
DISTANCES = torch.stack([PatchDistance(good_features(30, 2).float().flatten(0, 2))(image.float()) for image in GOOD])


def test_patches_like_the_known_defect_count_more_and_none_counts_less() -> None:
    known, factors = learn(GOOD, DISTANCES, BANK, [DefectPatches(defect(seed), mask()) for seed in range(100, 110)], seed=0)
    new = torch.stack([known(defect(seed).float()) for seed in range(200, 230)])
    assert float(new[:, 2, 5].median()) > 1.1
    assert float(new.min()) >= 1.0
    assert float(factors.min()) >= 1.0
    assert factors.shape == DISTANCES.shape
    unknown = torch.stack([known(defect(seed, along=7).float()) for seed in range(200, 230)])
    assert float(unknown[:, 2, 5].median()) < float(new[:, 2, 5].median())


def test_a_reject_without_a_mask_teaches_too() -> None:
    known, _ = learn(GOOD, DISTANCES, BANK, [DefectPatches(defect(seed), None) for seed in range(100, 120)], seed=0)
    told = [
        strangest_patches((DISTANCE(image.float()) * known(image.float())).unsqueeze(0)).item()
        / strangest_patches(DISTANCE(image.float()).unsqueeze(0)).item()
        for image in [*(defect(seed) for seed in range(200, 220)), *good_features(20, 9)]
    ]
    assert np.median(told[:20]) > np.median(told[20:])


def test_factors_of_good_images_come_from_heads_that_did_not_see_them() -> None:
    rejects = [DefectPatches(defect(seed), mask()) for seed in range(100, 103)]
    known, factors = learn(GOOD, DISTANCES, BANK, rejects, seed=0)
    assert not torch.allclose(torch.stack([known(image.float()) for image in GOOD]), factors)


def test_the_same_labels_and_seed_give_the_same_network() -> None:
    rejects = [DefectPatches(defect(seed), mask()) for seed in range(100, 103)]
    first, again = (learn(GOOD, DISTANCES, BANK, rejects, seed=0)[0] for _ in range(2))
    assert torch.equal(first.weight, again.weight)
    assert first.bias == again.bias


def test_a_mask_is_its_share_of_each_patch_and_an_empty_one_says_nothing() -> None:
    pixels = np.zeros((ROWS * 4, COLUMNS * 4), np.bool_)
    assert covered(pixels, ROWS, COLUMNS) is None
    pixels[8:10, 20:24] = True
    share = covered(pixels, ROWS, COLUMNS)
    assert share is not None
    assert torch.equal(share, mask() * 0.5)
