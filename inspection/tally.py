"""What the recorder counts as it commits, for those who watch the station: over all parts, since the recorder started.

Counted here, because every part passes here once: whoever asks later reads sums, and need not look at a row.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from cameras.messages import FaultReport
from inspection.domain import Image, Reason, Verdict
from inspection.ledger import Effects

BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
"""Upper bounds of the buckets in which times are counted; one more takes what is longer."""
DURABLE = "durable"
"""The stage from the request to the durable row of a part that was judged."""
# A product that is not configured is named by whoever opens lots; no number of them may fill the memory.
_SERIES = 1_000


@dataclass
class Times:
    """How many times were at most as long as each bound, and longer than the one before; and their sum."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    sum_s: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds


@dataclass
class Tally:
    """``inspections`` by product, verdict and reason ("" if there is none)."""

    inspections: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    stages: dict[tuple[str, str], Times] = field(default_factory=dict)
    commits: Times = field(default_factory=Times)
    faults: Counter[tuple[str, str]] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)
    image_bytes: Counter[str] = field(default_factory=Counter)
    late: int = 0
    _last_fault: dict[str, float] = field(default_factory=dict)

    def committed(self, effects: Effects, durable_ns: int, took_s: float) -> None:
        """A transaction is durable."""
        self.commits.add(took_s)
        self.late += len(effects.late)
        for made in effects.made:
            product = made.ticket.product or ""
            self._count(self.inspections, (product, made.row.verdict.value, made.row.reason.value if made.row.reason else ""))
            if made.message is None:
                continue
            for stage, ms in made.message.timings_ms.items():
                self._time(product, stage, ms / 1e3)
            if made.ticket.requested_ns:
                self._time(product, DURABLE, (durable_ns - made.ticket.requested_ns) / 1e9)

    def reported(self, faults: list[FaultReport]) -> None:
        for fault in faults:
            self._count(self.faults, (fault.source, fault.kind), fault.count)
            self._last_fault[fault.kind] = time.monotonic()

    def stored(self, images: list[tuple[int, Image]]) -> None:
        for _, image in images:
            self.images[image.kind.value] += 1
            self.image_bytes[image.kind.value] += image.nbytes

    def _count(self, counter: Counter[Any], key: tuple[str, ...], count: int = 1) -> None:
        counter[key if key in counter or len(counter) < _SERIES else ("other", *key[1:])] += count

    def _time(self, product: str, stage: str, seconds: float) -> None:
        key = (product, stage)
        if key not in self.stages and len(self.stages) >= _SERIES:
            key = ("other", stage)
        self.stages.setdefault(key, Times()).add(seconds)

    def as_dict(self) -> dict[str, Any]:
        """For the status file. ``recent_faults`` tells how many seconds ago each kind came last, by the monotonic clock."""
        now = time.monotonic()
        return {
            "inspections": [[*key, count] for key, count in self.inspections.items()],
            "stages": [[*key, times.counts, times.sum_s] for key, times in self.stages.items()],
            "commits": [self.commits.counts, self.commits.sum_s],
            "faults": [[*key, count] for key, count in self.faults.items()],
            "recent_faults": {kind: now - at for kind, at in self._last_fault.items()},
            "images": dict(self.images),
            "image_bytes": dict(self.image_bytes),
            "late_verdicts": self.late,
        }


def every_reason() -> list[tuple[str, str]]:
    """(verdict, reason) of every inspection that there may be; a count that is not there yet is 0, not unknown."""
    judged = [(verdict.value, "") for verdict in Verdict if verdict is not Verdict.NOT_INSPECTED]
    return judged + [(Verdict.NOT_INSPECTED.value, reason.value) for reason in Reason]
