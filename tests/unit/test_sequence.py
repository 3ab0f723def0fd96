"""Frame ids and trigger counts: what a frame tells about those that did not come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cameras.messages import Loss
from cameras.sequence import FrameSequence


def test_ids_and_counts_that_advance_together_lose_nothing() -> None:
    sequence = FrameSequence()
    for number in range(1, 100):
        step = sequence.observe(frame_id=41 + number, count=number)
        assert (step.lost, step.desync) == ((), None)


def test_a_frame_lost_in_transfer_leaves_its_count_without_a_frame() -> None:
    sequence = FrameSequence()
    sequence.observe(1, 1)
    step = sequence.observe(4, 4)
    assert (step.lost, step.loss) == ((2, 3), Loss.FRAME_LOST)


def test_a_frame_lost_before_the_first_one_is_noticed_by_its_count() -> None:
    step = FrameSequence().observe(3, 3)
    assert (step.lost, step.loss) == ((1, 2), Loss.FRAME_LOST)


def test_edges_that_the_camera_missed_are_told_from_lost_frames() -> None:
    sequence = FrameSequence()
    sequence.observe(1, 1)
    step = sequence.observe(2, 3)
    assert (step.lost, step.loss) == ((2,), Loss.TRIGGER_MISSED)


def test_a_duplicate_id_and_a_count_that_stands_still_are_desyncs() -> None:
    sequence = FrameSequence()
    sequence.observe(1, 1)
    assert "frame id" in (sequence.observe(1, 2).desync or "")
    assert "trigger count" in (sequence.observe(2, 1).desync or "")


def test_more_frames_than_triggers_are_a_desync() -> None:
    sequence = FrameSequence()
    sequence.observe(1, 1)
    assert sequence.observe(3, 2).desync is not None


def test_16_bit_block_ids_wrap_from_65535_to_1() -> None:
    sequence = FrameSequence()
    sequence.observe(65_535, 1)
    assert sequence.observe(1, 2) == sequence.observe(2, 3)


@given(st.lists(st.sampled_from(["ok", "drop", "miss"]), max_size=60))
def test_every_count_is_either_seen_or_reported_lost_before_the_next_frame(events: list[str]) -> None:
    """Whatever is dropped or missed, no count vanishes silently."""
    sequence, frame_id, accounted = FrameSequence(), 0, set()
    for count, event in enumerate([*events, "ok"], start=1):
        frame_id += event != "miss"
        if event == "ok":
            step = sequence.observe(frame_id, count)
            assert step.desync is None
            accounted |= {*step.lost, count}
    assert accounted == set(range(1, len(events) + 2))
