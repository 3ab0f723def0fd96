"""The write-ahead log stays small: when a reader that stayed long has gone, and where readers follow each other without a gap."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

import inspection.records.database
from inspection.records.database import Wal, open_engine, wal_of

LIMIT = 1_000_000


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(inspection.records.database, "WAL_BYTES", LIMIT)
    monkeypatch.setattr(inspection.records.database, "_WAL_EVERY_S", 0.0)
    # In a folder whose name is not what stands in an address.
    (tmp_path / "a b%").mkdir()
    return f"sqlite:///{tmp_path / 'a b%' / 'records.db'}"


@pytest.fixture
def writer(url: str) -> Iterator[Engine]:
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE filled (data BLOB)"))
    yield engine
    engine.dispose()


def write(engine: Engine, nbytes: int = 100_000) -> None:
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO filled VALUES (zeroblob(:n))"), {"n": nbytes})


def read(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM filled")).scalar_one())


def test_the_log_that_a_long_reader_let_grow_is_cut_back_when_it_has_gone(url: str, writer: Engine) -> None:
    wal = Wal(writer)
    reader = open_engine(url, read_only=True)
    with reader.connect() as connection:
        before = connection.execute(text("SELECT count(*) FROM filled")).scalar_one()
        for _ in range(50):
            write(writer)
        wal.cut_back()
        assert wal.nbytes > 3 * LIMIT, "the reader's snapshot is still in it"
        assert connection.execute(text("SELECT count(*) FROM filled")).scalar_one() == before
    wal.cut_back()
    assert wal.nbytes <= LIMIT
    assert read(reader) == 50
    reader.dispose()


def test_readers_that_follow_each_other_without_a_gap_do_not_let_the_log_grow(url: str, writer: Engine) -> None:
    wal = Wal(writer)
    reader = open_engine(url, read_only=True)
    done = threading.Event()
    turns = [threading.Event(), threading.Event()]

    def read_in_turns(number: int) -> None:
        # Each begins before the other ends, so that there is always one.
        while not done.is_set():
            if not turns[number].wait(0.1):
                continue
            turns[number].clear()
            with reader.connect() as connection:
                connection.execute(text("SELECT count(*) FROM filled")).scalar_one()
                turns[1 - number].set()
                done.wait(0.005)

    threads = [threading.Thread(target=read_in_turns, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    turns[0].set()
    largest = 0
    for _ in range(200):
        write(writer)
        wal.cut_back()
        largest = max(largest, wal.nbytes)
    done.set()
    for thread in threads:
        thread.join()
    reader.dispose()
    assert largest < 10 * LIMIT, "20 MB were written"


def test_a_plant_database_looks_after_its_own_log() -> None:
    engine = open_engine("postgresql://nobody@127.0.0.1:1/nothing")
    assert wal_of(engine) is None
    engine.dispose()
