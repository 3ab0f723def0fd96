"""The batched k-centre selection is the plain greedy one."""

from __future__ import annotations

import pytest
import torch

from training.coreset import k_centre


def plain_greedy(points: torch.Tensor, count: int, first: int) -> list[int]:
    selected = [first]
    distances = (points - points[first]).square().sum(1)
    while len(selected) < count:
        selected.append(int(distances.argmax()))
        distances = torch.minimum(distances, (points - points[selected[-1]]).square().sum(1))
    return selected


@pytest.mark.parametrize(("points", "count"), [(40, 40), (600, 300), (3000, 700)])
def test_selection_equals_plain_greedy(points: int, count: int) -> None:
    # Integers: every distance is exact, and with sixteen dimensions of them ties are rare.
    cloud = torch.randint(-500, 500, (points, 16), generator=torch.Generator().manual_seed(points)).double()
    assert k_centre(cloud, count, first=3).tolist() == plain_greedy(cloud, count, first=3)


def test_copies_are_selected_once() -> None:
    cloud = torch.eye(5).repeat(100, 1)
    assert sorted(torch.nonzero(cloud[k_centre(cloud, 50, first=0)])[:, 1].tolist()) == [0, 1, 2, 3, 4]


def test_no_more_points_than_there_are() -> None:
    assert k_centre(torch.randn(7, 3), 50, first=0).sort().values.tolist() == list(range(7))
