"""What several people say of one part: whose word stands, and whether it is settled.

The first label that contradicts somebody else's opens a conflict. The next label of somebody other than its author settles it,
whoever gives it: the newest label counts, and those before are history. Whoever contradicts that later opens a conflict anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inspection.domain import Label


@dataclass(frozen=True, slots=True)
class Opinions:
    """``counts`` is the label that counts, None if there is none; ``standing`` is the newest label of everybody whose word was
    neither settled nor taken back, oldest first; ``conflicting`` says that two of them differ and nobody settled it."""

    counts: Label | None
    standing: tuple[Label, ...]
    conflicting: bool


def opinions(history: Sequence[Label]) -> Opinions:
    """Of one inspection's labels, newest first."""
    standing: dict[str, Label] = {}
    conflicting = False
    last_by = ""
    for each in reversed(history):
        by = each.labelled_by
        if each.label is None:
            # Nobody's word counts now; the others' stay in sight for who labels next.
            standing.pop(by, None)
            conflicting = False
        else:
            if conflicting and by != last_by:
                standing.clear()
            standing.pop(by, None)
            conflicting = any(other.label != each.label for other in standing.values())
            standing[by] = each
        last_by = by
    counts = history[0] if history and history[0].label is not None else None
    return Opinions(counts, tuple(standing.values()), conflicting)
