"""The rendered product: deterministic, readable, with ground truth that fits what is visible."""

from __future__ import annotations

import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import zxingcpp
from hypothesis import given, settings
from hypothesis import strategies as st

from cameras.errors import CameraError
from cameras.simulator.scenes import DEFECTS, SceneError, render

SERIAL = "LOT7-000123"
SEEDS = range(12)


def test_scene_is_mono8_with_an_empty_mask_when_the_part_is_good() -> None:
    scene = render(SERIAL, 1)
    assert (scene.pixels.shape, scene.pixels.dtype) == ((720, 960), np.uint8)
    assert (scene.mask.shape, scene.mask.dtype) == ((720, 960), np.uint8)
    assert not scene.mask.any()
    assert (scene.defect, scene.serial) == (None, SERIAL)


def test_there_are_at_least_six_kinds_of_defect() -> None:
    assert len(set(DEFECTS)) >= 6


@pytest.mark.parametrize("defect", [None, *DEFECTS])
def test_same_seed_gives_same_bytes_and_another_seed_other_bytes(defect: str | None) -> None:
    first, again, other = render(SERIAL, 7, defect), render(SERIAL, 7, defect), render(SERIAL, 8, defect)
    assert first.pixels.tobytes() == again.pixels.tobytes()
    assert first.mask.tobytes() == again.mask.tobytes()
    assert first.pixels.tobytes() != other.pixels.tobytes()


def test_another_process_renders_the_same_bytes() -> None:
    code = (
        "import hashlib; from cameras.simulator.scenes import render;"
        "print(hashlib.sha256(render('A1', 3, 'stain', 0.4, 640, 480).pixels.tobytes()).hexdigest())"
    )
    # PYTHONHASHSEED differs, so an order taken from a set or a hash would show.
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_parts_lie_differently_and_light_varies() -> None:
    scenes = [render(SERIAL, seed).pixels for seed in SEEDS]
    brightness = [float(pixels.mean()) for pixels in scenes]
    assert max(brightness) - min(brightness) > 2
    moments = [cv2.moments((cv2.GaussianBlur(pixels, (0, 0), 3) > 90).astype(np.uint8)) for pixels in scenes]
    places = np.array([(moment["m10"] / moment["m00"], moment["m01"] / moment["m00"]) for moment in moments])
    assert (np.ptp(places, axis=0) > 5).all()


@pytest.mark.parametrize("defect", DEFECTS)
@pytest.mark.parametrize("severity", [0.0, 0.5, 1.0])
def test_mask_marks_the_pixels_that_the_defect_changed(defect: str, severity: float) -> None:
    for seed in SEEDS[:3]:
        bad, good = render(SERIAL, seed, defect, severity), render(SERIAL, seed)
        change = cv2.absdiff(bad.pixels, good.pixels).astype(int)
        marked = bad.mask > 0
        assert set(np.unique(bad.mask)) == {0, 255}
        assert change[marked].sum() > 0.9 * change.sum()
        assert change[~marked].max() < 16
        assert change[marked].mean() > 2.5


@pytest.mark.parametrize("defect", DEFECTS)
def test_defects_grow_with_severity_and_the_smallest_is_visible(defect: str) -> None:
    areas = np.array([[np.count_nonzero(render(SERIAL, seed, defect, s).mask) for s in (0.0, 0.5, 1.0)] for seed in SEEDS[:5]])
    assert (areas[:, 0] >= 60).all()
    assert (np.diff(areas, axis=1) > 0).all()
    assert areas.max() < 0.1 * 960 * 720


@pytest.mark.parametrize(("width", "height"), [(960, 720), (640, 480), (800, 800)])
def test_serials_read_back_from_good_parts(width: int, height: int) -> None:
    for seed in SEEDS:
        scene = render(f"LOT-2026-0412-{seed:06d}", seed, width=width, height=height)
        assert [code.text for code in zxingcpp.read_barcodes(scene.pixels)] == [scene.serial]


def test_a_grossly_bad_marking_cannot_be_read() -> None:
    scenes = [render(SERIAL, seed, "bad_marking", 1.0) for seed in SEEDS]
    assert not any(zxingcpp.read_barcodes(scene.pixels) for scene in scenes)


@settings(max_examples=20, deadline=None)
@given(serial=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40))
def test_any_printable_serial_of_forty_characters_is_marked_and_read(serial: str) -> None:
    scene = render(serial, 2)
    assert [code.text for code in zxingcpp.read_barcodes(scene.pixels)] == [serial]


@pytest.mark.parametrize("defect", DEFECTS)
@given(seed=st.integers(0, 2**40), severity=st.floats(0, 1))
@settings(max_examples=8, deadline=None)
def test_every_seed_and_severity_renders_a_marked_defect(defect: str, seed: int, severity: float) -> None:
    assert render("A1", seed, defect, severity, 640, 480).mask.any()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"defect": "rust"}, "choose one of scratch"),
        ({"severity": 1.1}, "from 0 to 1"),
        ({"severity": float("nan")}, "from 0 to 1"),
        ({"seed": -1}, "0 or more"),
        ({"width": 100}, "at least 320×240"),
        ({"serial": ""}, "1 to 40 characters"),
        ({"serial": "x" * 200}, "at most 40 characters"),
    ],
)
def test_requests_out_of_range_say_what_to_give(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(SceneError, match=says) as raised:
        render(**{"serial": SERIAL, "seed": 1, **arguments})  # type: ignore[arg-type]
    assert isinstance(raised.value, CameraError)
