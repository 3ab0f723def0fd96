"""``station bench images``: what a frame of each class costs to keep, with the station's encoder beside others.

All but JPEG are lossless; JPEG stands for what peers keep. Frames are rendered parts and, where a folder is given, a photograph.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from cameras.frame import PixelFormat
from cameras.simulator.scenes import read_pixels, render
from inspection.images import encode_map
from inspection.png import encode_png

Pixels = NDArray[np.generic]
STATION = "station"
_WIDTH, _HEIGHT = 1280, 1024
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp"}


@dataclass(frozen=True, slots=True)
class Encoding:
    """One encoder on one class of frames: processor milliseconds per frame (median), megabytes of pixels per processor second,
    and the share of them that is kept. ``lossless`` is what decoding showed.
    """

    frames: str
    width: int
    height: int
    encoder: str
    encode_ms: float
    decode_ms: float
    mb_per_s: float
    ratio: float
    lossless: bool


def measure(rounds: int, photographs: Path | None, progress: Callable[[str], None]) -> Iterator[Encoding]:
    """Every encoder on every class of frames, in turn within a class, so that noise meets all alike."""
    for name, pixels, pixel_format in _frames(photographs):
        progress(name)
        encoders = _encoders(pixel_format)
        times: dict[str, list[tuple[float, float]]] = {encoder: [] for encoder in encoders}
        encoded: dict[str, bytes] = {}
        same: dict[str, bool] = {}
        for _ in range(rounds):
            for encoder, encode in encoders.items():
                started = time.process_time()
                encoded[encoder] = encode(pixels)
                done = time.process_time()
                decoded = _decoded(encoded[encoder], pixel_format)
                times[encoder].append((done - started, time.process_time() - done))
                same[encoder] = np.array_equal(decoded, pixels)
        for encoder, of_encoder in times.items():
            encode_s, decode_s = (max(median(values), 1e-6) for values in zip(*of_encoder, strict=True))
            yield Encoding(
                name,
                pixels.shape[1],
                pixels.shape[0],
                encoder,
                encode_s * 1e3,
                decode_s * 1e3,
                pixels.nbytes / 1e6 / encode_s,
                len(encoded[encoder]) / pixels.nbytes,
                same[encoder],
            )


def _frames(photographs: Path | None) -> Iterator[tuple[str, Pixels, PixelFormat]]:
    part = render("S1", 1, "scratch", 0.5, _WIDTH, _HEIGHT).pixels
    noise = np.random.default_rng(0)
    yield "Mono8, rendered", part, PixelFormat.Mono8
    tinted = np.stack([part * share for share in (1.0, 0.85, 0.7)], axis=2).astype(np.uint8)
    mosaic = tinted[..., 1].copy()
    mosaic[::2, ::2], mosaic[1::2, 1::2] = tinted[::2, ::2, 0], tinted[1::2, 1::2, 2]
    yield "BayerRG8, rendered", mosaic, PixelFormat.BayerRG8
    yield "Mono12, rendered", (part.astype(np.uint16) << 4) + noise.integers(0, 16, part.shape, np.uint16), PixelFormat.Mono12
    yield "RGB8, rendered", tinted, PixelFormat.RGB8
    small = cv2.resize(part, (_WIDTH // 8, _HEIGHT // 8), interpolation=cv2.INTER_AREA)
    stored_map = cv2.imdecode(np.frombuffer(encode_map(np.asarray(small, np.float32) / 255, 0.5), np.uint8), cv2.IMREAD_UNCHANGED)
    yield "anomaly map", np.asarray(stored_map), PixelFormat.Mono16
    if photographs is not None:
        path = next(path for path in sorted(photographs.rglob("*")) if path.suffix.lower() in _SUFFIXES)
        photo = read_pixels(path)
        yield f"photograph {path.name}", photo, PixelFormat.RGB8 if photo.ndim == 3 else PixelFormat.Mono8


def _encoders(pixel_format: PixelFormat) -> dict[str, Callable[[Pixels], bytes]]:
    def with_cv2(suffix: str, *options: int) -> Callable[[Pixels], bytes]:
        def encode(pixels: Pixels) -> bytes:
            image = cast(NDArray[np.uint8], pixels)
            bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
            return cv2.imencode(suffix, bgr, options)[1].tobytes()

        return encode

    level = cv2.IMWRITE_PNG_COMPRESSION
    runs = (
        cv2.IMWRITE_PNG_STRATEGY,
        cv2.IMWRITE_PNG_STRATEGY_RLE,
        cv2.IMWRITE_PNG_FILTER,
        cv2.IMWRITE_PNG_FILTER_AVG,
    )
    encoders = {
        STATION: encode_png,
        "PNG, level 1": with_cv2(".png", level, 1),
        "PNG, level 6": with_cv2(".png", level, 6),
        "PNG, codes and runs": with_cv2(".png", level, 1, *runs),
        "TIFF, LZW": with_cv2(".tiff"),
    }
    if pixel_format.dtype == np.uint8:
        encoders["WebP, lossless"] = with_cv2(".webp", cv2.IMWRITE_WEBP_QUALITY, 101)
        encoders["JPEG, quality 95"] = with_cv2(".jpg", cv2.IMWRITE_JPEG_QUALITY, 95)
    return encoders


def _decoded(data: bytes, pixel_format: PixelFormat) -> Pixels:
    # All formats that are compared, in the order of channels that the camera sends.
    pixels = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))
    if pixel_format is PixelFormat.RGB8:
        pixels = pixels[..., ::-1]
    # WebP knows no grey.
    return pixels[..., 0] if pixel_format.channels == 1 and pixels.ndim == 3 else pixels
