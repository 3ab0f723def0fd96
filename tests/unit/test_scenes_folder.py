"""Folders of photographs: the MVTec-AD layout, its errors, and the writer of the same layout."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import pytest

from cameras.simulator.scenes import DEFECTS, SceneError, load_folder, read_pixels, render, resize_to, write_dataset

PHOTOGRAPHS = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("datasets") / "flange"
    write_dataset(out, 5, good=3, test_good=2, per_defect=2, width=640, height=480)
    return out


def image(path: Path, pixels: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.zeros((4, 6), np.uint8) if pixels is None else pixels)
    return path


def test_written_folder_loads_with_every_image_and_mask(dataset: Path) -> None:
    photos = load_folder(dataset)
    assert [path.name for path in photos.train_good] == ["000.png", "001.png", "002.png"]
    assert photos.defects == tuple(sorted(DEFECTS))
    assert sum(photo.defect is None for photo in photos.test) == 2
    assert len(photos.test) == 2 + 2 * len(DEFECTS)
    for photo in photos.test:
        assert (photo.mask_path is None) == (photo.defect is None)
        if photo.mask_path is not None:
            mask = read_pixels(photo.mask_path)
            assert mask.shape == read_pixels(photo.path).shape == (480, 640)
            assert set(np.unique(mask)) == {0, 255}


def test_written_images_are_lossless(dataset: Path) -> None:
    assert np.array_equal(read_pixels(dataset / "train/good/001.png"), render("S000001", 6, None, 0, 640, 480).pixels)


def test_same_seed_writes_the_same_files_and_no_image_twice(dataset: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "again", 5, good=3, test_good=2, per_defect=2, width=640, height=480)
    images = sorted(path.relative_to(dataset) for path in dataset.rglob("*.png"))
    digests = [sha256((dataset / path).read_bytes()).digest() for path in images]
    assert digests == [sha256((tmp_path / "again" / path).read_bytes()).digest() for path in images]
    assert len(set(digests)) == len(digests)


def test_writer_refuses_a_folder_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(SceneError, match="not an empty folder; give a new one"):
        write_dataset(tmp_path, 1, good=1)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_folder_without_good_training_images_says_where_to_put_them(tmp_path: Path) -> None:
    image(tmp_path / "test/good/1.png")
    with pytest.raises(SceneError, match=r"train/good holds no images; put images of good parts there"):
        load_folder(tmp_path)


def test_folder_without_test_images_says_where_to_put_them(tmp_path: Path) -> None:
    image(tmp_path / "train/good/1.png")
    with pytest.raises(SceneError, match=r"test holds no images; put test images in"):
        load_folder(tmp_path)
    (tmp_path / "test" / "scratch").mkdir(parents=True)
    (tmp_path / "test" / "scratch" / "notes.txt").write_text("not an image")
    with pytest.raises(SceneError, match=r"test holds no images"):
        load_folder(tmp_path)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="nowhere is not a folder"):
        load_folder(tmp_path / "nowhere")


def test_images_without_a_mask_and_suffixes_in_capitals_load(tmp_path: Path) -> None:
    image(tmp_path / "train/good/b.PNG")
    image(tmp_path / "train/good/a.jpg")
    bad = image(tmp_path / "test/scratch/7.bmp")
    photos = load_folder(tmp_path)
    assert [path.name for path in photos.train_good] == ["a.jpg", "b.PNG"]
    (photo,) = photos.test
    assert (photo.path, photo.defect, photo.mask_path) == (bad, "scratch", None)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bit_grey_keeps_its_values(tmp_path: Path, suffix: str) -> None:
    pixels = np.array([[0, 1, 4095], [256, 1023, 65535]], np.uint16)
    read = read_pixels(image(tmp_path / f"deep.{suffix}", pixels))
    assert read.dtype == np.uint16
    assert np.array_equal(read, pixels)


def test_colour_is_read_as_rgb_and_alpha_is_dropped(tmp_path: Path) -> None:
    bgra = np.zeros((2, 3, 4), np.uint8)
    bgra[:] = (10, 20, 30, 255)
    for name, pixels in (("rgb.png", bgra[..., :3]), ("rgba.png", bgra)):
        read = read_pixels(image(tmp_path / name, pixels))
        assert read.shape == (2, 3, 3)
        assert read[0, 0].tolist() == [30, 20, 10]


@pytest.mark.parametrize("damage", ["empty", "text", "header only", "half", "flipped"])
def test_a_damaged_image_is_named(tmp_path: Path, damage: str, dataset: Path) -> None:
    whole = (dataset / "train/good/000.png").read_bytes()
    path = tmp_path / "damaged.png"
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    damaged = {"empty": b"", "text": b"not an image", "header only": whole[:100], "half": whole[: len(whole) // 2]}
    path.write_bytes(damaged.get(damage, bytes(flipped)))
    with pytest.raises(SceneError, match=r"damaged\.png is not a readable image"):
        read_pixels(path)


def test_a_depth_that_no_camera_has_is_refused(tmp_path: Path) -> None:
    path = image(tmp_path / "float.tiff", np.zeros((4, 6), np.float32))
    with pytest.raises(SceneError, match="pixels of type float32; convert it to 8 or 16 bit"):
        read_pixels(path)


def test_an_image_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"gone\.png cannot be read: No such file"):
        read_pixels(tmp_path / "gone.png")


def test_resize_reaches_the_sensor_size_and_keeps_depth() -> None:
    deep = np.full((30, 50), 4000, np.uint16)
    resized = resize_to(deep, 25, 20)
    assert (resized.shape, resized.dtype) == ((20, 25), np.uint16)
    assert (resized == 4000).all()
    assert resize_to(deep, 50, 30) is deep


@pytest.mark.parametrize(
    ("product", "train", "test", "masks"),
    [("aws_cookies", 31, 54, 32), ("aws_aliens", 40, 78, 0), ("bsdata_ballscrew", 345, 492, 167)],
)
def test_photographs_load(product: str, train: int, test: int, masks: int) -> None:
    folder = PHOTOGRAPHS / product
    if not folder.is_dir():
        pytest.skip(f"no photographs at {folder}")
    photos = load_folder(folder)
    assert (len(photos.train_good), len(photos.test)) == (train, test)
    assert sum(photo.mask_path is not None for photo in photos.test) == masks
    pixels = read_pixels(photos.test[0].path)
    assert pixels.dtype == np.uint8
    assert pixels.shape[2] == 3
