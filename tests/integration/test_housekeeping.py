"""Images are deleted beside a real recorder: by age and for want of room, never what somebody wants kept, and never a row."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from recorder_peers import HEIGHT, WIDTH, RecorderPeers, recorder_peers
from sqlalchemy import func, insert, select, update

import inspection.housekeeping
from inspection.domain import GoldenImage, ImageKind, LotState, Verdict
from inspection.housekeeping import sweep
from inspection.images import ImageStore
from inspection.messages import Recorded
from inspection.records.labels import add_label
from inspection.records.legal_holds import place_hold, release_hold
from inspection.records.retention import read_totals
from inspection.records.stored_images import add_golden
from inspection.records.tables import faults, images, inspections, lots, training_set_members, training_sets
from inspection.retention import Limits

OLD = datetime.now(UTC) - timedelta(days=100)


@pytest.fixture
def peers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RecorderPeers]:
    monkeypatch.setattr(inspection.housekeeping, "_IDLE_S", 0.05)
    with recorder_peers(tmp_path) as peers:
        yield peers


def pixels(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)


def inspect(peers: RecorderPeers, verdicts: list[Verdict], first: int = 1, same: int | None = None) -> None:
    """Parts with these verdicts and images of their own, or all the same; returns when these are stored."""
    before = peers.count(images)
    for seed, verdict in enumerate(verdicts, first):
        peers.judge(peers.ticket(), pixels(seed if same is None else same), verdict)
        peers.line.expect(Recorded)
        peers.until(peers.all_slots_free)
    peers.until(lambda: peers.count(images) == before + 2 * len(verdicts))


def make_old(peers: RecorderPeers, seqs: Iterable[int]) -> None:
    """Not the newest one: it tells retention the time."""
    with peers.engine.begin() as connection:
        chosen = inspections.c.seq.in_(tuple(seqs))
        connection.execute(update(inspections).where(chosen).values(recorded_at=OLD, triggered_at=OLD))


def frame_of(peers: RecorderPeers, seq: int) -> str:
    return next(row.sha256 for row in peers.rows(images) if row.seq == seq and row.kind == ImageKind.FRAME)


def deleted(peers: RecorderPeers) -> dict[int, str]:
    return {row.seq: row.deleted_for for row in peers.rows(images) if row.deleted_at is not None}


def files(peers: RecorderPeers) -> set[str]:
    return {path.stem for path in peers.image_dir.glob("*/*.png")}


def kept_hashes(peers: RecorderPeers) -> set[str]:
    return {row.sha256 for row in peers.rows(images) if row.deleted_at is None}


def totals_are_right(peers: RecorderPeers) -> bool:
    with peers.reader.connect() as connection:
        counted = connection.execute(
            select(images.c.kind, inspections.c.verdict, func.count(), func.sum(images.c.nbytes))
            .join(inspections, inspections.c.seq == images.c.seq)
            .where(images.c.deleted_at.is_(None))
            .group_by(images.c.kind, inspections.c.verdict)
        ).all()
        told = {(each.kind, each.verdict): (each.images, each.nbytes) for each in read_totals(connection) if each.images}
    return told == {(row[0], row[1]): (row[2], row[3]) for row in counted}


# --- by age ---


def test_old_passes_lose_their_images_and_keep_their_rows(peers: RecorderPeers) -> None:
    with peers.recorder():
        inspect(peers, [Verdict.PASS, Verdict.FAIL, Verdict.REVIEW, Verdict.PASS, Verdict.PASS])
    make_old(peers, (1, 2, 3, 4))
    with peers.recorder(limits=Limits(pass_days=90)):
        peers.until(lambda: deleted(peers) == {1: "keep_pass_days = 90", 4: "keep_pass_days = 90"})
        peers.until(lambda: files(peers) == kept_hashes(peers))
        # The line is served meanwhile.
        inspect(peers, [Verdict.PASS], 6)
        assert set(deleted(peers)) == {1, 4}
    assert peers.count(inspections) == 6
    assert peers.count(images) == 12, "frame and map of each, deleted or not"
    assert totals_are_right(peers)
    moments = {row.deleted_at for row in peers.rows(images) if row.deleted_at is not None}
    assert all(abs(datetime.now(UTC) - moment) < timedelta(minutes=1) for moment in moments)


def test_what_somebody_wants_kept_stays_until_nobody_does(peers: RecorderPeers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection.housekeeping, "_AGAIN_S", 0.2)
    with peers.recorder():
        inspect(peers, [Verdict.PASS] * 9)
    make_old(peers, range(1, 9))
    now = datetime.now(UTC)
    with peers.engine.begin() as connection:
        add_label(connection, 1, "ok", "ada")
        add_label(connection, 2, "ok", "ada")
        add_label(connection, 2, None, "ada")
        add_golden(connection, GoldenImage("plate", frame_of(peers, 3), "ok", "x", "Mono8", "ada", now))
        document = {"training_set": "s", "product": "plate", "document": "", "sizes": {}, "warnings": [], "created_by": "ada"}
        connection.execute(insert(training_sets).values(**document, created_at=now))
        connection.execute(insert(training_set_members).values(training_set="s", sha256=frame_of(peers, 4)))
        by_seq = place_hold(connection, seq=5, by="ada", reason="claim 7", at=now)
        place_hold(connection, serial="S6", by="ada", reason="claim 8", at=now)
        connection.execute(update(inspections).where(inspections.c.seq == 7).values(lot="held"))
        connection.execute(insert(lots).values(lot="held", product="plate", state=LotState.HELD, opened_at=now))
    with peers.recorder(limits=Limits(pass_days=90)):
        # Taken back, 2's label says nothing; 8 is wanted by nobody.
        peers.until(lambda: set(deleted(peers)) == {2, 8})
        peers.until(lambda: files(peers) == kept_hashes(peers))
        with peers.engine.begin() as connection:
            connection.execute(update(lots).values(state=LotState.OPEN))
        peers.until(lambda: set(deleted(peers)) == {2, 7, 8})
        with peers.engine.begin() as connection:
            release_hold(connection, by_seq.legal_hold_id, "bob", "settled", now)
        peers.until(lambda: set(deleted(peers)) == {2, 5, 7, 8})
        peers.until(lambda: files(peers) == kept_hashes(peers))
    assert totals_are_right(peers)


def test_a_file_stays_as_long_as_any_row_wants_it(peers: RecorderPeers) -> None:
    with peers.recorder():
        inspect(peers, [Verdict.PASS, Verdict.PASS, Verdict.FAIL], same=7)
        inspect(peers, [Verdict.PASS, Verdict.FAIL], 8)
    shared, alone, newest = frame_of(peers, 1), frame_of(peers, 4), frame_of(peers, 5)
    make_old(peers, (1, 2, 3, 4))
    with peers.recorder(limits=Limits(pass_days=90)):
        peers.until(lambda: set(deleted(peers)) == {1, 2, 4})
        # In the same step: the shared file was spared, and is not yet to come.
        peers.until(lambda: alone not in files(peers))
        assert shared in files(peers)
    with peers.recorder(limits=Limits(pass_days=90, reject_days=10)):
        peers.until(lambda: set(deleted(peers)) == {1, 2, 3, 4})
        peers.until(lambda: {shared, alone, newest} & files(peers) == {newest})


# --- for want of room ---


def test_beyond_the_quota_passes_go_oldest_first_and_new_ones_are_stored(peers: RecorderPeers) -> None:
    with peers.recorder():
        inspect(peers, [Verdict.PASS, Verdict.FAIL, Verdict.PASS, Verdict.PASS, Verdict.REVIEW, Verdict.PASS])
    size = sum(row.nbytes for row in peers.rows(images)) / 6
    with peers.recorder(limits=Limits(max_bytes=4.5 * size)):
        peers.until(lambda: set(deleted(peers)) == {1, 3})
        assert set(deleted(peers).values()) == {f"max_gb = {4.5 * size / 1e9:g}"}
        # From then on there is room.
        peers.until(lambda: files(peers) == kept_hashes(peers))
        inspect(peers, [Verdict.PASS], 7)
        peers.until(lambda: set(deleted(peers)) == {1, 3, 4})
        peers.until(lambda: files(peers) == kept_hashes(peers))
    assert totals_are_right(peers)


def test_on_a_full_disk_passes_go_and_nothing_is_stored_any_more_but_rows(peers: RecorderPeers) -> None:
    with peers.recorder():
        inspect(peers, [Verdict.PASS, Verdict.FAIL])
    with peers.recorder(limits=Limits(min_free_bytes=1e18)):
        peers.until(lambda: set(deleted(peers)) == {1})
        before = peers.count(images)
        for seed, verdict in ((3, Verdict.PASS), (4, Verdict.FAIL), (5, Verdict.PASS)):
            ticket = peers.ticket()
            peers.judge(ticket, pixels(seed), verdict)
            peers.recorded(ticket, verdict)
            peers.until(peers.all_slots_free)
    lost = {kind: sum(row.count for row in peers.rows(faults) if row.kind == kind) for kind in ("no_room", "image_lost")}
    assert lost == {"no_room": 2, "image_lost": 1}
    assert peers.count(faults) <= 3
    assert all("of the 1e+09 GB that images must leave free" in row.detail for row in peers.rows(faults))
    assert peers.count(images) == before
    assert peers.count(inspections) == 5


# --- crashes ---


def test_files_without_a_row_are_removed_and_young_ones_are_not(peers: RecorderPeers) -> None:
    with peers.recorder():
        inspect(peers, [Verdict.PASS])
    store = ImageStore(peers.image_dir)
    wanted = frame_of(peers, 1)
    orphans = [store.put(bytes([number]), ImageKind.FRAME, 1, 1, "Mono8").sha256 for number in range(3)]
    torn = store.path(wanted).with_suffix(".4711.new")
    torn.write_bytes(b"half")
    hour_ago = time.time() - 4_000
    for path in (store.path(wanted), store.path(orphans[0]), store.path(orphans[1]), torn):
        os.utime(path, (hour_ago, hour_ago))
    with peers.reader.connect() as connection:
        found = [sweep(store, connection, f"{number:02x}") for number in range(256)]
    assert (sum(removed for removed, _ in found), sum(left for _, left in found)) == (3, 0)
    assert files(peers) == {orphans[2], *kept_hashes(peers)}
    assert not torn.exists()


def test_many_files_without_a_row_are_left_for_a_person_to_look_at(peers: RecorderPeers) -> None:
    """After a restored backup the records may be older than the images."""
    store = ImageStore(peers.image_dir)
    folder = peers.image_dir / "ab"
    folder.mkdir(parents=True)
    for number in range(50):
        path = folder / f"ab{number:062x}.png"
        path.write_bytes(b"x")
        os.utime(path, (1e9, 1e9))
    with peers.reader.connect() as connection:
        assert sweep(store, connection, "ab") == (0, 50)
    assert len(list(folder.iterdir())) == 50


def test_a_recorder_that_died_between_record_and_removal_leaves_a_file_that_is_found(peers: RecorderPeers) -> None:
    with peers.recorder():
        inspect(peers, [Verdict.PASS])
    with peers.engine.begin() as connection:
        connection.execute(update(images).values(deleted_at=OLD, deleted_for="keep_pass_days = 1"))
    left = frame_of(peers, 1)
    store = ImageStore(peers.image_dir)
    os.utime(store.path(left), (1e9, 1e9))
    with peers.reader.connect() as connection:
        assert sweep(store, connection, left[:2]) == (1, 0)
    assert left not in files(peers)


def test_a_file_that_cannot_be_removed_holds_up_no_other(peers: RecorderPeers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection.housekeeping, "_FAILED_S", 0.05)
    with peers.recorder():
        inspect(peers, [Verdict.PASS] * 4)
    remove, failures = ImageStore.remove, iter([OSError("the disk answers with an error")])

    def fail_once(store: ImageStore, sha256: str, touched: int) -> bool:
        for failure in failures:
            raise failure
        return remove(store, sha256, touched)

    monkeypatch.setattr(ImageStore, "remove", fail_once)
    make_old(peers, (1,))
    with peers.recorder(limits=Limits(pass_days=90)):
        peers.until(lambda: set(deleted(peers)) == {1})
        peers.until(lambda: next(failures, None) is None)
    make_old(peers, (2, 3))
    with peers.recorder(limits=Limits(pass_days=90)):
        peers.until(lambda: set(deleted(peers)) == {1, 2, 3})
        peers.until(lambda: frame_of(peers, 3) not in files(peers))


def test_files_are_not_swept_while_rows_wait_for_a_full_disk(peers: RecorderPeers, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_SWEEP_S", "_IDLE_S"):
        monkeypatch.setattr(inspection.housekeeping, name, 0.001)
    with peers.recorder():
        inspect(peers, [Verdict.PASS])
        housekeeper = peers.process._housekeeper
        housekeeper.rows_wait = True
        store = ImageStore(peers.image_dir)
        waiting = store.put(b"stored, and its row waits", ImageKind.FRAME, 1, 1, "Mono8").sha256
        os.utime(store.path(waiting), (1e9, 1e9))
        looks = housekeeper._folder
        time.sleep(0.3)
        assert housekeeper._folder - looks in (0, 1, -255), "the present step may have been about to sweep"
        assert waiting in files(peers)
        housekeeper.rows_wait = False
        peers.until(lambda: waiting not in files(peers))


# --- the same bytes again ---


def test_bytes_that_are_stored_again_while_they_are_deleted_stay(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    sha256 = store.put(b"bytes", ImageKind.FRAME, 1, 1, "Mono8").sha256
    looked = store.touched(sha256)
    assert looked is not None
    # A file system's clock may stand still between two calls.
    while store.touched(sha256) == looked:
        store.put(b"bytes", ImageKind.FRAME, 1, 1, "Mono8")
    assert not store.remove(sha256, looked)
    assert store.read(sha256) == b"bytes"
    now = store.touched(sha256)
    assert now is not None
    assert store.remove(sha256, now)
    assert store.touched(sha256) is None
    store.put(b"bytes", ImageKind.FRAME, 1, 1, "Mono8")
    assert store.read(sha256) == b"bytes"
