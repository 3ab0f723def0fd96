"""What each process holds over the hours: samples, and the slope of the life that lasted longest."""

from __future__ import annotations

import os
from contextlib import suppress

from inspection.bench.memory import Growth, growth, private_bytes
from inspection.soak.station import MANAGER, SoakStation

SOAK = "soak"
"""The soak itself, whose memory is to be bounded as well."""
_LEAST = 8
_Life = list[tuple[float, int]]


class Memory:
    """Bounded: of each process the present life and the longest one are kept, thinned to every other sample when too many."""

    def __init__(self, most: int = 720) -> None:
        self._most = most
        self._present: dict[str, tuple[int, _Life]] = {}
        self._longest: dict[str, _Life] = {}
        self.last: dict[str, int] = {}

    def sample(self, at_s: float, station: SoakStation) -> None:
        self.last = {}
        for name, pid in {**station.pids(), MANAGER: station.manager.pid, SOAK: os.getpid()}.items():
            with suppress(OSError):
                self.last[name] = private_bytes(pid)
                self.add(name, pid, at_s, self.last[name])

    def add(self, name: str, pid: int, at_s: float, held: int) -> None:
        known, life = self._present.get(name, (0, []))
        if known != pid:
            life = []
            self._present[name] = pid, life
        life.append((at_s, held))
        if len(life) > self._most:
            del life[1::2]
        longest = self._longest.get(name, life)
        if life[-1][0] - life[0][0] >= longest[-1][0] - longest[0][0]:
            self._longest[name] = life

    def growths(self) -> dict[str, tuple[float, Growth]]:
        """{name: (seconds that its longest life was followed, growth in it)}; none of what was followed too shortly."""
        found = {}
        for name, life in sorted(self._longest.items()):
            began_s, ended_s = life[0][0], life[-1][0]
            if len(life) >= _LEAST:
                samples = [(at_s - began_s, {name: held}) for at_s, held in life]
                found[name] = ended_s - began_s, growth(samples, name, ended_s - began_s)
        return found
