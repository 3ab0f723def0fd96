from __future__ import annotations

import numpy as np
import pytest
import torch

from training.autopilot import best, candidates
from training.calibration import combined, common_units
from training.design import Design, Trial, sized
from training.errors import TrainingError
from training.synthetic_defects import LARGEST, SMALLEST, detail, with_defect


def test_every_level_of_an_input_is_a_multiple_of_the_stride() -> None:
    for design in (Design(), Design(640, levels=2), Design(960, levels=3)):
        width, height = design.input_size(1000, 667)
        assert abs(max(width, height) - design.longer_side) <= 32
        for level in range(design.levels):
            assert width % (16 * 2**level) == 0
            assert height % (16 * 2**level) == 0


def test_no_candidate_enlarges_the_frame() -> None:
    for width, height in ((2448, 2048), (550, 380), (100, 80)):
        sides = [design.longer_side for design in candidates(width, height)]
        assert sides
        assert max(sides) <= width


def test_a_larger_input_is_looked_at_halved_too_until_it_is_small() -> None:
    assert [sized(side).levels for side in (160, 320, 321, 640, 641, 960)] == [1, 1, 2, 2, 3, 3]


def test_a_better_design_is_taken_and_among_equals_the_larger() -> None:
    large, small, poor = Trial(sized(640), 40.0, 0.89), Trial(sized(480), 20.0, 0.9), Trial(sized(320), 10.0, 0.8)
    too_slow = Trial(sized(960), 90.0, None)
    assert best([poor, small, large, too_slow], 50.0) == large
    assert best([poor, Trial(sized(480), 20.0, 0.95), large, too_slow], 50.0).design == sized(480)
    with pytest.raises(TrainingError, match=r"within 5 ms .* the fastest takes 90\.0 ms"):
        best([too_slow], 5.0)


def test_levels_in_common_units_weigh_alike_among_good_images() -> None:
    generator = np.random.default_rng(0)
    first, second = np.exp(generator.normal(1.0, 0.1, 400)), np.exp(generator.normal(5.0, 0.3, 400))
    units = common_units([first, second])
    scale, exponent = units[1]
    assert units[0] == (1.0, 1.0)
    assert np.median(scale * second**exponent) == pytest.approx(np.median(first), rel=0.02)
    maps = [torch.from_numpy(scores).reshape(-1, 1, 1) for scores in (first, second)]
    assert combined(maps, units) == pytest.approx(np.maximum(first, scale * second**exponent))


def test_a_synthetic_defect_changes_its_pixels_and_little_else() -> None:
    generator = np.random.default_rng(4)
    image = np.full((120, 160, 3), 0.5, np.float32)
    image[30:90, 40:120] = generator.random((60, 80, 3), np.float32)
    where = detail([image])
    assert where[35:85, 45:115].mean() > 0.9
    sizes = []
    for _ in range(60):
        changed, mask = with_defect(image, image[::-1], where, generator)
        difference = np.abs(changed - image).max(-1)
        assert mask.any()
        assert changed.dtype == np.float32
        assert changed.min() >= 0
        assert changed.max() <= 1
        assert difference[mask].mean() > 3 * difference[~mask].mean()
        sizes.append(mask.sum())
    assert min(sizes) < (4 * SMALLEST * 160) ** 2
    assert max(sizes) > (LARGEST * 160 / 4) ** 2


def test_the_same_seed_draws_the_same_defects() -> None:
    image = np.random.default_rng(0).random((64, 96, 3), np.float32)
    first, second = (with_defect(image, image, np.ones((64, 96), np.bool_), np.random.default_rng(7))[0] for _ in range(2))
    assert np.array_equal(first, second)
