"""Pixel AUROC and AUPRO: counted by hand, and against a slow implementation that follows the definition word by word."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, label

from training.pixel_metrics import PixelScores

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]


def slow_aupro(images: list[tuple[Map, Mask]], limit: float) -> float:
    """Each threshold, each region, one after the other."""
    regions = []
    for scores, mask in images:
        labels, count = label(mask, structure=np.ones((3, 3)))
        regions += [scores[labels == number] for number in range(1, count + 1)]
    good = np.concatenate([scores[~mask] for scores, mask in images])
    thresholds = sorted({float(value) for scores, _ in images for value in scores.ravel()}, reverse=True)
    curve = [(0.0, 0.0)] + [
        (float(np.mean(good >= threshold)), float(np.mean([np.mean(region >= threshold) for region in regions])))
        for threshold in thresholds
    ]
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(curve):
        if x0 < limit and x1 > x0:
            end = min(x1, limit)
            area += (end - x0) * (y0 + (y0 + (end - x0) / (x1 - x0) * (y1 - y0))) / 2
    return area / limit


def measured(images: list[tuple[Map, Mask]]) -> PixelScores:
    pixels = PixelScores(min(float(m.min()) for m, _ in images), max(float(m.max()) for m, _ in images))
    for scores, mask in images:
        pixels.add(scores, mask)
    return pixels


def random_images(seed: int, levels: int | None) -> list[tuple[Map, Mask]]:
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(4):
        mask = gaussian_filter(rng.normal(size=(24, 31)), 2) > 0.18
        scores = gaussian_filter(rng.normal(size=mask.shape), 1) + 0.3 * mask
        images.append(((scores if levels is None else np.round(scores * levels)).astype(np.float32), mask))
    return images


def test_by_hand_a_region_found_before_any_false_positive_gives_one() -> None:
    scores = np.array([[9, 9, 0, 1], [0, 1, 2, 0]], np.float32)
    mask = scores == 9
    pixels = measured([(scores, mask)])
    assert (pixels.regions, pixels.auroc(), pixels.aupro()) == (1, 1.0, 1.0)


def test_by_hand_small_and_large_regions_count_alike() -> None:
    # A region of one pixel above everything, one of four pixels below everything, ten other pixels in between.
    scores = np.array([[9, 5, 5, 5, 1], [5, 5, 5, 1, 1], [5, 5, 5, 5, 1]], np.float32)
    mask = np.isin(scores, (1, 9))
    pixels = measured([(scores, mask)])
    # The overlap is 1/2 from no false positive on, and stays there until all ten are.
    assert pixels.regions == 2
    assert pixels.aupro() == pytest.approx(0.5)
    assert pixels.auroc() == pytest.approx(1 / 5)


def test_by_hand_the_curve_is_linear_between_thresholds_and_cut_at_the_limit() -> None:
    # All pixels alike: from (0, 0) straight to (1, 1), whose area up to 0.3, divided by 0.3, is 0.15.
    pixels = measured([(np.zeros((4, 5), np.float32), np.arange(20).reshape(4, 5) < 3)])
    assert pixels.aupro() == pytest.approx(0.15)
    assert pixels.auroc() == pytest.approx(0.5)


def test_pixels_that_touch_at_a_corner_are_one_region() -> None:
    assert measured([(np.eye(3, dtype=np.float32), np.eye(3, dtype=np.bool_))]).regions == 1


@pytest.mark.parametrize("seed", range(6))
def test_it_equals_the_slow_implementation_where_scores_are_few(seed: int) -> None:
    images = random_images(seed, levels=8)
    assert measured(images).aupro() == pytest.approx(slow_aupro(images, 0.3), rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_levels_cost_less_than_a_ten_thousandth(seed: int) -> None:
    images = random_images(seed, levels=None)
    pixels = measured(images)
    assert pixels.aupro() == pytest.approx(slow_aupro(images, 0.3), abs=1e-4)
    good = np.concatenate([scores[~mask] for scores, mask in images])
    defective = np.concatenate([scores[mask] for scores, mask in images])
    pairs = (defective[:, np.newaxis] > good).mean() + 0.5 * (defective[:, np.newaxis] == good).mean()
    assert pixels.auroc() == pytest.approx(pairs, abs=1e-4)


def test_scores_at_both_ends_are_counted() -> None:
    pixels = PixelScores(0.0, 1.0)
    pixels.add(np.array([[0.0, 1.0]], np.float32), np.array([[False, True]]))
    assert pixels.auroc() == 1.0
