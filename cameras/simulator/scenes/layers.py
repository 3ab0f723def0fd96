"""What every part of the rendered product shares: geometry, shaded surface, textures. Made once per image size.

The product is a machined aluminium bearing flange on a conveyor belt, lit from the upper left: brushed plate, turned
boss with groove and bore, four bolt holes, two dowel holes, a milled slot and a laser marking. Lengths are given in
design units: one unit is one pixel at 960×720.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Image = NDArray[Any]  # what OpenCV returns

DESIGN_WIDTH, DESIGN_HEIGHT = 960, 720
PLATE = (90.0, 86.0, 870.0, 634.0)  # left, top, right, bottom
PLATE_CORNER = 44.0
BOSS = (372.0, 360.0)
BOSS_RADIUS, GROOVE, COUNTERBORE_RADIUS, BORE_RADIUS = 196.0, (150.0, 162.0), 116.0, 80.0
BOLT_HOLES = ((150.0, 146.0), (810.0, 146.0), (150.0, 574.0), (810.0, 574.0))
BOLT_RADIUS, CHAMFER = 27.0, 7.0
DOWEL_HOLES = ((372.0, 118.0), (690.0, 578.0))
DOWEL_RADIUS = 11.0
SLOT = ((604.0, 150.0), (716.0, 150.0), 17.0)  # two centres and the radius of the ends
MARKING = (596, 232, 826, 500)  # left, top, right, bottom
LIGHT = (-0.46, -0.54, 0.705)  # unit vector towards the light; x right, y down, z towards the camera
SYMBOL_FIELD = (634, 228, 788, 382)  # left, top, right, bottom: whitened by the laser before it marks the symbol
FLAT = 0.56  # reflectance of level metal
GRAIN = 0.05  # standard deviation of the brushing about it
RING_STEPS = 4  # samples of a turned profile per design unit of radius
BANK_MARGIN = 192  # a texture bank is larger than the image by this much, so that every part gets another crop


@dataclass(frozen=True)
class Layers:
    """Static layers for one image size. Planes are float32 H×W in reflectance (1 is white) unless stated.

    ``surface``: shaded metal without texture. ``alpha``: uint8, 255 where there is metal. ``light``: uint8, share of
    the light that reaches the belt, 255 is all. ``face``: gain of the brushed grain, 0 off the brushed face. ``clear``:
    distance in pixels to the nearest edge, hole or marking. ``ring_origin`` (x, y) places the boss's square;
    ``ring_index`` holds the index into a radial profile for each of its pixels, ``ring_gain`` is 0 off turned faces.
    Banks are larger than the image by ``BANK_MARGIN``.
    """

    scale: float
    origin: tuple[float, float]
    surface: Plane
    alpha: Bytes
    light: Bytes
    face: Plane
    clear: Plane
    ring_origin: tuple[int, int]
    ring_index: NDArray[np.intp]
    ring_gain: Plane
    grain_bank: Plane
    belt_bank: Plane
    noise_bank: Plane

    @property
    def height(self) -> int:
        return int(self.surface.shape[0])

    @property
    def width(self) -> int:
        return int(self.surface.shape[1])

    def xy(self, x: float, y: float) -> tuple[float, float]:
        """Pixel position of a point given in design units."""
        return x * self.scale + self.origin[0], y * self.scale + self.origin[1]


@lru_cache(maxsize=4)
def layers_for(width: int, height: int) -> Layers:
    """The layers at this image size; the first call takes some tenths of a second."""
    scale = min(width / DESIGN_WIDTH, height / DESIGN_HEIGHT)
    origin = ((width - DESIGN_WIDTH * scale) / 2, (height - DESIGN_HEIGHT * scale) / 2)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = (columns - origin[0]) / scale, (rows - origin[1]) / scale
    rng = np.random.default_rng(20240229)

    plate = _rounded_box(x, y)
    boss = np.hypot(x - BOSS[0], y - BOSS[1])
    holes = _holes(x, y)
    metal = np.minimum(plate, holes)
    alpha = np.clip(metal * scale + 0.5, 0, 1) * 255
    field = _field(x, y)
    surface = _shade(_relief(plate, boss, holes), scale) + _fan(x, y, boss) + np.float32(0.06) * field

    turned = ((boss < BOSS_RADIUS - 4) & (boss > BORE_RADIUS + 3)).astype(np.float32)
    face = ((boss > BOSS_RADIUS + 1) & (metal > CHAMFER * 0.8)).astype(np.float32)
    left, top = (int(BOSS[i] * scale + origin[i] - BOSS_RADIUS * scale) for i in (0, 1))
    side = int(2 * BOSS_RADIUS * scale) + 2
    square = (slice(top, top + side), slice(left, left + side))
    marking = (x > MARKING[0]) & (x < MARKING[2]) & (y > MARKING[1]) & (y < MARKING[3])
    clear = cv2.distanceTransform(((metal > CHAMFER) & ~marking).astype(np.uint8), cv2.DIST_L2, 3)

    shape = (height + BANK_MARGIN, width + BANK_MARGIN)
    return Layers(
        scale=scale,
        origin=origin,
        surface=surface,
        alpha=alpha.astype(np.uint8),
        light=_belt_light(alpha.astype(np.float32), scale),
        face=_soft(face, scale) * np.float32(GRAIN) * (1 - np.float32(0.62) * field),
        clear=clear.astype(np.float32),
        ring_origin=(left, top),
        ring_index=(boss[square] * RING_STEPS).astype(np.intp),
        ring_gain=_soft(turned, scale)[square] * np.float32(0.04),
        grain_bank=_grain(rng, shape, scale),
        belt_bank=_belt(rng, shape, scale),
        noise_bank=rng.standard_normal(shape, dtype=np.float32),
    )


def _rounded_box(x: Plane, y: Plane) -> Plane:
    """Signed distance to the plate's outline, positive inside."""
    left, top, right, bottom = PLATE
    dx = np.abs(x - (left + right) / 2) - (right - left) / 2 + PLATE_CORNER
    dy = np.abs(y - (top + bottom) / 2) - (bottom - top) / 2 + PLATE_CORNER
    outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
    return (PLATE_CORNER - outside - np.minimum(np.maximum(dx, dy), 0)).astype(np.float32)


