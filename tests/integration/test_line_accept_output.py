"""The line and the camera's accept output: a pulse for each durable pass in time, and never one that could be another part's."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from line_peers import LinePeers, line_peers

from cameras.messages import Accept, AcceptDone, CameraReady
from inspection.domain import Output, Reason, Verdict
from inspection.messages import Ticket

PULSE_MS = 120.0


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> Iterator[LinePeers]:
    with line_peers(monkeypatch) as peers:
        yield peers


def exposed(peers: LinePeers) -> Ticket:
    """The next part that is allowed its exposure; those that come while the output may be on are not."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        request = peers.ask()
        ack = peers.ack(request)
        ticket = peers.recorder.expect(Ticket)
        if ack.expose:
            assert peers.inspector.expect(Ticket) == ticket
            return ticket
        assert peers.given_up(ticket) is Reason.OVERLOAD
        peers.record(ticket, Verdict.NOT_INSPECTED, Reason.OVERLOAD)
        assert peers.output(ticket) is Output.REJECT
    raise AssertionError("no part is exposed any more")


def begun(peers: LinePeers, order: Accept, begun_ns: int | None) -> None:
    done = AcceptDone(camera="top", camera_epoch=order.camera_epoch, trigger_count=order.trigger_count, begun_ns=begun_ns)
    peers.camera.send("line", done)


def test_a_durable_pass_is_signalled_with_its_deadline(peers: LinePeers) -> None:
    with peers.armed_line(pulse_ms=PULSE_MS):
        ticket = exposed(peers)
        peers.answer_comes_last()
        assert peers.camera.came(Accept) == [], "its pass is not durable"
        peers.record(ticket, Verdict.PASS)
        order = peers.camera.expect(Accept)
        assert (order.camera_epoch, order.trigger_count) == (ticket.camera_epoch, ticket.trigger_count)
        assert order.until_ns == ticket.requested_ns + 5_000_000_000
        assert peers.output(ticket) is Output.ACCEPT
        peers.record(ticket, Verdict.PASS)
        peers.answer_comes_last()
        assert peers.camera.came(Accept) == []


@pytest.mark.parametrize(
    ("verdict", "reason"), [(Verdict.FAIL, None), (Verdict.REVIEW, None), (Verdict.NOT_INSPECTED, Reason.FRAME_LOST)]
)
def test_nothing_else_is_signalled_and_the_next_part_may_come_at_once(
    peers: LinePeers, verdict: Verdict, reason: Reason | None
) -> None:
    with peers.armed_line(pulse_ms=PULSE_MS):
        ticket = exposed(peers)
        peers.record(ticket, verdict, reason)
        assert peers.output(ticket) is Output.REJECT
        assert peers.ack(peers.ask()).expose
        assert peers.camera.came(Accept) == []


def test_a_late_pass_is_not_signalled(peers: LinePeers) -> None:
    with peers.armed_line(pulse_ms=PULSE_MS, deadline_ms=100):
        ticket = exposed(peers)
        assert peers.given_up(ticket) is Reason.DEADLINE
        peers.record(ticket, Verdict.PASS)
        assert peers.output(ticket) is Output.REJECT
        assert peers.camera.came(Accept) == []


def test_the_next_part_is_exposed_when_no_pulse_can_be_taken_for_its_own(peers: LinePeers) -> None:
    with peers.armed_line(pulse_ms=PULSE_MS):
        first = exposed(peers)
        peers.refused(peers.ask(), Reason.OVERLOAD)  # the first is not decided yet
        peers.record(first, Verdict.PASS)
        order = peers.camera.expect(Accept)
        assert peers.output(first) is Output.ACCEPT
        peers.refused(peers.ask(), Reason.OVERLOAD)  # the camera has not said when its pulse began
        began_ns = time.monotonic_ns()
        begun(peers, order, began_ns)
        second = exposed(peers)
        assert second.issued_ns >= began_ns + PULSE_MS * 1e6


def test_a_pulse_of_the_former_line_may_be_on_when_the_camera_is_armed(peers: LinePeers) -> None:
    with peers.armed_line(pulse_ms=5_000):
        peers.refused(peers.ask(), Reason.OVERLOAD)


def test_after_a_pulse_that_the_camera_refused_there_is_nothing_to_wait_for(peers: LinePeers) -> None:
    with peers.armed_line(pulse_ms=PULSE_MS):
        ticket = exposed(peers)
        peers.record(ticket, Verdict.PASS)
        begun(peers, peers.camera.expect(Accept), None)
        peers.expect_state("top: armed")
        assert peers.ack(peers.ask()).expose


def test_a_part_in_flight_when_the_camera_is_armed_anew_is_not_signalled(peers: LinePeers) -> None:
    with peers.armed_line(pulse_ms=PULSE_MS):
        ticket = exposed(peers)
        peers.camera.send("line", CameraReady(camera="top"))
        assert peers.given_up(ticket) is Reason.CAMERA_LOST
        peers.confirm_arm()
        peers.record(ticket, Verdict.PASS)
        assert peers.output(ticket) is Output.REJECT
        assert peers.camera.came(Accept) == []
