"""One part of the rendered product under the camera: from a seed to the image, with its ground truth."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cameras.simulator.scenes.defects import DEFECT_BY_NAME, DEFECTS, INK, Blank, changed
from cameras.simulator.scenes.errors import SceneError
from cameras.simulator.scenes.layers import (
    BANK_MARGIN,
    BOSS_RADIUS,
    FLAT,
    GRAIN,
    RING_STEPS,
    Bytes,
    Image,
    Layers,
    Plane,
    layers_for,
)
from cameras.simulator.scenes.marking import draw_marking, marking_box

MIN_WIDTH, MIN_HEIGHT = 320, 240
FULL_WELL = 10_000  # electrons at grey value 255: sets the shot noise, as in EMVA 1288
READ_NOISE = 0.5  # grey values


@dataclass(frozen=True)
class Scene:
    """One rendered part. ``pixels`` is uint8 H×W; ``mask`` is uint8 H×W, 255 where the defect is, all 0 without one."""

    pixels: Bytes
    mask: Bytes
    defect: str | None
    serial: str


def render(
    serial: str, seed: int, defect: str | None = None, severity: float = 0.5, width: int = 960, height: int = 720
) -> Scene:
    """The part with this serial as the camera sees it, Mono8. The same arguments give the same bytes.

    The seed fixes everything that differs between parts: texture, place, rotation, light and noise, and where a defect
    is. With and without a defect, the same seed gives the same pixels outside the mask. ``severity`` is 0..1.
    The Data Matrix can be read from 640×480 upwards. SceneError if an argument is out of range or the serial cannot be
    marked.
    """
    if defect is not None and defect not in DEFECT_BY_NAME:
        raise SceneError(f"defect {defect!r} is not rendered; choose one of {', '.join(DEFECTS)}")
    if not 0 <= severity <= 1:
        raise SceneError(f"severity {severity} is out of range; give a number from 0 to 1")
    if seed < 0:
        raise SceneError(f"seed {seed} is negative; give 0 or more")
    if width < MIN_WIDTH or height < MIN_HEIGHT:
        raise SceneError(f"a scene of {width}×{height} is too small; give at least {MIN_WIDTH}×{MIN_HEIGHT}")
    layers = layers_for(width, height)
    rng = np.random.default_rng((seed, 0))
    blank = _blank(rng, serial, layers)
    place = _place(rng, layers)
    mask: Bytes = np.zeros((height, width), np.uint8)
    if defect is not None:
        before = Blank(layers, blank.reflectance.copy(), blank.alpha.copy(), blank.bare, blank.ink)
        # A stream of its own: drawing the defect must not shift the draws for light and noise.
        DEFECT_BY_NAME[defect](np.random.default_rng((seed, 1 + DEFECTS.index(defect))), severity, blank)
        marked = cv2.warpAffine(changed(before, blank), place, (width, height), flags=cv2.INTER_NEAREST)
        mask = np.asarray(marked, np.uint8)
    return Scene(_expose(rng, _on_belt(rng, blank, place), layers), mask, defect, serial)


def _crop(rng: np.random.Generator, bank: Plane, layers: Layers) -> Plane:
    top, left = rng.integers(0, BANK_MARGIN, 2)
    return bank[top : top + layers.height, left : left + layers.width]


def _blank(rng: np.random.Generator, serial: str, layers: Layers) -> Blank:
    """The part's own surface: its brushing, its turned rings, its marking."""
    grain: Image = _crop(rng, layers.grain_bank, layers)
    if rng.random() < 0.5:
        grain = cv2.flip(grain, 1)
    reflectance: Image = cv2.add(cv2.multiply(layers.face, grain), layers.surface)
    profile = _turned_profile(rng)
    (left, top), (rows, columns) = layers.ring_origin, layers.ring_index.shape
    reflectance[top : top + rows, left : left + columns] += layers.ring_gain * profile[layers.ring_index]
    ink = draw_marking(serial, layers)
    reflectance[marking_box(layers)] *= 1 - np.float32(INK) * ink
    bare = cv2.addWeighted(grain, GRAIN, grain, 0, FLAT)
    return Blank(layers, np.asarray(reflectance, np.float32), layers.alpha.copy(), np.asarray(bare, np.float32), ink)


