"""How sure a share is that was counted."""

from __future__ import annotations

from scipy.special import betaincinv

CONFIDENCE = 0.95

Interval = tuple[float, float]


def clopper_pearson(hits: int, trials: int) -> Interval:
    """Exact interval of a proportion, ``hits`` of ``trials`` (at least one): Clopper & Pearson, Biometrika 26, 1934."""
    tail = (1 - CONFIDENCE) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, trials - hits + 1, tail))
    high = 1.0 if hits == trials else float(betaincinv(hits + 1, trials - hits, 1 - tail))
    return low, high
