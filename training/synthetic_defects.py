"""Synthetic defects on good images: what the autopilot compares recipes with where no defective part is at hand.

Five kinds, drawn where good images show detail: a piece from elsewhere (CutPaste, Li et al., CVPR 2021), a scar, a blotch,
specks, and something missing. They rank recipes; they do not say how many real defects will be found.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
"""RGB in [0, 1], float32 (height, width, 3)."""
Mask = NDArray[np.bool_]

SMALLEST, LARGEST = 0.02, 0.4
"""Size of a defect as a share of the image's longer side."""
_DETAIL = 0.7


def detail(images: Sequence[Image]) -> Mask:
    """Where good images of one size show most detail on average, bool (height, width): on the part, not on its background."""
    blur = max(images[0].shape) / 100
    energy = np.mean([cv2.GaussianBlur(np.abs(cv2.Laplacian(image.mean(2), cv2.CV_32F)), (0, 0), blur) for image in images], 0)
    return np.asarray(energy >= np.quantile(energy, _DETAIL))


def with_defect(image: Image, other: Image, where: Mask, generator: np.random.Generator) -> tuple[Image, Mask]:
    """The image with one random defect centred in ``where``, and its pixels; ``other`` is what pieces are taken from."""
    longer = max(image.shape[:2])
    size = min(longer * np.exp(generator.uniform(np.log(SMALLEST), np.log(LARGEST))), 0.8 * min(image.shape[:2]))
    kind = generator.choice(["piece", "scar", "blotch", "specks", "missing"])
    rows, columns = np.nonzero(where)
    chosen = generator.integers(len(rows))
    centre = int(rows[chosen]), int(columns[chosen])
    if kind == "scar":
        mask = _scar(image.shape[:2], centre, size, generator)
    else:
        shape = _blob(size, generator)
        if kind == "specks":
            grain = generator.random((-(-shape.shape[0] // 4),) * 2).astype(np.float32)
            specks = shape & (cv2.resize(grain, shape.shape[::-1], interpolation=cv2.INTER_LINEAR) > 0.55)
            shape = specks if specks.any() else shape
        mask = _placed(image.shape[:2], shape, centre)
    fill, opacity = _fill(str(kind), image, other, mask, size, generator)
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(0.6, 0.0012 * longer))[..., np.newaxis] * opacity
    return np.clip(image * (1 - soft) + fill * soft, 0, 1).astype(np.float32), mask


def _blob(size: float, generator: np.random.Generator) -> Mask:
    """An irregular, more or less elongated shape, bool (side, side), not empty."""
    side = max(3, round(size))
    coarse = generator.random((int(generator.integers(2, 5)), int(generator.integers(2, 5)))).astype(np.float32)
    noise = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    stretch, angle = np.exp(generator.uniform(-0.7, 0.7)), generator.uniform(0, np.pi)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    inside = np.asarray(noise - 0.9 * ((along * stretch) ** 2 + (across / stretch) ** 2) > -0.05)
    inside[side // 2, side // 2] = True
    return inside


def _placed(size: tuple[int, ...], shape: Mask, centre: tuple[int, int]) -> Mask:
    mask = np.zeros(size, np.bool_)
    side = shape.shape[0]
    top, left = (int(np.clip(middle - side // 2, 0, length - side)) for middle, length in zip(centre, size, strict=True))
    mask[top : top + side, left : left + side] = shape
    return mask


def _scar(size: tuple[int, ...], centre: tuple[int, int], length: float, generator: np.random.Generator) -> Mask:
    mask = np.zeros(size, np.uint8)
    point, angle = np.array(centre[::-1], float), generator.uniform(0, 2 * np.pi)
    points = [point]
    for _ in range(4):
        angle += generator.normal(0, 0.3)
        point = point + 0.6 * length * np.array([np.cos(angle), np.sin(angle)])
        points.append(point)
    width = max(1, round(generator.uniform(0.002, 0.008) * max(size)))
    cv2.polylines(mask, [np.array(points).astype(np.int32)], isClosed=False, color=1, thickness=width)
    return mask.astype(np.bool_)


def _fill(
    kind: str, image: Image, other: Image, mask: Mask, size: float, generator: np.random.Generator
) -> tuple[NDArray[np.float32], float]:
    """What the defect looks like, float32 (height, width, 3), and how opaque it is."""
    if kind == "piece":
        shift = tuple(int(generator.integers(length)) for length in image.shape[:2])
        moved = np.roll(other, shift, (0, 1))[:: generator.choice([-1, 1]), :: generator.choice([-1, 1])]
        return (moved * generator.uniform(0.8, 1.2)).astype(np.float32), float(generator.uniform(0.6, 1))
    if kind == "missing":
        return np.asarray(cv2.GaussianBlur(image, (0, 0), size / 2), np.float32), 1.0
    usual, lot = image[mask].mean(0), generator.random()
    if lot < 0.5:
        colour = usual * generator.uniform(0.1, 0.6)
    elif lot < 0.8:
        colour = 1 - (1 - usual) * generator.uniform(0.2, 0.7)
    else:
        colour = generator.random(3)
    return (colour + generator.normal(0, 0.04, image.shape)).astype(np.float32), float(generator.uniform(0.4, 1))
