"""The serial on a part is read from a frame of any pixel format."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest

from cameras.frame import Frame, PixelFormat
from cameras.simulator.scenes import render
from inspection.codes import read_serials


def shown(pixel_format: PixelFormat) -> Frame:
    gray = render("LOT7-000123", 1).pixels
    pixels = np.repeat(gray[..., None], pixel_format.channels, axis=2) if pixel_format.channels > 1 else gray
    pixels = (pixels.astype(np.float64) * pixel_format.full_scale / 255).astype(pixel_format.dtype)
    return Frame(pixels, pixel_format, frame_id=1, timestamp_ns=0, received_ns=0)


@pytest.mark.parametrize("pixel_format", PixelFormat)
def test_the_code_of_a_part_is_read(pixel_format: PixelFormat) -> None:
    assert read_serials(shown(pixel_format), re.compile(".+")) == ["LOT7-000123"]


def test_the_first_group_of_the_pattern_is_the_serial_and_other_codes_are_passed_over() -> None:
    frame = shown(PixelFormat.Mono8)
    assert read_serials(frame, re.compile(r"LOT\d-(\d+)")) == ["000123"]
    assert read_serials(frame, re.compile(r"BOX-.*")) == []


def test_a_frame_without_a_code_has_no_serial() -> None:
    blurred = cv2.GaussianBlur(render("LOT7-000123", 1).pixels, (0, 0), 12)
    assert read_serials(Frame(blurred, PixelFormat.Mono8, frame_id=1, timestamp_ns=0, received_ns=0), re.compile(".+")) == []
