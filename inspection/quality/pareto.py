"""Which few causes make most of the rejects (Juran's Pareto principle). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

REST = "all others"


@dataclass(frozen=True, slots=True)
class Bar:
    """One cause: how many it made, its share of all, and the share of it and those before it."""

    name: str
    count: int
    share: float
    cumulative: float


def pareto(counts: Mapping[str, int], most: int = 10) -> tuple[Bar, ...]:
    """Causes by their number, greatest first, by name where equal; those after the first ``most`` - 1 together, if they are two
    at least. Nothing of what never happened.
    """
    ordered = sorted(((name, count) for name, count in counts.items() if count), key=lambda item: (-item[1], item[0]))
    if len(ordered) > most:
        ordered = [*ordered[: most - 1], (REST, sum(count for _, count in ordered[most - 1 :]))]
    whole = sum(count for _, count in ordered)
    bars, reached = [], 0
    for name, count in ordered:
        reached += count
        bars.append(Bar(name, count, count / whole, reached / whole))
    return tuple(bars)
