"""Labels on inspections: the newest counts, the history stays."""

from __future__ import annotations

import numpy as np
import pytest

from inspection.domain import Box, ImageKind, Verdict
from inspection.errors import Conflict, NotFound
from inspection.records.labels import add_label, label_history, latest_labels


def test_the_newest_label_counts_and_the_others_are_history(seeder) -> None:
    seq = seeder.inspection("L1", "S1", Verdict.FAIL)
    other = seeder.inspection("L1", "S2")
    first = add_label(seeder.connection, seq, "scratch", "ada", "seen under light", (Box(1, 2, 3, 4),))
    second = add_label(seeder.connection, seq, "ok", "bob", "dust, wiped off")
    assert label_history(seeder.connection, seq) == (second, first)
    assert (first.regions, first.labelled_by, first.reason) == ((Box(1, 2, 3, 4),), "ada", "seen under light")
    assert label_history(seeder.connection, other) == ()
    assert latest_labels(seeder.connection, 0, 10) == (first, second)
    assert latest_labels(seeder.connection, first.label_id, 10) == (second,)


@pytest.mark.parametrize("label", ["OK", "good", "Pass", "a scratch", "", "x" * 65, "tab\t"])
def test_what_reads_like_a_good_part_or_is_no_name_is_no_class_of_defects(seeder, label: str) -> None:
    seq = seeder.inspection("L1", "S1")
    with pytest.raises(Conflict, match="a label must"):
        add_label(seeder.connection, seq, label, "ada")
    assert label_history(seeder.connection, seq) == ()


def test_only_what_was_inspected_is_labelled(seeder) -> None:
    with pytest.raises(NotFound, match="inspection 7 is not recorded"):
        add_label(seeder.connection, 7, "ok", "ada")


@pytest.mark.parametrize("box", [Box(-1, 0, 4, 4), Box(0, 0, 0, 4), Box(60, 0, 5, 4), Box(0, 45, 4, 4)])
def test_a_region_lies_in_the_frame(seeder, box: Box) -> None:
    seq = seeder.inspection("L1", "S1", Verdict.FAIL)
    seeder.image(seq, ImageKind.FRAME, np.zeros((48, 64), np.uint8), "Mono8")
    with pytest.raises(Conflict, match="does not lie in the frame of 64×48 pixels"):
        add_label(seeder.connection, seq, "scratch", "ada", regions=(box,))
    add_label(seeder.connection, seq, "scratch", "ada", regions=(Box(0, 0, 64, 48),))


def test_a_good_part_has_no_regions(seeder) -> None:
    seq = seeder.inspection("L1", "S1")
    with pytest.raises(Conflict, match="has no regions"):
        add_label(seeder.connection, seq, "ok", "ada", regions=(Box(0, 0, 4, 4),))
