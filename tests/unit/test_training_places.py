"""Where good parts vary much, a distance says less."""

from __future__ import annotations

import numpy as np
import torch

from training.places import HALF, place_factors, placed


def distances(count: int) -> torch.Tensor:
    """Good images, float32 (count, 20, 30), that vary three times as much in their upper left corner."""
    values = torch.rand(count, 20, 30, generator=torch.Generator().manual_seed(0)) + 1.0
    values[:, :6, :6] *= 3.0
    return values


def test_places_that_vary_much_count_less_and_none_counts_more() -> None:
    factors = place_factors(distances(300))
    assert factors.shape == (20, 30)
    assert float(factors.max()) == 1.0
    assert float(factors[2, 2]) < 0.5
    assert float(factors[12:, 12:].min()) > 0.95


def test_few_images_are_believed_less() -> None:
    few, many = (place_factors(distances(count))[2, 2].log().item() for count in (30, 3000))
    assert few / many == np.clip(few / many, 0.8 * 30 / (30 + HALF), 1.2 * 30 / (30 + HALF))


def test_an_image_does_not_decide_how_its_own_distances_count() -> None:
    usual = distances(50)
    usual[7, 10, 20] = 100.0
    assert float(placed(usual)[7, 10, 20]) > 95.0
    assert float(place_factors(usual).min()) > 0.0
