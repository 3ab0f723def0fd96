"""A challenger beside the model in service: it sees the same frames, later, and decides nothing."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from inspector_peers import SLOTS, InspectorPeers, frame, scene
from shadow_messages import CHALLENGER, found_fast, verdict
from sqlalchemy import select

import inspection.inspector
import inspection.shadow
from cameras.frame import Frame
from cameras.messages import FaultReport, Heartbeat
from inspection.artifact import Thresholds, read_artifact, write_artifact
from inspection.detector import Detector
from inspection.domain import Check, Model, Verdict
from inspection.errors import Conflict, NotFound
from inspection.messages import Inspected, ShadowInspected, Ticket
from inspection.records import tables
from inspection.records.deployments import deploy, register_model
from inspection.records.gates import LATENCY, store_gate
from inspection.records.labels import add_label
from inspection.records.shadows import (
    disagreements,
    list_shadows,
    shadow_inspected,
    shadow_summary,
    start_shadow,
    stop_shadow,
)
from inspection.shadow import LIMIT, PATIENCE, Shadow


@pytest.fixture(scope="module")
def challenger(plate_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network in service with thresholds that pass nothing."""
    former = read_artifact(plate_model)
    manifest = msgspec.structs.replace(former.manifest, thresholds=Thresholds(review=1e-6, fail=1e6, rule="a test"))
    return write_artifact(tmp_path_factory.mktemp("challenger"), manifest, former.files)[0]


@pytest.fixture
def peers(plate_model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InspectorPeers]:
    monkeypatch.setattr(inspection.inspector, "_HEARTBEAT_S", 0.02)
    with tempfile.TemporaryDirectory(prefix="shadow-") as run_dir:
        peers = InspectorPeers(Path(run_dir), lambda: {"plate": (plate_model.name, plate_model)})
        yield peers
        peers.close()


# --- in the inspector ---


def test_live_parts_come_first_and_the_challenger_sees_the_same_frames(
    peers: InspectorPeers, plate_model: Path, challenger: Path
) -> None:
    peers.in_shadow = lambda: {"plate": (challenger.name, challenger)}
    # All are there before the inspector looks: none of them may wait for the challenger.
    tickets = [peers.part(scene(number))[0] for number in range(SLOTS)]
    with peers.inspector():
        peers.recorder.expect(Heartbeat, lambda beat: beat.counters["shadow_inspected"] == SLOTS, timeout_s=20)
    judged = [message for message in peers.recorder.inbox if isinstance(message, Inspected | ShadowInspected)]
    assert [type(message) for message in judged] == [Inspected] * SLOTS + [ShadowInspected] * SLOTS
    live, shadow = judged[:SLOTS], judged[SLOTS:]
    assert [message.trigger_id for message in live] == [ticket.trigger_id for ticket in tickets]
    assert [message.trigger_id for message in shadow] == [ticket.trigger_id for ticket in tickets]
    assert {message.model for message in live} == {plate_model.name}
    assert {message.model for message in shadow} == {challenger.name}
    # The same network on the same pixels, although the slots were handed on before.
    assert [message.score for message in shadow] == [message.score for message in live]
    assert {message.verdict for message in shadow} == {Verdict.REVIEW}
    for ticket, message in zip(tickets, shadow, strict=True):
        assert (message.camera, message.camera_epoch, message.trigger_count) == ("top", ticket.camera_epoch, ticket.trigger_count)


def test_no_copy_is_judged_while_a_part_is_on_its_way(peers: InspectorPeers, challenger: Path) -> None:
    """Its frame would wait for the end of that."""
    peers.in_shadow = lambda: {"plate": (challenger.name, challenger)}
    with peers.inspector():
        coming, lost = peers.ticket(), peers.ticket(deadline_ms=500)
        peers.send(coming)
        peers.recorder.expect(Heartbeat, lambda beat: beat.counters["waiting"] == 1)
        first, _ = peers.part(scene(1))
        peers.inspected(first)
        for _ in range(5):
            peers.recorder.expect(Heartbeat)
        peers.send(lost)
        peers.send(ref=peers.frame(coming, scene(2), after_ms=0))
        peers.inspected(coming)
        assert peers.recorder.came(ShadowInspected) == []
        # A frame that does not come does not keep the challenger waiting for long.
        for ticket in (first, coming):
            assert peers.recorder.expect(ShadowInspected).trigger_id == ticket.trigger_id


