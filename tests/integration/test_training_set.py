"""From records to a frozen training set, on SQLite and PostgreSQL."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text, update

from inspection.domain import MIN_IMAGES, Box, ImageKind, Member, Side, Source, Verdict
from inspection.errors import Conflict, NotFound, StationError
from inspection.images import ImageStore
from inspection.records import tables
from inspection.records.labels import add_label
from inspection.records.stored_images import add_golden, add_imported, golden_inspections, list_golden, remove_golden
from inspection.records.training_sets import freeze, get_training_set, list_training_sets, members_of
from inspection.training_set import checked, draft, pseudo_lot, split

LEARNED, KEPT = "L1", "L10"
"""Lots that are learned from, and kept for validation."""


@pytest.fixture
def part(seeder) -> Callable[..., int]:
    """An inspection with a stored frame of its own."""
    shades = iter(range(1, 250))

    def make(lot: str = LEARNED, verdict: Verdict = Verdict.PASS, shade: int | None = None) -> int:
        seq = seeder.inspection(lot, f"S{seeder.seqs + 1}", verdict)
        seeder.image(seq, ImageKind.FRAME, np.full((8, 8), shade or next(shades), np.uint8), "Mono8")
        return seq

    return make


@pytest.fixture
def store(image_dir: Path) -> ImageStore:
    return ImageStore(image_dir)


def by_seq(members: tuple[Member, ...]) -> dict[int, Member]:
    return {int(member.name.rpartition("#")[2]): member for member in members if member.source is not Source.FOLDER}


def test_passed_and_labelled_parts_are_members_and_undecided_ones_are_not(seeder, part) -> None:
    passed, failed, escaped, false_reject = part(), part(verdict=Verdict.FAIL), part(), part(verdict=Verdict.REVIEW)
    scratched = part(verdict=Verdict.FAIL)
    add_label(seeder.connection, escaped, "dent", "ada")
    add_label(seeder.connection, false_reject, "scratch", "ada")
    add_label(seeder.connection, false_reject, "ok", "bob", "dust")
    add_label(seeder.connection, scratched, "scratch", "ada", regions=(Box(1, 2, 3, 4),))
    members = by_seq(draft(seeder.connection, "plate").members)
    assert {seq: member.seq for seq, member in members.items()} == {seq: seq for seq in members}
    assert {seq: (member.label, member.source) for seq, member in members.items()} == {
        passed: ("ok", Source.PASS),
        escaped: ("dent", Source.LABEL),
        false_reject: ("ok", Source.LABEL),
        scratched: ("scratch", Source.LABEL),
    }
    assert failed not in members
    assert members[scratched].regions == (Box(1, 2, 3, 4),)
    assert draft(seeder.connection, "flange").members == ()


@given(st.sets(st.text("abcL019-", min_size=1, max_size=8), min_size=1, max_size=20), st.sets(st.text("xyz/", max_size=5)))
def test_a_lot_has_the_same_side_in_every_set(lots: set[str], folders: set[str]) -> None:
    imported = {pseudo_lot(folder) for folder in folders}
    together = split(lots | imported)
    assert all(together[lot] is Side.TRAIN for lot in imported)
    assert all(split({lot}) == {lot: side} for lot, side in together.items()), "whatever other lots there are"
    assert split({LEARNED, KEPT}) == {LEARNED: Side.TRAIN, KEPT: Side.VALIDATION}


def test_about_one_lot_in_five_is_kept_for_validation() -> None:
    sides = list(split(f"lot-{number}" for number in range(2_000)).values())
    assert 0.17 < sides.count(Side.VALIDATION) / len(sides) < 0.23


def test_a_lot_is_on_one_side_and_imported_images_are_learned_from(seeder, part) -> None:
    for lot in (LEARNED, KEPT) * 3:
        part(lot)
    add_imported(seeder.connection, "plate", "ab" * 32, "1.png", "/photographs", "Mono8", "ada")
    assert not add_imported(seeder.connection, "plate", "ab" * 32, "2.png", "/others", "Mono8", "bob"), "it is there already"
    members = draft(seeder.connection, "plate").members
    assert {member.lot: {each.side for each in members if each.lot == member.lot} for member in members} == {
        LEARNED: {Side.TRAIN},
        KEPT: {Side.VALIDATION},
        pseudo_lot("/photographs"): {Side.TRAIN},
    }


def test_one_image_is_one_member_and_contradicting_labels_leave_it_out(seeder, part) -> None:
    labelled, unlabelled, other = part(shade=7), part(shade=7), part(shade=8)
    contradicted = part(shade=8)
    add_label(seeder.connection, labelled, "scratch", "ada")
    add_label(seeder.connection, other, "ok", "ada")
    add_label(seeder.connection, contradicted, "dent", "bob")
    found = draft(seeder.connection, "plate")
    assert list(by_seq(found.members)) == [labelled], "a label outweighs the verdict on the same image"
    assert unlabelled not in by_seq(found.members)
    assert any("labels contradict each other: L1/S3#3" in warning for warning in found.warnings)


def test_golden_images_are_not_learned_from(seeder, part) -> None:
    first, second = part(), part(verdict=Verdict.FAIL)
    with pytest.raises(Conflict, match="has no label; label it first"):
        golden_inspections(seeder.connection, "plate", (first,), "ada")
    for label in ("dent", "ok"):  # the newest one counts
        add_label(seeder.connection, first, label, "ada")
    add_label(seeder.connection, second, "dent", "ada")
    images = golden_inspections(seeder.connection, "plate", (first, second), "ada")
    assert [add_golden(seeder.connection, image) for image in images] == [True, True]
    assert [add_golden(seeder.connection, image) for image in images] == [False, False]
    golden = list_golden(seeder.connection, "plate")
    assert [(image.label, image.name) for image in golden] == [("dent", "L1/S2"), ("ok", "L1/S1")]
    found = draft(seeder.connection, "plate")
    assert found.members == ()
    assert "2 golden images are left out: a gate tests with them" in found.warnings
    remove_golden(seeder.connection, "plate", golden[0].sha256)
    assert list(by_seq(draft(seeder.connection, "plate").members)) == [second]
    with pytest.raises(NotFound, match="is not in the golden set"):
        remove_golden(seeder.connection, "plate", golden[0].sha256)


def test_the_same_content_is_the_same_set_and_its_digest_is_that_of_its_text(seeder, part, store) -> None:
    for _ in range(MIN_IMAGES):
        part()
    found = checked(draft(seeder.connection, "plate"), store)
    frozen = freeze(seeder.connection, found, "ada")
    document = seeder.connection.execute(text("SELECT document FROM training_sets")).scalar_one()
    assert frozen.training_set == hashlib.sha256(document.encode()).hexdigest()
    assert freeze(seeder.connection, checked(draft(seeder.connection, "plate"), store), "bob") == frozen
    assert members_of(seeder.connection, frozen.training_set) == found.members
    assert (frozen.sizes, frozen.created_by) == ({"train": {"ok": 10}, "validation": {}}, "ada")
    assert any("passes that nobody labelled" in warning for warning in frozen.warnings)

    add_label(seeder.connection, 1, "dent", "ada")
    part()
    changed = freeze(seeder.connection, checked(draft(seeder.connection, "plate"), store), "ada")
    assert changed.training_set != frozen.training_set
    assert changed.sizes == {"train": {"dent": 1, "ok": 10}, "validation": {}}
    assert members_of(seeder.connection, frozen.training_set) == found.members, "what is frozen does not change"
    assert list_training_sets(seeder.connection, "plate", 10) == (changed, frozen)
    assert get_training_set(seeder.connection, frozen.training_set) == frozen


def test_an_altered_set_is_not_learned_from(seeder, part, store) -> None:
    for _ in range(MIN_IMAGES):
        part()
    frozen = freeze(seeder.connection, checked(draft(seeder.connection, "plate"), store), "ada")
    altered = tables.training_sets.c.document.concat(" ")
    seeder.connection.execute(update(tables.training_sets).values(document=altered))
    with pytest.raises(StationError, match="was altered in the database"):
        members_of(seeder.connection, frozen.training_set)
    with pytest.raises(NotFound, match="is not recorded"):
        members_of(seeder.connection, "ab" * 32)


def test_too_few_good_images_are_refused_with_the_way_out(seeder, part, store) -> None:
    for _ in range(MIN_IMAGES - 1):
        part()
    for _ in range(3):
        part(KEPT)
    add_label(seeder.connection, part(verdict=Verdict.FAIL), "dent", "ada")
    with pytest.raises(Conflict, match=r"9 good images of plate .* at least 10 are needed \(3 more are of lots kept for"):
        checked(draft(seeder.connection, "plate"), store)


def test_a_later_lot_that_is_kept_is_not_learned_from_even_where_nothing_else_is_good(seeder, part, store) -> None:
    """It would change its side as soon as there was another lot, and what checked a model would have taught it."""
    seeder.lot(LEARNED)
    part(verdict=Verdict.FAIL)
    seeder.lot(KEPT, opened_at=seeder.start + timedelta(hours=1))
    for _ in range(MIN_IMAGES):
        part(KEPT)
    with pytest.raises(Conflict, match=r"0 good images .* \(10 more are of lots kept for validation; another lot may be learned"):
        checked(draft(seeder.connection, "plate"), store)


def test_the_first_lot_of_a_product_is_learned_from_whatever_its_name(seeder, part, store) -> None:
    """Or one new station in five could not train until its second lot."""
    start = seeder.start
    seeder.lot("L2", opened_at=start)  # without parts
    seeder.lot(KEPT, opened_at=start + timedelta(hours=1))
    for _ in range(MIN_IMAGES):
        part(KEPT)
    assert checked(draft(seeder.connection, "plate"), store).sizes == {"train": {"ok": MIN_IMAGES}, "validation": {}}
    other = next(lot for lot in (f"M{number}" for number in range(100)) if split({lot})[lot] is Side.VALIDATION)
    part(other)
    assert draft(seeder.connection, "plate").sizes == {"train": {"ok": MIN_IMAGES}, "validation": {"ok": 1}}


def test_a_missing_labelled_image_is_refused_and_missing_passes_are_left_out(seeder, part, store) -> None:
    seqs = [part() for _ in range(MIN_IMAGES + 2)]
    found = draft(seeder.connection, "plate")
    store.path(by_seq(found.members)[seqs[0]].sha256).unlink()
    kept = checked(found, store)
    assert len(kept.members) == MIN_IMAGES + 1
    assert any("1 passed frames are left out: their files" in warning for warning in kept.warnings)
    add_label(seeder.connection, seqs[0], "ok", "ada")
    with pytest.raises(Conflict, match=r"1 labelled or imported images are not in the image store: L1/S1#1"):
        checked(draft(seeder.connection, "plate"), store)
