"""The rings that this process is attached to, found by the names in messages."""

from __future__ import annotations

from pathlib import Path

from cameras.errors import RingError
from cameras.ring import Ring


class Rings:
    """Attaches to a camera's ring when it is first named, and again when the camera made a new one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._rings: dict[str, tuple[int, Ring]] = {}

    def get(self, name: str) -> Ring:
        """RingError if there is no such ring."""
        path = self._directory / Path(name).name
        try:
            inode = path.stat().st_ino
        except OSError as error:
            raise RingError(f"ring {name} is gone: {error.strerror}") from error
        known = self._rings.get(name)
        if known is None or known[0] != inode:
            known = (inode, Ring(path))
            self._rings[name] = known
        return known[1]

    def all(self) -> list[Ring]:
        """Every ring that exists now."""
        return [self.get(path.name) for path in sorted(self._directory.glob("*.ring"))]
