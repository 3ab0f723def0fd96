"""Which faults come when. Pure: a seed makes the same plan from the same catalogue."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from inspection.soak.catalogue import Fault


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault of the plan: from ``at_s`` for ``seconds``; ``chance`` seeds what the injector draws."""

    fault: Fault
    target: str
    at_s: float
    seconds: float
    chance: int

    @property
    def name(self) -> str:
        return f"{self.fault.name}: {self.target}" if self.target else self.fault.name

    @property
    def touches(self) -> str:
        return self.fault.touches or self.target

    def __str__(self) -> str:
        return f"{self.at_s:8.2f} s  {self.name}" + (f", for {self.seconds:.2f} s" if self.seconds else "")


def plan(
    seed: int, seconds: float, gap_s: tuple[float, float], catalogue: Sequence[Fault], longest_s: float = 60.0
) -> tuple[Planned, ...]:
    """Faults until ``seconds`` are over, one every ``gap_s`` (least, most), so that they may overlap.

    Every fault and target of the catalogue has its turn before any has its second. None lasts longer than ``longest_s``, or than
    its own least.
    """
    chance = random.Random(seed)  # noqa: S311  (a seeded plan)
    bag: list[tuple[Fault, str]] = []
    busy_until: dict[str, float] = {}
    planned: list[Planned] = []
    at_s = chance.uniform(*gap_s)
    while at_s < seconds:
        if not bag:
            bag = [(fault, target) for fault in catalogue for target in fault.targets]
            chance.shuffle(bag)
        fault, target = bag.pop()
        least, most = fault.seconds
        each = Planned(fault, target, at_s, chance.uniform(least, max(least, min(most, longest_s))), chance.getrandbits(32))
        if busy_until.get(each.touches, 0.0) <= at_s:
            busy_until[each.touches] = at_s + each.seconds
            planned.append(each)
            at_s += chance.uniform(*gap_s)
        else:
            at_s += gap_s[0]
    return tuple(planned)
