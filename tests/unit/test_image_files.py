"""Image files of any size that come at once are read one at a time, and refused before their pixels are there."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pytest
from PIL import Image, PngImagePlugin

from inspection import image_files
from inspection.image_files import UnreadableFile, frame_of


def png(width: int, height: int) -> bytes:
    buffer = BytesIO()
    Image.new("L", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def test_too_many_pixels_are_refused_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "MAX_PIXELS", 12)
    decoded = []
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda image: decoded.append(image.size))
    with pytest.raises(UnreadableFile, match="x: 13×1 pixels are more than"):
        frame_of(png(13, 1), "x")
    assert decoded == []


def test_as_many_pixels_as_are_allowed_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "MAX_PIXELS", 12)
    assert frame_of(png(4, 3), "x").pixels.shape == (3, 4)


def test_what_pillow_only_warns_of_is_refused_in_every_thread_and_no_filter_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    # Pillow warns of more than 20 pixels, and would decode them.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    monkeypatch.setattr(image_files, "MAX_PIXELS", 20)
    large, small = png(6, 6), png(2, 2)

    def read(number: int) -> bool:
        try:
            frame_of(large if number % 2 else small, "x")
        except UnreadableFile:
            return False
        return True

    filters = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, range(2_000))) == [number % 2 == 0 for number in range(2_000)]
    assert list(warnings.filters) == filters
