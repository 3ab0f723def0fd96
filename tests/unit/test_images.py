"""The image store: lossless, named by content, whole or not there."""

from __future__ import annotations

import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from cameras.frame import PixelFormat
from inspection.domain import Image, ImageKind
from inspection.errors import NotFound, StationError
from inspection.images import ImageStore, decode_frame, encode_map
from inspection.png import encode_png


def random_pixels(pixel_format: PixelFormat, width: int = 33, height: int = 21) -> NDArray[Any]:
    random = np.random.default_rng(1)
    return random.integers(0, pixel_format.full_scale, pixel_format.shape(width, height), pixel_format.dtype, endpoint=True)


def put(store: ImageStore, data: bytes) -> Image:
    return store.put(data, ImageKind.FRAME, 33, 21, "Mono8")


# --- encoding ---


@pytest.mark.parametrize("pixel_format", list(PixelFormat))
def test_a_frame_comes_back_bit_by_bit(pixel_format: PixelFormat) -> None:
    pixels = random_pixels(pixel_format)
    pixels.flags.writeable = False  # as the ring gives it
    back = decode_frame(encode_png(pixels), pixel_format)
    assert back.dtype == pixel_format.dtype
    np.testing.assert_array_equal(back, pixels)


def test_any_viewer_shows_the_colours_of_the_frame() -> None:
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[..., 0] = 200  # red
    blue, green, red = cv2.imdecode(np.frombuffer(encode_png(pixels), np.uint8), cv2.IMREAD_COLOR)[0, 0]
    assert (red, green, blue) == (200, 0, 0)


def test_bytes_that_are_no_image_are_said_to_be_damaged() -> None:
    whole = encode_png(random_pixels(PixelFormat.Mono8))
    for damaged in (b"no image", whole[:40]):
        with pytest.raises(StationError, match="damaged"):
            decode_frame(damaged, PixelFormat.Mono8)


def test_full_scale_of_a_map_is_twice_the_fail_threshold() -> None:
    scores = np.array([[0.0, 1.5, 3.0], [6.0, 60.0, -1.0]], np.float16)
    data = encode_map(scores, 3.0)
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded.dtype == np.uint16
    np.testing.assert_array_equal(decoded, [[0, 16384, 32768], [65535, 65535, 0]])


# --- the store ---


def test_an_image_is_named_by_its_bytes_and_stored_once(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    image = put(store, b"bytes")
    assert image == Image(hashlib.sha256(b"bytes").hexdigest(), ImageKind.FRAME, "image/png", 33, 21, "Mono8", 5)
    path = store.path(image.sha256)
    assert path == tmp_path / image.sha256[:2] / f"{image.sha256}.png"
    written = path.stat().st_ino
    assert put(store, b"bytes") == image
    assert path.stat().st_ino == written
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]
    assert store.read(image.sha256) == b"bytes"


def test_a_missing_and_an_altered_image_are_told_apart(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    image = put(store, b"bytes")
    store.path(image.sha256).write_bytes(b"bytez")
    with pytest.raises(StationError, match=f"image {image.sha256[:12]} was altered on disk; restore it"):
        store.read(image.sha256)
    store.path(image.sha256).unlink()
    with pytest.raises(NotFound, match=f"image {image.sha256[:12]} is not in the store"):
        store.read(image.sha256)


def test_a_write_that_the_disk_refuses_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    store = ImageStore(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="No space left"):
            put(store, b"bytes")
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []
    assert store.read(put(store, b"bytes").sha256) == b"bytes"


def test_readers_never_see_half_an_image(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    data = [bytes([number]) * 2_000_000 for number in range(8)]
    digests = [hashlib.sha256(item).hexdigest() for item in data]
    done = threading.Event()
    seen: set[str] = set()
    failures: list[StationError] = []

    def read() -> None:
        while not done.is_set():
            for digest in digests:
                try:
                    store.read(digest)
                except NotFound:
                    continue
                except StationError as error:
                    failures.append(error)
                seen.add(digest)

    reader = threading.Thread(target=read)
    reader.start()
    for item in data:
        put(store, item)
    while seen != set(digests) and not failures and reader.is_alive():
        reader.join(0.01)
    done.set()
    reader.join()
    assert failures == []
    assert seen == set(digests)


def test_the_same_bytes_are_stored_by_several_threads_at_once(tmp_path: Path) -> None:
    store, data = ImageStore(tmp_path), bytes(2**20)
    with ThreadPoolExecutor(8) as threads:
        stored = list(threads.map(lambda _: store.put(data, ImageKind.FRAME, 1, 1, "Mono8"), range(16)))
    assert len({image.sha256 for image in stored}) == 1
    assert [path.suffix for path in tmp_path.glob("*/*")] == [".png"]
    assert store.read(stored[0].sha256) == data