def _turned_profile(rng: np.random.Generator) -> Plane:
    """Brightness of the turned rings against radius, unit standard deviation: the feed of the tool and its chatter."""
    samples = int(BOSS_RADIUS * RING_STEPS * 1.5)
    profile = np.zeros((1, samples), np.float32)
    for width, weight in ((0.7, 0.6), (2.5, 0.8)):
        white = rng.standard_normal((1, samples), dtype=np.float32)
        smooth = cv2.GaussianBlur(white, (0, 0), sigmaX=width * RING_STEPS, sigmaY=1)
        profile += weight * smooth / smooth.std()
    return profile[0]


def _place(rng: np.random.Generator, layers: Layers) -> NDArray[np.float64]:
    """Where the fixture leaves the part: a small rotation (degrees) and shift, as a 2×3 affine matrix."""
    centre = (layers.width / 2, layers.height / 2)
    place: Image = cv2.getRotationMatrix2D(centre, float(np.clip(rng.normal(0, 0.9), -2.2, 2.2)), 1.0)
    place[:, 2] += np.clip(rng.normal(0, 5, 2), -12, 12) * layers.scale
    return np.asarray(place, np.float64)


def _on_belt(rng: np.random.Generator, blank: Blank, place: NDArray[np.float64]) -> Plane:
    """The part composited over the belt and its own shadow, in reflectance."""
    layers = blank.layers
    size = (layers.width, layers.height)
    part = cv2.warpAffine(blank.reflectance, place, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpAffine(blank.alpha, place, size, flags=cv2.INTER_LINEAR).astype(np.float32)
    light = cv2.warpAffine(layers.light, place, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    belt = cv2.multiply(_crop(rng, layers.belt_bank, layers), light, scale=1 / 255, dtype=cv2.CV_32F)
    part = cv2.subtract(part, belt, dst=part)
    part = cv2.multiply(part, alpha, dst=part, scale=1 / 255)
    return np.asarray(cv2.add(part, belt, dst=part), np.float32)


def _expose(rng: np.random.Generator, reflectance: Plane, layers: Layers) -> Bytes:
    """Uneven light, lens and sensor: reflectance to grey values."""
    # Light varies slowly, so it is computed on a coarse grid and enlarged.
    y, x = np.mgrid[-1:1:13j, -1:1:17j].astype(np.float32)
    tilt_x, tilt_y = rng.normal((-0.045, -0.055), 0.02)
    band_angle, band_offset = rng.normal(0.9, 0.06), rng.normal(-0.25, 0.10)
    band = np.exp(-(((x * np.cos(band_angle) + y * np.sin(band_angle) - band_offset) / 0.42) ** 2))
    vignette = 1 - 0.13 * (x * x + y * y) ** 1.2
    field = 258 * rng.normal(1, 0.018) * vignette * (1 + tilt_x * x + tilt_y * y) * (1 + 0.13 * band)
    field = cv2.resize(field.astype(np.float32), (layers.width, layers.height), interpolation=cv2.INTER_CUBIC)
    # A glint's dark side can fall below zero, where there is no shot noise.
    grey = np.maximum(cv2.multiply(cv2.GaussianBlur(reflectance, (3, 3), 0.6), field), np.float32(0))
    sigma = cv2.sqrt(cv2.addWeighted(grey, 255 / FULL_WELL, grey, 0, READ_NOISE**2))
    noise = cv2.multiply(sigma, _crop(rng, layers.noise_bank, layers), dst=sigma)
    return np.asarray(cv2.add(grey, noise, dtype=cv2.CV_8U), np.uint8)
