"""Frames and pixel formats: what one exposure is, at the depth the camera sent it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from cameras.errors import UnsupportedPixelFormat


class PixelFormat(Enum):
    """GenICam PFNC names that the station reads, with dtype, channels and full-scale value.

    Unpacked formats only: 10 and 12 bit values sit in the low bits of little-endian uint16.
    """

    Mono8 = ("uint8", 1, 255)
    Mono10 = ("uint16", 1, 1023)
    Mono12 = ("uint16", 1, 4095)
    Mono16 = ("uint16", 1, 65535)
    BayerRG8 = ("uint8", 1, 255)
    BayerRG10 = ("uint16", 1, 1023)
    BayerRG12 = ("uint16", 1, 4095)
    RGB8 = ("uint8", 3, 255)
    RGBa8 = ("uint8", 4, 255)

    def __new__(cls, dtype: str, channels: int, full_scale: int) -> PixelFormat:
        member = object.__new__(cls)
        member._value_ = len(cls.__members__)  # a distinct value each: equal tuples would otherwise become aliases
        return member

    def __init__(self, dtype: str, channels: int, full_scale: int) -> None:
        self.dtype = np.dtype(dtype)
        self.channels = channels
        self.full_scale = full_scale

    @property
    def is_bayer(self) -> bool:
        return self.name.startswith("Bayer")

    @property
    def is_color(self) -> bool:
        return self.is_bayer or self.channels > 1

    def shape(self, width: int, height: int) -> tuple[int, ...]:
        """Array shape of one image: (height, width) or (height, width, channels)."""
        return (height, width) if self.channels == 1 else (height, width, self.channels)

    def nbytes(self, width: int, height: int) -> int:
        return width * height * self.channels * self.dtype.itemsize

    @classmethod
    def named(cls, name: str) -> PixelFormat:
        """The format with this PFNC name; UnsupportedPixelFormat if the station does not read it."""
        try:
            return cls[name]
        except KeyError:
            raise UnsupportedPixelFormat(
                f"pixel format {name!r} is not read by this station; set PixelFormat to one of {', '.join(cls.__members__)}"
            ) from None


@dataclass(frozen=True, slots=True)
class Frame:
    """One exposure. ``pixels`` has ``pixel_format.shape(width, height)`` and ``pixel_format.dtype``.

    ``timestamp_ns`` is the camera's clock, ``received_ns`` the host's monotonic clock when the buffer arrived.
    ``trigger_count`` numbers the trigger edges that the camera has seen since it was armed, starting at 1; None if the
    camera does not report it. ``exposure_us`` likewise. ``corrupt``: the camera's own checksum does not match the pixels.
    """

    pixels: NDArray[np.generic]
    pixel_format: PixelFormat
    frame_id: int
    timestamp_ns: int
    received_ns: int
    trigger_count: int | None = None
    exposure_us: float | None = None
    corrupt: bool = False

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])
