"""The recorder when the database refuses: a full disk is waited for, a message that contradicts the records is refused alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from recorder_peers import HEIGHT, WIDTH, RecorderPeers, recorder_peers

from cameras.fault_kinds import FaultKind
from cameras.messages import FaultReport
from inspection.commands import Done, OpenLot, Refused
from inspection.domain import Reason, Verdict
from inspection.messages import NotInspected, Recorded
from inspection.records.tables import faults, lots, triggers


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[RecorderPeers]:
    with recorder_peers(tmp_path) as peers:
        yield peers


PIXELS = np.zeros((HEIGHT, WIDTH), np.uint8)


def test_a_full_disk_announces_nothing_until_it_can_be_written(peers: RecorderPeers) -> None:
    with peers.recorder():
        before = peers.ticket()
        peers.judge(before, PIXELS)
        peers.recorded(before, Verdict.PASS)
        peers.fill_disk(True)
        # Too much for the pages that the database has.
        ticket = peers.ticket(request_id="R" * 100_000)
        peers.judge(ticket, PIXELS)
        peers.until(lambda: peers.reported("cannot write: database or disk is full"))
        peers.until(lambda: peers.counter("failed_commits") >= 3)
        assert peers.line.came(Recorded) == []
        assert peers.count(triggers) == 1
        assert peers.process._housekeeper.rows_wait, "no file may be swept whose row waits"
        peers.fill_disk(False)
        assert peers.recorded(ticket, Verdict.PASS).seq == 2
        peers.until(lambda: peers.reported("recording"))
        assert not peers.process._housekeeper.rows_wait
        following = peers.ticket()
        peers.judge(following, PIXELS)
        assert peers.recorded(following, Verdict.PASS).seq == 3
    assert peers.count(faults) == 0


def test_a_command_that_cannot_be_written_is_refused_and_tells_to_try_again(peers: RecorderPeers) -> None:
    with peers.recorder():
        peers.fill_disk(True)
        reply = peers.command(OpenLot(lot="L", product="p" * 64))
        while isinstance(reply, Done):  # there may be room for some
            reply = peers.command(OpenLot(lot=f"L{time.monotonic_ns()}", product="p" * 64))
        assert isinstance(reply, Refused)
        assert reply.code == "unavailable"
        assert reply.detail.endswith("try again")
        peers.fill_disk(False)
        assert peers.command(OpenLot(lot="L2", product="plate")) == Done(lot="L2")
        assert "L2" in {row.lot for row in peers.rows(lots)}


# Frame ids of cameras have 64 bits, columns one less.
UNSTORABLE = 2**64 - 1


def test_a_message_that_the_database_cannot_hold_is_refused_alone(peers: RecorderPeers) -> None:
    with peers.recorder():
        tickets = [peers.ticket() for _ in range(3)]
        peers.until(lambda: peers.count(triggers) == 3)
        with peers.engine.begin():  # what follows waits, and comes in one batch
            peers.judge(tickets[0], PIXELS)
            peers.judge(tickets[1], PIXELS, frame_id=UNSTORABLE)
            peers.line.send(
                "recorder", FaultReport(at=time.time(), source="line", kind="desync", count=1, detail="told by the test")
            )
            peers.judge(tickets[2], PIXELS, Verdict.FAIL)
        assert [peers.line.expect(Recorded).trigger_id for _ in range(2)] == [1, 3]
        # It is said, nothing is left behind, and the part can still be closed.
        peers.until(lambda: {row.kind for row in peers.rows(faults)} == {"refused_message", "desync"})
        peers.until(peers.all_slots_free)
        peers.line.send("recorder", NotInspected(trigger_id=2, reason=Reason.DEADLINE, decided_at=time.time()))
        peers.recorded(tickets[1], Verdict.NOT_INSPECTED, Reason.DEADLINE)


def test_a_refused_verdict_that_came_before_its_ticket_does_not_stop_the_numbering(peers: RecorderPeers) -> None:
    with peers.recorder():
        early = peers.ticket(send=False)
        peers.judge(early, PIXELS, frame_id=UNSTORABLE)
        # From the same sender, so that it is there when this is.
        peers.inspector.send(
            "recorder", FaultReport(at=time.time(), source="inspector", kind=FaultKind.DETECTOR_ERROR, count=1, detail="-")
        )
        peers.until(lambda: peers.count(faults) == 1)
        peers.line.send("recorder", early)
        following = peers.ticket()
        peers.judge(following, PIXELS)
        peers.recorded(following, Verdict.PASS)
        assert [row.trigger_id for row in peers.rows(triggers)] == [early.trigger_id, following.trigger_id]
        peers.until(peers.all_slots_free)


def test_a_request_named_like_a_former_one_is_a_trigger_of_its_own(peers: RecorderPeers) -> None:
    """A PLC that numbers its requests from 1 again after a restart must not stop the recording."""
    with peers.recorder():
        for name in ("R1", "R" * 64):
            for verdict in (Verdict.PASS, Verdict.FAIL, Verdict.REVIEW):
                ticket = peers.ticket(request_id=name)
                peers.judge(ticket, PIXELS, verdict)
                peers.recorded(ticket, verdict)
        names = [row.request_id for row in peers.rows(triggers)]
        assert (names[0], names[3]) == ("R1", "R" * 64), "the first one keeps its name"
        assert len(set(names)) == 6
        assert max(len(name) for name in names) <= 64
