"""What a soak checks: sound records satisfy it, and each thing that may go wrong is found and said."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import pytest
from sqlalchemy import delete, select, update

from inspection.cell import Outcome
from inspection.domain import ImageKind, Output, Verdict
from inspection.images import ImageStore
from inspection.mes.http_push import HttpReceiver
from inspection.mes.receiver import Event, Stream, Undelivered
from inspection.records import tables
from inspection.soak.checks import (
    Findings,
    check_delivered,
    check_images,
    check_losses,
    check_lot,
    check_numbers,
    lot_rows,
    missing_images,
)
from inspection.soak.receiver import Mood, SoakReceiver
from inspection.soak.scenes import digest

PIXELS = {f"S{number}": np.full((8, 8), 10 * number, np.uint8) for number in range(1, 5)}
VERDICTS = (Verdict.PASS, Verdict.FAIL, Verdict.REVIEW, Verdict.NOT_INSPECTED)


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """One kind: the reads are tested on both elsewhere."""
    return f"sqlite:///{tmp_path / 'records.db'}"


@pytest.fixture
def outcomes(seeder) -> list[Outcome]:
    """Four parts, one of each verdict, recorded as the cell saw them."""
    seeder.lot("L")
    found = []
    for (serial, pixels), verdict in zip(PIXELS.items(), VERDICTS, strict=True):
        seq = seeder.inspection("L", serial, verdict)
        inspected = verdict is not Verdict.NOT_INSPECTED
        if inspected:
            seeder.image(seq, ImageKind.FRAME, pixels, "Mono8")
        output = Output.ACCEPT if verdict is Verdict.PASS else Output.REJECT
        reason = None if inspected else "frame_lost"
        found.append(Outcome("L", serial, None, 0, trigger_id=seq, output=output, verdict=verdict, reason=reason))
    return found


def violations(seeder, outcomes: list[Outcome]) -> list[str]:
    findings = Findings()
    rows = check_lot(seeder.connection, "L", outcomes, findings)
    check_images(
        lambda: nullcontext(seeder.connection),
        ImageStore(seeder.image_dir),
        rows,
        lambda serial: digest(PIXELS[serial]),
        findings,
    )
    check_losses(seeder.connection, missing_images(rows), findings)
    check_numbers(seeder.connection, findings)
    assert sum(findings.checked.values()) > len(outcomes)
    return findings.violations


def test_sound_records_violate_nothing(seeder, outcomes: list[Outcome]) -> None:
    assert violations(seeder, outcomes) == []


def _set(**values: object) -> Callable[[object], None]:
    return lambda seeder: seeder.connection.execute(
        update(tables.inspections).where(tables.inspections.c.seq == 2).values(**values)
    )


def _swap_images(seeder) -> None:
    of = [row.sha256 for row in seeder.connection.execute(tables.images.select().order_by(tables.images.c.seq))]
    for seq, sha256 in ((1, of[1]), (2, of[0])):
        seeder.connection.execute(update(tables.images).where(tables.images.c.seq == seq).values(sha256=sha256))


def _lose_row(seeder) -> None:
    seeder.connection.execute(delete(tables.images).where(tables.images.c.seq == 2))
    seeder.connection.execute(delete(tables.inspections).where(tables.inspections.c.seq == 2))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (_lose_row, "every trigger has one row: S2 was conveyed 1 times and has 0 rows"),
        (_lose_row, "no trigger is left open: 4 triggers, 3 inspections"),
        (_lose_row, "numbers have no gaps: 3 inspections, the last is 4"),
        (_set(verdict="review"), "the answer is the part's own: S2 was told fail None of trigger 2"),
        (_set(serial="S3"), "every trigger has one row: S2 was conveyed 1 times and has 0 rows"),
        (_set(output="accept", verdict="pass"), "the answer is the part's own: S2"),
        (_set(reason="deadline"), "a row says why, or names its model: inspection 2: fail, reason deadline"),
        (_set(model=None), "a row says why, or names its model: inspection 2: fail, reason None, model None"),
        (_swap_images, "the image is the part's own: S2, inspection 2, has another part's image"),
        (
            lambda seeder: seeder.connection.execute(delete(tables.images).where(tables.images.c.seq == 2)),
            "images of rejects are kept, or their loss is recorded: 1 images are missing, 0 losses are recorded",
        ),
    ],
)
def test_what_does_not_hold_is_said(seeder, outcomes: list[Outcome], harm: Callable, said: str) -> None:
    harm(seeder)
    assert said in "\n".join(violations(seeder, outcomes))


def test_an_accept_without_a_pass_is_found(seeder, outcomes: list[Outcome]) -> None:
    outcomes[1] = replace(outcomes[1], output=Output.ACCEPT)
    assert "accepted only with a durable pass: S2 was accepted, its row says fail" in violations(seeder, outcomes)


def test_a_part_that_nobody_conveyed_is_found(seeder, outcomes: list[Outcome]) -> None:
    assert "every trigger has one row: S4 was conveyed 0 times and has 1 rows" in violations(seeder, outcomes[:3])


def _deleted(seeder, seq: int) -> None:
    """The file is gone since the rows were read, and the records say so."""
    of = tables.images.c.seq == seq
    (sha256,) = seeder.connection.execute(select(tables.images.c.sha256).where(of)).scalars()
    seeder.connection.execute(update(tables.images).where(of).values(deleted_at=datetime.now(UTC), deleted_for="room"))
    assert ImageStore(seeder.image_dir).remove(sha256, ImageStore(seeder.image_dir).touched(sha256))


@pytest.mark.parametrize(("seq", "found"), [(1, []), (2, ["the image is the part's own: S2: image"])])
def test_only_the_image_of_a_passed_part_may_be_deleted_meanwhile(
    seeder, outcomes: list[Outcome], seq: int, found: list[str]
) -> None:
    findings = Findings()
    rows = lot_rows(seeder.connection, "L")
    _deleted(seeder, seq)
    store = ImageStore(seeder.image_dir)
    check_images(lambda: nullcontext(seeder.connection), store, rows, lambda serial: digest(PIXELS[serial]), findings)
    assert [violation[: len(start)] for violation, start in zip(findings.violations, found, strict=True)] == found


def test_an_image_of_a_reject_that_was_deleted_is_a_loss(seeder, outcomes: list[Outcome]) -> None:
    _deleted(seeder, 2)
    assert violations(seeder, outcomes) == [
        "images of rejects are kept, or their loss is recorded: 1 images are missing, 0 losses are recorded; inspections [2]"
    ]


def test_a_file_that_is_missing_without_a_record_is_found(seeder, outcomes: list[Outcome]) -> None:
    _deleted(seeder, 1)
    seeder.connection.execute(update(tables.images).values(deleted_at=None))
    (found,) = violations(seeder, outcomes)
    assert found.startswith("the image is the part's own: S1: image")


def test_an_image_whose_loss_is_recorded_is_no_violation(seeder, outcomes: list[Outcome]) -> None:
    seeder.connection.execute(delete(tables.images).where(tables.images.c.seq == 2))
    seeder.fault("image_lost", "images of inspection 2: the disk is full")
    assert violations(seeder, outcomes) == []


# --- the receiver ---


def events(*numbers: int, stream: Stream = Stream.INSPECTIONS, serial: str = "S") -> list[Event]:

    return [
        Event(
            "st-1",
            stream,
            number,
            datetime.now(UTC),
            {"lot": "L", "serial": f"{serial}{number}", "verdict": "pass", "reason": None},
        )
        for number in numbers
    ]


@pytest.fixture
def receiver():
    receiver = SoakReceiver()
    yield receiver
    receiver.close()


@pytest.fixture
def push(receiver: SoakReceiver):
    push = HttpReceiver(f"http://127.0.0.1:{receiver.port}/events", receiver.secret)
    yield push
    push.close()


def test_repeats_are_right_and_gaps_are_not(receiver: SoakReceiver, push: HttpReceiver) -> None:
    push.deliver(events(1, 2, 3))
    push.deliver(events(2, 3, 4))
    push.deliver(events(1, stream=Stream.LOT_EVENTS))
    assert receiver.arrivals.violations == []
    push.deliver(events(6))
    assert receiver.arrivals.violations == ["inspections 6 came after 4"]
    assert [number for number, _ in receiver.arrivals.first] == [1, 2, 3, 4, 6]


def test_a_receiver_fails_as_it_is_told_to(receiver: SoakReceiver, push: HttpReceiver) -> None:
    receiver.mood = Mood.REFUSES
    with pytest.raises(Undelivered, match="503"):
        push.deliver(events(1))
    assert receiver.arrivals.events == 0
    receiver.mood = Mood.FORGETS_TO_ANSWER
    with pytest.raises(Undelivered, match="cannot be reached"):
        push.deliver(events(1))
    assert receiver.arrivals.events == 1
    receiver.close()
    with pytest.raises(Undelivered, match="cannot be reached"):
        push.deliver(events(1))
    receiver.mood = Mood.UP
    receiver.listen()
    push.deliver(events(1, 2))
    assert receiver.arrivals.last[Stream.INSPECTIONS] == 2
    forged = httpx.post(
        f"http://127.0.0.1:{receiver.port}/events",
        content=json.dumps({}),
        headers={"webhook-id": "x", "webhook-timestamp": "1", "webhook-signature": "v1,forged"},
    )
    assert forged.status_code == 401


def test_what_a_receiver_was_told_is_compared_with_the_rows(seeder, outcomes: list[Outcome]) -> None:
    rows = lot_rows(seeder.connection, "L")
    told = [(row["seq"], {name: row[name] for name in ("lot", "serial", "verdict", "reason")}) for row in rows]
    findings = Findings()
    check_delivered(seeder.connection, told, [], findings)
    assert findings.violations == []
    told[1][1]["verdict"] = "pass"
    check_delivered(seeder.connection, told, ["inspections 6 came after 4"], findings)
    first, second = findings.violations
    assert first == "receivers get everything in order: inspections 6 came after 4"
    assert second.startswith("receivers get the rows as they are: inspection 2 was told as")
