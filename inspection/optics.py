"""How a frame was taken: how bright, how evenly lit, how sharp; and whether that is as in the good images of the product. Pure.

Light, lens and camera are judged apart from the part: a defect changes these figures by less than a lamp that dies or a lens
that is dirty, and a frame that shows too little must never pass for want of anything strange in it. Limits come from the good
images that a model was trained on; a model without them is refused only what shows nothing at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from cameras.frame import Frame
from inspection.artifact import FigureRange, FrameSize, OpticsRanges

SAMPLE = 16_384
"""Raw values that are looked at, about; the others tell the same."""
SATURATED = 0.98
"""Share of full scale from which on a pixel tells nothing more."""
BLANK = 0.01
"""Frames whose contrast is not larger than this show nothing: a covered lens, no light, far too much."""
MOST_SIZES = 4
"""Good images of more different sizes do not tell which size is right."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_APART = 4
_DARK = 0.05
_ROOM = 0.75
_TINY = 1e-9

Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class _Rule:
    """How far beyond the good images a figure may be, in powers of ten if ``log``, and what it means to be beyond.

    ``least`` is how far at least; ``deviations`` says how many of the good images' standard deviations are allowed. A figure
    without ``low`` or ``high`` cannot be too low or too high.
    """

    log: bool
    least: float
    deviations: float
    low: str | None
    high: str | None

    def scaled(self, value: float) -> float:
        return float(np.log10(max(value, _TINY))) if self.log else value

    def unscaled(self, value: float) -> float:
        return float(10**value) if self.log else value


RULES: Mapping[str, _Rule] = {
    "brightness": _Rule(log=True, least=0.15, deviations=3, low="too dark", high="too bright"),
    "contrast": _Rule(log=True, least=0.3, deviations=3, low="without contrast", high=None),
    "sharpness": _Rule(log=True, least=0.15, deviations=4, low="blurred", high=None),
    "coarse_sharpness": _Rule(log=True, least=0.15, deviations=4, low="blurred", high=None),
    "saturated": _Rule(log=False, least=0.25, deviations=3, low=None, high="overexposed"),
    "light_left": _Rule(log=False, least=0.05, deviations=4, low="dark on the left", high="dark on the right"),
    "light_top": _Rule(log=False, least=0.05, deviations=4, low="dark at the top", high="dark at the bottom"),
}
"""Figures in the order in which they are told. The margins are argued in decision 23."""


@dataclass(frozen=True, slots=True, eq=False)
class Optics:
    """The figures of one frame, and a sample of its raw pixels, by which a repeated image is known."""

    figures: Figures
    sample: NDArray[np.generic]


