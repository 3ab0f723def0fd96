"""How a frame was taken: the figures, the limits that good images give them, and what a model without any refuses."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from running_station import HEIGHT, WIDTH, scene

from cameras.frame import Frame, PixelFormat
from inspection.artifact import OpticsRanges
from inspection.optics import RULES, Figures, look, ranges, strain, troubles, widened
from inspection.optics_watch import OpticsWatch
from inspection.preprocessing import network_input

Pixels = NDArray[np.generic]
INPUT = (160, 128)


def frame(pixels: Pixels, pixel_format: str = "Mono8") -> Frame:
    return Frame(pixels, PixelFormat.named(pixel_format), frame_id=1, timestamp_ns=0, received_ns=0)


def figures(pixels: Pixels, pixel_format: str = "Mono8") -> dict[str, float]:
    taken = frame(pixels, pixel_format)
    return dict(look(taken, network_input(taken, *INPUT)).figures)


def changed(pixels: NDArray[np.uint8], change: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> NDArray[np.uint8]:
    return np.clip(np.rint(change(pixels.astype(np.float32))), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def usual() -> OpticsRanges:
    return ranges([figures(scene(number)) for number in range(40)], [(WIDTH, HEIGHT)] * 40)


def wrong(pixels: Pixels, usual: OpticsRanges | None, pixel_format: str = "Mono8") -> str:
    return "; ".join(troubles(frame(pixels, pixel_format), figures(pixels, pixel_format), usual))


def test_other_good_parts_are_not_refused(usual: OpticsRanges) -> None:
    assert [wrong(scene(number), usual) for number in range(1_000, 1_100)] == [""] * 100


def test_a_defect_is_no_fault_of_the_optics(usual: OpticsRanges) -> None:
    for number in range(20):
        pixels = scene(number)
        pixels[50:90, 40:100] = np.random.default_rng(number).choice(np.array([0, 255], np.uint8), (40, 60))
        assert wrong(pixels, usual) == ""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda pixels: pixels * 0, "too dark"),
        (lambda pixels: pixels * 0.25, "too dark"),
        (lambda pixels: pixels * 0.5, "too dark"),
        (lambda pixels: pixels * 4, "too bright"),
        (lambda pixels: np.full_like(pixels, 128), "without contrast"),
        (lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 1.0), "blurred"),
        (lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 4.0), "blurred"),
        (lambda pixels: pixels * np.linspace(1, 0.2, WIDTH, dtype=np.float32), "dark on the right"),
        (lambda pixels: pixels * np.linspace(0.2, 1, HEIGHT, dtype=np.float32)[:, None], "dark at the top"),
    ],
)
def test_what_happens_to_light_and_lens_is_said_in_words(
    usual: OpticsRanges, change: Callable[[NDArray[np.float32]], NDArray[np.float32]], says: str
) -> None:
    for number in range(100, 110):
        assert says in wrong(changed(scene(number), change), usual)


def test_the_figures_are_the_same_at_every_depth_and_in_every_mosaic(usual: OpticsRanges) -> None:
    shown = scene(7)
    wide = shown.astype(np.uint16)
    expected = figures(shown)
    formats: dict[str, Pixels] = {
        "Mono10": wide << 2 | wide >> 6,
        "Mono12": wide << 4 | wide >> 4,
        "RGB8": np.repeat(shown[..., None], 3, axis=2),
        "RGBa8": np.concatenate([np.repeat(shown[..., None], 3, axis=2), np.full((HEIGHT, WIDTH, 1), 255, np.uint8)], axis=2),
    }
    for pixel_format, pixels in formats.items():
        assert figures(pixels, pixel_format) == pytest.approx(expected, rel=0.01, abs=1e-3), pixel_format
    # A demosaiced image is softer, which takes some of the noise that is contrast here.
    mosaic = figures(shown, "BayerRG8")
    assert mosaic.pop("sharpness") < expected.pop("sharpness")
    assert mosaic == pytest.approx(expected, rel=0.15, abs=1e-2)
    assert "too dark" in wrong((wide << 4) // 8, usual, "Mono12")


def test_a_frame_of_another_size_is_refused_where_the_good_images_tell_which_is_right(usual: OpticsRanges) -> None:
    half = np.ascontiguousarray(scene(3)[: HEIGHT // 2])
    assert f"{WIDTH} × {HEIGHT // 2} pixels, the good images had {WIDTH} × {HEIGHT}" in wrong(half, usual)
    mixed = ranges([figures(scene(number)) for number in range(40)], [(WIDTH, HEIGHT + number) for number in range(40)])
    assert "pixels, the good images had" not in wrong(half, mixed)


def test_a_dark_field_may_light_up_with_a_defect_and_not_go_out() -> None:
    def field(number: int) -> NDArray[np.uint8]:
        random = np.random.default_rng(number)
        image = random.normal(4, 1, (HEIGHT, WIDTH))
        image[30:90, 40:120] += random.normal(10, 4, (60, 80))
        return np.clip(image, 0, 255).astype(np.uint8)

    usual = ranges([figures(field(number)) for number in range(30)], [(WIDTH, HEIGHT)] * 30)
    scratched = field(50)
    scratched[60:62, 60:90] = 220
    assert "bright" not in wrong(scratched, usual)
    assert "dark" not in wrong(scratched, usual)
    assert "too dark" in wrong(changed(field(51), lambda pixels: pixels * 0.2), usual)


def test_a_model_without_ranges_refuses_what_shows_nothing_and_no_more() -> None:
    blank = np.full((HEIGHT, WIDTH), 77, np.uint8)
    assert wrong(blank, None) == "shows nothing: brightness 0.302 all over"
    assert wrong(changed(scene(1), lambda pixels: pixels * 0.25), None) == ""


def test_a_model_that_learned_further_images_takes_what_either_would(usual: OpticsRanges) -> None:
    dark = [changed(scene(number), lambda pixels: pixels * 0.4) for number in range(5)]
    assert all("too dark" in wrong(pixels, usual) for pixels in dark)
    both = widened(usual, ranges([figures(pixels) for pixels in dark], [(WIDTH, HEIGHT)] * 5))
    assert [wrong(pixels, both) for pixels in (*dark, scene(1))] == [""] * 6
    assert both.figures["brightness"].median == usual.figures["brightness"].median


def test_the_same_pixels_again_are_a_frozen_image_and_the_same_scene_is_not(usual: OpticsRanges) -> None:
    watch = OpticsWatch()

    def refusal(pixels: NDArray[np.uint8], camera: str = "top") -> str | None:
        taken = frame(pixels)
        return watch.refusal(camera, taken, look(taken, network_input(taken, *INPUT)), usual)

    noise = np.random.default_rng(0).integers(0, 2, (HEIGHT, WIDTH), np.uint8)
    assert refusal(scene(1)) is None
    assert refusal(scene(1), "side") is None, "another camera"
    assert refusal(scene(1)) == refusal(scene(1)) == "frozen: the same pixels as the frame before"
    assert refusal(scene(1) + noise) is None


def test_a_figure_that_nears_its_limit_is_said_once_and_again_after_it_was_back(usual: OpticsRanges) -> None:
    watch = OpticsWatch()
    good = {name: usual.figures[name].median for name in RULES}
    limits = usual.figures["brightness"]
    assert limits.lower is not None
    dimmer = good | {"brightness": limits.median * (limits.lower / limits.median) ** 0.8}
    assert strain("brightness", dimmer["brightness"], usual) == pytest.approx(-0.8)

    def said(each: Figures, times: int) -> list[str]:
        return [words for _ in range(times) for words in watch.drifts("plate", "m" * 64, each, usual)]

    assert said(good, 100) == []
    alarms = said(dimmer, 300)
    assert len(alarms) == 1
    assert alarms[0].startswith("brightness of product plate is 6")
    assert f"to {limits.lower:.3g}, where frames are refused" in alarms[0]
    assert said(good, 300) == []
    assert len(said(dimmer, 300)) == 1
    # A single strange part is no drift.
    assert list(OpticsWatch().drifts("plate", "m" * 64, dimmer, usual)) == []
