"""Defects of the rendered product, each of graded size.

A defect changes the surface of a blank in place; ``severity`` runs from 0 (hard to see) to 1 (gross). Where it changed
the surface is found by comparison (``changed``), so the ground truth is what is visible and never what was intended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from cameras.simulator.scenes.layers import (
    BOLT_HOLES,
    BOLT_RADIUS,
    BORE_RADIUS,
    BOSS,
    CHAMFER,
    LIGHT,
    PLATE,
    PLATE_CORNER,
    Bytes,
    Layers,
    Plane,
)
from cameras.simulator.scenes.marking import marking_box

Rng = np.random.Generator
Points = NDArray[np.float64]
Window = tuple[slice, slice]

VISIBLE = 0.022  # change of reflectance that counts as defective: about twice the noise of the sensor
PLATE_CENTRE = ((PLATE[0] + PLATE[2]) / 2, (PLATE[1] + PLATE[3]) / 2)
BLOB_REACH = 1.6  # a blob reaches at most this many radii
INK = 0.62  # share of the light that the laser marking takes


@dataclass(frozen=True)
class Blank:
    """One part before it is placed under the camera; defects change ``reflectance`` and ``alpha`` in place.

    ``bare`` is the brushed plate before anything was machined into it. ``ink`` is the marking's darkness within
    ``marking_box``, already applied to ``reflectance``.
    """

    layers: Layers
    reflectance: Plane
    alpha: Bytes
    bare: Plane
    ink: Plane


Defect = Callable[[Rng, float, Blank], None]


def changed(before: Blank, after: Blank) -> Bytes:
    """Mask of the visible difference, uint8 H×W 0/255, closed and one pixel wider, as a person drawing it would."""
    difference = cv2.absdiff(before.reflectance, after.reflectance)
    metal = cv2.max(before.alpha, after.alpha) > 24
    seen = ((difference > VISIBLE) & metal) | (cv2.absdiff(before.alpha, after.alpha) > 24)
    size = 2 * round(3 * before.layers.scale) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    closed = cv2.morphologyEx(seen.astype(np.uint8) * np.uint8(255), cv2.MORPH_CLOSE, kernel)
    return np.asarray(cv2.dilate(closed, np.ones((3, 3), np.uint8)), dtype=np.uint8)


def _graded(severity: float, low: float, high: float) -> float:
    return low + (high - low) * severity


def _site(rng: Rng, layers: Layers, margin: float) -> Points:
    """A point on plain metal, at least ``margin`` design units from edges, holes and marking."""
    rows, columns = np.nonzero(layers.clear[::4, ::4] >= margin * layers.scale)
    chosen = int(rng.integers(len(rows)))
    return np.array([columns[chosen] * 4.0, rows[chosen] * 4.0])


def _line(shape: tuple[int, ...], points: Points, width: float, taper: bool) -> Plane:
    """Coverage 0..1 of an anti-aliased polyline. Widths below a pixel become fainter; ``taper`` fades out the ends."""
    canvas = np.zeros(shape, np.uint8)
    fixed = np.round(points * 16).astype(np.int32)
    count = len(fixed) - 1
    for index in range(count):
        from_end = min(index + 1, count - index) / count
        strength = min(1.0, width) * (min(1.0, 0.25 + 3.5 * from_end) if taper else 1.0)
        segment = [fixed[index : index + 2]]
        cv2.polylines(canvas, segment, False, round(255 * strength), max(1, round(width)), cv2.LINE_AA, 4)
    return canvas.astype(np.float32) / np.float32(255)


def _walk(rng: Rng, start: Points, heading: float, length: float, step: float, jitter: float) -> Points:
    """A path of ``length`` pixels from ``start``; its heading (radians) wanders by ``jitter`` per step."""
    turns = np.cumsum(rng.normal(0, jitter, max(3, int(length / step))))
    # A bridge: the heading comes back in the end, so that long paths do not curl up or leave the part.
    turns += heading - turns[-1] * np.linspace(0, 1, len(turns))
    steps = np.stack([np.cos(turns), np.sin(turns)], axis=1) * step
    return np.concatenate([start[None], start + np.cumsum(steps, axis=0)])


def _window(layers: Layers, centre: Points, reach: float) -> Window:
    """Rows and columns within ``reach`` pixels of the centre: large images cost no more than the defect in them."""
    (x, y), far = centre, reach + 2
    rows = slice(max(0, int(y - far)), min(layers.height, int(y + far)))
    return rows, slice(max(0, int(x - far)), min(layers.width, int(x + far)))


def _blob(rng: Rng, window: Window, centre: Points, radius: float, roughness: float) -> Plane:
    """An irregular spot within the window: 1 in the middle, 0 at its rim, negative outside."""
    rows, columns = np.mgrid[window].astype(np.float32)
    distance, angle = cv2.cartToPolar(columns - np.float32(centre[0]), rows - np.float32(centre[1]))
    rim = np.ones_like(distance)
    for order in range(2, 9):
        phase, weight = rng.uniform(0, 2 * np.pi), rng.normal(0, 1.6 * roughness / order**1.5)
        rim += np.float32(weight) * np.cos(order * angle + np.float32(phase))
    return (1 - distance / (np.float32(radius) * np.clip(rim, 0.5, BLOB_REACH))).astype(np.float32)


def scratch(rng: Rng, severity: float, blank: Blank) -> None:
    """A slightly curved scratch: a bright burr on one flank, a shaded furrow beside it."""
    scale = blank.layers.scale
    length, width = _graded(severity, 46, 300) * scale, _graded(severity, 0.9, 2.6) * max(scale, 0.5)
    middle, heading = _site(rng, blank.layers, 24), rng.uniform(0, 2 * np.pi)
    start = middle - 0.5 * length * np.array([np.cos(heading), np.sin(heading)])
    points = _walk(rng, start, heading, length, 7 * scale, 0.03)
    metal = blank.alpha.astype(np.float32) / np.float32(255)
    contrast = np.float32(_graded(severity, 0.13, 0.40))
    furrow = _line(blank.alpha.shape, points + max(1.0, 0.8 * width), width, taper=True)
    blank.reflectance[:] -= 0.7 * contrast * furrow * metal
    blank.reflectance[:] += contrast * _line(blank.alpha.shape, points, width, taper=True) * metal


def dent(rng: Rng, severity: float, blank: Blank) -> None:
    """A shallow impact: the wall that faces away from the light is dark, the opposite one glints."""
    radius, centre = _graded(severity, 9, 32) * blank.layers.scale, _site(rng, blank.layers, 14)
    window = _window(blank.layers, centre, 1.4 * BLOB_REACH * radius)
    spot = np.clip(_blob(rng, window, centre, radius, 0.25), 0, 1)
    depth = cv2.GaussianBlur(spot * spot * (3 - 2 * spot), (0, 0), max(radius / 7, 0.8))
    slope_y, slope_x = np.gradient(depth)
    steepness = np.float32(_graded(severity, 0.10, 0.28) * radius)
    shade = (slope_x * np.float32(LIGHT[0]) + slope_y * np.float32(LIGHT[1])) * steepness
    blank.reflectance[window] += np.where(shade > 0, 1.3 * shade, shade) - np.float32(0.05 * severity) * depth


def crack(rng: Rng, severity: float, blank: Blank) -> None:
    """A jagged dark line that starts at a bolt hole or at the bore; large ones fork."""
    layers, scale = blank.layers, blank.layers.scale
    holes = [(hole, BOLT_RADIUS) for hole in BOLT_HOLES] + [(BOSS, BORE_RADIUS)]
    (x, y), radius = holes[int(rng.integers(len(holes)))]
    inward = np.arctan2(PLATE_CENTRE[1] - y, PLATE_CENTRE[0] - x)
    heading = inward + rng.uniform(-1.1, 1.1)
    start = np.array(layers.xy(x, y)) + (radius + 1) * scale * np.array([np.cos(heading), np.sin(heading)])
    length, width = _graded(severity, 26, 190) * scale, _graded(severity, 0.75, 2.4) * max(scale, 0.5)
    trunk = _walk(rng, start, heading, length, 5 * scale, 0.34)
    cover = _line(blank.alpha.shape, trunk, width, taper=False)
    for _ in range(round(3 * severity)):
        joint, aside = trunk[int(rng.integers(len(trunk) // 3, len(trunk)))], rng.choice([-0.8, 0.8])
        fork = _walk(rng, joint, heading + aside, length / 3, 5 * scale, 0.34)
        cover = np.maximum(cover, _line(blank.alpha.shape, fork, 0.6 * width, taper=True))
    blank.reflectance[:] *= 1 - np.float32(_graded(severity, 0.36, 0.80)) * cover


def missing_hole(rng: Rng, severity: float, blank: Blank) -> None:
    """A bolt hole drilled undersize; at severity 1 it was not drilled at all."""
    layers = blank.layers
    centre = np.array(layers.xy(*BOLT_HOLES[int(rng.integers(len(BOLT_HOLES)))]))
    reach = (BOLT_RADIUS + CHAMFER + 3) * layers.scale
    window = _window(layers, centre, reach)
    drilled, opening = blank.reflectance[window].copy(), blank.alpha[window].copy()
    rows, columns = np.mgrid[window].astype(np.float32)
    distance = np.hypot(columns - np.float32(centre[0]), rows - np.float32(centre[1]))
    closed = np.clip(np.float32(reach + 1) - distance, 0, 1)
    blank.reflectance[window] += (blank.bare[window] - blank.reflectance[window]) * closed
    blank.alpha[window] = 255
    side = round((1 - _graded(severity, 0.12, 1.0)) * len(drilled))
    if side >= 4:
        top, left = (round(float(middle) - side / 2) for middle in centre[::-1])
        inner = (slice(top, top + side), slice(left, left + side))
        smaller = cv2.resize(closed, (side, side), interpolation=cv2.INTER_AREA)
        hole = cv2.resize(drilled, (side, side), interpolation=cv2.INTER_AREA)
        blank.reflectance[inner] += (hole - blank.reflectance[inner]) * smaller
        blank.alpha[inner] = cv2.resize(opening, (side, side), interpolation=cv2.INTER_AREA)


def stain(rng: Rng, severity: float, blank: Blank) -> None:
    """Oil or coolant dried on the surface: a darker film with a darker rim."""
    radius, centre = _graded(severity, 20, 92) * blank.layers.scale, _site(rng, blank.layers, 30)
    window = _window(blank.layers, centre, BLOB_REACH * radius)
    film = _blob(rng, window, centre, radius, 0.32)
    soft = np.clip(film * np.float32(radius / (4 * blank.layers.scale)), 0, 1)
    rim = np.exp(-((film - 0.07) ** 2) * np.float32(260)) * soft
    blank.reflectance[window] *= 1 - np.float32(_graded(severity, 0.075, 0.30)) * (0.75 * soft + 0.6 * rim)


def chip(rng: Rng, severity: float, blank: Blank) -> None:
    """Material broken out of the plate's outer edge; what is left shows a rough bright fracture."""
    layers = blank.layers
    left, top, right, bottom = PLATE
    along_x, along_y = rng.uniform(left + 90, right - 90), rng.uniform(top + 90, bottom - 90)
    arc = PLATE_CORNER * 0.3  # how far a rounded corner lies inside the plate's rectangle
    corners = [(left + arc, top + arc), (right - arc, bottom - arc)]
    edges = [(along_x, top), (along_x, bottom), (left, along_y), (right, along_y), *corners]
    centre = np.array(layers.xy(*edges[int(rng.integers(len(edges)))]))
    radius = _graded(severity, 9, 46) * layers.scale
    window = _window(layers, centre, BLOB_REACH * radius)
    bite = _blob(rng, window, centre, radius, 0.55)
    sharp = np.float32(radius / 1.5)
    gone = np.clip((bite - 0.28) * sharp, 0, 1)
    fracture = np.clip(bite * sharp, 0, 1) - gone
    facets = cv2.GaussianBlur(rng.standard_normal(bite.shape, dtype=np.float32), (0, 0), 2.2 * max(layers.scale, 0.5))
    blank.reflectance[window] += fracture * (np.float32(-0.10) + np.float32(0.6) * facets)
    blank.alpha[window] = cv2.multiply(blank.alpha[window], 1 - gone, dtype=cv2.CV_8U)


