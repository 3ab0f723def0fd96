"""The line while other processes and the camera come and go: what is said again, what is given up, when the camera is armed."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from line_peers import LAST_TRIGGER_ID, WINDOW_MS, LinePeers, line_peers

from cameras.messages import Arm, CameraLost, CameraReady, Desync, FaultReport
from inspection.domain import Output, Reason, Verdict
from inspection.messages import InspectorStarted, NotInspected, OutputCommand, OutputDone, RecorderStarted, Ticket, TriggerAck


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> Iterator[LinePeers]:
    with line_peers(monkeypatch) as peers:
        yield peers


def desync(epoch: int | None) -> Desync:
    assert epoch is not None
    return Desync(camera="top", camera_epoch=epoch, detail="told by the test")


def lost() -> CameraLost:
    return CameraLost(camera="top", detail="unplugged by the test")


# --- the recorder and the inspector ---


def test_a_new_recorder_is_told_all_that_may_be_gone(peers: LinePeers) -> None:
    with peers.armed_line():
        done = peers.exposed()
        peers.record(done, Verdict.PASS)
        assert peers.output(done) is Output.ACCEPT
        waiting = peers.exposed()
        given_up = peers.refused(peers.ask(lot="nowhere"), Reason.UNKNOWN_LOT)
        peers.recorder.send("line", RecorderStarted(at=time.time(), last_trigger_id=0))
        assert [peers.recorder.expect(Ticket) for _ in range(2)] == [waiting, given_up]
        assert peers.given_up(given_up) is Reason.UNKNOWN_LOT
        again = peers.recorder.expect(OutputDone)
        assert (again.trigger_id, again.output) == (done.trigger_id, Output.ACCEPT)
        assert peers.tickets() == []
        # What was said twice is decided once.
        for _ in range(2):
            peers.record(waiting, Verdict.PASS)
        assert peers.output(waiting) is Output.ACCEPT
        peers.answer_comes_last()
        assert peers.cell.came(OutputCommand) == []


def test_a_line_whose_numbers_were_passed_over_ends_so_that_the_next_one_asks_where_they_go_on(peers: LinePeers) -> None:
    with peers.armed_line():
        given = peers.exposed().trigger_id
        peers.recorder.send("line", RecorderStarted(at=time.time(), last_trigger_id=given))
        peers.recorder.expect(Ticket)
        peers.recorder.send("line", RecorderStarted(at=time.time(), last_trigger_id=given + 1_000_000))
        until = time.monotonic() + 10
        while peers.process.running:
            assert time.monotonic() < until
            time.sleep(0.01)


def test_a_new_inspector_gets_the_tickets_that_still_wait_for_a_frame(peers: LinePeers) -> None:
    with peers.armed_line():
        done = peers.exposed()
        peers.record(done, Verdict.PASS)
        peers.output(done)
        waiting = [peers.exposed() for _ in range(2)]
        peers.refused(peers.ask(lot="nowhere"), Reason.UNKNOWN_LOT)
        peers.inspector.send("line", InspectorStarted(at=time.time()))
        assert [peers.inspector.expect(Ticket) for _ in range(2)] == waiting
        peers.expect_state("top: armed")
        assert peers.inspector.came(Ticket) == []


# --- the camera ---


@pytest.mark.parametrize(
    ("event", "reason"),
    [("lost", Reason.CAMERA_LOST), ("desync", Reason.DESYNC), ("ready", Reason.CAMERA_LOST)],
)
def test_exposures_that_a_camera_owes_are_given_up_when_it_fails(peers: LinePeers, event: str, reason: Reason) -> None:
    with peers.armed_line(window_ms=400):  # long enough that it is not armed anew meanwhile
        done = peers.exposed()
        peers.record(done, Verdict.PASS)
        peers.output(done)
        owed = [peers.exposed() for _ in range(2)]
        # ``ready`` from an armed camera: its process is a new one.
        message = {"lost": lost(), "desync": desync(owed[0].camera_epoch), "ready": CameraReady(camera="top")}[event]
        peers.camera.send("line", message)
        assert [peers.given_up(ticket) for ticket in owed] == [reason] * 2
        peers.refused(peers.ask(), reason)
        for ticket in owed:
            peers.record(ticket, Verdict.PASS)
            assert peers.output(ticket) is Output.REJECT
        assert peers.recorder.came(NotInspected) == []


def test_after_a_desync_the_camera_is_armed_when_no_edge_can_come_any_more(peers: LinePeers) -> None:
    with peers.armed_line():
        tickets = [peers.exposed() for _ in range(3)]
        peers.camera.send("line", desync(tickets[0].camera_epoch))
        order = peers.confirm_arm()
        assert order.camera_epoch > tickets[-1].expose_until_ns
        ticket = peers.exposed()
        assert (ticket.camera_epoch, ticket.trigger_count) == (order.camera_epoch, 1)
        assert peers.recorder.expect(FaultReport).kind == "desync"


def test_after_a_judged_frame_the_camera_is_armed_at_once(peers: LinePeers) -> None:
    with peers.armed_line(window_ms=400):
        ticket = peers.exposed()
        peers.record(ticket, Verdict.FAIL)
        peers.output(ticket)
        peers.camera.send("line", desync(ticket.camera_epoch))
        # The edge came, so that there is nothing to wait for.
        assert peers.camera.expect(Arm).camera_epoch < ticket.expose_until_ns


def test_a_desync_of_a_former_epoch_changes_nothing(peers: LinePeers) -> None:
    with peers.armed_line():
        first = peers.exposed()
        peers.camera.send("line", desync(first.camera_epoch))
        peers.confirm_arm()
        assert peers.given_up(first) is Reason.DESYNC
        ticket = peers.exposed()
        peers.camera.send("line", desync(first.camera_epoch))
        peers.expect_state("top: armed")
        assert peers.recorder.came(NotInspected) == []
        assert peers.exposed().trigger_count == 2
        peers.record(ticket, Verdict.PASS)
        assert peers.output(ticket) is Output.ACCEPT


def test_a_lost_camera_is_armed_when_it_says_that_it_is_ready(peers: LinePeers) -> None:
    with peers.armed_line():
        ticket = peers.exposed()
        peers.camera.send("line", lost())
        peers.expect_state("top: lost: unplugged by the test")
        while time.monotonic_ns() < ticket.expose_until_ns:
            peers.expect_state("top: lost: unplugged by the test")
        assert peers.camera.came(Arm) == []
        order = peers.arm()
        following = peers.exposed()
        assert (following.camera_epoch, following.trigger_count) == (order.camera_epoch, 1)


def test_an_order_to_arm_that_is_not_confirmed_is_given_again_when_the_camera_is_ready(peers: LinePeers) -> None:
    with peers.line():
        peers.tell_last_trigger()
        first = peers.camera.expect(Arm)
        peers.camera.send("line", CameraReady(camera="top"))
        order = peers.confirm_arm()
        assert order.camera_epoch > first.camera_epoch


def test_a_new_line_arms_no_camera_while_edges_of_the_former_may_come(peers: LinePeers) -> None:
    started_ns = time.monotonic_ns()
    with peers.line():
        peers.camera.send("line", CameraReady(camera="top"))
        assert peers.camera.expect(Arm).camera_epoch >= started_ns + WINDOW_MS * 1e6


def test_verdicts_that_stay_away_make_the_line_arm_the_camera_anew(peers: LinePeers) -> None:
    with peers.armed_line(deadline_ms=70):
        tickets = [peers.exposed() for _ in range(3)]
        assert [peers.given_up(ticket) for ticket in tickets] == [Reason.DEADLINE] * 3
        assert peers.recorder.expect(FaultReport).kind == "deadline_misses"
        order = peers.confirm_arm()
        ticket = peers.exposed()
        assert (ticket.camera_epoch, ticket.trigger_count) == (order.camera_epoch, 1)


def test_one_verdict_in_time_forgives_the_misses_before(peers: LinePeers) -> None:
    with peers.armed_line(deadline_ms=300):
        tickets = [peers.exposed() for _ in range(2)]
        assert [peers.given_up(ticket) for ticket in tickets] == [Reason.DEADLINE] * 2
        ticket = peers.exposed()
        peers.record(ticket, Verdict.PASS)
        peers.output(ticket)
        ticket = peers.exposed()
        assert peers.given_up(ticket) is Reason.DEADLINE
        peers.expect_state("top: armed")
        assert peers.camera.came(Arm) == []
        assert peers.recorder.came(FaultReport) == []


# --- requests ---


def test_numbers_have_no_gaps_whatever_happens(peers: LinePeers) -> None:
    with peers.armed_line():
        epoch = peers.exposed().camera_epoch
        peers.ack(peers.ask(lot="nowhere"))
        peers.camera.send("line", desync(epoch))
        peers.ack(peers.ask())
        peers.recorder.send("line", RecorderStarted(at=time.time(), last_trigger_id=0))
        peers.camera.send("line", lost())
        peers.ack(peers.ask())
        peers.answer_comes_last()
        peers.expect_state("top: lost: unplugged by the test")
        seen = {ticket.trigger_id for ticket in peers.recorder.came(Ticket)} | {LAST_TRIGGER_ID + 1}
        assert seen == set(range(LAST_TRIGGER_ID + 1, LAST_TRIGGER_ID + 6))
        assert peers.cell.came(TriggerAck) == []