def _holes(x: Plane, y: Plane) -> Plane:
    """Distance to the nearest opening, negative within it."""
    distance = np.hypot(x - BOSS[0], y - BOSS[1]) - BORE_RADIUS
    for hole_x, hole_y in BOLT_HOLES:
        distance = np.minimum(distance, np.hypot(x - hole_x, y - hole_y) - BOLT_RADIUS)
    for hole_x, hole_y in DOWEL_HOLES:
        distance = np.minimum(distance, np.hypot(x - hole_x, y - hole_y) - DOWEL_RADIUS)
    (x0, y0), (x1, _), radius = SLOT
    distance = np.minimum(distance, np.hypot(x - np.clip(x, x0, x1), y - y0) - radius)
    return distance.astype(np.float32)


def _relief(plate: Plane, boss: Plane, holes: Plane) -> Plane:
    """Height above the belt in design units: chamfered edges, raised boss, groove and counterbore."""
    height = 4.5 * np.clip(plate / 6, 0, 1) + 5.0 * np.clip(holes / CHAMFER, 0, 1)
    height += 7.0 * np.clip((BOSS_RADIUS - boss) / 6, 0, 1)
    groove = np.clip((boss - GROOVE[0]) / 2.5, 0, 1) * np.clip((GROOVE[1] - boss) / 2.5, 0, 1)
    height -= 5.0 * groove
    height -= 6.0 * np.clip((COUNTERBORE_RADIUS - boss) / 4, 0, 1)
    return height.astype(np.float32)


def _shade(relief: Image, scale: float) -> Plane:
    """Diffuse and specular reflection of the relief under the light, plus a wide fill light."""
    relief = cv2.GaussianBlur(relief, (0, 0), 1.1 * max(scale, 0.5))
    slope_y, slope_x = (slope * scale for slope in np.gradient(relief))
    up = 1 / np.sqrt(slope_x**2 + slope_y**2 + 1)
    towards = (-slope_x * LIGHT[0] - slope_y * LIGHT[1] + LIGHT[2]) * up
    half = np.array([LIGHT[0], LIGHT[1], LIGHT[2] + 1]) / np.sqrt(2 + 2 * LIGHT[2])
    glint = np.clip((-slope_x * half[0] - slope_y * half[1] + half[2]) * up, 0, 1) ** 28
    flat_glint = half[2] ** 28
    diffuse = np.clip(towards, 0, None) / LIGHT[2]
    return (FLAT * (0.36 + 0.64 * diffuse) + 0.42 * (glint - flat_glint)).astype(np.float32)


