"""The files in which the manager keeps what its processes log: of a limited size, on a disk that may be full."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from circus.stream import FileStream


class LogFile(FileStream):
    """circus's file that is rotated by size. What comes while the disk takes nothing is dropped, and the file is opened again for
    what comes later; circus's own would leave a closed file behind and write nothing any more.
    """

    def __call__(self, data: dict[str, Any]) -> None:
        try:
            super().__call__(data)
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                self.close()
            self._file = None

    def close(self) -> None:
        if self._file is not None:
            super().close()
