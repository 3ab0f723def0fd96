"""From the scene to the received pixels: formats, depth, exposure, gain, region of interest, without a scene."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cameras.simulator.control import SimulatedCamera

Scene = Callable[..., NDArray[Any]]
FORMATS = ("Mono8", "Mono12", "BayerRG8", "RGB8")


def luma(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """BT.601 in 15-bit integers."""
    wide = rgb.astype(np.uint32)
    return ((9798 * wide[..., 0] + 19235 * wide[..., 1] + 3735 * wide[..., 2] + 16384) >> 15).astype(np.uint8)


def mosaic(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    out = rgb[..., 1].copy()
    out[0::2, 0::2] = rgb[0::2, 0::2, 0]
    out[1::2, 1::2] = rgb[1::2, 1::2, 2]
    return out


def extended(gray: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """8 to 12 bit, 255 to 4095."""
    return gray.astype(np.uint16) << 4 | gray >> 4


def expected(scene: NDArray[Any], pixel_format: str) -> NDArray[Any]:
    """What a camera at nominal exposure makes of a scene."""
    if scene.dtype == np.uint16:
        gray8, gray12 = (scene >> 8).astype(np.uint8), scene >> 4
    else:
        gray8 = luma(scene) if scene.ndim == 3 else scene
        gray12 = extended(gray8)
    if pixel_format == "Mono12":
        return gray12
    if pixel_format == "Mono8":
        return gray8
    if pixel_format == "BayerRG8":
        return mosaic(scene) if scene.ndim == 3 else gray8
    return scene if scene.ndim == 3 else np.repeat(gray8[:, :, None], 3, axis=2)


def photograph(host: Any, camera: SimulatedCamera, scene: NDArray[Any], **features: Any) -> NDArray[Any]:
    host.start_triggered(**features)
    camera.show(scene)
    camera.edge()
    pixels = host.receive().pixels
    host.acquirer.stop()
    return pixels


@pytest.mark.parametrize("pixel_format", FORMATS)
@pytest.mark.parametrize(("shape", "dtype"), [((48, 64), np.uint8), ((48, 64, 3), np.uint8), ((48, 64), np.uint16)])
def test_the_scene_arrives_in_every_pixel_format(
    host: Any, camera: SimulatedCamera, scene: Scene, pixel_format: str, shape: tuple[int, ...], dtype: type
) -> None:
    shown = scene(1, shape, dtype)
    received = photograph(host, camera, shown, PixelFormat=pixel_format)
    np.testing.assert_array_equal(received, expected(shown, pixel_format))


def test_gray_of_a_colour_scene_is_what_opencv_computes(host: Any, camera: SimulatedCamera, scene: Scene) -> None:
    shown = scene(2, (48, 64, 3))
    received = photograph(host, camera, shown, PixelFormat="Mono8")
    # Builds of OpenCV differ in the last bit.
    assert np.abs(received.astype(int) - cv2.cvtColor(shown, cv2.COLOR_RGB2GRAY)).max() <= 1


def test_sizes_that_are_no_multiple_of_anything(
    make_camera: Callable[..., SimulatedCamera], open_host: Callable[[str], Any], scene: Scene
) -> None:
    camera = make_camera("odd", 37, 23)
    host = open_host("odd")
    for pixel_format in FORMATS:
        for shape, dtype in (((23, 37), np.uint8), ((23, 37, 3), np.uint8), ((23, 37), np.uint16)):
            shown = scene(3, shape, dtype)
            received = photograph(host, camera, shown, PixelFormat=pixel_format)
            np.testing.assert_array_equal(received, expected(shown, pixel_format))


@pytest.mark.parametrize(
    ("exposure_us", "gain_db", "factor"),
    [(500.0, 0.0, 0.5), (1700.0, 0.0, 1.7), (1000.0, 6.0, 10**0.3), (100.0, 20.0, 1.0), (250.0, 12.0, 10**0.6 / 4)],
)
@pytest.mark.parametrize("pixel_format", FORMATS)
def test_brightness_is_linear_in_exposure_and_gain_and_clipped(
    host: Any,
    camera: SimulatedCamera,
    scene: Scene,
    pixel_format: str,
    exposure_us: float,
    gain_db: float,
    factor: float,
) -> None:
    shown = scene(4)
    received = photograph(host, camera, shown, PixelFormat=pixel_format, ExposureTime=exposure_us, Gain=gain_db)
    full_scale = 4095 if pixel_format == "Mono12" else 255
    ideal = np.clip(expected(shown, pixel_format) * factor, 0, full_scale)
    assert np.abs(received - ideal).max() <= 0.51
    assert (received.max() == full_scale) == (factor >= 1)


def test_deep_scenes_are_scaled_before_they_are_reduced(host: Any, camera: SimulatedCamera) -> None:
    dark = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)
    received = photograph(host, camera, dark, PixelFormat="Mono8", Gain=20.0)
    np.testing.assert_array_equal(received, (dark.astype(np.uint32) * 10) >> 8)


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_the_region_of_interest_is_cut_out_of_the_sensor(
    host: Any, camera: SimulatedCamera, scene: Scene, pixel_format: str
) -> None:
    shown = scene(5, (48, 64, 3))
    received = photograph(host, camera, shown, PixelFormat=pixel_format, Width=33, Height=21, OffsetX=6, OffsetY=8)
    np.testing.assert_array_equal(received, expected(shown, pixel_format)[8:29, 6:39])


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_without_a_scene_the_pattern_depends_on_serial_and_frame_id(
    make_camera: Callable[..., SimulatedCamera], open_host: Callable[[str], Any], pixel_format: str
) -> None:
    seen = set()
    for serial in ("left", "right"):
        camera = make_camera(serial)
        host = open_host(serial)
        images = []
        for _ in range(2):
            host.start_triggered("Software", PixelFormat=pixel_format)
            for number in range(3):
                host.nodes.TriggerSoftware.execute()
                received = host.receive()
                assert received.frame_id == number + 1
                images.append(received.image)
            host.acquirer.stop()
        host.close()
        assert camera.software_triggers == 6
        assert images[:3] == images[3:]
        seen |= set(images)
    assert len(seen) == 6
