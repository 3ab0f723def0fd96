"""A database that is deleted, replaced or damaged is told, nothing is announced any more, and no new one is made in its place."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from peers import in_thread
from recorder_peers import HEIGHT, WIDTH, RecorderPeers, recorder_peers
from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import DBAPIError

from cameras.bus import Bus
from cameras.fault_kinds import FaultKind
from cameras.messages import Heartbeat
from inspection.commands import HoldLot, OpenLot, Refused
from inspection.config import CameraConfig, Config, ProductConfig, StationConfig
from inspection.domain import Verdict
from inspection.errors import NewerRecords, RecordsLost
from inspection.ledger import Ledger
from inspection.messages import Recorded, RecorderMessage
from inspection.records.damage import damage, quick_check
from inspection.records.database import open_engine, open_records, read_records
from inspection.records.noted import HEAD, Noted, note, read_noted
from inspection.records.numbers import passed_over
from inspection.records.preparing import note_damage, prepare
from inspection.records.tables import faults, inspections, lots
from inspection.rings import Rings
from inspection.unrecorded import Unrecorded

PIXELS = np.zeros((HEIGHT, WIDTH), np.uint8)


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[RecorderPeers]:
    with recorder_peers(tmp_path) as peers:
        yield peers


def overwrite(file: Path, start: int) -> None:
    with file.open("r+b") as content:
        content.seek(start)
        content.write(os.urandom(file.stat().st_size - start))


def replace(file: Path) -> None:
    shutil.copy(file, file.with_suffix(".copy"))
    file.with_suffix(".copy").replace(file)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "deleted": Path.unlink,
    "replaced": replace,
    "log deleted": lambda file: file.with_name(f"{file.name}-wal").unlink(),
    "shared memory deleted": lambda file: file.with_name(f"{file.name}-shm").unlink(),
    "overwritten": lambda file: overwrite(file, 0),
    "overwritten in the middle": lambda file: overwrite(file, 4096),
    "cut off": lambda file: os.truncate(file, 8192),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_after_any_damage_nothing_is_announced_and_the_recorder_says_what_to_do(
    tmp_path: Path, peers: RecorderPeers, what: str
) -> None:
    file = tmp_path / "station.db"
    with peers.recorder():
        before = peers.ticket()
        peers.judge(before, PIXELS)
        peers.recorded(before, Verdict.PASS)
        peers.reader.dispose()
        with sqlite3.connect(file) as other:
            # What lies in the log only is not damaged by what happens to the file.
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.close()
        DAMAGE[what](file)
        ticket = peers.ticket()
        peers.judge(ticket, PIXELS)
        [lost] = peers.until(lambda: peers.lost)
    assert "restore the newest backup: station restore BACKUPS CONFIG" in str(lost)
    assert peers.line.came(Recorded) == []


def test_a_database_that_is_locked_for_long_is_waited_for(peers: RecorderPeers) -> None:
    with peers.recorder():
        with sqlite3.connect(peers.data_dir / "station.db", isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            ticket = peers.ticket()
            peers.judge(ticket, PIXELS)
            peers.until(lambda: peers.reported("cannot write: database is locked"), 15)
            assert peers.line.came(Recorded) == []
            other.execute("ROLLBACK")
        other.close()
        peers.recorded(ticket, Verdict.PASS)
        peers.until(lambda: peers.reported("recording"))


def test_a_command_on_a_database_that_is_gone_is_not_said_to_be_done(peers: RecorderPeers) -> None:
    with peers.recorder():
        peers.until(lambda: peers.reported("recording"))
        (peers.data_dir / "station.db").unlink()
        reply = peers.command(OpenLot(lot="L2", product="plate"))
        assert isinstance(reply, Refused)
        assert reply.code == "unavailable"
        peers.until(lambda: peers.lost)
    assert not (peers.data_dir / "station.db").exists(), "none is made in its place"


def test_what_stands_in_for_the_recorder_tells_why_and_frees_frames(peers: RecorderPeers) -> None:
    bus = Bus(peers.run_dir, "recorder", RecorderMessage)
    address = f"ipc://{peers.run_dir}/commands"
    stand_in = Unrecorded(bus, Rings(peers.run_dir), address, peers.status_path, RecordsLost("it is gone; restore a backup"))
    with in_thread(stand_in, bus):
        peers.judge(peers.ticket(), PIXELS)
        peers.line.send("recorder", Heartbeat(process="line", at=0, state="top: armed", counters={}))
        peers.until(lambda: peers.reported("it is gone; restore a backup"))
        peers.until(lambda: "line" in peers.status())
        peers.until(peers.all_slots_free)
        reply = peers.command(HoldLot(lot="L", by="ada", reason="why"))
        assert reply == Refused(code="unavailable", detail="it is gone; restore a backup")
        assert peers.line.came(Recorded) == []


# --- before a start ---


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(
        station=StationConfig(data_dir=tmp_path / "data"),
        cameras=(CameraConfig(name="top", serial="SIM1"),),
        products=(ProductConfig(part_number="plate", camera="top"),),
    )


@pytest.fixture
def recorded(config: Config, seeder_class) -> Path:
    """The database file of a station that has recorded some parts, and is not running."""
    with open_records(config) as engine, engine.begin() as connection:
        seeder = seeder_class(connection, config.image_dir)
        seeder.lot("L1")
        for number in range(200):
            seeder.inspection("L1", f"S{number}")
    note(config.data_dir, Noted(200, 200))
    return config.data_dir / "station.db"


def starts(config: Config) -> None:
    """What `station run` does first."""
    engine = open_engine(config.database_url)
    try:
        prepare(config, engine, 10)
    finally:
        engine.dispose()


@pytest.mark.parametrize("what", ["deleted", "overwritten", "overwritten in the middle", "cut off", "emptied", "other database"])
def test_a_damaged_database_keeps_the_station_from_starting(config: Config, recorded: Path, what: str) -> None:
    if what == "emptied":
        os.truncate(recorded, 0)
    elif what == "other database":
        recorded.unlink()
        other = sqlite3.connect(recorded)
        other.execute("CREATE TABLE notes (a)")
        other.close()
    else:
        DAMAGE[what](recorded)
    with pytest.raises(RecordsLost, match="station restore BACKUPS CONFIG"):
        starts(config)
    assert what != "deleted" or not recorded.exists()


def test_who_deletes_the_note_as_well_begins_anew(config: Config, recorded: Path) -> None:
    recorded.unlink()
    with pytest.raises(RecordsLost, match=r"to begin anew.* delete .*records\.head"):
        starts(config)
    (config.data_dir / HEAD).unlink()
    starts(config)
    assert read_noted(config.data_dir) == Noted()


def test_an_older_database_is_gone_on_with_and_no_number_comes_twice(config: Config, recorded: Path) -> None:
    note(config.data_dir, Noted(5_000, 5_001, decided=4_990))
    starts(config)
    # What is open in the older one is to be looked for among all.
    assert read_noted(config.data_dir) == Noted(5_000, 5_001)
    starts(config)
    with open_records(config) as engine, engine.begin() as connection:
        [lost] = connection.execute(select(faults).where(faults.c.kind == FaultKind.RECORDS_LOST)).all()
        assert "4801 triggers are not in it" in lost.detail
        ledger = Ledger(connection)
        assert ledger.seq == ledger.last_trigger_id == passed_over(connection) > 1_005_001


def test_after_damage_was_seen_the_whole_database_is_looked_at(config: Config, recorded: Path) -> None:
    overwrite(recorded, 100 * 4096 if recorded.stat().st_size > 110 * 4096 else 20 * 4096)
    note_damage(config.data_dir, "page 20 is malformed")
    with pytest.raises(RecordsLost, match="is damaged"), open_records(config):
        pass


def test_a_database_that_was_mended_is_taken_again(config: Config, recorded: Path) -> None:
    note_damage(config.data_dir, "something")
    with open_records(config):
        pass
    assert read_noted(config.data_dir) == Noted(200, 200)


def test_a_note_that_cannot_be_read_says_that_there_were_records(config: Config, recorded: Path) -> None:
    (config.data_dir / HEAD).write_bytes(b"\0\0\0")
    starts(config)
    recorded.unlink()
    with pytest.raises(RecordsLost, match="is missing"):
        starts(config)


def test_a_newer_schema_is_refused_with_the_way_out(config: Config, recorded: Path) -> None:
    connection = sqlite3.connect(recorded)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    with pytest.raises(NewerRecords, match=r"has schema 9999, this version knows up to 00.*start that version"):
        starts(config)
    with pytest.raises(NewerRecords), read_records(config):
        pass


def test_a_check_ends_when_its_time_is_over(config: Config, recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspection.records.damage._STEPS", 1)
    overwrite(recorded, 20 * 4096)
    assert quick_check(recorded, 0.0) is None
    assert quick_check(recorded) is not None


def test_an_engine_makes_no_second_file(tmp_path: Path) -> None:
    file = tmp_path / "records.db"
    engine = open_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (a)"))
    file.unlink()
    with pytest.raises(DBAPIError, match="unable to open"), engine.begin() as connection:
        connection.execute(text("INSERT INTO t VALUES (1)"))
    engine.dispose()
    assert not file.exists()


def test_a_reader_does_not_go_on_with_a_file_that_is_not_there_any_more(config: Config, recorded: Path) -> None:
    count = select(func.count()).select_from(inspections)
    with open_records(config) as engine:
        reader = open_engine(config.database_url, read_only=True)
        with reader.connect() as connection:
            assert connection.execute(count).scalar_one() == 200
        shutil.copy(recorded, recorded.with_suffix(".new"))
        recorded.with_suffix(".new").replace(recorded)
        with engine.begin() as connection:
            connection.execute(insert(lots).values(lot="L2", product="plate", state="open", opened_at=func.now()))
        with reader.connect() as connection:
            assert connection.execute(select(func.count()).select_from(lots)).scalar_one() == 2
        reader.dispose()


def test_a_table_that_is_missing_is_damage_on_either_database(engine) -> None:
    for statement, damaged in (
        ("SELECT * FROM nowhere", True),
        ("SELECT 1 FROM lots WHERE lot = 'L' AND 1 = 2 UNION SELECT", False),
    ):
        with pytest.raises(DBAPIError) as raised, engine.connect() as connection:
            connection.execute(text(statement))
        assert (damage(raised.value) is not None) == damaged
