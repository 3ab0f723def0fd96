"""Invariant 2 at the line: accepted is only what is durably passed in time; numbering, refusals, outputs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise

import pytest
from line_peers import LAST_TRIGGER_ID, MAX_OPEN, LinePeers, line_peers

import inspection.line
from cameras.messages import Arm, Loss, SoftwareTrigger, TriggerLost
from inspection.domain import LotState, Output, Reason, Verdict
from inspection.lookups import RecordedRequest
from inspection.messages import (
    LineStarted,
    NotInspected,
    OutputCommand,
    OutputDone,
    RecorderStarted,
    RecorderState,
    Ticket,
    TriggerAck,
    TriggerRequest,
)


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> Iterator[LinePeers]:
    with line_peers(monkeypatch) as peers:
        yield peers


# --- what is accepted ---


def test_a_part_is_accepted_once_its_pass_is_durable_and_not_before(peers: LinePeers) -> None:
    with peers.armed_line():
        ticket = peers.exposed()
        peers.answer_comes_last()
        assert peers.cell.came(OutputCommand) == []
        assert peers.recorder.came(OutputDone) == []
        peers.record(ticket, Verdict.PASS)
        command = peers.cell.expect(OutputCommand)
        assert (command.request_id, command.output, command.verdict, command.reason) == ("R1", Output.ACCEPT, Verdict.PASS, None)
        assert 0 < command.durable_ms < 5_000
        assert peers.recorder.expect(OutputDone).output is Output.ACCEPT
        # The same row announced again changes nothing.
        peers.record(ticket, Verdict.PASS)
        peers.record(ticket, Verdict.FAIL)
        peers.answer_comes_last()
        assert peers.cell.came(OutputCommand) == []


@pytest.mark.parametrize(
    ("verdict", "reason"), [(Verdict.FAIL, None), (Verdict.REVIEW, None), (Verdict.NOT_INSPECTED, Reason.FRAME_LOST)]
)
def test_everything_but_a_pass_is_rejected(peers: LinePeers, verdict: Verdict, reason: Reason | None) -> None:
    with peers.armed_line():
        ticket = peers.exposed()
        peers.record(ticket, verdict, reason)
        command = peers.cell.expect(OutputCommand)
        assert (command.output, command.verdict, command.reason) == (Output.REJECT, verdict, reason)
        assert peers.recorder.expect(OutputDone).output is Output.REJECT


def test_at_its_deadline_a_part_is_given_up_and_a_late_pass_is_rejected(peers: LinePeers) -> None:
    with peers.armed_line(deadline_ms=400):
        ticket = peers.exposed()
        assert peers.recorder.came(NotInspected) == []
        assert peers.given_up(ticket) is Reason.DEADLINE
        assert time.monotonic_ns() - ticket.requested_ns > 400e6
        peers.record(ticket, Verdict.PASS)
        assert peers.output(ticket) is Output.REJECT
        # The next part has nothing to do with it.
        following = peers.exposed()
        peers.answer_comes_last()
        assert peers.cell.came(OutputCommand) == []
        peers.record(following, Verdict.PASS)
        assert peers.output(following) is Output.ACCEPT


def test_a_part_that_was_given_up_is_rejected_even_if_its_pass_comes_in_time(peers: LinePeers) -> None:
    with peers.armed_line():
        ticket = peers.exposed()
        peers.inspector.send("line", trigger_lost(ticket, Loss.FRAME_LOST))
        assert peers.given_up(ticket) is Reason.FRAME_LOST
        peers.record(ticket, Verdict.PASS)
        assert peers.output(ticket) is Output.REJECT


def trigger_lost(ticket: Ticket, loss: Loss, *, epoch_step: int = 0, count_step: int = 0) -> TriggerLost:
    assert ticket.camera_epoch is not None
    assert ticket.trigger_count is not None
    counts = (ticket.trigger_count + count_step,)
    epoch = ticket.camera_epoch + epoch_step
    return TriggerLost(camera=ticket.camera, camera_epoch=epoch, trigger_counts=counts, loss=loss, detail="told by the test")


@pytest.mark.parametrize("loss", list(Loss))
def test_every_loss_is_a_reason(peers: LinePeers, loss: Loss) -> None:
    with peers.armed_line():
        ticket = peers.exposed()
        peers.camera.send("line", trigger_lost(ticket, loss, epoch_step=-1))
        peers.camera.send("line", trigger_lost(ticket, loss, count_step=1))
        peers.camera.send("line", trigger_lost(ticket, loss))
        assert peers.given_up(ticket) == loss
        assert peers.recorder.came(NotInspected) == []


def test_rows_are_asked_for_until_they_are_durable(peers: LinePeers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection.line, "_REPEAT_NS", 50_000_000)
    with peers.armed_line():
        ticket = peers.exposed()
        peers.camera.send("line", trigger_lost(ticket, Loss.FRAME_CORRUPT))
        for _ in range(3):
            assert peers.given_up(ticket) is Reason.FRAME_CORRUPT
            assert peers.recorder.expect(Ticket) == ticket
        assert peers.cell.came(OutputCommand) == []
        peers.record(ticket, Verdict.NOT_INSPECTED, Reason.FRAME_CORRUPT)
        assert peers.output(ticket) is Output.REJECT
        peers.expect_state("top: armed")
        peers.recorder.inbox.clear()
        for _ in range(4):
            peers.expect_state("top: armed")
        assert peers.recorder.came(NotInspected) == []


def test_a_recorder_that_cannot_keep_up_is_asked_less_and_less_often(peers: LinePeers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection.line, "_REPEAT_NS", 50_000_000)
    with peers.armed_line():
        ticket = peers.exposed()
        peers.camera.send("line", trigger_lost(ticket, Loss.FRAME_CORRUPT))
        said = [peers.recorder.expect(NotInspected).decided_at for _ in range(5)]
        # Least pauses follow from the rule, however busy the machine is.
        assert all(later - former > 0.045 * 2**number for number, (former, later) in enumerate(pairwise(said)))
        # A new one is told at once, and then as at first.
        peers.recorder.send("line", RecorderStarted(at=time.time(), last_trigger_id=0))
        again = [peers.recorder.expect(NotInspected) for _ in range(2)]
        assert all(message.trigger_id == ticket.trigger_id for message in again)
        peers.record(ticket, Verdict.NOT_INSPECTED, Reason.FRAME_CORRUPT)


# --- numbering ---


def test_numbering_waits_for_the_recorder_and_goes_on_without_gaps(peers: LinePeers) -> None:
    with peers.line():
        early = [peers.ask() for _ in range(2)]
        epoch = peers.recorder.expect(LineStarted).line_epoch
        assert peers.recorder.expect(LineStarted).line_epoch == epoch, "asked again until it is answered"
        peers.recorder.send("line", RecorderState(line_epoch=epoch - 1, last_trigger_id=7))  # meant for a former line
        peers.recorder.expect(LineStarted)
        peers.recorder.expect(LineStarted)
        assert peers.cell.came(TriggerAck) == []
        peers.recorder.send("line", RecorderState(line_epoch=epoch, last_trigger_id=LAST_TRIGGER_ID))
        peers.recorder.send("line", RecorderState(line_epoch=epoch, last_trigger_id=99))  # the answer to a repeated question
        acks = [peers.ack(request) for request in early]
        acks += [peers.ack(peers.ask(lot="nowhere")) for _ in range(3)]
        assert [ack.trigger_id for ack in acks] == [LAST_TRIGGER_ID + step for step in range(1, 6)]
        assert [ticket.trigger_id for ticket in peers.tickets()] == [ack.trigger_id for ack in acks]


def test_a_request_that_comes_again_is_the_same_trigger_and_exposed_once(peers: LinePeers) -> None:
    with peers.armed_line():
        first = peers.ask()
        second = peers.ask(request_id=first.request_id)
        acks = [peers.ack(first), peers.ack(second)]
        assert [ack.trigger_id for ack in acks] == [LAST_TRIGGER_ID + 1] * 2
        assert [ack.expose for ack in acks] == [True, False]
        assert peers.ack(peers.ask()).trigger_id == LAST_TRIGGER_ID + 2
        assert [ticket.request_id for ticket in peers.tickets()] == [first.request_id, "R3"]


@pytest.mark.parametrize(
    ("recorded", "answered"), [(Output.ACCEPT, Output.ACCEPT), (Output.REJECT, Output.REJECT), (None, Output.REJECT)]
)
def test_a_passed_part_is_answered_from_the_records(peers: LinePeers, recorded: Output | None, answered: Output) -> None:
    peers.requests["former"] = RecordedRequest(trigger_id=7, serial="S7", verdict=Verdict.PASS, reason=None, output=recorded)
    with peers.armed_line():
        peers.ask(request_id="former", passed=True)
        command = peers.cell.expect(OutputCommand)
        assert (command.request_id, command.trigger_id, command.output, command.verdict) == ("former", 7, answered, Verdict.PASS)
        assert peers.exposed().trigger_id == LAST_TRIGGER_ID + 1, "no number was spent"
        assert peers.cell.came(TriggerAck) == []


# --- what is not exposed ---


def test_nothing_is_exposed_before_the_camera_confirms_that_it_is_armed(peers: LinePeers) -> None:
    with peers.line():
        peers.tell_last_trigger()
        peers.refused(peers.ask(), Reason.CAMERA_LOST)
        order = peers.camera.expect(Arm)
        ticket = peers.refused(peers.ask(), Reason.CAMERA_LOST)
        peers.record(ticket, Verdict.NOT_INSPECTED, Reason.CAMERA_LOST)
        assert peers.output(ticket) is Output.REJECT
        peers.arm()
        # Parts that were not exposed took no trigger count.
        exposed = peers.exposed()
        assert exposed.trigger_count == 1
        assert exposed.camera_epoch is not None
        assert exposed.camera_epoch > order.camera_epoch


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"lot": "nowhere"}, Reason.UNKNOWN_LOT),
        ({"lot": "closed"}, Reason.CLOSED_LOT),
        ({"lot": "held"}, Reason.HELD_LOT),
        ({"camera": "bottom"}, Reason.CAMERA_LOST),
        ({"age_ms": 1_100}, Reason.LINE_DOWN),
        ({"passed": True}, Reason.LINE_DOWN),
        ({"named": False}, Reason.SERIAL_UNREAD),
    ],
)
def test_a_part_that_cannot_be_exposed_has_its_row_and_is_rejected(
    peers: LinePeers, request_: dict[str, object], reason: Reason
) -> None:
    with peers.armed_line():
        ticket = peers.refused(peers.ask(**request_), reason)
        peers.record(ticket, Verdict.NOT_INSPECTED, reason)
        assert peers.output(ticket) is Output.REJECT
        assert peers.exposed().trigger_count == 1


@pytest.mark.parametrize("lot", ["", "L" * 65, "L\0", "L\n"])
def test_a_request_with_a_name_that_no_record_holds_is_not_understood(peers: LinePeers, lot: str) -> None:
    with peers.armed_line():
        peers.ask(lot=lot)
        assert peers.tickets() == []
        assert peers.cell.came(TriggerAck) == []
        assert peers.ack(peers.ask(lot="Los № 7 / Ä")).trigger_id == LAST_TRIGGER_ID + 2


def test_a_part_whose_code_tells_the_serial_is_known_by_its_number_until_it_is_read(peers: LinePeers) -> None:
    with peers.armed_line():
        request = peers.ask(lot="coded", named=False)
        assert peers.ack(request).expose
        ticket = peers.recorder.expect(Ticket)
        assert (ticket.serial, ticket.unnamed) == (f"?{LAST_TRIGGER_ID + 1}", True)
        assert peers.inspector.expect(Ticket) == ticket
        peers.record(ticket, Verdict.PASS, serial="SN-7")
        command = peers.cell.expect(OutputCommand)
        assert (command.serial, command.output) == ("SN-7", Output.ACCEPT)
        # A trigger of such a product may name the serial, which the code must confirm then.
        peers.ack(peers.ask(lot="coded"))
        assert not peers.recorder.expect(Ticket).unnamed


def test_a_lot_is_looked_up_for_every_part(peers: LinePeers) -> None:
    with peers.armed_line():
        peers.exposed()
        peers.lots["L"] = (LotState.CLOSED, "plate")
        peers.refused(peers.ask(), Reason.CLOSED_LOT)


def test_more_open_parts_than_allowed_are_an_overload(peers: LinePeers) -> None:
    with peers.armed_line():
        tickets = [peers.exposed() for _ in range(MAX_OPEN)]
        ticket = peers.refused(peers.ask(), Reason.OVERLOAD)
        for done in (ticket, tickets[0]):
            peers.record(done, Verdict.PASS)
            peers.cell.expect(OutputCommand, lambda command, done=done: command.trigger_id == done.trigger_id)
        assert peers.exposed().trigger_count == MAX_OPEN + 1


def test_a_camera_with_software_trigger_is_told_to_expose(peers: LinePeers) -> None:
    with peers.armed_line(source="Software"):
        request = peers.ask()
        assert not peers.ack(request).expose, "nobody raises an edge"
        ticket = peers.recorder.expect(Ticket)
        order = peers.camera.expect(SoftwareTrigger)
        assert (order.camera_epoch, order.trigger_count) == (ticket.camera_epoch, 1)


# --- a stop ---


def test_a_line_that_is_to_stop_finishes_its_parts_and_numbers_no_more(peers: LinePeers) -> None:
    with peers.armed_line():
        ticket = peers.exposed()
        peers.process.finish()
        peers.ask()
        # What was numbered is told again; the request after it is left to the requester, who repeats it.
        peers.cell.send("line", repeated(ticket))
        assert peers.ack(repeated(ticket)).trigger_id == ticket.trigger_id
        assert peers.recorder.came(Ticket) == []
        peers.record(ticket, Verdict.PASS)
        assert peers.output(ticket) is Output.ACCEPT
        assert peers.cell.came(TriggerAck) == []
        peers.until_ended()


def test_a_line_that_is_to_stop_does_not_wait_for_a_recorder_that_is_away(
    peers: LinePeers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection.line, "_FINISH_S", 0.2)
    with peers.armed_line(deadline_ms=200):
        ticket = peers.exposed()
        peers.process.finish()
        assert peers.given_up(ticket) is Reason.DEADLINE
        peers.until_ended()


def repeated(ticket: Ticket) -> TriggerRequest:
    return TriggerRequest(
        request_id=ticket.request_id,
        lot=ticket.lot,
        serial=ticket.serial,
        camera=ticket.camera,
        reply_to="cell",
        requested_ns=ticket.requested_ns,
    )
