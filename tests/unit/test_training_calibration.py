"""Thresholds from good images alone: sane for few and many, and not drawn up by one bad image among them."""

from __future__ import annotations

import numpy as np
import pytest

from training.calibration import FALSE_REJECTS, FalseRejects, folds, thresholds, whole_image_scale
from training.errors import TrainingError


def good_scores(count: int, rng: np.random.Generator) -> np.ndarray:
    return np.exp(rng.normal(3.0, 0.1, count))


@pytest.mark.parametrize("count", [20, 30, 50, 500])
def test_the_stated_shares_of_good_parts_are_stopped(count: int) -> None:
    rng = np.random.default_rng(count)
    further = good_scores(20_000, rng)
    stopped = []
    for _ in range(200):
        limits = thresholds(good_scores(count, rng))
        assert limits.review < limits.fail
        stopped.append([np.mean(further >= limits.review), np.mean(further >= limits.fail)])
    review, fail = np.mean(stopped, axis=0)
    # By rank, 500 images keep the share with confidence, so on average they stop less.
    assert (0.2 if count == 500 else 0.5) * FALSE_REJECTS.share < review < 2.5 * FALSE_REJECTS.share
    assert fail < 10 * FALSE_REJECTS.failed


def test_a_wished_share_is_kept_with_the_stated_confidence_once_there_are_images_enough() -> None:
    rng = np.random.default_rng(5)
    further, wish = good_scores(50_000, rng), FalseRejects(0.02, 0.9)
    kept = [np.mean(further >= thresholds(good_scores(200, rng), wish).review) <= wish.share for _ in range(300)]
    assert 0.86 < np.mean(kept) <= 1.0
    assert "at most 2 % of good parts with 90 % confidence" in thresholds(good_scores(200, rng), wish).rule
    assert "model-based" in thresholds(good_scores(40, rng), wish).rule


def test_one_bad_image_among_thirty_good_ones_does_not_raise_the_thresholds_to_itself() -> None:
    scores = good_scores(30, np.random.default_rng(0))
    clean = thresholds(scores)
    dirty = thresholds(np.append(scores, 3.0 * scores.max()))
    assert dirty.review < 1.1 * clean.review
    assert dirty.fail < 1.2 * clean.fail


def test_equal_scores_keep_a_distance_between_good_and_stopped() -> None:
    limits = thresholds(np.full(20, 7.0))
    assert 7.5 < limits.review < 8.0 < limits.fail < 9.0


def test_copies_of_one_image_are_refused() -> None:
    with pytest.raises(TrainingError, match="copies"):
        thresholds(np.zeros(20))


def test_one_copy_among_different_images_does_not_matter() -> None:
    scores = good_scores(30, np.random.default_rng(1))
    assert thresholds(np.append(scores, 0.0)).review == pytest.approx(thresholds(scores).review, rel=0.1)


def test_whole_image_distances_reach_half_the_spread_of_patch_scores() -> None:
    rng = np.random.default_rng(2)
    patches, images = good_scores(500, rng), np.exp(rng.normal(0.5, 0.3, 500))
    scale, exponent = whole_image_scale(patches, images)
    brought = scale * images**exponent
    assert np.median(brought) == pytest.approx(np.median(patches), rel=0.01)
    upper = [np.quantile(np.log(values), 0.9) - np.median(np.log(values)) for values in (brought, patches)]
    assert upper[0] / upper[1] == pytest.approx(0.5, rel=0.01)


def test_folds_are_contiguous_and_even() -> None:
    fold = folds(23)
    assert sorted(set(fold.tolist())) == [0, 1, 2, 3, 4]
    assert (np.diff(fold) >= 0).all()
    assert np.bincount(fold).min() >= 4
