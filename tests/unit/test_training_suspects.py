"""Which images are suspected of a wrong label, from scores alone."""

from __future__ import annotations

import numpy as np
import pytest

from training.errors import TrainingError
from training.suspects import FALSE_SUSPECTS, outlier_limit, suspects


def good_scores(seed: int, count: int = 40) -> dict[str, float]:
    values = np.random.default_rng(seed).lognormal(3, 0.12, count)
    return {f"train/good/{number}.png": float(value) for number, value in enumerate(values)}


def test_about_one_good_image_is_suspected_where_all_are_good() -> None:
    counts = [len(suspects(good_scores(seed))) for seed in range(300)]
    assert np.mean(counts) == pytest.approx(FALSE_SUSPECTS, abs=0.4)
    assert np.quantile(counts, 0.95) <= 4


@pytest.mark.parametrize("defects", [1, 4])
def test_defects_among_good_images_do_not_hide_each_other(defects: int) -> None:
    found = []
    for seed in range(100):
        strange = {f"train/good/defect{number}.png": 20.0 * (1.7 + 0.1 * number) for number in range(defects)}
        names = [suspect.name for suspect in suspects(good_scores(seed) | strange)]
        found.append(len(strange.keys() & set(names[: defects + 1])))
    assert np.mean(found) > 0.95 * defects


def test_both_kinds_are_named_in_the_order_of_how_far_they_contradict() -> None:
    good = {f"{number}": 10.0 + 0.01 * number for number in range(30)}
    found = suspects(good, {"ok": 10.1, "odd": 20.0, "odder": 30.0}, {"plain": 25.0, "faint": 10.0, "fainter": 9.0})
    assert [(each.name, each.labelled_good) for each in found] == [
        ("odder", True),
        ("odd", True),
        ("fainter", False),
        ("faint", False),
    ]
    assert found[0].limit == outlier_limit(np.array(list(good.values())))
    assert found[2].limit == np.median(list(good.values()))


def test_images_that_are_all_alike_are_not_suspected_for_nothing() -> None:
    assert suspects({str(number): 10.0 + 1e-6 * number for number in range(30)}) == []


def test_one_image_is_no_company_to_differ_from() -> None:
    with pytest.raises(TrainingError, match="too few"):
        suspects({"only": 1.0})
