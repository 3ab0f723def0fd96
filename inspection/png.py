"""Frames → PNG and back. Writing at the speed of a line: differences to the left neighbour, compressed by Intel's ISA-L.

Sensor noise repeats nothing, so what a better filter and a long search would save is little, and the time that they take is
taken from inference on the same cores (`station bench images`). Format: W3C, "Portable Network Graphics (PNG) Specification",
third edition.
"""

from __future__ import annotations

import struct

import cv2
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SUB = 1
"""The filter: each byte less that of the pixel to its left."""
_LEVEL = 1
_HEADER_BYTES = 33
# Length, kind and checksum of a chunk.
_FRAME_BYTES = 12
MOST_PIXELS = 2**28
_COLOUR_TYPES = {1: 0, 3: 2, 4: 6}
"""Gray, RGB and RGB with opacity, by channels."""


def encode_png(pixels: NDArray[np.generic]) -> bytes:
    """A PNG of gray (rows, columns) or RGB(A) (rows, columns, 3 or 4) pixels, uint8 or uint16; ValueError for others."""
    channels, depth = pixels.shape[2] if pixels.ndim == 3 else 1, 8 * pixels.dtype.itemsize
    if pixels.ndim not in (2, 3) or channels not in _COLOUR_TYPES or pixels.dtype.kind != "u" or depth > 16:
        raise ValueError(f"PNG holds gray, RGB or RGBA pixels in 8 or 16 bit, these are {pixels.shape} of {pixels.dtype}")
    height, width = pixels.shape[:2]
    samples = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(">")).reshape(height, -1).view(np.uint8)
    of_a_pixel = channels * pixels.dtype.itemsize
    filtered = np.empty((height, 1 + samples.shape[1]), np.uint8)
    filtered[:, 0] = _SUB
    filtered[:, 1 : 1 + of_a_pixel] = samples[:, :of_a_pixel]
    np.subtract(samples[:, of_a_pixel:], samples[:, :-of_a_pixel], out=filtered[:, 1 + of_a_pixel :])
    header = struct.pack(">IIBBBBB", width, height, depth, _COLOUR_TYPES[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", isal_zlib.compress(filtered, _LEVEL)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)


def decode_png(data: bytes) -> NDArray[np.integer | np.floating] | None:
    """The pixels as OpenCV gives them, blue first; None if the bytes are no whole PNG, or promise more pixels than a camera has.

    The promises are looked at first: a few hundred bytes can say that they are gigabytes, and OpenCV makes room for them.
    """
    if len(data) < _HEADER_BYTES or not data.startswith(_SIGNATURE) or data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", data[16:24])
    if not 0 < width * height <= MOST_PIXELS or not _is_whole(data):
        return None
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None


def _is_whole(data: bytes) -> bool:
    """Is it made of chunks that are as they were written, the last one at its end?"""
    position, kind = len(_SIGNATURE), b""
    while position + _FRAME_BYTES <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + _FRAME_BYTES + length
        if data[position:end] != _chunk(kind, data[position + 8 : end - 4]):
            return False
        position = end
    return kind == b"IEND" and position == len(data)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", isal_zlib.crc32(data, isal_zlib.crc32(kind)))
