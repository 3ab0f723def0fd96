"""The PNG encoder: what others decode is what was encoded, whatever the size."""

from __future__ import annotations

import io

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from inspection.png import decode_png, encode_png

SIDES = st.integers(1, 40)


@given(st.data(), SIDES, SIDES, st.sampled_from([(), (3,), (4,)]), st.sampled_from([np.uint8, np.uint16]))
def test_opencv_decodes_what_was_encoded(
    data: st.DataObject, rows: int, columns: int, channels: tuple[int, ...], dtype: type[np.generic]
) -> None:
    pixels = data.draw(arrays(dtype, (rows, columns, *channels)))
    decoded = cv2.imdecode(np.frombuffer(encode_png(pixels), np.uint8), cv2.IMREAD_UNCHANGED)
    if channels:
        decoded = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB if channels == (3,) else cv2.COLOR_BGRA2RGBA)
    assert decoded.dtype == pixels.dtype
    np.testing.assert_array_equal(decoded, pixels)


@pytest.mark.parametrize(
    ("shape", "dtype"), [((9, 7), np.uint8), ((9, 7), np.uint16), ((9, 7, 3), np.uint8), ((9, 7, 4), np.uint8)]
)
def test_pillow_verifies_every_chunk(shape: tuple[int, ...], dtype: type[np.integer]) -> None:
    pixels = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    data = encode_png(pixels)
    PIL.Image.open(io.BytesIO(data)).verify()
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(io.BytesIO(data))), pixels)


def test_views_and_rows_in_any_order_are_encoded_as_they_read() -> None:
    whole = np.random.default_rng(2).integers(0, 65536, (20, 30), np.uint16)
    for view in (whole[::2, ::3], whole[::-1], whole.T, whole.astype(">u2")):
        decoded = cv2.imdecode(np.frombuffer(encode_png(view), np.uint8), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(decoded, view)


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 4), np.float32), np.zeros((4, 4, 2), np.uint8), np.zeros(4, np.uint8), np.zeros((1, 2, 3, 3), np.uint8)],
)
def test_other_pixels_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="gray, RGB or RGBA"):
        encode_png(pixels)


@pytest.mark.parametrize(("place", "value"), [(33, 0xFFFF000F), (33, 0), (16, 2**31 - 1), (8, 14), (37, 0x49454E44)])
def test_bytes_that_promise_more_than_there_is_are_no_image(place: int, value: int) -> None:
    """The length of the data, the width, the length of the header: OpenCV makes room for 4 GB, or searches for seconds."""
    data = bytearray(encode_png(np.zeros((7, 9), np.uint8)))
    assert decode_png(bytes(data)) is not None
    data[place : place + 4] = value.to_bytes(4, "big")
    assert decode_png(bytes(data)) is None


def test_an_image_that_was_cut_off_is_none() -> None:
    data = encode_png(np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8))
    for kept in range(len(data)):
        assert decode_png(data[:kept]) is None
