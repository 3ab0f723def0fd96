"""Invariant 2 on a disk that is full or refuses every write: nothing is accepted without a durable row, no process dies, and the
line inspects again by itself when there is room.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from recorder_peers import HEIGHT, WIDTH, recorder_peers
from running_station import RunningStation
from small_disk import Filler, refusing_writes, small_disk

import inspection.housekeeping
from inspection.cell import CellPart
from inspection.domain import ImageKind, Output, Verdict
from inspection.images import ImageStore
from inspection.messages import Recorded
from inspection.records.tables import faults, images, inspections
from inspection.reserve import NAME
from inspection.retention import Limits

PROCESSES = ("recorder", "line", "inspector", "camera@top", "web")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 96) as folder:
        yield folder


def runs_through_it(station: RunningStation, trouble: AbstractContextManager[object]) -> None:
    """Parts come before, during and after the trouble, in which nothing can be written; what must hold is checked."""
    pids = {name: station.pid(name) for name in PROCESSES}
    in_trouble: list[str] = []

    def parts() -> Iterator[CellPart]:
        yield from station.parts("L", range(20))
        with trouble:
            for number in range(20, 400):
                (part,) = station.parts("L", [number])
                # It says that it cannot write, or where even that cannot be written, nothing.
                if station.states().get("recorder") != "recording":
                    in_trouble.append(part.serial)
                yield part
                if len(in_trouble) == 60:
                    break

    station.open_lot("L")
    outcomes = station.convey(parts(), 20)
    assert len(in_trouble) == 60, "the recorder writes on"
    assert {name: station.pid(name) for name in PROCESSES} == pids, "a process died"
    station.check_invariants("L")
    # As long as the reserve lasted, and what retention deleted, and the log that is there already, rows were written and parts
    # accepted. The others say why not; or their pass became durable only when it was too late to accept them.
    accepted = {outcome.serial for outcome in outcomes if outcome.output is Output.ACCEPT}
    rows = {row["serial"]: row for row in station.rows("L")}
    rejected = [rows[serial] for serial in in_trouble if serial not in accepted]
    assert all(row["reason"] or row["output"] != Output.ACCEPT for row in rejected)
    assert any(row["reason"] for row in rejected)
    station.wait_until(station.ready, 10, "the line to be ready again")
    station.convey(station.parts("L", range(400, 420)), 20)
    station.check_invariants("L")
    assert [row["reason"] for row in station.rows("L")[-20:] if row["verdict"] == Verdict.NOT_INSPECTED] == []


@pytest.mark.by_hand
def test_parts_on_a_full_disk_are_rejected_and_those_after_it_are_inspected(disk: Path, plate_model: Path) -> None:
    station = RunningStation(disk, plate_model, extra_config="[images]\nmin_free_gb = 0.001")
    with station:
        reserve = station.config.data_dir / NAME
        station.wait_until(reserve.exists, 10, "the reserve to be held back")
        runs_through_it(station, Filler(disk))
        station.wait_until(reserve.exists, 10, "the reserve to be held back again")


@pytest.mark.by_hand
def test_parts_are_rejected_while_the_disk_refuses_every_write(tmp_path: Path, plate_model: Path) -> None:
    station = RunningStation(tmp_path, plate_model)
    with station:
        runs_through_it(station, refusing_writes(lambda: station.pid("recorder")))
        station.check_images("L")


# --- the recorder alone ---


def pixels(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)


def test_a_verdict_stands_though_its_image_finds_no_room(tmp_path: Path) -> None:
    """The images' disk is full, that of the records is not."""
    with small_disk(tmp_path / "images", 1) as folder, recorder_peers(tmp_path) as peers:
        with peers.recorder():
            with Filler(folder):
                for seed, verdict in enumerate((Verdict.FAIL, Verdict.PASS, Verdict.REVIEW), 1):
                    ticket = peers.ticket()
                    peers.judge(ticket, pixels(seed), verdict)
                    peers.recorded(ticket, verdict)
                    peers.until(peers.all_slots_free)
                peers.until(lambda: sum(row.count for row in peers.rows(faults)) >= 1)
            ticket = peers.ticket()
            peers.judge(ticket, pixels(4), Verdict.FAIL)
            peers.recorded(ticket, Verdict.FAIL)
            peers.until(lambda: peers.count(images) == 2)
        assert sum(row.count for row in peers.rows(faults)) == 3
        assert {row.kind for row in peers.rows(faults)} == {"image_lost"}
        assert all("No space left on device" in row.detail for row in peers.rows(faults))


def test_a_full_disk_is_relieved_by_the_reserve_and_by_what_retention_may_delete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something has filled the disk once: with the reserve, deletions are recorded, and they make room for more rows."""
    monkeypatch.setattr(inspection.housekeeping, "_IDLE_S", 0.05)
    monkeypatch.setattr(inspection.housekeeping, "_FAILED_S", 0.05)
    with small_disk(tmp_path / "disk", 24) as folder, recorder_peers(folder) as peers:
        store = ImageStore(peers.image_dir)
        with peers.recorder():
            peers.until((folder / NAME).exists)
            for seed in (1, 2):
                peers.judge(peers.ticket(), pixels(seed), Verdict.PASS)
                peers.line.expect(Recorded)
            peers.until(lambda: peers.count(images) == 4)
        big = [store.path(row.sha256) for row in peers.rows(images) if row.kind == ImageKind.FRAME]
        # As large as a camera's: what their deletion brings is more than a few pages.
        for path in big:
            path.write_bytes(bytes(3_000_000))
        with (folder / "something-else").open("wb", buffering=0) as file:
            while True:
                try:
                    file.write(bytes(4096))
                except OSError:
                    break
        with peers.recorder(limits=Limits(min_free_bytes=5_000_000)):
            peers.until(lambda: not any(path.exists() for path in big), 10)
            for seed in range(3, 30):
                ticket = peers.ticket()
                peers.judge(ticket, pixels(seed), Verdict.PASS)
                peers.recorded(ticket, Verdict.PASS)
        assert peers.count(inspections) == 29
