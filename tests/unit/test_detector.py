"""The detector without a trained network: pre-processing, p-values, regions, and the class that it proposes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from small_models import FAIL, REVIEW, SIZE, network, small_model

from cameras.errors import UnsupportedPixelFormat
from cameras.frame import Frame, PixelFormat
from inspection.artifact import NETWORK, read_artifact
from inspection.detector import CompiledNetwork, Detector, find_regions, p_value
from inspection.errors import ModelError
from inspection.preprocessing import input_size, network_input


def frame(pixels: NDArray[np.generic], pixel_format: PixelFormat) -> Frame:
    return Frame(pixels, pixel_format, frame_id=1, timestamp_ns=0, received_ns=0)


def scene(height: int = 96, width: int = 128) -> NDArray[np.float64]:
    """A smooth RGB scene in [0, 1] whose channels differ everywhere."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return np.stack([0.2 + 0.6 * x, 0.8 - 0.6 * y, 0.3 + 0.2 * np.sin(6 * x) * y], axis=-1)


def quantised(values: NDArray[np.float64], pixel_format: PixelFormat) -> NDArray[np.generic]:
    return np.round(values * pixel_format.full_scale).astype(pixel_format.dtype)


def mosaic(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a sensor with the pattern RG / GB sees, by definition of GenICam's BayerRG."""
    bayer = np.empty(rgb.shape[:2])
    bayer[0::2, 0::2] = rgb[0::2, 0::2, 0]
    bayer[0::2, 1::2] = rgb[0::2, 1::2, 1]
    bayer[1::2, 0::2] = rgb[1::2, 0::2, 1]
    bayer[1::2, 1::2] = rgb[1::2, 1::2, 2]
    return bayer


MONO = [PixelFormat.Mono8, PixelFormat.Mono10, PixelFormat.Mono12, PixelFormat.Mono16]
BAYER = [PixelFormat.BayerRG8, PixelFormat.BayerRG10, PixelFormat.BayerRG12]


@pytest.mark.parametrize("pixel_format", MONO)
def test_mono_of_any_depth_becomes_the_same_three_channels(pixel_format: PixelFormat) -> None:
    gray = scene()[..., 0]
    tensor = network_input(frame(quantised(gray, pixel_format), pixel_format), 64, 48)
    assert tensor.shape == (1, 3, 48, 64)
    assert tensor.dtype == np.float32
    assert np.array_equal(tensor[0, 0], tensor[0, 1])
    expected = gray.reshape(48, 2, 64, 2).mean((1, 3))
    assert np.abs(tensor[0, 0] - expected).max() < 1.01 / pixel_format.full_scale


@pytest.mark.parametrize("pixel_format", [PixelFormat.Mono10, PixelFormat.Mono12, PixelFormat.Mono16])
def test_depth_beyond_eight_bits_is_kept(pixel_format: PixelFormat) -> None:
    flat = np.full((96, 128), 1, pixel_format.dtype)
    assert network_input(frame(flat, pixel_format), 64, 48).max() == pytest.approx(1 / pixel_format.full_scale)


@pytest.mark.parametrize("pixel_format", list(PixelFormat))
def test_a_dark_frame_stays_dark(pixel_format: PixelFormat) -> None:
    dark = np.ones(pixel_format.shape(128, 96), pixel_format.dtype)
    assert network_input(frame(dark, pixel_format), 64, 48).max() <= 1.01 / pixel_format.full_scale


@pytest.mark.parametrize("pixel_format", BAYER)
@pytest.mark.parametrize("width", [16, 64, 80])  # quartered, halved, neither
def test_bayer_gives_the_colours_of_the_scene(pixel_format: PixelFormat, width: int) -> None:
    height = width * 3 // 4
    colour = network_input(frame(quantised(scene(), PixelFormat.RGB8), PixelFormat.RGB8), width, height)
    bayer = network_input(frame(quantised(mosaic(scene()), pixel_format), pixel_format), width, height)
    assert np.abs(colour - bayer).max() < 0.02
    assert np.abs(colour - bayer[:, ::-1]).max() > 0.2, "the scene could not tell red from blue"


def test_channels_are_red_green_blue_and_alpha_is_dropped() -> None:
    pixels = np.zeros((96, 128, 4), np.uint8)
    pixels[..., 0], pixels[..., 2], pixels[..., 3] = 255, 51, 7
    for pixel_format in (PixelFormat.RGBa8, PixelFormat.RGB8):
        tensor = network_input(frame(pixels[..., : pixel_format.channels], pixel_format), 64, 48)
        assert tensor[0, :, 10, 10] == pytest.approx([1.0, 0.0, 0.2])


def test_a_single_pixel_keeps_its_share_of_the_area() -> None:
    pixels = np.zeros((480, 640), np.uint16)
    pixels[100, 200] = 65535
    tensor = network_input(frame(pixels, PixelFormat.Mono16), 64, 48)
    assert tensor[0, 0].sum() == pytest.approx(1 / 100, rel=0.05)


@given(st.integers(1, 90), st.integers(1, 90))
def test_frames_of_any_size_are_read(width: int, height: int) -> None:
    full = np.full((height, width), 4095, np.uint16)
    assert np.allclose(network_input(frame(full, PixelFormat.Mono12), 48, 32), 1.0)


def test_pixels_that_contradict_the_format_are_refused() -> None:
    right = frame(np.zeros((48, 64), np.uint16), PixelFormat.Mono12)
    wrong = [
        right.pixels.astype(np.uint8),
        right.pixels.astype(np.float32),
        right.pixels[..., np.newaxis],
        right.pixels[0],
        right.pixels[:0],
    ]
    assert network_input(right, 64, 48).shape == (1, 3, 48, 64)
    for pixels in wrong:
        with pytest.raises(UnsupportedPixelFormat, match="PixelFormat"):
            network_input(replace(right, pixels=pixels), 64, 48)


@given(st.integers(16, 10_000), st.integers(16, 10_000))
def test_the_network_sees_the_aspect_ratio_of_the_frame(width: int, height: int) -> None:
    columns, rows = input_size(width, height, 320)
    assert max(columns, rows) == 320
    assert columns % 16 == rows % 16 == 0
    shorter = 320 * min(width, height) / max(width, height)
    assert abs(min(columns, rows) - shorter) <= 8 or min(columns, rows) == 16


@given(st.lists(st.floats(0, 100), min_size=1), st.floats(0, 100))
def test_p_value_counts_good_parts_at_least_as_strange(scores: list[float], score: float) -> None:
    expected = (1 + sum(good >= score for good in scores)) / (len(scores) + 1)
    assert p_value(score, tuple(sorted(scores))) == expected


def test_regions_cover_their_cells_in_frame_pixels_strangest_first() -> None:
    anomaly_map = np.zeros((4, 8), np.float32)
    anomaly_map[0, 0] = 5.0
    anomaly_map[2, 5], anomaly_map[3, 6] = 7.0, 9.0  # touch at a corner: one region
    strangest, other = find_regions(anomaly_map, 5.0, 800, 400)
    assert (strangest.x, strangest.y, strangest.width, strangest.height) == (500, 200, 200, 200)
    assert (strangest.score, strangest.area) == (9.0, 2 * 100 * 100)
    assert (other.x, other.y, other.width, other.height, other.area) == (0, 0, 100, 100, 10_000)
    assert find_regions(anomaly_map, 9.5, 800, 400) == ()


@given(st.integers(1, 2000), st.integers(1, 2000), st.integers(1, 40), st.integers(1, 40))
def test_regions_stay_inside_the_frame(width: int, height: int, rows: int, columns: int) -> None:
    (region,) = find_regions(np.ones((rows, columns), np.float32), 0.5, width, height)
    assert (region.x, region.y, region.width, region.height) == (0, 0, width, height)


def test_the_detector_keeps_openvino_from_reporting_its_use() -> None:
    check = "import inspection.detector, sys; sys.exit(sys.modules['openvino_telemetry'] is not None)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


# --- the proposed class ---

CLASSES = ("scratch", "bent lead", "dent")


def spotted(spot: int, brightness: float) -> Frame:
    """A dark part with a spot of this brightness in one of its three thirds."""
    pixels = np.full((SIZE, SIZE), 10, np.uint8)
    pixels[40:56, 32 * spot + 8 : 32 * spot + 24] = round(255 * brightness)
    return frame(pixels, PixelFormat.Mono8)


@pytest.fixture
def detector(tmp_path: Path) -> Detector:
    return Detector.load(small_model(tmp_path, CLASSES))


@pytest.mark.parametrize("brightness", [(REVIEW + FAIL) / 2, 1.0])
@pytest.mark.parametrize("spot", range(3))
def test_the_class_that_a_reject_is_most_like_is_proposed(detector: Detector, spot: int, brightness: float) -> None:
    detection = detector.inspect(spotted(spot, brightness))
    assert detection.score == pytest.approx(brightness, abs=0.01)
    assert detection.proposed_class == CLASSES[spot]


def test_a_score_at_the_review_threshold_has_a_class_and_one_below_has_none(tmp_path: Path) -> None:
    # Scores of 8-bit pixels: the threshold itself is one of them.
    stored = read_artifact(small_model(tmp_path, CLASSES))
    detector = Detector(stored)
    at = detector.inspect(spotted(1, 0.6)).score
    limits = msgspec.structs.replace(stored.manifest.thresholds, review=at)
    detector = Detector(replace(stored, manifest=msgspec.structs.replace(stored.manifest, thresholds=limits)))
    assert detector.inspect(spotted(1, 0.6)).proposed_class == CLASSES[1]
    assert detector.inspect(spotted(1, 0.59)).proposed_class is None


def test_a_model_without_classes_proposes_none(tmp_path: Path) -> None:
    detection = Detector.load(small_model(tmp_path)).inspect(spotted(0, 1.0))
    assert detection.score > FAIL
    assert detection.proposed_class is None


@pytest.mark.parametrize("kind", [b"Nonsense", b"\xb6"])
def test_a_network_of_what_nobody_knows_is_refused(kind: bytes) -> None:
    files = network(0)
    text = files[NETWORK].replace(b'type="', b'type="' + kind, 1)
    with pytest.raises(ModelError, match="train the model again"):
        CompiledNetwork(files | {NETWORK: text}, "f32")


def test_a_network_whose_outputs_have_names_that_are_no_text_is_refused() -> None:
    files = network(0)
    text = files[NETWORK].replace(b"anomaly_map", b"anomaly\xff\xffmap")
    with pytest.raises(ModelError, match="train the model again"):
        CompiledNetwork(files | {NETWORK: text}, "f32")


def test_score_and_map_are_the_same_with_and_without_classes() -> None:
    tensor = network_input(spotted(2, 0.9), SIZE, SIZE)
    plain, with_classes = (CompiledNetwork(network(classes), "f32") for classes in (0, 3))
    score, anomaly_map = with_classes.infer(tensor)
    assert score == plain.infer(tensor)[0]
    assert np.array_equal(anomaly_map, plain.infer(tensor)[1])
    assert (plain.classes, with_classes.classes) == (0, 3)
    assert plain.infer_with_classes(tensor)[2].shape == (0,)
    likeness = with_classes.infer_with_classes(tensor)[2]
    assert (likeness.shape, likeness.dtype, likeness.argmax()) == ((3,), np.float32, 2)


@pytest.mark.parametrize(("named", "told_apart"), [(3, 0), (3, 2), (0, 2)])
def test_a_model_whose_network_does_not_tell_its_classes_apart_is_refused(tmp_path: Path, named: int, told_apart: int) -> None:
    path = small_model(tmp_path, CLASSES[:named], network(told_apart))
    with pytest.raises(ModelError, match=f"names {named} defect classes, its network tells {told_apart} apart; train"):
        Detector.load(path)


def test_likenesses_of_another_shape_are_refused(tmp_path: Path) -> None:
    path = small_model(tmp_path, CLASSES, network(3, likeness_rows=2))
    with pytest.raises(ModelError, match=r"class_likeness has the shape .*2,3.*, not \(1, k\)"):
        Detector.load(path)


def test_likenesses_that_are_no_numbers_propose_nothing_and_leave_the_verdict(tmp_path: Path) -> None:
    detector = Detector.load(small_model(tmp_path, CLASSES, network(3, likeness_factor=np.nan)))
    detection = detector.inspect(spotted(0, 1.0))
    assert detection.score > FAIL
    assert detection.proposed_class is None
