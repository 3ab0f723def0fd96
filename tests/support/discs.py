"""A product that is drawn: a disc with a bar, whose place, size and light vary from part to part."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
from numpy.typing import NDArray

from cameras.frame import Frame, PixelFormat
from training.dataset import TrainingImage

WIDTH, HEIGHT = 160, 120


def part(seed: int) -> NDArray[np.float64]:
    """A disc with a bright bar on a dark, uneven ground, RGB in [0, 1]; place, size and light vary with the seed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    cx, cy = WIDTH / 2 + rng.normal(0, 2), HEIGHT / 2 + rng.normal(0, 2)
    disc = np.clip(rng.normal(38, 0.5) - np.hypot(x - cx, y - cy), 0, 1)
    bar = np.clip(7 - np.abs(y - cy), 0, 1) * np.clip(24 - np.abs(x - cx), 0, 1)
    rgb = 0.15 + 0.05 * (x / WIDTH)[..., None] + disc[..., None] * [0.35, 0.3, 0.2] + bar[..., None] * [0.1, 0.2, 0.3]
    return np.clip(rgb * rng.normal(1, 0.02) + rng.normal(0, 0.01, rgb.shape), 0, 1)


def scratched(seed: int) -> NDArray[np.float64]:
    rgb = part(seed)
    cv2.line(rgb, (55, 45), (85, 85), (0.95, 0.95, 0.95), 3)
    return rgb


def empty_fixture(seed: int) -> NDArray[np.float64]:
    ground = part(seed)
    ground[:, 25:135] = ground[:, :25].mean((0, 1)) + np.random.default_rng(seed).normal(0, 0.01, (HEIGHT, 110, 3))
    return np.clip(ground, 0, 1)


def frame(rgb: NDArray[np.float64], pixel_format: PixelFormat = PixelFormat.RGB8) -> Frame:
    """The scene as a camera with this pixel format sends it."""
    values = rgb.mean(-1) if not pixel_format.is_color else rgb
    if pixel_format.is_bayer:
        values = np.empty(rgb.shape[:2])
        for row, column, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
            values[row::2, column::2] = rgb[row::2, column::2, channel]
    pixels = np.round(values * pixel_format.full_scale).astype(pixel_format.dtype)
    return Frame(pixels, pixel_format, frame_id=1, timestamp_ns=0, received_ns=0)


def images(count: int, pixel_format: PixelFormat = PixelFormat.RGB8) -> list[TrainingImage]:
    return [
        TrainingImage(f"{seed}.png", hashlib.sha256(bytes([seed])).hexdigest(), lambda seed=seed: frame(part(seed), pixel_format))
        for seed in range(count)
    ]
