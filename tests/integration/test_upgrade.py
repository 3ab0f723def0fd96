"""An upgrade keeps every row of the version before, and on SQLite the database as it was."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config as AlembicConfig
from sqlalchemy import Column, Engine, MetaData, insert, select

from inspection.config import CameraConfig, Config, ProductConfig, StationConfig
from inspection.records import preparing
from inspection.records.database import MIGRATIONS, known_revisions, open_engine, schema_revision
from inspection.records.preparing import BEFORE_UPGRADE, prepare

ROWS = 3
Rows = dict[str, list[tuple[Any, ...]]]


@pytest.fixture
def config(tmp_path: Path, database_url: str) -> Config:
    (tmp_path / "data").mkdir()
    url = None if database_url.startswith("sqlite") else database_url
    return Config(
        station=StationConfig(data_dir=tmp_path / "data", database_url=url),
        cameras=(CameraConfig(name="top", serial="SIM1"),),
        products=(ProductConfig(part_number="plate", camera="top"),),
    )


def example(column: Column[Any], number: int) -> Any:
    """What stands in this column of the row of this number; what refers to another row, refers to that of the same number."""
    for key in column.foreign_keys:
        return example(key.column, number)
    if column.nullable and number == 1:
        return None
    kind = column.type.python_type
    if kind is str:
        return f"{column.name} ü{number}"[-(getattr(column.type, "length", None) or 40) :]
    # Local time jumps here in Europe: what is kept is UTC.
    at = datetime(2026, 3, 29, 0, 59, 59, 123456, tzinfo=UTC) + timedelta(minutes=number)
    return {int: number + 1, float: 0.1 + number, bool: True, bytes: b"\0\xff", datetime: at}.get(kind, {"a": [number, 1.5, "ü"]})


def filled(engine: Engine, revision: str) -> MetaData:
    """The tables of that schema, made and filled."""
    alembic = AlembicConfig()
    alembic.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        alembic.attributes["connection"] = connection
        command.upgrade(alembic, revision)
    found = MetaData()
    with engine.begin() as connection:
        found.reflect(connection)
        found.remove(found.tables["alembic_version"])
        for table in found.sorted_tables:
            rows = [{column.name: example(column, number) for column in table.columns} for number in range(ROWS)]
            connection.execute(insert(table), rows)
    return found


def rows(engine: Engine, found: MetaData) -> Rows:
    with engine.connect() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]
            for table in found.sorted_tables
        }


def test_every_row_of_the_schema_before_is_kept_and_the_database_as_it_was(config: Config) -> None:
    newest, former, *_ = known_revisions()
    engine = open_engine(config.database_url)
    found = filled(engine, former)
    before = rows(engine, found)
    assert {len(each) for each in before.values()} == {ROWS}
    prepare(config, engine)
    assert rows(engine, found) == before
    with engine.connect() as connection:
        assert schema_revision(connection) == newest
    engine.dispose()
    copy = config.data_dir / BEFORE_UPGRADE / f"schema-{former}.db"
    assert copy.exists() == config.database_url.startswith("sqlite")
    if copy.exists():
        kept = open_engine(f"sqlite:///{copy}", read_only=True)
        with closing(kept.raw_connection()):
            assert rows(kept, found) == before
        with kept.connect() as connection:
            assert schema_revision(connection) == former
        kept.dispose()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_where_there_is_no_room_for_a_copy_it_says_so_and_upgrades(
    config: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    newest, former, *_ = known_revisions()
    engine = open_engine(config.database_url)
    filled(engine, former)
    monkeypatch.setattr(preparing.shutil, "disk_usage", lambda _path: preparing.shutil._ntuple_diskusage(1, 1, 0))
    prepare(config, engine)
    with engine.connect() as connection:
        assert schema_revision(connection) == newest
    engine.dispose()
    assert "no copy is made before" in caplog.text
    assert not (config.data_dir / BEFORE_UPGRADE).exists()
