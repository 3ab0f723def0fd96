"""The recorder process: commit, then announce; commands; images; what the database or the disk refuses."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from recorder_peers import HEIGHT, SLOTS, WIDTH, RecorderPeers, recorder_peers
from shadow_messages import verdict as shadow_verdict
from sqlalchemy import delete

import inspection.recorder
import inspection.storer
from cameras.frame import PixelFormat
from cameras.messages import Heartbeat
from cameras.ring import SlotState
from inspection.commands import CloseLot, Done, OpenLot, Refused
from inspection.domain import ImageKind, LotState, Output, Reason, Verdict
from inspection.errors import CommitInDoubt
from inspection.images import ImageStore, decode_frame
from inspection.messages import LineStarted, NotInspected, OutputDone, Recorded, RecorderStarted, RecorderState
from inspection.png import encode_png
from inspection.records.tables import faults, images, inspections, lots, shadow_inspections, triggers


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[RecorderPeers]:
    with recorder_peers(tmp_path) as peers:
        yield peers


def pixels(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)


# --- rows ---


def test_a_verdict_is_announced_when_its_row_can_be_read(peers: RecorderPeers) -> None:
    with peers.recorder():
        peers.line.expect(RecorderStarted)
        for seed, verdict in enumerate((Verdict.PASS, Verdict.FAIL, Verdict.REVIEW), 1):
            ticket = peers.ticket()
            before_ns = time.monotonic_ns()
            peers.judge(ticket, pixels(seed), verdict)
            announced = peers.recorded(ticket, verdict)
            assert (announced.seq, announced.score, announced.model) == (seed, 1.0, "ab" * 32)
            assert before_ns < announced.durable_ns < time.monotonic_ns()
        assert [(row.verdict, row.score, row.model) for row in peers.rows(inspections)] == [
            (verdict, 1.0, "ab" * 32) for verdict in (Verdict.PASS, Verdict.FAIL, Verdict.REVIEW)
        ]


def test_the_class_that_the_model_proposes_is_recorded_with_the_verdict(peers: RecorderPeers) -> None:
    with peers.recorder():
        for seed, (verdict, proposed) in enumerate(((Verdict.FAIL, "dent"), (Verdict.REVIEW, None), (Verdict.PASS, None)), 1):
            ticket = peers.ticket()
            peers.judge(ticket, pixels(seed), verdict, proposed_class=proposed)
            peers.recorded(ticket, verdict)
        assert [row.proposed_class for row in peers.rows(inspections)] == ["dent", None, None]


def test_what_the_line_gives_up_is_not_inspected_and_a_late_verdict_stands_beside(peers: RecorderPeers) -> None:
    with peers.recorder():
        ticket = peers.ticket()
        peers.line.send("recorder", NotInspected(trigger_id=ticket.trigger_id, reason=Reason.DEADLINE, decided_at=time.time()))
        peers.recorded(ticket, Verdict.NOT_INSPECTED, Reason.DEADLINE)
        peers.judge(ticket, pixels(1))
        peers.until(lambda: peers.rows(inspections)[0].late_verdict == Verdict.PASS)
        assert peers.count(inspections) == 1
        peers.until(peers.all_slots_free)
        assert peers.line.came(Recorded) == []


def test_a_verdict_past_the_deadline_is_never_a_pass(peers: RecorderPeers) -> None:
    with peers.recorder():
        ticket = peers.ticket(deadline_ms=0)
        peers.judge(ticket, pixels(1))
        peers.recorded(ticket, Verdict.NOT_INSPECTED, Reason.DEADLINE)
        assert peers.rows(inspections)[0].late_verdict == Verdict.PASS


def test_a_challengers_verdict_that_fits_no_recorded_trigger_is_counted(peers: RecorderPeers) -> None:
    with peers.recorder():
        ticket = peers.ticket()
        peers.judge(ticket, pixels(1))
        peers.recorded(ticket, Verdict.PASS)
        for number, epoch in ((ticket.trigger_id, 1), (ticket.trigger_id, 2), (99, 1)):
            peers.inspector.send("recorder", shadow_verdict(number, Verdict.FAIL, camera="top", camera_epoch=epoch))
        peers.until(lambda: peers.counter("shadow_unmatched") == 2)
        assert [(row.trigger_id, row.verdict) for row in peers.rows(shadow_inspections)] == [(ticket.trigger_id, Verdict.FAIL)]


def test_what_waits_is_committed_together(peers: RecorderPeers) -> None:
    with peers.recorder():
        peers.line.expect(RecorderStarted)
        with peers.engine.begin():  # holds the write lock
            tickets = [peers.ticket() for _ in range(100)]
            for ticket in tickets:
                peers.line.send(
                    "recorder", NotInspected(trigger_id=ticket.trigger_id, reason=Reason.FRAME_LOST, decided_at=time.time())
                )
            assert peers.line.came(Recorded) == []
        announced = [peers.line.expect(Recorded) for _ in tickets]
        assert [message.seq for message in announced] == list(range(1, 101))
        assert [message.trigger_id for message in announced] == [ticket.trigger_id for ticket in tickets]
        peers.until(lambda: peers.counter("rows") == 100)
        assert peers.counter("commits") < 10


def test_a_new_line_hears_the_last_number_and_its_predecessors_parts_are_closed(peers: RecorderPeers) -> None:
    with peers.recorder():
        tickets = [peers.ticket() for _ in range(2)]
        peers.until(lambda: peers.count(triggers) == 2)
        epoch = time.monotonic_ns()
        peers.line.send("recorder", LineStarted(line_epoch=epoch, at=time.time()))
        for ticket in tickets:
            peers.recorded(ticket, Verdict.NOT_INSPECTED, Reason.LINE_DOWN)
        assert peers.line.expect(RecorderState) == RecorderState(line_epoch=epoch, last_trigger_id=2)


def test_outputs_are_recorded(peers: RecorderPeers) -> None:
    with peers.recorder():
        ticket = peers.ticket()
        peers.judge(ticket, pixels(1))
        peers.recorded(ticket, Verdict.PASS)
        assert peers.rows(inspections)[0].output is None
        peers.line.send("recorder", OutputDone(trigger_id=ticket.trigger_id, output=Output.ACCEPT))
        peers.until(lambda: peers.rows(inspections)[0].output == Output.ACCEPT)


def test_a_new_recorder_goes_on_where_the_former_stopped(peers: RecorderPeers) -> None:
    with peers.recorder():
        first = peers.ticket()
        peers.judge(first, pixels(1))
        peers.recorded(first, Verdict.PASS)
    with peers.recorder():
        second = peers.ticket()
        peers.judge(second, pixels(2))
        assert peers.recorded(second, Verdict.PASS).seq == 2


# --- images ---


def test_the_frame_and_its_map_are_stored_and_the_slot_is_free_again(peers: RecorderPeers) -> None:
    with peers.recorder():
        for seed in range(1, 3 * SLOTS):
            ticket = peers.ticket()
            peers.judge(ticket, pixels(seed), Verdict.FAIL)
            peers.recorded(ticket, Verdict.FAIL)
            peers.until(peers.all_slots_free)
        stored = peers.until(lambda: len(rows := peers.rows(images)) == 2 * (3 * SLOTS - 1) and rows)
    for row in stored:
        data = ImageStore(peers.image_dir).read(row.sha256)
        assert len(data) == row.nbytes
        if row.kind == ImageKind.FRAME:
            assert (row.width, row.height, row.pixel_format) == (WIDTH, HEIGHT, "Mono8")
            np.testing.assert_array_equal(decode_frame(data, PixelFormat.Mono8), pixels(row.seq))


def test_frames_of_passed_parts_that_are_not_kept_leave_their_slots_at_once(peers: RecorderPeers) -> None:
    with peers.recorder(keep_pass_share=0.5):
        for seed in range(1, 9):
            ticket = peers.ticket()
            peers.judge(ticket, pixels(seed), Verdict.FAIL if seed == 8 else Verdict.PASS)
            peers.line.expect(Recorded)
            peers.until(peers.all_slots_free)
    assert sorted({row.seq for row in peers.rows(images)}) == [2, 4, 6, 8]
    assert peers.count(faults) == 0


def test_a_ring_that_is_nearly_full_gives_up_the_oldest_passes_and_no_reject(
    peers: RecorderPeers, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def encode_slowly(frame: NDArray[np.uint8]) -> bytes:
        assert go_on.wait(20)
        return encode_png(frame)

    monkeypatch.setattr(inspection.storer, "encode_png", encode_slowly)
    verdicts = [Verdict.PASS] * SLOTS
    verdicts[0] = verdicts[4] = verdicts[7] = Verdict.FAIL
    with peers.recorder():
        for seed, verdict in enumerate(verdicts, 1):
            ticket = peers.ticket()
            peers.judge(ticket, pixels(seed), verdict)
            peers.recorded(ticket, verdict)
        peers.until(lambda: peers.ring.free_slots() == 2)
        go_on.set()
        peers.until(peers.all_slots_free)
    assert {row.seq for row in peers.rows(images)} == {1, 4, 5, 6, 7, 8}
    found = peers.rows(faults)
    assert {row.kind for row in found} == {"image_skipped"}
    # One row for both if the recorder heard of them at once.
    assert sum(row.count for row in found) == 2


def test_the_image_of_a_pass_that_came_too_late_is_kept_as_that_of_any_part_that_was_not_inspected(peers: RecorderPeers) -> None:
    with peers.recorder(keep_pass_share=0.0):
        late = peers.ticket(deadline_ms=0)
        peers.judge(late, pixels(1))
        peers.recorded(late, Verdict.NOT_INSPECTED, Reason.DEADLINE)
        peers.until(lambda: {(row.seq, row.kind) for row in peers.rows(images)} == {(1, "frame"), (1, "map")})


def test_an_image_that_cannot_be_stored_is_a_fault_and_recording_goes_on(peers: RecorderPeers) -> None:
    peers.image_dir.write_text("a file where the folder should be")
    with peers.recorder():
        for seed in (1, 2):
            ticket = peers.ticket()
            peers.judge(ticket, pixels(seed))
            peers.recorded(ticket, Verdict.PASS)
        peers.until(peers.all_slots_free)
        peers.until(lambda: sum(row.count for row in peers.rows(faults)) == 2)
    assert {(row.source, row.kind) for row in peers.rows(faults)} == {("recorder", "image_lost")}
    assert peers.count(images) == 0


def test_slots_of_a_former_recorder_are_freed_unless_a_message_claims_them(
    peers: RecorderPeers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inspection.rings.FIRST_LOOK_S", 0.3)
    for _ in range(2):
        slot = peers.ring.acquire()
        assert slot is not None
        peers.ring.hand_over(slot, peers.ring.publish(slot))
    claimed = peers.judge(peers.ticket(), pixels(1))
    assert peers.ring.owned(SlotState.STORING) == [(1, 1), (2, 2), (3, 3)]
    with peers.recorder():
        peers.until(peers.all_slots_free)
        peers.until(lambda: sum(row.count for row in peers.rows(faults)) == 2)
        assert {row.kind for row in peers.rows(faults)} == {"image_lost"}
        frame = next(row for row in peers.rows(images) if row.kind == ImageKind.FRAME)
    np.testing.assert_array_equal(decode_frame(ImageStore(peers.image_dir).read(frame.sha256), PixelFormat.Mono8), pixels(1))
    assert claimed.trigger_id == frame.seq


def test_images_that_a_killed_recorder_had_not_recorded_are_counted_as_lost(peers: RecorderPeers) -> None:
    with peers.recorder(keep_pass_share=0.5):
        for seed in (1, 2, 3, 4, 5):
            ticket = peers.ticket()
            peers.judge(ticket, pixels(seed), Verdict.FAIL if seed == 3 else Verdict.PASS)
            peers.line.expect(Recorded)
        peers.until(lambda: {row.seq for row in peers.rows(images)} == {2, 3, 4})
    with peers.engine.begin() as connection:
        # As if it had been killed when the files were written.
        connection.execute(delete(images).where(images.c.seq > 2))
    with peers.recorder(keep_pass_share=0.5):
        (fault,) = peers.until(lambda: peers.rows(faults))
    assert (fault.kind, fault.count) == ("image_lost", 2)
    assert "images of inspections 3, 4" in fault.detail


def test_passes_that_waited_while_later_rejects_were_stored_are_counted_as_lost_after_a_power_cut(peers: RecorderPeers) -> None:
    with peers.recorder():
        for seed in range(1, 6):
            peers.judge(peers.ticket(), pixels(seed), Verdict.FAIL if seed in (1, 4) else Verdict.PASS)
            peers.line.expect(Recorded)
        peers.until(lambda: {row.seq for row in peers.rows(images)} == {1, 2, 3, 4, 5})
    with peers.engine.begin() as connection:
        connection.execute(delete(images).where(images.c.seq.in_((3, 5))))
    with peers.recorder():
        (fault,) = peers.until(lambda: peers.rows(faults))
    assert "images of inspections 3, 5" in fault.detail


def test_a_recorder_that_stops_records_what_was_said_before_and_stores_its_images(peers: RecorderPeers) -> None:
    with peers.recorder():
        peers.line.expect(RecorderStarted)
        with peers.engine.begin():  # the recorder waits for the write lock
            peers.ticket()
            peers.process.running = False
            last = peers.ticket()
            peers.judge(last, pixels(1))
    assert [row.trigger_id for row in peers.rows(inspections)] == [last.trigger_id]
    assert {row.kind for row in peers.rows(images)} == {ImageKind.FRAME, ImageKind.MAP}
    assert peers.all_slots_free()


# --- what is lost on the way, and answers that are ---


def test_after_a_gap_the_line_is_asked_for_everything_again_in_order(peers: RecorderPeers) -> None:
    with peers.recorder():
        peers.line.expect(RecorderStarted)
        first = peers.ticket(send=False)
        tickets = [first, *(peers.ticket(send=False) for _ in range(3))]
        # The first one was lost, as when the recorder cannot write for so long that its inbox is full.
        for ticket in tickets[1:]:
            peers.line.send("recorder", ticket)
        peers.line.expect(RecorderStarted)
        assert peers.count(triggers) == 0
        for ticket in tickets:
            peers.line.send("recorder", ticket)
        peers.until(lambda: peers.count(triggers) == 4)


def test_a_commit_whose_answer_was_lost_ends_the_recorder_and_the_next_one_knows_what_is_durable(
    peers: RecorderPeers, monkeypatch: pytest.MonkeyPatch
) -> None:
    do_commit = peers.engine.dialect.do_commit
    lose = False

    def answer_is_lost(connection: Any) -> None:
        nonlocal lose
        do_commit(connection)
        if lose:
            lose = False
            raise sqlite3.OperationalError("the connection is gone")

    monkeypatch.setattr(peers.engine.dialect, "do_commit", answer_is_lost)
    with peers.recorder():
        peers.line.expect(RecorderStarted)
        lose = True
        ticket = peers.ticket()
        (doubt,) = peers.until(lambda: peers.lost)
    assert isinstance(doubt, CommitInDoubt)
    assert peers.count(triggers) == 1
    with peers.recorder():
        peers.line.expect(RecorderStarted)
        # Said again, as the line does.
        peers.line.send("recorder", ticket)
        peers.judge(ticket, pixels(1))
        peers.recorded(ticket, Verdict.PASS)
        peers.judge(following := peers.ticket(), pixels(2))
        peers.recorded(following, Verdict.PASS)


# --- commands and status ---


def test_commands_are_answered_when_they_are_durable(peers: RecorderPeers) -> None:
    with peers.recorder():
        assert peers.command(OpenLot(lot="L", product="plate")) == Done(lot="L")
        assert [(row.lot, row.product, row.state) for row in peers.rows(lots)] == [("L", "plate", LotState.OPEN)]
        again = peers.command(OpenLot(lot="L", product="plate"))
        assert isinstance(again, Refused)
        assert again.code == "lot_exists"
        assert peers.command(CloseLot(lot="L")) == Done(lot="L")
        assert peers.rows(lots)[0].state == LotState.CLOSED


@pytest.mark.parametrize("garbage", [b"", b"{", b'{"type": "DropTables"}', b'{"type": "OpenLot", "lot": 5}', b"\xff\xfe"])
def test_a_command_that_is_none_is_refused_and_the_next_one_served(peers: RecorderPeers, garbage: bytes) -> None:
    with peers.recorder():
        reply = peers.command(garbage)
        assert isinstance(reply, Refused)
        assert reply.code == "invalid_request"
        assert peers.command(OpenLot(lot="L", product="plate")) == Done(lot="L")


def test_the_status_file_tells_how_every_process_is(peers: RecorderPeers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection.recorder, "_STATUS_S", 0.01)
    with peers.recorder():
        peers.inspector.send(
            "recorder", Heartbeat(process="inspector", at=time.time(), state="plate: 123", counters={"inspected": 5.0})
        )
        status = peers.until(lambda: "inspector" in peers.status() and peers.status())
        assert (status["inspector"]["state"], status["inspector"]["counters"]) == ("plate: 123", {"inspected": 5.0})
        peers.ticket()
        peers.until(lambda: peers.counter("open_triggers") == 1)
        assert peers.reported("recording")
        assert abs(peers.status()["recorder"]["at"] - time.time()) < 5