def _fan(x: Plane, y: Plane, boss: Plane) -> Plane:
    """Bright and dark sectors of a turned face: its grooves reflect the light across, never along themselves."""
    angle = np.arctan2(y - BOSS[1], x - BOSS[0])
    to_light = np.arctan2(LIGHT[1], LIGHT[0])
    sectors = 0.22 * np.cos(angle - to_light) ** 8 + 0.09 * np.cos(angle - to_light - 1.15) ** 16 - 0.07
    on_boss = np.clip((BOSS_RADIUS - 4 - boss) / 2, 0, 1) * np.clip((boss - BORE_RADIUS - 3) / 2, 0, 1)
    floor = np.where(boss < COUNTERBORE_RADIUS, 0.65, 1.0)
    return (sectors * on_boss * floor).astype(np.float32)


def _field(x: Plane, y: Plane) -> Plane:
    """1 on the whitened field under the symbol, 0 off it: on bare brushing the symbol is often not readable."""
    left, top, right, bottom = SYMBOL_FIELD
    inside = np.minimum(np.minimum(x - left, right - x), np.minimum(y - top, bottom - y))
    return np.clip(inside / 1.5, 0, 1).astype(np.float32)


def _belt_light(alpha: Plane, scale: float) -> Bytes:
    """Cast shadow to the lower right, and the darkening of the gap under the part's edge."""
    shift = np.array([[1, 0, 13 * scale], [0, 1, 15 * scale]], dtype=np.float32)
    height, width = alpha.shape
    cast = cv2.GaussianBlur(cv2.warpAffine(alpha, shift, (width, height)), (0, 0), 11 * scale)
    contact = cv2.GaussianBlur(alpha, (0, 0), 5 * scale)
    return np.clip((1 - 0.62 * cast / 255) * (1 - 0.5 * contact / 255) * 255, 0, 255).astype(np.uint8)


def _soft(plane: Plane, scale: float) -> Plane:
    return np.asarray(cv2.GaussianBlur(plane, (0, 0), 1.2 * scale), dtype=np.float32)


def _unit(plane: Image) -> Plane:
    """Zero mean, unit standard deviation."""
    return ((plane - plane.mean()) / plane.std()).astype(np.float32)


def _grain(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Plane:
    """Brushed metal: noise smeared along x at several lengths, few strokes stronger than the rest."""
    total = np.zeros(shape, np.float32)
    for length, across, weight in ((26, 0.5, 0.5), (110, 0.8, 0.9), (420, 1.6, 0.55)):
        white = rng.standard_normal(shape, dtype=np.float32)
        total += weight * _unit(cv2.GaussianBlur(white, (0, 0), sigmaX=length * scale / 2, sigmaY=across * scale))
    strokes: Image = (rng.random(shape, dtype=np.float32) > 0.99985).astype(np.float32)
    strokes = cv2.GaussianBlur(strokes, (0, 0), sigmaX=40 * scale, sigmaY=0.55 * scale)
    return _unit(total + 0.5 * _unit(strokes))


def _belt(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Plane:
    """Dark woven conveyor belt: a fine weave, wear along the direction of travel, lint."""
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    pitch = 2 * np.pi / (7.0 * scale)
    weave = np.sin(columns * pitch) * np.sin(rows * pitch)
    small = rng.standard_normal((shape[0] // 24 + 2, shape[1] // 24 + 2), dtype=np.float32)
    smeared = cv2.GaussianBlur(small, (0, 0), sigmaX=6, sigmaY=1.2)
    wear = cv2.resize(smeared, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    lint: Image = (rng.random(shape, dtype=np.float32) > 0.99985).astype(np.float32)
    lint = cv2.GaussianBlur(lint, (0, 0), 1.1 * max(scale, 0.5))
    fine = cv2.GaussianBlur(rng.standard_normal(shape, dtype=np.float32), (0, 0), 0.9)
    belt = 0.185 + 0.020 * weave + 0.020 * _unit(wear) + 0.012 * _unit(fine) + 0.10 * lint / lint.max()
    return np.clip(belt, 0.02, 1).astype(np.float32)
