"""Learning from labelled rejects: what looks like them counts more, and what does not counts little less."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from inspection.quality.curves import auroc
from training.calibration import location_and_spread
from training.known_defects import (
    MASKED_STRENGTH,
    STRENGTH,
    UNKNOWN,
    DefectPatches,
    KnownDefects,
    Weighing,
    covered,
    defect_classes,
    learn,
    most_alike,
    weighed,
)
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


def taught(masked: bool) -> tuple[KnownDefects, torch.Tensor]:
    rejects = [DefectPatches("dent", defect(seed), mask() if masked else None) for seed in range(100, 120)]
    return learn(GOOD, DISTANCES, BANK, rejects, seed=0)


def score(features: torch.Tensor, known: KnownDefects | None = None) -> float:
    """The score of a part by its distance, and by what is known."""
    patches = features.float().unsqueeze(0)
    distances = DISTANCE(patches)
    return strangest_patches(distances if known is None else known(patches, distances)).item()


def told_apart(known: KnownDefects | None) -> float:
    """AUROC of good parts against parts with the known defect."""
    defective = [score(defect(seed), known) for seed in range(200, 240)]
    return auroc(np.array([score(image, known) for image in good_features(40, 9)]), np.array(defective))


def test_the_known_defect_is_told_better_and_no_part_loses_more_than_was_said() -> None:
    known, distances = taught(masked=True)
    assert told_apart(known) > told_apart(None) + 0.05
    parts = [*(defect(seed, along=7) for seed in range(200, 230)), *good_features(30, 9)]
    assert min(score(part, known) / score(part) for part in parts) >= known.weighing.least - 1e-4
    assert distances.shape == DISTANCES.shape


def test_masks_teach_more_than_rejects_without() -> None:
    masked, unmasked = taught(masked=True)[0].weighing, taught(masked=False)[0]
    shares = [each.rate / each.power for each in (masked, unmasked.weighing)]
    assert shares[0] == pytest.approx(shares[1] * MASKED_STRENGTH / STRENGTH)
    assert told_apart(unmasked) > told_apart(None)


def test_weighed_scores_of_good_images_keep_their_median_and_spread_and_unknown_defects_lose_one_spread_at_most() -> None:
    rng = np.random.default_rng(3)
    distances, likeness = np.exp(rng.normal(2.0, 0.1, 3000)), rng.normal(0.0, 1.0, 3000)
    weighing = Weighing.of_good(distances, likeness, 2.0)
    middle, spread = location_and_spread(distances)

    def scores(distance: np.ndarray, alike: np.ndarray | float) -> np.ndarray:
        maps = torch.from_numpy(np.atleast_1d(distance)).float().reshape(-1, 1, 1)
        return weighed(maps, torch.ones_like(maps) * torch.as_tensor(alike).float().reshape(-1, 1, 1), weighing).flatten().numpy()

    weighed_middle, weighed_spread = location_and_spread(scores(distances, likeness).astype(np.float64))
    assert weighed_middle == pytest.approx(middle, abs=0.2 * spread)
    assert weighed_spread == pytest.approx(spread, rel=0.15)
    strange = np.exp(middle + 6 * spread)
    assert scores(strange, -9.0)[0] == pytest.approx(strange * np.exp(-UNKNOWN * spread), rel=1e-3)
    assert scores(np.exp(middle), 4.0)[0] > np.exp(middle + 3 * spread)


def test_the_patch_that_looks_defective_stands_out_in_the_map_and_the_map_stays_in_units_of_the_score() -> None:
    weighing = Weighing(least=0.25, offset=1.0, power=0.5, rate=0.5)
    distances, likeness = torch.full((1, 4, 4), 4.0), torch.full((1, 4, 4), -1.0)
    likeness[0, 1, 2] = 3.0
    shown = weighed(distances, likeness, weighing)
    assert shown.argmax() == 6
    assert strangest_patches(shown).item() == pytest.approx(2.0 * np.exp(0.5 * most_alike(likeness).item()))
    assert weighed(distances, torch.full((1, 4, 4), -9.0), weighing).max().item() == pytest.approx(1.0)


def test_distances_of_good_images_are_weighed_by_heads_that_did_not_see_them() -> None:
    known, distances = taught(masked=True)
    assert not torch.allclose(known(GOOD.float(), DISTANCES), distances)


def test_the_same_labels_and_seed_give_the_same_network() -> None:
    first, again = (taught(masked=True)[0] for _ in range(2))
    assert torch.equal(first.weight, again.weight)
    assert (first.bias, first.weighing) == (again.bias, again.weighing)


def test_the_class_that_a_defect_looks_like_is_proposed_and_none_for_good_parts() -> None:
    dents = [DefectPatches("dent", defect(seed), mask()) for seed in range(100, 115)]
    stains = [DefectPatches("stain", defect(seed, along=7), mask()) for seed in range(150, 165)]
    known, _ = learn(GOOD, DISTANCES, BANK, [*stains, *dents], seed=0)
    assert defect_classes(reject.label for reject in [*stains, *dents]) == ("dent", "stain")

    def likeness(images: list[torch.Tensor]) -> torch.Tensor:
        return known.class_likeness(torch.stack(images).float())

    told_dents = likeness([defect(seed) for seed in range(200, 230)])
    told_stains = likeness([defect(seed, along=7) for seed in range(300, 330)])
    told_good = likeness(list(good_features(30, 9)))
    assert float((told_dents.argmax(1) == 0).float().mean()) > 0.9
    assert float((told_stains.argmax(1) == 1).float().mean()) > 0.9
    assert float(told_good.max(1).values.median()) < float(told_dents.max(1).values.median())


def test_of_one_class_the_likeness_is_that_of_a_defect() -> None:
    known = taught(masked=True)[0]
    patches = torch.stack([defect(seed) for seed in range(200, 205)]).float()
    assert torch.allclose(known.class_likeness(patches).squeeze(1), most_alike(known.likeness(patches)))


def test_a_mask_is_its_share_of_each_patch_and_an_empty_one_says_nothing() -> None:
    pixels = np.zeros((ROWS * 4, COLUMNS * 4), np.bool_)
    assert covered(pixels, ROWS, COLUMNS) is None
    pixels[8:10, 20:24] = True
    share = covered(pixels, ROWS, COLUMNS)
    assert share is not None
    assert torch.equal(share, mask() * 0.5)
