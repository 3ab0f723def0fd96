"""Pixel formats: names, depths and sizes as the GenICam pixel format naming convention has them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from cameras.errors import UnsupportedPixelFormat
from cameras.frame import Frame, PixelFormat


@pytest.mark.parametrize("pixel_format", list(PixelFormat))
def test_a_format_is_what_its_name_says(pixel_format: PixelFormat) -> None:
    kind, bits = re.fullmatch(r"(Mono|BayerRG|RGB|RGBa)(\d+)", pixel_format.name).groups()  # type: ignore[union-attr]
    assert pixel_format.full_scale == 2 ** int(bits) - 1 <= np.iinfo(pixel_format.dtype).max
    assert pixel_format.channels == {"Mono": 1, "BayerRG": 1, "RGB": 3, "RGBa": 4}[kind]
    assert pixel_format.is_bayer == (kind == "BayerRG")
    assert pixel_format.is_color == (kind != "Mono")
    assert PixelFormat.named(pixel_format.name) is pixel_format


def test_formats_with_the_same_layout_are_not_taken_for_each_other() -> None:
    assert len(set(PixelFormat)) == len(PixelFormat.__members__) == 9
    assert PixelFormat.BayerRG8 is not PixelFormat.Mono8


@pytest.mark.parametrize("pixel_format", list(PixelFormat))
def test_shape_and_size_describe_the_same_array(pixel_format: PixelFormat) -> None:
    pixels = np.zeros(pixel_format.shape(37, 23), pixel_format.dtype)
    assert pixels.nbytes == pixel_format.nbytes(37, 23)
    frame = Frame(pixels, pixel_format, frame_id=1, timestamp_ns=0, received_ns=0)
    assert (frame.width, frame.height) == (37, 23)


@pytest.mark.parametrize("name", ["Mono12p", "YUV422_8", "mono8", "", "dtype"])
def test_a_format_that_is_not_read_is_answered_with_those_that_are(name: str) -> None:
    with pytest.raises(UnsupportedPixelFormat, match=f"{name!r} is not read .* one of Mono8, Mono10, .*, RGBa8"):
        PixelFormat.named(name)
