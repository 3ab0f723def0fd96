"""Greedy k-centre selection: the patches that a memory bank keeps.

Sener & Savarese, "Active learning for convolutional neural networks: a core-set approach", ICLR 2018, as PatchCore uses
it (Roth et al., CVPR 2022). The selection equals that of the plain greedy algorithm; it is faster because centres are
found in batches among the farthest points, so that distances to all points are one matrix product per batch.
"""

from __future__ import annotations

import torch

_CANDIDATES = 512


def k_centre(points: torch.Tensor, count: int, first: int) -> torch.Tensor:
    """Indices (int64, shape (min(count, n),)) of the greedy k-centre selection that starts with point ``first``.

    ``points`` is float32 of shape (n, d). Fewer indices come back when all remaining points coincide with selected ones.
    """
    squares = points.square().sum(1)
    distances = _squared_distances(points, squares, torch.tensor([first])).squeeze(1)
    return _continued([first], points, squares, distances, min(count, len(points)), 0.0)


def further_centres(points: torch.Tensor, known: torch.Tensor, count: int) -> torch.Tensor:
    """Indices (int64, at most ``count``) of points, float32 (n, d), that greedy selection adds to the centres ``known``, (m, d).

    It ends when all points are as near to a centre as the two nearest of ``known`` are to each other: that is how finely a
    selection covers the points it was made from.
    """
    between = torch.cdist(known, known).fill_diagonal_(torch.inf)
    distances = torch.cdist(points, known).amin(1).square()
    return _continued([], points, points.square().sum(1), distances, min(count, len(points)), float(between.min().square()))


def _continued(
    selected: list[int], points: torch.Tensor, squares: torch.Tensor, distances: torch.Tensor, count: int, covered: float
) -> torch.Tensor:
    """The selection with further points while one is farther (squared) than ``covered`` and there are fewer than ``count``."""
    while len(selected) < count:
        batch = _next_centres(points, squares, distances, count - len(selected), covered)
        if not batch:
            break
        selected += batch
        distances = torch.minimum(distances, _squared_distances(points, squares, torch.tensor(batch)).amin(1))
        distances[batch] = 0.0
    return torch.tensor(selected, dtype=torch.int64)


def _next_centres(points: torch.Tensor, squares: torch.Tensor, distances: torch.Tensor, count: int, covered: float) -> list[int]:
    """The next centres that plain greedy would choose, as many as are certain without looking at all points again.

    Distances only shrink. While the farthest candidate is at least as far as the farthest other point was, it is the
    farthest of all.
    """
    candidates = torch.topk(distances, min(_CANDIDATES + 1, len(points)))
    others = float(candidates.values[-1]) if len(points) > _CANDIDATES else 0.0
    indices = candidates.indices[:_CANDIDATES]
    remaining = candidates.values[:_CANDIDATES].clone()
    between = _squared_distances(points[indices], squares[indices], torch.arange(len(indices)))
    centres: list[int] = []
    while len(centres) < count:
        farthest = int(remaining.argmax())
        distance = float(remaining[farthest])
        if distance <= covered or (distance < others and centres):
            break
        centres.append(int(indices[farthest]))
        remaining = torch.minimum(remaining, between[:, farthest])
        remaining[farthest] = 0.0
    return centres


def _squared_distances(points: torch.Tensor, squares: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    """Squared Euclidean distances, shape (n, len(centres))."""
    return torch.addmm(squares[centres], points, points[centres].T, alpha=-2.0).add_(squares.unsqueeze(1)).clamp_min_(0.0)
