"""Lines and bars of the report's charts, as coordinates for inline SVG. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.metrics import Scores

WIDTH, HEIGHT = 420, 260
_BINS = 36


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar in SVG pixels."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """Bars of good and defective scores and where the two thresholds and the ends of the axis lie, in SVG pixels."""

    good: tuple[Bar, ...]
    defective: tuple[Bar, ...]
    review_x: float
    fail_x: float
    ticks: tuple[tuple[float, str], ...]


def roc_points(good: Scores, defective: Scores) -> str:
    """The ROC as the points of an SVG polyline: false rejects to the right, caught defects upward."""
    thresholds = np.unique(np.concatenate((good, defective)))[::-1]
    x = [0.0, *((good[:, np.newaxis] >= thresholds).mean(0))]
    y = [0.0, *((defective[:, np.newaxis] >= thresholds).mean(0))]
    return " ".join(f"{a * WIDTH:.1f},{(1 - b) * HEIGHT:.1f}" for a, b in zip(x, y, strict=True))


def histogram(good: Scores, defective: Scores, review: float, fail: float) -> Histogram:
    """Shares of good parts and of defective parts by score, on a logarithmic axis that holds the thresholds too."""
    everything = np.log(np.maximum(np.concatenate((good, defective, [review, fail])), 1e-6))
    low, high = float(everything.min()), float(everything.max())
    margin = 0.03 * max(high - low, 1e-6)
    edges = np.linspace(low - margin, high + margin, _BINS + 1)
    shares = [np.histogram(np.log(np.maximum(each, 1e-6)), edges)[0] / max(len(each), 1) for each in (good, defective)]
    tallest = max(float(share.max()) for share in shares)
    step = WIDTH / _BINS

    def place(score: float) -> float:
        return float((np.log(score) - edges[0]) / (edges[-1] - edges[0]) * WIDTH)

    def bars(share: Scores, offset: float) -> tuple[Bar, ...]:
        return tuple(
            Bar(index * step + offset * step, HEIGHT * (1 - value / tallest), 0.45 * step, HEIGHT * value / tallest)
            for index, value in enumerate(share)
            if value
        )

    ticks = np.exp(np.linspace(edges[0], edges[-1], 5)[1:-1])
    return Histogram(
        good=bars(shares[0], 0.03),
        defective=bars(shares[1], 0.52),
        review_x=place(review),
        fail_x=place(fail),
        ticks=tuple((place(tick), f"{tick:.3g}") for tick in ticks),
    )
