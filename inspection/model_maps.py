"""Anomaly maps that a model gave stored images, for reports: ``root/<model>/<sha256 of the frame>.png``.

The line's own maps lie in the image store, by inspection; these are of images that the model saw later. Encoded as those are,
by the model's own fail threshold. A few of each model, so nothing has to be thrown away.
"""

from __future__ import annotations

import os
from pathlib import Path

from inspection.errors import NotFound

MAX_MAPS = 500
"""Of one model."""


class MapStore:
    """Maps by model and frame; what is written appears whole or not at all."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, model: str, sha256: str) -> Path:
        return self._root / model / f"{sha256}.png"

    def stored(self, model: str) -> frozenset[str]:
        """The frames that there is a map of, by SHA-256."""
        folder = self._root / model
        return frozenset(file.stem for file in folder.glob("*.png")) if folder.is_dir() else frozenset()

    def put(self, model: str, sha256: str, data: bytes) -> None:
        """OSError if the disk refuses. Nobody loses by a map that a power cut takes: it is computed again."""
        path = self.path(model, sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}.new")
        try:
            fresh.write_bytes(data)
            fresh.rename(path)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise

    def read(self, model: str, sha256: str) -> bytes:
        """NotFound if there is none."""
        try:
            return self.path(model, sha256).read_bytes()
        except OSError as error:
            raise NotFound(
                f"model {model[:12]} has no stored map of image {sha256[:12]}; gate the model again to have the most telling made"
            ) from error
