"""What a soak found: figures for programs, tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inspection.bench.memory import Growth
from inspection.figures import Row, show
from inspection.soak.recovery import Cost, Injected, costs
from inspection.soak.run import Soak, Stretch

_MIB = 2**20
# Of the stretches, so many are shown, evenly chosen; all are in the JSON.
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Held:
    """Memory of one process in its longest life: ``followed_s`` of it, in bytes and bytes per hour."""

    process: str
    followed_s: float
    growth: Growth


@dataclass(frozen=True, slots=True)
class Report:
    """``checks`` counts how often each was made; ``violations`` are in words, none for a sound station. ``restarts`` are those
    of the manager, which starts the processes again; ``deliveries`` counts events that the receiver took.
    """

    seed: int | None
    seconds: float
    wanted_parts_per_s: float
    parts: int
    parts_per_s: float
    accepted: int
    verdicts: dict[str, int]
    lost: dict[str, int]
    checks: dict[str, int]
    violations: list[str]
    faults: list[Injected]
    costs: list[Cost]
    memory: list[Held]
    stretches: list[Stretch]
    restarts: int
    deliveries: int


def report(soak: Soak, seed: int | None, rate: float, restarts: int, deliveries: int) -> Report:
    tally = soak.tally
    return Report(
        seed,
        soak.seconds,
        rate,
        tally.parts,
        tally.parts / soak.seconds if soak.seconds else 0.0,
        tally.accepted,
        dict(tally.verdicts.most_common()),
        dict(tally.lost.most_common()),
        dict(soak.findings.checked),
        soak.findings.violations,
        soak.faults,
        costs(soak.faults),
        [Held(name, seconds, growth) for name, (seconds, growth) in soak.memory.growths().items()],
        tally.stretches,
        restarts,
        deliveries,
    )


def print_report(found: Report) -> None:
    """Tables on standard output, the violations last."""
    for _, rows in tables(found):
        show(rows)
    if found.violations:
        show([("violation",), *((violation,) for violation in found.violations)])


def tables(found: Report) -> list[tuple[str, list[Row]]]:
    """(title, rows with their head); none that would be empty."""
    fault_head = ("fault", "times", "not made", "parts lost", "next inspected after, median s", "most s")
    memory_head = ("process", "followed, min", "settled, MiB", "at the end, MiB", "slope, MiB/h", "± standard error")
    all_: list[tuple[str, list[Row]]] = [
        ("Soak", [("soak", ""), *_figures(found)]),
        ("Faults", [fault_head, *_costs(found.costs)]),
        ("Checks", [("check", "made", "violations"), *_checks(found)]),
        ("Memory", [memory_head, *_memory(found.memory)]),
        ("Stretches", [("from minute", "parts", "inspected", "p50 ms", "p99 ms"), *_stretches(found.stretches)]),
    ]
    return [(title, rows) for title, rows in all_ if len(rows) > 1]


def _figures(found: Report) -> list[Row]:
    plan = "without a plan" if found.seed is None else f"from the plan of seed {found.seed}"
    lost = ", ".join(f"{count} {reason}" for reason, count in found.lost.items()) or "none"
    return [
        ("faults", f"{len(found.faults)}, {plan}"),
        ("minutes", f"{found.seconds / 60:.1f}"),
        ("parts", f"{found.parts} at {found.parts_per_s:.1f}/s of {found.wanted_parts_per_s:g}/s, {found.accepted} accepted"),
        ("verdicts", ", ".join(f"{count} {verdict}" for verdict, count in found.verdicts.items())),
        ("not inspected", lost),
        ("violations", str(len(found.violations))),
        ("restarts of the manager", str(found.restarts)),
        ("events delivered", str(found.deliveries)),
    ]


def _costs(found: Sequence[Cost]) -> list[Row]:
    return [
        (each.fault, str(each.times), str(each.skipped), str(each.lost), _figure(each.median_s, 2), _figure(each.most_s, 2))
        for each in found
    ]


def _checks(found: Report) -> list[Row]:
    return [
        (check, str(made), str(sum(violation.startswith(f"{check}: ") for violation in found.violations)))
        for check, made in found.checks.items()
    ]


def _memory(held: Sequence[Held]) -> list[Row]:
    rows = []
    for each in held:
        grown = each.growth
        figures = (grown.settled, grown.last, grown.slope_per_hour, grown.slope_error)
        rows.append((each.process, f"{each.followed_s / 60:.1f}", *(f"{value / _MIB:.2f}" for value in figures)))
    return rows


def _stretches(stretches: Sequence[Stretch]) -> list[Row]:
    chosen = stretches[:: max(1, -(-len(stretches) // _SHOWN))]
    return [
        (f"{each.from_s / 60:.1f}", str(each.parts), str(each.inspected), _figure(each.p50_ms, 1), _figure(each.p99_ms, 1))
        for each in chosen
    ]


def _figure(value: float | None, places: int) -> str:
    return "–" if value is None else f"{value:.{places}f}"