def look(frame: Frame, tensor: NDArray[np.float32]) -> Optics:
    """The optics of a frame; ``tensor`` is its network input, float32 (1, 3, height, width).

    ``brightness``: mean, 1.0 at full scale. ``contrast``: between the 5 % and the 95 % quantile. ``sharpness``: squares of the
    Laplacian over squares of differences 4 pixels apart, so that neither light nor contrast moves it, but blur does;
    ``coarse_sharpness``: the same of a quarter of the size, where noise cannot stand for the detail that much blur takes.
    ``saturated``: share of the raw pixels. ``light_left``, ``light_top``: share of the light in that half of the frame.
    """
    raw, saturated = _sample(frame), round(SATURATED * frame.pixel_format.full_scale)
    grey = np.tensordot(_LUMA, tensor[0], 1) if frame.pixel_format.is_color else tensor[0, 0]
    rows, columns = grey.shape
    of_rows, of_columns = (np.asarray(cv2.reduce(grey, axis, cv2.REDUCE_AVG), np.float32).ravel() for axis in (1, 0))
    some = np.sort(grey[:: max(1, rows // 64), :: max(1, columns // 64)], axis=None)
    figures = {
        "brightness": float(of_rows.mean()),
        "contrast": float(some[len(some) * 19 // 20] - some[len(some) // 20]),
        "sharpness": _sharpness(grey),
        "coarse_sharpness": _sharpness(cv2.resize(grey, (columns // 4, rows // 4), interpolation=cv2.INTER_AREA)),
        "saturated": float(np.count_nonzero(np.greater_equal(raw, saturated)) / raw.size),
        "light_left": _share_of_first_half(of_columns),
        "light_top": _share_of_first_half(of_rows),
    }
    return Optics({name: float(f"{value:.4g}") for name, value in figures.items()}, raw)


def ranges(figures: Sequence[Figures], sizes: Sequence[tuple[int, int]]) -> OpticsRanges:
    """What is usual, and the limits, from the figures and (width, height) of good images, at least one."""
    found = {}
    for name, rule in RULES.items():
        values = np.array([rule.scaled(each[name]) for each in figures])
        lowest, middle, highest = float(values.min()), float(np.median(values)), float(values.max())
        margin = max(rule.least, rule.deviations * float(values.std()))
        if rule.log:
            # Of a dark field, a bright defect is soon a large part of the light.
            upper = max(highest + margin, rule.scaled(rule.unscaled(highest) + _DARK))
        else:
            upper = min(highest + margin, highest + _ROOM * (1 - highest))
        found[name] = FigureRange(
            lowest=rule.unscaled(lowest),
            median=rule.unscaled(middle),
            highest=rule.unscaled(highest),
            lower=rule.unscaled(lowest - margin) if rule.low else None,
            upper=rule.unscaled(upper) if rule.high else None,
        )
    distinct = sorted(set(sizes))
    known = distinct if len(distinct) <= MOST_SIZES else []
    return OpticsRanges(figures=found, sizes=tuple(FrameSize(width=width, height=height) for width, height in known))


def widened(former: OpticsRanges, further: OpticsRanges) -> OpticsRanges:
    """The ranges of a model that learned further good images: what was usual stays so."""
    found = {}
    for name, one in former.figures.items():
        other = further.figures[name]
        found[name] = FigureRange(
            lowest=min(one.lowest, other.lowest),
            median=one.median,
            highest=max(one.highest, other.highest),
            lower=None if one.lower is None or other.lower is None else min(one.lower, other.lower),
            upper=None if one.upper is None or other.upper is None else max(one.upper, other.upper),
        )
    sizes = former.sizes and further.sizes and tuple(dict.fromkeys((*former.sizes, *further.sizes)))
    return OpticsRanges(figures=found, sizes=sizes)


def troubles(frame: Frame, figures: Figures, usual: OpticsRanges | None) -> list[str]:
    """What is wrong with the optics of a frame, in words; nothing if it may be judged. ``usual`` is None for a model without."""
    found = []
    if figures["contrast"] <= BLANK and (usual is None or figures["contrast"] < usual.figures["contrast"].lowest):
        found.append(f"shows nothing: brightness {figures['brightness']:.3g} all over")
    if usual is None:
        return found
    size = FrameSize(width=frame.width, height=frame.height)
    if usual.sizes and size not in usual.sizes:
        right = " or ".join(f"{each.width} × {each.height}" for each in usual.sizes)
        found.append(f"{size.width} × {size.height} pixels, the good images had {right}")
    for name, rule in RULES.items():
        value, limits = figures[name], usual.figures[name]
        words = None
        if limits.lower is not None and value < limits.lower:
            words = rule.low
        elif limits.upper is not None and value > limits.upper:
            words = rule.high
        if words:
            found.append(f"{words}: {name} {value:.3g}, the good images had {limits.lowest:.3g} to {limits.highest:.3g}")
    return found


def strain(name: str, value: float, usual: OpticsRanges) -> float:
    """How far a figure is on its way from what is usual to a limit: 0 in the middle, 1 at the upper limit, -1 at the lower."""
    rule, limits = RULES[name], usual.figures[name]
    away = rule.scaled(value) - rule.scaled(limits.median)
    limit = limits.upper if away > 0 else limits.lower
    if limit is None or away == 0:
        return 0.0
    return away / abs(rule.scaled(limit) - rule.scaled(limits.median))


def _sample(frame: Frame) -> NDArray[np.generic]:
    """A copy of every so many-th raw pixel in both directions: an odd number, so that all colours of a mosaic are among them."""
    pixels = frame.pixels if frame.pixel_format.channels == 1 else frame.pixels[..., :3]  # no alpha
    step = round((pixels.size / SAMPLE) ** 0.5) | 1
    return pixels[::step, ::step].copy()


def _sharpness(image: ArrayLike) -> float:
    grey = np.ascontiguousarray(image, np.float32)
    fine = cv2.norm(cv2.Laplacian(grey, cv2.CV_32F), cv2.NORM_L2SQR)
    across = cv2.norm(grey[:, _APART:], grey[:, :-_APART], cv2.NORM_L2SQR)
    down = cv2.norm(grey[_APART:], grey[:-_APART], cv2.NORM_L2SQR)
    return float(fine / max(across + down, _TINY))


def _share_of_first_half(light: NDArray[np.float32]) -> float:
    """Of the light along a side, that of the first half. In the dark, where a bright defect would be all of it, it is even."""
    half = len(light) // 2
    first, second = float(light[:half].mean()), float(light[-half:].mean())
    return (first + _DARK) / (first + second + 2 * _DARK)
