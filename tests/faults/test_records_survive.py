"""The records survive: a backup that is made while parts run is restored after any loss, and a power cut loses nothing accepted.

``POWER_CUTS=100 python -m pytest -rP -m by_hand tests/faults/test_records_survive.py`` looks at more instants.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import statistics
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from running_station import RunningStation
from sqlalchemy import select

from cameras.fault_kinds import FaultKind
from inspection.cell import Cell
from inspection.domain import Output
from inspection.records.database import open_engine
from inspection.records.tables import faults

PARTS, RATE = 200, 20
CUTS = int(os.environ.get("POWER_CUTS", "12"))
SECTOR = 512

pytestmark = pytest.mark.by_hand


def command(*arguments: str | Path) -> str:
    """What a ``station`` command says; it must succeed."""
    done = subprocess.run([sys.executable, "-m", "inspection", *map(str, arguments)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def recorded_faults(station: RunningStation, kind: str) -> list[str]:
    engine = open_engine(station.config.database_url, read_only=True)
    with engine.connect() as connection:
        found = connection.execute(select(faults.c.detail).where(faults.c.kind == kind)).scalars().all()
    engine.dispose()
    return list(found)


def database(station: RunningStation) -> Path:
    return station.config.data_dir / "station.db"


def overwrite(file: Path) -> None:
    with file.open("r+b") as content:
        content.seek(8192)
        content.write(os.urandom(file.stat().st_size - 8192))


def everything(station: RunningStation) -> None:
    """While it stands still."""
    shutil.rmtree(station.config.data_dir)


LOSSES: dict[str, Callable[[RunningStation], None]] = {
    "data directory": everything,
    "database deleted": lambda station: database(station).unlink(),
    "database overwritten": lambda station: overwrite(database(station)),
    "database cut off": lambda station: os.truncate(database(station), 16384),
    "log deleted": lambda station: database(station).with_name("station.db-wal").unlink(),
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_station_goes_on_from_its_backup(station: RunningStation, tmp_path: Path, loss: str) -> None:
    backups = tmp_path / "backups"
    with station:
        station.open_lot("L1")
        before = station.convey(station.parts("L1", range(50)), RATE)
        backup = subprocess.Popen([sys.executable, "-m", "inspection", "backup", str(station.config_path), str(backups)])
        during: list[Any] = []
        while backup.poll() is None or len(during) < PARTS:
            first = 50 + len(during)
            during += station.convey(station.parts("L1", range(first, first + 40)), RATE)
        assert backup.wait(120) == 0
        say("without a backup", before)
        say("while a backup is made", during)
        station.check_invariants("L1")
        told = max(row["seq"] for row in station.rows("L1"))
        assert loss == "data directory" or break_while_it_runs(station, LOSSES[loss])
    if loss == "data directory":
        everything(station)
    elif loss != "log deleted":
        refused = subprocess.run(
            [sys.executable, "-m", "inspection", "run", str(station.config_path)], capture_output=True, text=True, timeout=60
        )
        assert refused.returncode == 1
        assert "station restore" in refused.stderr
    command("backup", "verify", backups)
    said = command("restore", backups, station.config_path, "--overwrite")
    assert "Everything is numbered after" in said
    station.set_up()
    with station:
        of_backup = {row["serial"]: row for row in station.rows("L1")}
        assert {outcome.serial for outcome in before} <= of_backup.keys(), "what was durable when it began"
        for outcome in station.outcomes:
            if outcome.lot == "L1" and outcome.serial in of_backup and outcome.output is Output.ACCEPT:
                assert of_backup[outcome.serial]["verdict"] == "pass"
        assert station.summary("L1").balanced
        assert any("restored from the backup" in detail for detail in recorded_faults(station, FaultKind.RECORDS_LOST))
        station.open_lot("L3")
        station.convey(station.parts("L3", range(10_000, 10_100)), RATE)
        station.check_invariants("L3")
        station.check_images("L3", 50)
        station.check_images("L1")
        rows = station.rows("L3")
        assert min(row["seq"] for row in rows) > told
        assert sum(row["verdict"] == "pass" for row in rows) > 50, "the models are there, too"
        assert "entries fit" in command("audit", "verify", "--config", station.config_path)


def break_while_it_runs(station: RunningStation, damage: Callable[[RunningStation], None]) -> bool:
    """Parts come all the time; once the records are lost none is accepted, and the recorder does not begin again and again."""
    outcomes: list[Any] = []
    cell = Cell(station.bus, station.camera, "top", station.deadline_ms, outcomes.append)
    line = threading.Thread(target=cell.run, args=(station.parts("L1", range(1_000, 100_000)), RATE))
    line.start()
    try:
        station.wait_until(lambda: len(outcomes) > 20, 60, "parts to come")
        damage(station)
        station.wait_until(lambda: "station restore" in station.states().get("recorder", ""), 60, "the recorder to say it")
        accepted = sum(each.output is Output.ACCEPT for each in outcomes)
        seen = set()
        until = time.monotonic() + 10
        while time.monotonic() < until:
            seen.add(station.pid("recorder"))
            time.sleep(0.2)
        assert len(seen - {None}) <= 2
        assert sum(each.output is Output.ACCEPT for each in outcomes) == accepted
    finally:
        cell.running = False
        line.join()
    return True


def say(what: str, outcomes: list[Any]) -> None:
    """Shown by ``-rP``."""
    times = sorted(each.durable_ms for each in outcomes if each.durable_ms is not None)
    accepted = sum(each.output is Output.ACCEPT for each in outcomes)
    sys.stdout.write(
        f"{what}: {len(outcomes)} parts, {accepted} accepted, durable after {statistics.median(times):.0f} ms, "
        f"99 % within {times[int(len(times) * 0.99)]:.0f} ms\n"
    )


# --- power cuts ---


@contextmanager
def stopped(station: RunningStation) -> Iterator[None]:
    """All processes stand still, wherever they are just then, as a power cut would end them."""
    names = ("recorder", "line", "inspector", "camera@top", "web")
    pids = [pid for name in names if (pid := station.pid(name)) is not None]
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def cut_power(station: RunningStation, copies: Path, end: threading.Event) -> list[tuple[Path, set[str]]]:
    """Copies of the data directory at random instants, each with the serials that had been accepted by then."""
    chance = random.Random(7)
    cuts = []
    while len(cuts) < CUTS and not end.wait(chance.uniform(0.2, 0.9)):
        accepted = {each.serial for each in station.outcomes if each.output is Output.ACCEPT}
        copy = copies / f"cut-{len(cuts)}"
        with stopped(station):
            shutil.copytree(station.config.data_dir, copy, ignore=shutil.ignore_patterns("logs"))
        # In memory, which a power cut empties.
        (copy / "station.db-shm").rename(copy / "shared")
        cuts.append((copy, accepted))
    return cuts


def opened(directory: Path) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Inspections and triggers of a copy, in order; it must be whole, and every inspection have its trigger."""
    with closing(sqlite3.connect(directory / "station.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        rows = connection.execute("SELECT seq, trigger_id, serial, verdict FROM inspections ORDER BY seq").fetchall()
        triggers = connection.execute("SELECT trigger_id, serial FROM triggers ORDER BY trigger_id").fetchall()
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    assert [row[0] for row in triggers] == list(range(1, len(triggers) + 1))
    return rows, triggers


def unsafe_bytes(copy: Path) -> tuple[int, int]:
    """From where to where the log may be torn: what a checkpoint has brought to the database was synced in the log before.

    The index of the log says: https://sqlite.org/walformat.html#the_wal_index_file_format
    """
    index = (copy / "shared").read_bytes()
    page_bytes, frames = struct.unpack_from("=H", index, 14)[0], struct.unpack_from("=I", index, 16)[0]
    backfilled = max(struct.unpack_from("=I", index, 96)[0], struct.unpack_from("=I", index, 128)[0])
    return tuple(32 + count * (24 + page_bytes) for count in (backfilled, frames))


def torn(copy: Path, target: Path, chance: random.Random) -> None:
    """The same, but the end of the log never came to the disk: it is cut off, or sectors of its end hold something else."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    shutil.copy(copy / "station.db", target)
    log = copy / "station.db-wal"
    content = bytearray(log.read_bytes())
    place = chance.randint(*unsafe_bytes(copy))
    if chance.random() < 0.5:
        content = content[:place]
    else:
        for sector in range(place // SECTOR + 1, len(content) // SECTOR):
            if chance.random() < 0.5:
                content[sector * SECTOR : (sector + 1) * SECTOR] = os.urandom(SECTOR)
    (target / log.name).write_bytes(content)


@pytest.mark.timeout(900)
def test_a_power_cut_loses_nothing_that_was_accepted(station: RunningStation, tmp_path: Path) -> None:
    copies = tmp_path / "cuts"
    copies.mkdir()
    cuts: list[tuple[Path, set[str]]] = []
    end = threading.Event()
    with station:
        station.open_lot("L1")
        cutter = threading.Thread(target=lambda: cuts.extend(cut_power(station, copies, end)))
        cutter.start()
        number = 0
        while cutter.is_alive():
            station.convey(station.parts("L1", range(number, number + 40)), 40)
            number += 40
        end.set()
        cutter.join()
        station.check_invariants("L1")
    assert len(cuts) == CUTS
    chance = random.Random(8)
    lost = 0
    for copy, accepted in cuts:
        for _ in range(10):
            # Torn before it is opened, which empties the log.
            target = tmp_path / "torn"
            torn(copy, target, chance)
            kept = opened(target)
            whole = tmp_path / "whole"
            shutil.rmtree(whole, ignore_errors=True)
            shutil.copytree(copy, whole)
            rows, triggers = opened(whole)
            assert kept[0] == rows[: len(kept[0])], "a prefix of what was committed"
            assert kept[1] == triggers[: len(kept[1])]
            lost += len(rows) - len(kept[0])
        passed = {row[2] for row in rows if row[3] == "pass"}
        assert accepted <= passed, f"accepted, but not durable: {sorted(accepted - passed)}"
    assert lost > 0, "the log was torn where it mattered"
    # It goes on from where the power was cut last, and closes what was open.
    copy, accepted = cuts[-1]
    shutil.rmtree(station.config.data_dir)
    shutil.copytree(copy, station.config.data_dir)
    for file in list(station.config.image_dir.rglob("*.png"))[:1]:
        file.unlink()
    station.set_up()
    with station:
        station.wait_until(lambda: station.summary("L1").open_triggers == 0, 30, "open triggers to be closed")
        assert station.summary("L1").balanced
        assert accepted <= {row["serial"] for row in station.rows("L1") if row["verdict"] == "pass"}
        assert any("not in the image store" in each for each in recorded_faults(station, "image_lost"))
        station.open_lot("L2")
        station.convey(station.parts("L2", range(50_000, 50_050)), RATE)
        station.check_invariants("L2")
        station.check_images("L2")
    sys.stdout.write(f"{len(cuts)} cuts of {number} parts, {len(cuts) * 10} torn logs, {lost} rows after the tear\n")