def fibre(rng: Rng, severity: float, blank: Blank) -> None:
    """A loose thread or swarf lying on the part, with the fine shadow that it casts."""
    scale = blank.layers.scale
    length, width = _graded(severity, 42, 330) * scale, _graded(severity, 0.8, 3.0) * max(scale, 0.5)
    start = _site(rng, blank.layers, 20)
    points = _walk(rng, start, rng.uniform(0, 2 * np.pi), length, 6 * scale, 0.22)
    colour = np.float32(0.88 if rng.random() < 0.4 else 0.13)  # swarf or thread
    opacity = np.float32(_graded(severity, 0.5, 0.92))
    metal = blank.alpha.astype(np.float32) / np.float32(255)
    shadow = cv2.GaussianBlur(_line(blank.alpha.shape, points + 3.0 * scale, width, taper=False), (0, 0), 1.4 * scale)
    blank.reflectance[:] *= 1 - np.float32(0.30) * shadow * metal
    thread = _line(blank.alpha.shape, points, width, taper=False) * opacity * metal
    blank.reflectance[:] += (colour - blank.reflectance) * thread


def bad_marking(rng: Rng, severity: float, blank: Blank) -> None:
    """The laser out of focus and out of power over part of the marking."""
    area = marking_box(blank.layers)
    height, width = blank.ink.shape
    smeared = cv2.GaussianBlur(blank.ink, (0, 0), _graded(severity, 1.3, 5.0) * max(blank.layers.scale, 0.5))
    axis, flip = int(rng.integers(2)), rng.random() < 0.5
    position = np.mgrid[0:height, 0:width][axis].astype(np.float32) / np.float32((height, width)[axis])
    if flip:
        position = 1 - position
    affected = np.clip((np.float32(_graded(severity, 0.35, 1.15)) - position) * 8, 0, 1)
    wrong = smeared * np.float32(_graded(severity, 0.85, 0.45))
    ink = blank.ink + (wrong - blank.ink) * affected
    face = blank.reflectance[area] / (1 - np.float32(INK) * blank.ink)
    blank.reflectance[area] = face * (1 - np.float32(INK) * ink)


DEFECT_BY_NAME: Mapping[str, Defect] = MappingProxyType(
    {defect.__name__: defect for defect in (scratch, dent, crack, missing_hole, stain, chip, fibre, bad_marking)}
)
DEFECTS: tuple[str, ...] = tuple(DEFECT_BY_NAME)
