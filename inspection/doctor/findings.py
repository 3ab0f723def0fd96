"""What the doctor found: one thing that was looked at, how it is, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from rich.table import Table
from rich.text import Text


class Outcome(StrEnum):
    """``failure``: the station would not work, or not keep what it promises. ``warning``: it would, with what ``todo`` says in
    mind. ``not checked``: this could not be looked at here.
    """

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Finding:
    """``todo`` is empty where nothing is to be done."""

    area: str
    check: str
    outcome: Outcome
    found: str
    todo: str = ""


def ok(area: str, check: str, found: str) -> Finding:
    return Finding(area, check, Outcome.OK, found)


def warning(area: str, check: str, found: str, todo: str) -> Finding:
    return Finding(area, check, Outcome.WARNING, found, todo)


def failure(area: str, check: str, found: str, todo: str) -> Finding:
    return Finding(area, check, Outcome.FAILURE, found, todo)


def not_checked(area: str, check: str, found: str, todo: str = "") -> Finding:
    return Finding(area, check, Outcome.NOT_CHECKED, found, todo)


_STYLES = {Outcome.OK: "green", Outcome.WARNING: "yellow", Outcome.FAILURE: "bold red", Outcome.NOT_CHECKED: "dim"}


def table(findings: Iterable[Finding]) -> Table:
    """For people, in the order in which things were looked at."""
    shown = Table("", "Checked", "Found", "What to do")
    for column in shown.columns[1:]:
        column.overflow = "fold"
    area = None
    for each in findings:
        if area is not None and each.area != area:
            shown.add_section()
        area = each.area
        # As text: names of devices and files may hold what looks like markup.
        cells = (f"{each.area}: {each.check}", each.found, each.todo)
        shown.add_row(Text(each.outcome.value, style=_STYLES[each.outcome]), *map(Text, cells))
    return shown


def summary(findings: Sequence[Finding]) -> str:
    """One line."""
    counts = counted(findings)
    verdict = "not fit for service" if counts[Outcome.FAILURE] else "fit for service"
    return f"{verdict}; " + ", ".join(f"{outcome.value}: {count}" for outcome, count in counts.items())


def counted(findings: Sequence[Finding]) -> dict[Outcome, int]:
    """The worst first."""
    order = (Outcome.FAILURE, Outcome.WARNING, Outcome.NOT_CHECKED, Outcome.OK)
    return {outcome: sum(each.outcome is outcome for each in findings) for outcome in order}


def document(findings: Sequence[Finding]) -> dict[str, Any]:
    """What is written as JSON."""
    return {
        "counts": {outcome.value: count for outcome, count in counted(findings).items()},
        "findings": [asdict(each) for each in findings],
    }
