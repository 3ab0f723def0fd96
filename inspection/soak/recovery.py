"""What each fault cost: the parts that were lost to it, and how long it took until a part was inspected again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from inspection.cell import Outcome
from inspection.domain import Verdict
from inspection.soak.plan import Planned

RECOVERED_S = 60.0
"""A fault that is over for longer and after which no part was inspected is one that the station did not recover from."""


@dataclass
class Injected:
    """One fault as it went, in seconds since the start. ``undone_s`` is when it was over; ``recovered_s`` when the first part
    that was asked for after that had been inspected. ``lost`` counts parts that were not inspected meanwhile; faults that
    overlap count the same parts. ``skipped`` says why it could not be made.
    """

    fault: str
    target: str
    at_s: float
    undone_s: float | None = None
    recovered_s: float | None = None
    lost: int = 0
    skipped: str = ""

    @property
    def took_s(self) -> float | None:
        """From its end to the next inspected part."""
        return None if self.recovered_s is None or self.undone_s is None else self.recovered_s - self.undone_s


class Recovery:
    """Fed by the injecting thread (``injected``, ``undone``, ``skipped``) and the cell's (``result``)."""

    def __init__(self, started_ns: int) -> None:
        self._started_ns = started_ns
        self._open: list[Injected] = []
        self.faults: list[Injected] = []

    def now_s(self) -> float:
        return (time.monotonic_ns() - self._started_ns) / 1e9

    def injected(self, planned: Planned) -> Injected:
        each = Injected(planned.fault.name, planned.target, self.now_s())
        self.faults.append(each)
        self._open.append(each)
        return each

    def undone(self, each: Injected) -> None:
        each.undone_s = self.now_s()

    def skipped(self, each: Injected, why: str) -> None:
        each.skipped = why
        each.undone_s = each.recovered_s = each.at_s

    def result(self, outcome: Outcome) -> None:
        inspected = outcome.verdict is not Verdict.NOT_INSPECTED
        asked_s = (outcome.requested_ns - self._started_ns) / 1e9
        for each in list(self._open):
            if each.recovered_s is not None:
                self._open.remove(each)
            elif not inspected:
                each.lost += asked_s >= each.at_s
            elif each.undone_s is not None and asked_s > each.undone_s:
                each.recovered_s = self.now_s()

    def stuck(self) -> list[str]:
        """Faults that are over for so long and no part was inspected since."""
        now_s = self.now_s()
        return [
            f"{each.fault} {each.target} at {each.at_s:.1f} s: no part was inspected since"
            for each in self.faults
            if each.recovered_s is None and each.undone_s is not None and now_s - each.undone_s > RECOVERED_S
        ]


@dataclass(frozen=True, slots=True)
class Cost:
    """All faults of one name: how many, how many could not be made, parts lost, and seconds until a part was inspected again."""

    fault: str
    times: int
    skipped: int
    lost: int
    median_s: float | None
    most_s: float | None


def costs(faults: Sequence[Injected]) -> list[Cost]:
    by_name: dict[str, list[Injected]] = {}
    for each in faults:
        by_name.setdefault(each.fault, []).append(each)
    found = []
    for name, those in sorted(by_name.items()):
        took = [each.took_s for each in those if each.took_s is not None and not each.skipped]
        middle, most = (median(took), max(took)) if took else (None, None)
        skipped = sum(bool(each.skipped) for each in those)
        found.append(Cost(name, len(those), skipped, sum(each.lost for each in those), middle, most))
    return found
