"""When the line arms a camera, and which exposures it allows."""

from __future__ import annotations

import pytest

from inspection.lane import Lane

WINDOW = 100


def armed_lane(now: int = 0) -> Lane:
    lane = Lane("top", quiet_at_ns=now)
    epoch = lane.arming_due(now)
    assert epoch is not None
    assert lane.armed(epoch)
    return lane


def test_a_camera_is_not_armed_while_an_edge_of_the_former_line_may_be_on_its_way() -> None:
    lane = Lane("top", quiet_at_ns=WINDOW)
    assert lane.arming_due(WINDOW - 1) is None
    assert lane.arming_due(WINDOW) is not None
    assert lane.arming_due(WINDOW + 1) is None, "asked once"


def test_counts_start_at_one_in_every_epoch() -> None:
    lane = armed_lane()
    assert [lane.expose(0, 5)[1], lane.expose(1, 6)[1]] == [1, 2]
    lane.rearm("desync")
    assert not lane.ready
    epoch = lane.arming_due(10)
    assert epoch is not None
    lane.armed(epoch)
    assert lane.expose(10, 20) == (epoch, 1)


def test_after_an_exposure_the_camera_is_armed_only_when_its_edge_cannot_come_any_more() -> None:
    lane = armed_lane()
    lane.expose(0, until_ns=50)
    lane.rearm("desync")
    assert lane.arming_due(49) is None
    assert lane.arming_due(50) is not None


def test_an_edge_that_came_does_not_delay_the_arming() -> None:
    lane = armed_lane()
    epoch, count = lane.expose(0, until_ns=50)
    lane.rearm("desync")
    assert lane.arming_due(20) is None
    lane.edge_came(epoch, count)
    assert lane.arming_due(21) is not None


def test_only_the_epoch_asked_for_last_counts() -> None:
    lane = Lane("top", 0)
    first = lane.arming_due(1)
    assert first is not None
    lane.camera_ready()
    second = lane.arming_due(2)
    assert second is not None
    assert not lane.armed(first)
    assert lane.armed(second)


def test_a_lost_camera_is_armed_when_it_says_that_it_is_ready() -> None:
    lane = armed_lane()
    lane.lost("unplugged")
    assert lane.arming_due(1_000) is None
    lane.camera_ready()
    assert lane.arming_due(1_000) is not None


def test_no_exposure_without_an_armed_camera() -> None:
    with pytest.raises(AssertionError):
        Lane("top", 0).expose(0, 1)


def test_a_camera_that_cannot_prove_its_counts_gets_one_exposure_at_a_time() -> None:
    lane = Lane("top", 0)
    epoch = lane.arming_due(1)
    assert epoch is not None
    lane.armed(epoch, exact=False)
    _, count = lane.expose(0, until_ns=50)
    lane.edge_came(epoch, count)  # the frame may have been noise, and the edge still to come
    assert lane.busy(49)
    assert not lane.busy(50)


def test_an_exact_camera_is_never_busy() -> None:
    lane = armed_lane()
    lane.expose(0, until_ns=50)
    assert not lane.busy(1)


# --- the accept output ---


def signalling_lane() -> tuple[Lane, tuple[int, int]]:
    """A lane with pulses of 50, whose first part was exposed at 100 and accepted."""
    lane = Lane("top", quiet_at_ns=0, pulse_ns=50)
    epoch = lane.arming_due(1)
    assert epoch is not None
    assert lane.armed(epoch, now_ns=10)
    exposure = lane.expose(20, until_ns=120)
    lane.accept(*exposure)
    return lane, exposure


def test_after_arming_a_pulse_of_the_former_epoch_may_be_on() -> None:
    lane = Lane("top", quiet_at_ns=0, pulse_ns=50)
    epoch = lane.arming_due(1)
    assert epoch is not None
    lane.armed(epoch, now_ns=10)
    assert lane.signals(59)
    assert not lane.signals(60)


def test_the_output_may_be_on_from_the_command_until_the_end_of_the_pulse() -> None:
    lane, exposure = signalling_lane()
    assert lane.signals(10_000), "the camera has not said when the pulse began"
    lane.accept_done(exposure[0] - 1, exposure[1], 200)
    lane.accept_done(exposure[0], exposure[1] + 1, 200)
    assert lane.signals(10_000), "said of another part"
    lane.accept_done(*exposure, 200)
    assert lane.signals(249)
    assert not lane.signals(250)


def test_a_pulse_that_was_refused_never_comes() -> None:
    lane, exposure = signalling_lane()
    lane.accept_done(*exposure, None)
    assert not lane.signals(100)


def test_arming_ends_what_the_camera_did_not_answer() -> None:
    lane, _ = signalling_lane()
    lane.camera_ready()
    epoch = lane.arming_due(300)
    assert epoch is not None
    lane.armed(epoch, now_ns=310)
    assert lane.signals(359)
    assert not lane.signals(360)


def test_edges_of_parts_that_were_never_judged_are_not_kept() -> None:
    lane = armed_lane()
    for now_ns in range(10_000):
        lane.expose(now_ns, until_ns=now_ns + WINDOW)
    assert len(lane.edges) <= WINDOW + 1
