"""Which images are due by age or for want of room, what the clock is believed, and which are not stored at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from inspection.config import ImagesConfig
from inspection.domain import Image, ImageKind, Verdict
from inspection.records.retention import Kept
from inspection.retention import GB, Deletion, DoubtfulClock, Limits, Room, due_by_age, due_for_room, in_words

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
P, F, R = Verdict.PASS, Verdict.FAIL, Verdict.REVIEW


def kept(*days_and_verdicts: tuple[float, Verdict]) -> list[Kept]:
    """Inspections numbered from 1, so many days old, with 100 bytes of images each."""
    return [Kept(seq, verdict, NOW - timedelta(days=days), 100) for seq, (days, verdict) in enumerate(days_and_verdicts, 1)]


# --- by age ---


def test_passes_go_by_their_age_and_rejects_never_unless_it_says_when() -> None:
    found = kept((500, F), (400, P), (100, R), (95, P), (80, P), (70, F))
    chosen = due_by_age(found, Limits(pass_days=90), NOW, 100)
    assert chosen.deletions == (Deletion((2, 4), "keep_pass_days = 90"),)
    assert (chosen.looked_to, chosen.ended) == (4, True)
    chosen = due_by_age(found, Limits(pass_days=90, reject_days=365), NOW, 100)
    assert chosen.deletions == (Deletion((2, 4), "keep_pass_days = 90"), Deletion((1,), "keep_reject_days = 365"))


def test_rejects_may_be_kept_for_less_time_than_passes() -> None:
    found = kept((50, P), (40, F), (20, F), (5, F))
    chosen = due_by_age(found, Limits(pass_days=90, reject_days=10), NOW, 100)
    assert chosen.deletions == (Deletion((2, 3), "keep_reject_days = 10"),)


def test_a_step_takes_no_more_than_it_may_and_goes_on_where_it_stopped() -> None:
    found = kept(*[(100, P)] * 5)
    first = due_by_age(found, Limits(pass_days=90), NOW, 2)
    assert (first.deletions[0].seqs, first.looked_to, first.ended) == ((1, 2), 2, False)
    following = due_by_age(found[first.looked_to :], Limits(pass_days=90), NOW, 2, first.newest)
    assert following.deletions[0].seqs == (3, 4)


def test_a_part_recorded_while_the_clock_was_wrong_is_not_taken_for_older_than_those_before_it() -> None:
    found = kept((1, P), (20_000, P), (1, P))
    assert due_by_age(found, Limits(pass_days=90), NOW, 100).deletions == ()
    # Nor where it is the first of another step.
    earlier = due_by_age(found[:1], Limits(pass_days=0.5), NOW, 100)
    later = due_by_age(found[1:], Limits(pass_days=10), NOW, 100, earlier.newest)
    assert (earlier.deletions, later.deletions) == ((Deletion((1,), "keep_pass_days = 0.5"),), ())


# --- for want of room ---


def test_passes_make_room_oldest_first_and_only_as_many_as_are_needed() -> None:
    found = kept((9, P), (8, F), (7, P), (6, R), (5, P), (4, P))
    chosen = due_for_room(found, 250, "max_gb = 1", 100)
    assert (chosen.deletions, chosen.looked_to) == ((Deletion((1, 3, 5), "max_gb = 1"),), 5)
    assert due_for_room(kept((9, F), (8, R), (7, Verdict.NOT_INSPECTED)), 250, "max_gb = 1", 100).deletions == ()


class Disk(Room):
    """A disk with so many bytes left."""

    free = 10 * GB

    def free_bytes(self) -> int:
        return self.free


def test_where_room_ends_passes_are_not_stored_first_then_nothing_is(tmp_path: Path) -> None:
    disk = Disk(tmp_path, Limits(min_free_bytes=2 * GB))
    stored = {}
    for disk.free in (3 * GB, int(1.9 * GB), int(1.4 * GB), int(0.9 * GB)):
        stored[disk.free] = [verdict for verdict in Verdict if disk.refusal(verdict) is None]
    assert list(stored.values()) == [list(Verdict), list(Verdict), [F, R, Verdict.NOT_INSPECTED], []]
    assert disk.refusal(P) == "the disk has 0.9 GB left, of the 2 GB that images must leave free"
    # Deleting begins before that.
    disk.free = int(1.9 * GB)
    assert disk.lacking() == (pytest.approx(0.1 * GB), "min_free_gb = 2")


def test_the_quota_stops_passes_alone_once_nothing_more_can_be_deleted(tmp_path: Path) -> None:
    disk = Disk(tmp_path, Limits(max_bytes=100 * GB))
    disk.kept_bytes = 103 * GB
    assert disk.lacking() == (3 * GB, "max_gb = 100")
    assert disk.refusal(P) is None, "older ones make room"
    disk.kept_bytes = 106 * GB
    assert disk.refusal(P) == "images take 106 GB of the 100 GB that they may"
    assert disk.refusal(F) is None
    disk.kept_bytes = 99 * GB
    assert disk.lacking()[0] < 0


def test_defaults_never_fill_a_disk_and_keep_every_reject() -> None:
    assert Limits.of(ImagesConfig()) == Limits(pass_days=90, reject_days=None, max_bytes=None, min_free_bytes=2 * GB)


# --- the clock ---


class Clocks:
    def __init__(self) -> None:
        self.wall, self.ticks = NOW, 1_000.0

    def pass_by(self, **time: float) -> None:
        self.wall += timedelta(**time)
        self.ticks += timedelta(**time).total_seconds()

    def doubtful(self, newest: datetime | None = NOW) -> DoubtfulClock:
        return DoubtfulClock(newest, lambda: self.wall, lambda: self.ticks)


def test_a_clock_that_goes_on_is_followed() -> None:
    clocks = Clocks()
    doubtful = clocks.doubtful()
    for _ in range(50):
        clocks.pass_by(hours=7)
        assert doubtful.now() == clocks.wall


def test_a_clock_that_jumped_forward_is_believed_after_a_day_and_one_set_back_at_once() -> None:
    clocks = Clocks()
    doubtful = clocks.doubtful()
    clocks.wall += timedelta(days=4_000)
    for _ in range(23):
        assert doubtful.now() < NOW + timedelta(days=1)
        clocks.pass_by(hours=1)
    clocks.wall -= timedelta(days=4_000)
    assert doubtful.now() == clocks.wall
    clocks.wall += timedelta(days=4_000)
    doubtful.now()
    clocks.pass_by(hours=25)
    assert doubtful.now() == clocks.wall


def test_a_second_jump_is_not_believed_with_the_first() -> None:
    clocks = Clocks()
    doubtful = clocks.doubtful()
    clocks.wall += timedelta(seconds=2)
    doubtful.now()
    clocks.pass_by(hours=23)
    clocks.wall += timedelta(days=4_000)
    doubtful.now()
    clocks.pass_by(hours=2)
    assert doubtful.now() < NOW + timedelta(days=3)


def test_a_station_that_starts_with_a_wrong_clock_goes_by_its_newest_row_for_a_day() -> None:
    clocks = Clocks()
    doubtful = clocks.doubtful(NOW - timedelta(days=700))
    assert doubtful.now() == NOW - timedelta(days=700)
    clocks.pass_by(hours=25)
    assert doubtful.now() == clocks.wall
    assert clocks.doubtful(None).now() == clocks.wall


# --- in words ---


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("keep_pass_days = 30", "the part passed, and it was older than 30 days"),
        ("keep_reject_days = 3650", "it was older than 3650 days"),
        ("max_gb = 500", "the part passed, and all images took more than 500 GB"),
        ("min_free_gb = 2", "the part passed, and the disk had less than 2 GB left"),
        ("a rule of another version = 1", "of the rules of that time"),
    ],
)
def test_a_deletion_says_when_and_why(rule: str, why: str) -> None:
    image = Image("ab" * 32, ImageKind.FRAME, "image/png", 4, 3, "Mono8", 100, NOW, rule)
    assert in_words(image) == f"deleted by retention on 2026-11-29 12:00 UTC: {why}"
