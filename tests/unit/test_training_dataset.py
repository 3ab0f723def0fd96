"""Image files as frames: at their depth, and never half of one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from cameras.frame import PixelFormat
from training.dataset import good_images, read_frame
from training.errors import TrainingError, UnreadableImage

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("pixels", "pixel_format"),
    [
        (RNG.integers(0, 256, (20, 30), np.uint8), PixelFormat.Mono8),
        (RNG.integers(0, 65536, (20, 30), np.uint16), PixelFormat.Mono16),
        (RNG.integers(0, 256, (20, 30, 3), np.uint8), PixelFormat.RGB8),
        (RNG.integers(0, 256, (20, 30, 4), np.uint8), PixelFormat.RGBa8),
    ],
)
def test_png_files_keep_pixels_and_depth(tmp_path: Path, pixels: np.ndarray, pixel_format: PixelFormat) -> None:
    order = {2: lambda p: p, 3: lambda p: p[..., [2, 1, 0, *range(3, p.shape[-1])]]}[pixels.ndim]
    cv2.imwrite(str(tmp_path / "a.png"), order(pixels))
    frame = read_frame(tmp_path / "a.png")
    assert frame.pixel_format is pixel_format
    assert np.array_equal(frame.pixels, pixels)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"part{suffix}"
    cv2.imwrite(str(path), RNG.integers(0, 256, (200, 300, 3), np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableImage, match=r"part\..*take the image again"):
        read_frame(path)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_garbage_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "garbage.png"
    path.write_bytes(content)
    with pytest.raises(UnreadableImage, match="garbage"):
        read_frame(path)


def test_float_images_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.tiff"), RNG.random((20, 30), np.float32))
    with pytest.raises(UnreadableImage, match="8/16-bit"):
        read_frame(tmp_path / "a.tiff")


def test_only_good_training_images_are_listed_by_name_with_their_hash(tmp_path: Path) -> None:
    for name in ("train/good/b.png", "train/good/a.JPG", "train/good/notes.txt", "train/bad/c.png", "test/good/d.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    images = good_images(tmp_path)
    assert [image.name for image in images] == ["a.JPG", "b.png"]
    assert images[1].sha256 == hashlib.sha256(b"train/good/b.png").hexdigest()


def test_a_folder_in_another_layout_is_explained(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no folder train/good"):
        good_images(tmp_path)
    (tmp_path / "train" / "good").mkdir(parents=True)
    with pytest.raises(TrainingError, match="holds no images"):
        good_images(tmp_path)
