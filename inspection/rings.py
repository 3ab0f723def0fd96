"""The rings that this process is attached to, found by the names in messages."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from cameras.errors import RingError
from cameras.ring import Ring, SlotState

# How long after the start of a process a message in flight may still claim a frame of its predecessor, and how far later looks
# are apart: longer than any frame waits on a station that works.
FIRST_LOOK_S = 2.0
LOOK_S = 60.0


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


class Orphans:
    """Frees slots of one owner that no message claims: their message died with a process.

    A slot is an orphan if it is owned at two looks with the same frame. ``claimed`` tells those of which a message came, and
    that still wait: (ring's name, slot, frame).
    """

    def __init__(self, rings: Rings, state: SlotState, claimed: Callable[[], set[tuple[str, int, int]]] = set) -> None:
        self._rings = rings
        self._state = state
        self._claimed = claimed
        self._seen = self._look()
        self._due = time.monotonic() + FIRST_LOOK_S

    def _look(self) -> set[tuple[Ring, int, int]]:
        owned = {(ring, slot, seq) for ring in self._rings.all() for slot, seq in ring.owned(self._state)}
        # Asked after: a message that came in between counts.
        claimed = self._claimed()
        return {(ring, slot, seq) for ring, slot, seq in owned if (ring.path.name, slot, seq) not in claimed}

    def free(self) -> list[str]:
        """Called often; frees what is due and says which slots those were."""
        if time.monotonic() < self._due:
            return []
        freed = []
        now_owned = self._look()
        for ring, slot, seq in self._seen & now_owned:
            try:
                ring.release(slot, seq, self._state)
            except RingError:
                continue  # handed on just now
            freed.append(f"slot {slot} of {ring.path.name}, frame {seq}")
        self._seen = now_owned
        self._due = time.monotonic() + LOOK_S
        return freed
