"""The same picture twice: within a folder, in training and test, or under two labels; exactly, or saved again with loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.dataset import GOOD
from training.findings import Finding, Kind, Severity
from training.layout import TRAIN
from training.picture import Picture

NEAR = 0.05
"""Of the usual difference between two pictures of the folder."""
NEAR_LEVELS = 1.0 / 255
"""And no more than this, where pictures differ a lot."""


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


def near_copies(pictures: Sequence[Picture], pairs: Sequence[Pair]) -> list[Finding]:
    """Pictures that differ from an earlier one much less than pictures of this product do: saved again, or resized.

    Measured between sketches, root mean square. On the photographs of four products, a picture saved as JPEG (quality 60 or more)
    or halved in size differed from its original by up to 0.041 of the median difference and 0.7 levels of 255; different pictures
    by 0.060 or more. Two photographs of one part that did not move are near copies too, and the second may show a new defect: so
    nothing is concluded from the labels.
    """
    repeated = {id(pair.later) for pair in pairs}
    distinct = [picture for picture in pictures if id(picture) not in repeated and not picture.blank]
    if len(distinct) < 3:
        return []
    sketches = np.stack([picture.sketch for picture in distinct]).astype(np.float64)
    rows = np.linspace(0, len(distinct) - 1, min(len(distinct), 100)).astype(int)
    usual = np.median(np.concatenate([np.delete(_differences(sketches, row), row) for row in rows]))
    findings = []
    for number in range(1, len(distinct)):
        differences = _differences(sketches[: number + 1], number)[:number]
        nearest = int(np.argmin(differences))
        if differences[nearest] < min(NEAR * usual, NEAR_LEVELS):
            what = f"all but the same picture as {distinct[nearest].name}, saved again, resized, or taken of the same part"
            findings.append(Finding(Severity.WARNING, Kind.NEAR_COPY, distinct[number].name, what, "keep one of them"))
    return findings


def _differences(sketches: NDArray[np.float64], row: int) -> NDArray[np.float64]:
    return np.sqrt(np.mean((sketches - sketches[row]) ** 2, axis=1))


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
