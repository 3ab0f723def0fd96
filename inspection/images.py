"""Image store: files named by the SHA-256 of their bytes, written whole or not at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cameras.frame import Frame, PixelFormat
from inspection.domain import Image, ImageKind
from inspection.errors import NotFound, StationError
from inspection.png import encode_png

MAP_FORMAT = "Map16"


def decode_frame(data: bytes, pixel_format: PixelFormat) -> NDArray[np.generic]:
    """The pixels of a frame that was stored as PNG; StationError if the bytes are not such an image."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise StationError("the stored image cannot be decoded; its file is damaged")
    if pixel_format is PixelFormat.RGB8:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    elif pixel_format is PixelFormat.RGBa8:
        image = cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA)
    return image


def encode_map(anomaly_map: NDArray[np.floating], fail_threshold: float) -> bytes:
    """16 bit PNG of raw scores; full scale is twice the fail threshold, so that maps of one model compare by eye."""
    scaled = np.clip(anomaly_map.astype(np.float32) / (2 * fail_threshold), 0, 1)
    return encode_png(np.round(scaled * 65535).astype(np.uint16))


class ImageStore:
    """``root/<first two digits>/<sha256>.png``. The same bytes are stored once."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, sha256: str) -> Path:
        return self._root / sha256[:2] / f"{sha256}.png"

    def put(self, data: bytes, kind: ImageKind, width: int, height: int, pixel_format: str) -> Image:
        """Store durably; OSError if the disk refuses."""
        sha256 = hashlib.sha256(data).hexdigest()
        path = self.path(sha256)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_suffix(f".{os.getpid()}.new")
            try:
                with fresh.open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                fresh.rename(path)
            except OSError:
                fresh.unlink(missing_ok=True)
                raise
        return Image(sha256, kind, "image/png", width, height, pixel_format, len(data))

    def frame(self, sha256: str, pixel_format: str) -> Frame:
        """A stored frame as the camera sent it. Errors as ``read`` and ``decode_frame``."""
        sent_as = PixelFormat.named(pixel_format)
        return Frame(decode_frame(self.read(sha256), sent_as), sent_as, frame_id=0, timestamp_ns=0, received_ns=0)

    def read(self, sha256: str) -> bytes:
        """The file's bytes, verified; NotFound if it is missing, StationError if it was altered."""
        try:
            data = self.path(sha256).read_bytes()
        except OSError as error:
            raise NotFound(
                f"image {sha256[:12]} is not in the store; it may have been deleted by the retention policy"
            ) from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise StationError(f"image {sha256[:12]} was altered on disk; restore it from a backup")
        return data
