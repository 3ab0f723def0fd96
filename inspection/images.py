"""Image store: files named by the SHA-256 of their bytes, written whole or not at all, and removed by retention alone."""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cameras.frame import Frame, PixelFormat
from inspection.domain import Image, ImageKind
from inspection.errors import NotFound, StationError
from inspection.png import decode_png, encode_png

MAP_FORMAT = "Map16"


def decode_frame(data: bytes, pixel_format: PixelFormat) -> NDArray[np.generic]:
    """The pixels of a frame that was stored as PNG, (height, width) or (height, width, channels), of the format's dtype.

    StationError if the bytes are not such an image.
    """
    image = decode_png(data)
    channels = {PixelFormat.RGB8: 3, PixelFormat.RGBa8: 4}.get(pixel_format, 1)
    if image is None or (image.shape[2] if image.ndim == 3 else 1) != channels:
        raise StationError("the stored image cannot be decoded; its file is damaged")
    if pixel_format is PixelFormat.RGB8:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    elif pixel_format is PixelFormat.RGBa8:
        image = cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA)
    return image


def encode_map(anomaly_map: NDArray[np.floating], fail_threshold: float) -> bytes:
    """16 bit PNG of raw scores (height, width); full scale is twice the fail threshold, so that maps of one model compare by
    eye.
    """
    scaled = np.clip(anomaly_map.astype(np.float32) / (2 * fail_threshold), 0, 1)
    return encode_png(np.round(scaled * 65535).astype(np.uint16))


class ImageStore:
    """``root/<first two digits>/<sha256>.png``. The same bytes are stored once.

    Whoever stores bytes that are there already touches the file, and nobody removes a file that was touched since it was looked
    at: so bytes that come again just when retention deletes them stay. A lock of the folder makes each of the two one step.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, sha256: str) -> Path:
        return self.root / sha256[:2] / f"{sha256}.png"

    def put(self, data: bytes, kind: ImageKind, width: int, height: int, pixel_format: str) -> Image:
        """Store durably; OSError if the disk refuses."""
        sha256 = hashlib.sha256(data).hexdigest()
        path = self.path(sha256)
        if not self._touch(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}.new")
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

    def touched(self, sha256: str) -> int | None:
        """When the file was stored last, in ns of the file system's clock; None if there is none."""
        try:
            return self.path(sha256).stat().st_mtime_ns
        except OSError:
            return None

    def remove(self, sha256: str, touched: int) -> bool:
        """Remove a file that was not stored again since it was ``touched``. OSError if the disk refuses."""
        with self._locked():
            if self.touched(sha256) != touched:
                return False
            self.path(sha256).unlink()
        return True

    def _touch(self, path: Path) -> bool:
        if not path.exists():
            return False
        with self._locked():
            try:
                os.utime(path)
            except FileNotFoundError:
                return False
        return True

    @contextmanager
    def _locked(self) -> Iterator[None]:
        folder = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def put_frame(self, frame: Frame) -> Image:
        """Store a frame without loss; OSError if the disk refuses."""
        return self.put(encode_png(frame.pixels), ImageKind.FRAME, frame.width, frame.height, frame.pixel_format.name)

    def frame(self, sha256: str, pixel_format: str) -> Frame:
        """A stored frame as the camera sent it. Errors as ``read`` and ``decode_frame``."""
        sent_as = PixelFormat.named(pixel_format)
        return Frame(decode_frame(self.read(sha256), sent_as), sent_as, frame_id=0, timestamp_ns=0, received_ns=0)

    def holds(self, sha256: str, nbytes: int) -> bool:
        """Is the file there, with all its bytes? What they are is verified by ``read``."""
        try:
            return self.path(sha256).stat().st_size == nbytes
        except OSError:
            return False

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
