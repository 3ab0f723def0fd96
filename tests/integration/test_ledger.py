"""Invariant 1 at the database: one inspection per trigger, whatever comes twice, late, or in the wrong order."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, func, select

from cameras.fault_kinds import FaultKind
from cameras.messages import FaultReport, FrameRef
from inspection.domain import Image, ImageKind, Output, Reason, Verdict
from inspection.ledger import Effects, Ledger
from inspection.messages import Inspected, NotInspected, OutputDone, Ticket
from inspection.records.database import migrate, open_engine
from inspection.records.lot_figures import lot_figures
from inspection.records.queries import lot_summary
from inspection.records.tables import faults, images, inspections, parts, triggers


def ticket(
    trigger_id: int, *, serial: str | None = None, line_epoch: int = 1, age_ms: float = 0, unnamed: bool = False
) -> Ticket:
    now = time.monotonic_ns() - int(age_ms * 1e6)
    return Ticket(
        trigger_id=trigger_id,
        line_epoch=line_epoch,
        request_id=f"r{line_epoch}-{trigger_id}",
        lot="L",
        serial=f"?{trigger_id}" if unnamed else serial or f"S{trigger_id}",
        camera="top",
        product="p",
        camera_epoch=1,
        trigger_count=trigger_id,
        triggered_at=time.time(),
        requested_ns=now,
        issued_ns=now,
        expose_until_ns=now,
        deadline_ms=60_000,
        unnamed=unnamed,
    )


def inspected(
    trigger_id: int, verdict: Verdict = Verdict.PASS, *, camera_epoch: int = 1, proposed_class: str | None = None
) -> Inspected:
    frame = FrameRef(
        camera="top",
        camera_epoch=camera_epoch,
        ring="top.ring",
        slot=0,
        slot_seq=trigger_id,
        pixel_format="Mono8",
        width=8,
        height=8,
        frame_id=trigger_id,
        trigger_count=trigger_id,
        timestamp_ns=1,
        exposed_ns=1,
        clock_error_ns=0,
        received_ns=1,
        exposure_us=None,
    )
    return Inspected(
        trigger_id=trigger_id,
        verdict=verdict,
        score=1.5,
        p_value=0.5,
        review_threshold=2,
        fail_threshold=3,
        model="m" * 64,
        proposed_class=proposed_class,
        regions=(),
        frame=frame,
        map_width=1,
        map_height=1,
        map_f16=b"\0\0",
        acquired_at=time.time(),
        decided_at=time.time(),
        timings_ms={"total": 5.0},
    )


def given_up(trigger_id: int, reason: Reason = Reason.DEADLINE) -> NotInspected:
    return NotInspected(trigger_id=trigger_id, reason=reason, decided_at=time.time())


def apply(engine: Engine, ledger: Ledger, *messages: object) -> Effects:
    effects = Effects()
    with engine.begin() as connection:
        for message in messages:
            if isinstance(message, Ticket):
                ledger.ticket(connection, message, effects)
            elif isinstance(message, Inspected):
                ledger.inspected(connection, message, effects)
            elif isinstance(message, NotInspected):
                ledger.not_inspected(connection, message, effects)
            elif isinstance(message, OutputDone):
                ledger.flush(connection)
                ledger.outputs(connection, [message])
        ledger.flush(connection)
    return effects


def rows(engine: Engine) -> list[tuple[int, str, str | None]]:
    statement = select(inspections.c.trigger_id, inspections.c.verdict, inspections.c.reason).order_by(inspections.c.seq)
    with engine.connect() as connection:
        return [(row.trigger_id, row.verdict, row.reason) for row in connection.execute(statement)]


def announcements(effects: Effects) -> list[tuple[int, int, Verdict, Reason | None]]:
    return [(row.seq, row.trigger_id, row.verdict, row.reason) for row in effects.recorded]


@pytest.fixture
def ledger(engine: Engine) -> Ledger:
    with engine.begin() as connection:
        return Ledger(connection)


def test_a_verdict_becomes_one_row_and_is_announced(engine: Engine, ledger: Ledger) -> None:
    effects = apply(engine, ledger, ticket(1), inspected(1))
    assert announcements(effects) == [(1, 1, Verdict.PASS, None)]
    assert [seq for seq, _, _ in effects.to_store] == [1]
    assert rows(engine) == [(1, "pass", None)]


def test_a_verdict_that_comes_before_its_ticket_waits_for_it(engine: Engine, ledger: Ledger) -> None:
    assert announcements(apply(engine, ledger, inspected(1))) == []
    assert announcements(apply(engine, ledger, ticket(1))) == [(1, 1, Verdict.PASS, None)]


def test_a_refused_verdict_is_kept_beside_with_its_image_and_the_part_is_not_inspected(engine: Engine, ledger: Ledger) -> None:
    refused = msgspec.structs.replace(inspected(1), refused=Reason.SERIAL_MISMATCH)
    effects = apply(engine, ledger, ticket(1), refused)
    assert announcements(effects) == [(1, 1, Verdict.NOT_INSPECTED, Reason.SERIAL_MISMATCH)]
    assert [seq for seq, _, _ in effects.to_store] == [1]
    assert rows(engine) == [(1, "not_inspected", "serial_mismatch")]
    with engine.connect() as connection:
        kept = connection.execute(select(inspections.c.late_verdict, inspections.c.late_score, inspections.c.score)).one()
    assert tuple(kept) == ("pass", 1.5, None)


def selected(engine: Engine, *columns: object) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(select(*columns))]  # type: ignore[call-overload]


def serials(engine: Engine) -> list[tuple[str, str, int]]:
    """Of each trigger, its inspection, and its attempt."""
    joined = triggers.join(inspections, inspections.c.trigger_id == triggers.c.trigger_id)
    statement = select(triggers.c.serial, inspections.c.serial, inspections.c.attempt).select_from(joined)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(statement.order_by(triggers.c.trigger_id))]


def test_a_part_gets_the_serial_that_its_code_tells(engine: Engine, ledger: Ledger) -> None:
    def read(trigger_id: int, serial: str | None, refused: Reason | None = None) -> Inspected:
        return msgspec.structs.replace(inspected(trigger_id), serial=serial, refused=refused)

    assert apply(engine, ledger, ticket(1, unnamed=True), read(1, "SN1")).recorded[0].serial == "SN1"
    with engine.connect() as connection:
        assert lot_summary(connection, "L").balanced
    # Its ticket is durable long before: under a number of its own, also after a recorder died meanwhile.
    apply(engine, ledger, ticket(2, unnamed=True))
    assert [row[0] for row in selected(engine, triggers.c.serial)] == ["SN1", "?2"]
    with engine.begin() as connection:
        ledger = Ledger(connection)
    apply(engine, ledger, read(2, "SN2"))
    assert apply(engine, ledger, ticket(2, unnamed=True)).recorded[0].serial == "SN2"
    apply(engine, ledger, ticket(3, unnamed=True), read(3, None, Reason.SERIAL_UNREAD))
    apply(engine, ledger, ticket(4, unnamed=True), given_up(4))
    apply(engine, ledger, ticket(5, unnamed=True), read(5, "SN1"), ticket(6, serial="SN1"), inspected(6))
    assert serials(engine) == [
        ("SN1", "SN1", 1),
        ("SN2", "SN2", 1),
        ("?3", "?3", 1),
        ("?4", "?4", 1),
        ("SN1", "SN1", 2),
        ("SN1", "SN1", 3),
    ]
    assert rows(engine)[2:4] == [(3, "not_inspected", "serial_unread"), (4, "not_inspected", "deadline")]
    found = selected(engine, parts.c.serial, parts.c.attempts)
    assert sorted(found) == [("?3", 1), ("?4", 1), ("SN1", 3), ("SN2", 1)]
    # Asked for again, the row is announced with the serial that was read.
    assert apply(engine, ledger, ticket(1, unnamed=True)).recorded[0].serial == "SN1"
    with engine.connect() as connection:
        assert lot_summary(connection, "L").balanced
        assert lot_figures(connection, "L").parts == 4


def test_a_commit_that_failed_forgets_the_serials_that_were_read(engine: Engine, ledger: Ledger) -> None:
    memory = ledger.remember()
    message = msgspec.structs.replace(inspected(1), serial="SN1")
    with engine.connect() as connection:
        ledger.ticket(connection, ticket(1, unnamed=True), Effects())
        ledger.inspected(connection, message, Effects())
    ledger.restore(memory)
    apply(engine, ledger, ticket(1, unnamed=True), given_up(1))
    assert serials(engine) == [("?1", "?1", 1)]


def test_a_late_verdict_is_recorded_beside_and_changes_nothing(engine: Engine, ledger: Ledger) -> None:
    apply(engine, ledger, ticket(1), given_up(1))
    effects = apply(engine, ledger, inspected(1))
    assert announcements(effects) == []
    assert len(effects.to_release) == 1
    assert rows(engine) == [(1, "not_inspected", "deadline")]
    with engine.connect() as connection:
        assert connection.execute(select(inspections.c.late_verdict, inspections.c.late_score, inspections.c.score)).one() == (
            "pass",
            1.5,
            None,
        )


def test_a_verdict_past_the_deadline_never_becomes_a_pass(engine: Engine, ledger: Ledger) -> None:
    apply(engine, ledger, ticket(1, age_ms=61_000), inspected(1))
    assert rows(engine) == [(1, "not_inspected", "deadline")]


def proposed(engine: Engine) -> list[tuple[str, str | None]]:
    statement = select(inspections.c.verdict, inspections.c.proposed_class).order_by(inspections.c.seq)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(statement)]


def test_a_reject_keeps_the_class_that_its_model_proposed(engine: Engine, ledger: Ledger) -> None:
    apply(engine, ledger, *(ticket(number) for number in range(1, 5)))
    apply(
        engine,
        ledger,
        inspected(1, Verdict.FAIL, proposed_class="bent lead"),
        inspected(2, Verdict.REVIEW, proposed_class="dent"),
    )
    apply(engine, ledger, inspected(3, Verdict.FAIL), inspected(4))
    assert proposed(engine) == [("fail", "bent lead"), ("review", "dent"), ("fail", None), ("pass", None)]


def test_a_verdict_that_comes_too_late_proposes_no_class(engine: Engine, ledger: Ledger) -> None:
    late = inspected(1, Verdict.FAIL, proposed_class="dent")
    apply(engine, ledger, ticket(1, age_ms=61_000), late)
    apply(engine, ledger, ticket(2), given_up(2), inspected(2, Verdict.FAIL, proposed_class="dent"))
    assert proposed(engine) == [("not_inspected", None), ("not_inspected", None)]


def test_giving_up_after_the_verdict_was_recorded_announces_that_verdict_again(engine: Engine, ledger: Ledger) -> None:
    apply(engine, ledger, ticket(1), inspected(1, Verdict.FAIL))
    assert announcements(apply(engine, ledger, given_up(1))) == [(1, 1, Verdict.FAIL, None)]
    assert rows(engine) == [(1, "fail", None)]


def test_a_new_recorder_goes_on_where_the_former_one_died(engine: Engine, ledger: Ledger) -> None:
    apply(engine, ledger, ticket(1), inspected(1), ticket(2))
    with engine.begin() as connection:
        again = Ledger(connection)
    assert (again.last_trigger_id, again.open_triggers, again.decided) == (2, 1, 1)
    with engine.begin() as connection:
        assert Ledger(connection, decided=again.decided).open_triggers == 1
    # The verdict of an open trigger waits until the line has sent the ticket again.
    assert announcements(apply(engine, again, inspected(2))) == []
    assert announcements(apply(engine, again, ticket(2))) == [(2, 2, Verdict.PASS, None)]


def test_a_new_line_closes_what_the_former_left_open_and_its_tickets_count_no_more(engine: Engine, ledger: Ledger) -> None:
    apply(engine, ledger, ticket(1), ticket(2), inspected(1))
    effects = Effects()
    with engine.begin() as connection:
        ledger.line_started(connection, 2, time.time(), effects)
        ledger.flush(connection)
    assert rows(engine) == [(1, "pass", None), (2, "not_inspected", "line_down")]
    apply(engine, ledger, ticket(3, line_epoch=1))
    assert ledger.last_trigger_id == 2


def test_attempts_of_a_serial_are_counted(engine: Engine, ledger: Ledger) -> None:
    apply(engine, ledger, *(ticket(number, serial="S") for number in (1, 2, 3)), *(inspected(number) for number in (1, 2, 3)))
    with engine.connect() as connection:
        assert connection.execute(select(inspections.c.attempt).order_by(inspections.c.seq)).scalars().all() == [1, 2, 3]


def test_a_batch_is_written_together_and_still_numbers_attempts_and_names_in_order(engine: Engine, ledger: Ledger) -> None:
    apply(engine, ledger, ticket(1, serial="A"), inspected(1))
    again = msgspec.structs.replace(ticket(2, serial="A"), request_id="r1-1")
    twice = msgspec.structs.replace(ticket(4, serial="B"), request_id="r1-3")
    effects = apply(
        engine, ledger, again, ticket(3, serial="B"), inspected(3), twice, inspected(2, Verdict.FAIL), given_up(4), inspected(4)
    )
    assert [trigger_id for _, trigger_id, _, _ in announcements(effects)] == [3, 2, 4]
    with engine.connect() as connection:
        attempts = connection.execute(
            select(inspections.c.trigger_id, inspections.c.attempt, inspections.c.late_verdict).order_by(inspections.c.trigger_id)
        ).all()
        names = connection.execute(select(triggers.c.request_id).order_by(triggers.c.trigger_id)).scalars().all()
        counted = connection.execute(select(parts.c.serial, parts.c.attempts).order_by(parts.c.serial)).all()
    # The verdict on 4 came after it was given up, in the same batch.
    assert [tuple(row) for row in attempts] == [(1, 1, None), (2, 2, None), (3, 1, None), (4, 2, "pass")]
    assert names == ["r1-1", "r1-1#2", "r1-3", "r1-3#4"]
    assert [tuple(row) for row in counted] == [("A", 2), ("B", 2)]


def test_outputs_reconcile(engine: Engine, ledger: Ledger) -> None:
    apply(engine, ledger, ticket(1), ticket(2), inspected(1), inspected(2, Verdict.REVIEW))
    apply(engine, ledger, OutputDone(trigger_id=1, output=Output.ACCEPT), OutputDone(trigger_id=2, output=Output.REJECT))
    with engine.connect() as connection:
        summary = lot_summary(connection, "L")
    assert (summary.triggered, summary.accepted, summary.rejected, summary.balanced) == (2, 1, 1, True)


def test_a_failed_commit_can_be_applied_again(engine: Engine, ledger: Ledger) -> None:
    memory = ledger.remember()
    with engine.connect() as connection:
        ledger.ticket(connection, ticket(1), Effects())
        ledger.inspected(connection, inspected(1), Effects())
        ledger.flush(connection)
        ledger.ticket(connection, ticket(2), Effects())
        connection.rollback()
    ledger.restore(memory)
    assert rows(engine) == []
    assert announcements(apply(engine, ledger, ticket(1), inspected(1))) == [(1, 1, Verdict.PASS, None)]


def test_a_flood_of_faults_is_a_few_rows(engine: Engine, ledger: Ledger) -> None:
    reports = [FaultReport(at=1.0, source="line", kind=FaultKind.DESYNC, count=1, detail=str(number)) for number in range(500)]
    with engine.begin() as connection:
        ledger.faults(connection, reports)
        assert connection.execute(select(faults.c.count, faults.c.detail)).all() == [(500, "499")]


def test_an_image_stored_twice_is_one_row(engine: Engine, ledger: Ledger) -> None:
    apply(engine, ledger, ticket(1), inspected(1))
    image = Image("a" * 64, ImageKind.FRAME, "image/png", 8, 8, "Mono8", 100)
    with engine.begin() as connection:
        ledger.images(connection, [(1, image), (1, image)])
        assert connection.execute(select(func.count()).select_from(images)).scalar_one() == 1


MESSAGE = st.tuples(st.sampled_from(["ticket", "pass", "fail", "give up", "crash", "new line"]), st.integers(1, 6))


@settings(max_examples=60, deadline=None)
@given(story=st.lists(MESSAGE, max_size=40))
def test_any_order_of_messages_and_crashes_keeps_one_row_per_trigger(
    tmp_path_factory: pytest.TempPathFactory, story: list[tuple[str, int]]
) -> None:
    """Tickets come in order, as the line numbers them; everything else comes as it likes, and the recorder dies in between."""
    path: Path = tmp_path_factory.mktemp("story") / "station.db"
    engine = open_engine(f"sqlite:///{path}")
    migrate(engine)
    with engine.begin() as connection:
        ledger = Ledger(connection)
    announced: dict[int, Verdict] = {}
    epoch, sent = 1, 0
    tickets: dict[int, Ticket] = {}
    for event, number in [*story, ("new line", 1)]:
        effects = Effects()
        if event == "ticket":
            sent += 1
            tickets[sent] = ticket(sent, line_epoch=epoch)
            effects = apply(engine, ledger, tickets[sent])
        elif event in {"pass", "fail"}:
            effects = apply(engine, ledger, inspected(number, Verdict(event)))
        elif event == "give up":
            effects = apply(engine, ledger, given_up(number))
        elif event == "crash":
            with engine.begin() as connection:
                ledger = Ledger(connection)
            effects = apply(engine, ledger, *(tickets[known] for known in sorted(tickets) if tickets[known].line_epoch == epoch))
        else:
            epoch += 1
            with engine.begin() as connection:
                ledger.line_started(connection, epoch, time.time(), effects)
                ledger.flush(connection)
            sent = ledger.last_trigger_id
        for _, trigger_id, verdict, _ in announcements(effects):
            # What was announced once is never announced otherwise: the line may have accepted the part.
            assert announced.setdefault(trigger_id, verdict) is verdict
    with engine.connect() as connection:
        all_triggers = connection.execute(select(triggers.c.trigger_id).order_by(triggers.c.trigger_id)).scalars().all()
    found = rows(engine)
    assert all_triggers == list(range(1, len(all_triggers) + 1)), "trigger numbers have gaps"
    assert sorted(row[0] for row in found) == all_triggers, "a trigger without exactly one row"
    assert {trigger_id: Verdict(verdict) for trigger_id, verdict, _ in found} == announced
    engine.dispose()


def test_a_ticket_that_skips_numbers_waits_until_the_missing_ones_are_sent_again(engine: Engine, ledger: Ledger) -> None:
    apply(engine, ledger, ticket(1), ticket(3), inspected(3), given_up(3))
    assert ledger.last_trigger_id == 1
    effects = apply(engine, ledger, ticket(1), ticket(2), ticket(3))
    assert [trigger_id for _, trigger_id, _, _ in announcements(effects)] == [3]
    assert (ledger.last_trigger_id, ledger.open_triggers) == (3, 2)


def test_a_verdict_for_a_dead_line_never_decides_the_part_that_got_its_number(engine: Engine, ledger: Ledger) -> None:
    """The former line numbered a part 2, and died before that was recorded; the present one gives 2 to another part."""
    apply(engine, ledger, ticket(1), inspected(2, camera_epoch=7))
    effects = Effects()
    with engine.begin() as connection:
        ledger.line_started(connection, 2, time.time(), effects)
        ledger.flush(connection)
    assert len(effects.to_release) == 1
    effects = apply(engine, ledger, ticket(2, line_epoch=2), inspected(2, camera_epoch=7))
    assert announcements(effects) == []
    assert len(effects.to_release) == 1
    assert announcements(apply(engine, ledger, inspected(2, Verdict.FAIL))) == [(2, 2, Verdict.FAIL, None)]


def test_a_verdict_for_a_dead_line_is_no_late_verdict_of_another_part(engine: Engine, ledger: Ledger) -> None:
    apply(engine, ledger, ticket(1), given_up(1), inspected(1, camera_epoch=7))
    with engine.connect() as connection:
        assert connection.execute(select(inspections.c.late_verdict)).scalar_one() is None
