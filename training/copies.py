"""The same picture twice: within a folder, in training and test, or under two labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from training.dataset import GOOD
from training.findings import Finding, Kind, Severity
from training.layout import TRAIN
from training.picture import Picture


@dataclass(frozen=True, slots=True)
class Pair:
    """A picture and the earlier one that it repeats: byte by byte, or pixel by pixel in another file."""

    first: Picture
    later: Picture
    same_file: bool

    @property
    def contradicts(self) -> bool:
        """One is labelled good, the other defective."""
        return _good(self.first) != _good(self.later)

    @property
    def leaks(self) -> bool:
        """One teaches and the other tests."""
        return _trains(self.first) != _trains(self.later)


def copies(pictures: Sequence[Picture]) -> list[Pair]:
    """Each picture that repeats others, paired with the one that matters most: of another label, else of another part."""
    groups: dict[str, list[Picture]] = {}
    pairs = []
    for later in pictures:
        group = groups.setdefault(later.pixels_sha256, [])
        # A blank frame equals all others, whatever is wrong with them; it is reported as blank.
        if group and not later.blank:
            candidates = [Pair(first, later, first.sha256 == later.sha256) for first in group]
            pairs.append(max(candidates, key=lambda pair: (pair.contradicts, pair.leaks, pair.same_file)))
        group.append(later)
    return pairs


def copy_findings(pairs: Sequence[Pair]) -> list[Finding]:
    """What is wrong with each pair."""
    findings = []
    for pair in pairs:
        what = f"{'same file' if pair.same_file else 'same pixels'} as {pair.first.name}"
        if pair.contradicts:
            what += ": once labelled good, once defective"
            finding = Finding(
                Severity.ERROR, Kind.CONTRADICTION, pair.later.name, what, "decide which label is right and remove the other"
            )
        elif pair.leaks:
            what += ": the test shows what was learned by heart"
            finding = Finding(Severity.WARNING, Kind.LEAKAGE, pair.later.name, what, "remove it from the test")
        else:
            finding = Finding(Severity.WARNING, Kind.DUPLICATE, pair.later.name, what, "remove one of them")
        findings.append(finding)
    return findings


def _good(picture: Picture) -> bool:
    return picture.folder.rpartition("/")[2] == GOOD


def _trains(picture: Picture) -> bool:
    return picture.folder.startswith(f"{TRAIN}/")