class Slow:
    """A challenger that takes its time."""

    review_threshold, fail_threshold = 1.0, 2.0

    def __init__(self, digest: str) -> None:
        self.digest = digest

    def inspect(self, frame: Frame) -> SimpleNamespace:
        time.sleep(1.2)
        return SimpleNamespace(score=0.5)


def test_a_challenger_that_would_make_parts_late_is_a_fault_and_suspended(
    peers: InspectorPeers, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Detector.load

    def loaded(path: Path, expected_digest: str) -> Detector | Slow:
        return Slow(CHALLENGER) if expected_digest == CHALLENGER else load(path, expected_digest)

    monkeypatch.setattr(inspection.inspector.Detector, "load", loaded)
    peers.in_shadow = lambda: {"plate": (CHALLENGER, Path())}
    with peers.inspector():
        for seed in range(2):
            ticket, _ = peers.part(scene(seed), deadline_ms=1_000)
            peers.inspected(ticket)
            if seed == 0:
                fault = peers.recorder.expect(FaultReport, lambda fault: fault.kind != "optics")
        assert (fault.kind, fault.source) == ("challenger_suspended", "inspector")
        assert fault.detail.startswith("challenger cdcdcdcdcdcd of product plate took 1")
        peers.recorder.expect(Heartbeat, lambda beat: beat.counters["inspected"] == 2)
        # The frames are not of the size of those that the model learned from, which is said too.
        assert {fault.kind for fault in peers.recorder.came(FaultReport)} <= {"optics"}


def test_a_challenger_starts_and_stops_between_two_parts(peers: InspectorPeers, challenger: Path) -> None:
    with peers.inspector():
        first, _ = peers.part(scene(1))
        peers.inspected(first)

        def part_until(condition: Callable[[], bool], what: str) -> None:
            until = time.monotonic() + 20
            while not condition():
                assert time.monotonic() < until, f"the challenger does not {what}"
                peers.recorder.inbox.clear()
                ticket, _ = peers.part(scene(2))
                peers.inspected(ticket)
                # It had time for the challenger.
                peers.recorder.expect(Heartbeat)

        def judged() -> list[ShadowInspected]:
            return peers.recorder.came(ShadowInspected)

        peers.in_shadow = lambda: {"plate": (challenger.name, challenger)}
        part_until(lambda: bool(judged()), "start")
        assert judged()[0].trigger_id > first.trigger_id
        peers.in_shadow = dict
        part_until(lambda: not judged(), "stop")


def test_a_challenger_that_cannot_be_loaded_is_a_fault_and_the_line_goes_on(peers: InspectorPeers, tmp_path: Path) -> None:
    peers.in_shadow = lambda: {"plate": (CHALLENGER, tmp_path / "nowhere")}
    with peers.inspector():
        fault = peers.recorder.expect(FaultReport)
        assert (fault.kind, fault.source) == ("challenger_refused", "inspector")
        assert fault.detail.startswith("model cdcdcdcdcdcd for product plate: ")
        ticket, _ = peers.part(scene(1))
        peers.inspected(ticket)


def test_only_so_many_copies_wait_and_what_is_dropped_is_counted(peers: InspectorPeers, challenger: Path) -> None:
    detector = Detector.load(challenger)
    shadow = Shadow(lambda product: detector if product == "plate" else None)
    ticket = peers.ticket()
    pixels = scene(1)
    ref = peers.frame(ticket, pixels)
    for _ in range(LIMIT + 3):
        shadow.keep(shadow.copy(ticket, ref, frame(pixels)))
    shadow.keep(shadow.copy(peers.ticket(product="flange"), ref, frame(pixels)))
    expected = detector.inspect(frame(scene(1))).score
    pixels[:] = 0  # the slot is used again
    scores = []
    while shadow:
        scores.append(shadow.inspect().score)
    assert scores == [expected] * LIMIT
    assert shadow.counters == {"shadow_inspected": LIMIT, "shadow_dropped": 3, "shadow_errors": 0}


def test_a_challenger_that_fails_or_was_stopped_gives_no_verdict(peers: InspectorPeers, challenger: Path) -> None:
    running: list[Detector] = [Detector.load(challenger)]
    shadow = Shadow(lambda product: running[0] if running else None)
    ticket = peers.ticket()
    ref = peers.frame(ticket, scene(1))
    unreadable = frame(scene(1).astype(np.float32))
    for given in (unreadable, frame(scene(1))):
        shadow.keep(shadow.copy(ticket, ref, given))
    assert shadow.inspect() is None
    assert shadow.counters["shadow_errors"] == 1
    running.clear()
    assert shadow.inspect() is None
    assert shadow.counters["shadow_dropped"] == 1
    assert not shadow


def test_a_challenger_that_takes_longer_than_parts_have_to_spare_is_suspended_until_it_is_started_again(
    peers: InspectorPeers, challenger: Path
) -> None:
    running = [Detector.load(challenger)]
    shadow = Shadow(lambda product: running[0])
    hurried = peers.ticket(deadline_ms=60_000, age_ms=60_000)
    ref = peers.frame(hurried, scene(1))

    def judged(ticket: Ticket) -> bool:
        shadow.keep(shadow.copy(ticket, ref, frame(scene(1))))
        return bool(shadow) and shadow.inspect() is not None

    # Late now and then is the machine's fault; so long as it is not always so, it goes on.
    assert all(judged(ticket) for ticket in [hurried] * (PATIENCE - 1) + [peers.ticket()] + [hurried] * PATIENCE)
    assert not judged(peers.ticket())
    (suspension,) = shadow.suspensions
    assert suspension.startswith(f"challenger {challenger.name[:12]} of product plate took ")
    assert suspension.endswith("a part had 0 ms to spare: it would make parts late; stop it, and start a faster one")
    running[0] = Detector.load(challenger)
    assert judged(peers.ticket())
    assert judged(peers.ticket(deadline_ms=0.001)), "longer than the whole deadline: once is enough"
    assert not judged(peers.ticket())
    assert len(shadow.suspensions) == 2


def test_a_frame_that_cannot_be_copied_costs_no_verdict(
    peers: InspectorPeers, challenger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*arguments: object, **changes: object) -> None:
        raise MemoryError

    peers.in_shadow = lambda: {"plate": (challenger.name, challenger)}
    monkeypatch.setattr(inspection.shadow, "replace", no_memory)
    with peers.inspector():
        ticket, _ = peers.part(scene(1))
        peers.inspected(ticket)
        peers.recorder.expect(Heartbeat, lambda beat: beat.counters["shadow_errors"] == 1 and beat.counters["errors"] == 0)


# --- in the records ---


@pytest.fixture
def models(seeder) -> tuple[str, str]:
    """A model in service and another one, both registered."""
    for digest in ("ab" * 32, CHALLENGER):
        register_model(seeder.connection, Model(digest, "plate", "models/one", "patchcore", seeder.start, {}))
    deploy(seeder.connection, "st-1", "plate", "ab" * 32, "ada", "the first")
    return "ab" * 32, CHALLENGER


def test_where_the_challenger_differs_is_listed_with_the_label(seeder) -> None:
    given = [Verdict.PASS, Verdict.PASS, Verdict.FAIL, Verdict.NOT_INSPECTED, Verdict.REVIEW]
    said = [Verdict.PASS, Verdict.FAIL, Verdict.PASS, Verdict.FAIL, Verdict.FAIL]
    for number, (mine, other) in enumerate(zip(given, said, strict=True), start=1):
        seeder.inspection("L1", f"S{number}", mine)
        shadow_inspected(seeder.connection, verdict(number, other))
    add_label(seeder.connection, 2, "scratch", "ada")
    add_label(seeder.connection, 2, "dent", "ada")
    summary = shadow_summary(seeder.connection, CHALLENGER)
    assert (summary.inspected, summary.agreed) == (4, 1)
    assert summary.verdicts == {"fail/pass": 1, "pass/fail": 1, "pass/pass": 1, "review/fail": 1}
    found = disagreements(seeder.connection, CHALLENGER, 0, 10)
    assert [(each.seq, each.verdict, each.shadow_verdict, each.label) for each in found] == [
        (2, Verdict.PASS, Verdict.FAIL, "dent"),
        (3, Verdict.FAIL, Verdict.PASS, None),
        (5, Verdict.REVIEW, Verdict.FAIL, None),
    ]
    assert disagreements(seeder.connection, CHALLENGER, 2, 1) == found[1:2]
    assert disagreements(seeder.connection, "ab" * 32, 0, 10) == ()


def test_a_challengers_verdict_is_recorded_once_and_for_its_own_frame_alone(seeder) -> None:
    seeder.inspection("L1", "S1")
    assert not shadow_inspected(seeder.connection, verdict(1, Verdict.FAIL, camera_epoch=2))
    assert not shadow_inspected(seeder.connection, verdict(7, Verdict.FAIL))
    assert shadow_summary(seeder.connection, CHALLENGER).inspected == 0
    assert shadow_inspected(seeder.connection, verdict(1, Verdict.FAIL))
    assert shadow_inspected(seeder.connection, verdict(1, Verdict.PASS))
    rows = seeder.connection.execute(select(tables.shadow_inspections.c.trigger_id, tables.shadow_inspections.c.verdict)).all()
    assert rows == [(1, "fail")]


def test_one_challenger_runs_for_a_product_until_it_is_stopped_or_put_in_service(seeder, models: tuple[str, str]) -> None:
    in_service, other = models
    connection = seeder.connection
    with pytest.raises(Conflict, match="is in service for plate; a challenger is another model"):
        start_shadow(connection, "st-1", "plate", in_service, "ada", "")
    with pytest.raises(Conflict, match="made for product 'plate'"):
        start_shadow(connection, "st-1", "flange", other, "ada", "")
    with pytest.raises(Conflict, match="cdcdcdcdcdcd has not passed the latency check of a gate on st-1"):
        start_shadow(connection, "st-1", "plate", other, "ada", "")
    found_fast(connection, "st-1", "plate")
    store_gate(connection, "st-1", "plate", other, [Check(LATENCY, False, "the machine was busy")], None, "ada")
    with pytest.raises(Conflict, match="gate it, or choose a faster one"):
        start_shadow(connection, "st-1", "plate", other, "ada", "the newest gate counts")
    found_fast(connection, "st-1", "plate")
    first = start_shadow(connection, "st-1", "plate", other, "ada", "fewer false rejects?")
    second = start_shadow(connection, "st-1", "plate", other, "bob", "again")
    newest, former = list_shadows(connection, "st-1")
    assert (newest, former.shadow_id, former.ended_at) == (second, first.shadow_id, second.started_at)
    stop_shadow(connection, "st-1", "plate")
    with pytest.raises(NotFound, match="no challenger runs for plate"):
        stop_shadow(connection, "st-1", "plate")
    start_shadow(connection, "st-1", "plate", other, "ada", "")
    deploy(connection, "st-1", "plate", other, "ada", "it was better")
    assert all(shadow.ended_at is not None for shadow in list_shadows(connection, "st-1"))
