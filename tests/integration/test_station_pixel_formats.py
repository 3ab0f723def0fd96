"""Pixel depth and mosaic go through the whole station as the camera sent them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from running_station import RunningStation, digest, scene

from cameras.frame import PixelFormat
from inspection.cell import CellPart
from inspection.images import ImageStore, decode_frame

Pixels = NDArray[np.generic]


def colored(number: int) -> NDArray[np.uint8]:
    gray = scene(number).astype(np.uint16)
    return np.stack([gray, gray * 9 // 10, gray * 8 // 10], axis=2).astype(np.uint8)


def twelve_bits(shown: Pixels) -> Pixels:
    wide = shown.astype(np.uint16)
    return wide << 4 | wide >> 4


def mosaic(shown: Pixels) -> Pixels:
    out = shown[..., 1].copy()
    out[0::2, 0::2] = shown[0::2, 0::2, 0]
    out[1::2, 1::2] = shown[1::2, 1::2, 2]
    return out


@pytest.mark.parametrize(
    ("pixel_format", "make", "sent"),
    [
        pytest.param("Mono12", scene, twelve_bits, marks=pytest.mark.by_hand),
        ("BayerRG8", colored, mosaic),
        pytest.param("RGB8", colored, lambda shown: shown, marks=pytest.mark.by_hand),
    ],
)
def test_frames_are_judged_and_stored_as_the_camera_sent_them(
    tmp_path: Path,
    plate_model: Path,
    pixel_format: str,
    make: Callable[[int], NDArray[np.uint8]],
    sent: Callable[[Pixels], Pixels],
) -> None:
    expected: dict[str, str] = {}

    def parts() -> Iterator[CellPart]:
        for number in range(12):
            pixels = make(number)
            expected[f"SN{number}"] = digest(sent(pixels))
            yield CellPart("L1", f"SN{number}", pixels, None)

    color = make is colored
    with RunningStation(tmp_path, plate_model, features={"PixelFormat": pixel_format}, color=color) as station:
        station.open_lot("L1")
        station.convey(parts(), rate=10)
        station.check_invariants("L1")
        station.wait_until(lambda: all(row["frame_sha256"] for row in station.rows("L1")), 20, "all images to be stored")
        store = ImageStore(station.config.image_dir)
        for row in station.rows("L1"):
            stored = decode_frame(store.read(row["frame_sha256"]), PixelFormat.named(pixel_format))
            assert digest(stored) == expected[row["serial"]]
        if not color:
            # The same scenes at 12 bit score as at 8 bit: scaled by the format, not by the image's maximum.
            assert sum(row["verdict"] == "pass" for row in station.rows("L1")) >= 10
