"""Engines and migrations give the same guarantees on SQLite and PostgreSQL."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from inspection.config import CameraConfig, ProductConfig, StationConfig
from inspection.config import Config as StationsConfig
from inspection.domain import Verdict
from inspection.errors import ConfigError, Conflict
from inspection.records.database import MIGRATIONS, migrate, open_engine, open_records, read_records
from inspection.records.deployments import list_deployments, model_in_service, next_rollback
from inspection.records.labels import add_label, label_history
from inspection.records.queries import get_inspection
from inspection.records.retention import read_totals, referred_to
from inspection.records.tables import lots, metadata, models


def test_migrations_make_the_tables_of_the_metadata(engine: Engine) -> None:
    with engine.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_the_comparison_sees_a_missing_index_and_a_missing_column(engine: Engine) -> None:
    with engine.connect() as connection, connection.begin() as changes:
        connection.execute(text("DROP INDEX ix_parts_serial"))
        connection.execute(text("ALTER TABLE lots DROP COLUMN expected_quantity"))
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
        changes.rollback()
    assert {difference[0] for difference in differences} == {"add_index", "add_column"}


def test_migrating_again_changes_nothing(engine: Engine, seeder) -> None:
    seeder.lot("L1")
    seeder.connection.commit()
    migrate(engine)
    with engine.connect() as connection:
        assert connection.execute(select(lots.c.lot)).scalars().all() == ["L1"]


def test_records_of_the_first_version_are_kept_and_can_be_learned_from(database_url: str, seeder_class, image_dir: Path) -> None:
    engine = open_engine(database_url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        seeder = seeder_class(connection, image_dir)
        seeder.lot("L1")
        seq = seeder.inspection("L1", "S1")
        model = {"model": "ab" * 32, "product": "plate", "path": "one", "algorithm": "a", "metrics": {}}
        connection.execute(insert(models).values(**model, created_at=datetime.now(UTC)))
        # Without the column that came later.
        connection.execute(
            text(
                "INSERT INTO deployments (station, product, model, deployed_at, deployed_by, reason) "
                "VALUES (:s, :p, :m, :t, :b, :r)"
            ),
            {"s": "st-1", "p": "plate", "m": "ab" * 32, "t": "2025-01-02 03:04:05+00:00", "b": "ada", "r": "the first"},
        )
    migrate(engine)
    with engine.begin() as connection:
        deployed = model_in_service(connection, "st-1", "plate")
        assert (deployed.model, deployed.reason, deployed.override) == ("ab" * 32, "the first", None)
        assert get_inspection(connection, seq).serial == "S1"
        assert add_label(connection, seq, "dent", "ada").label == "dent"
    engine.dispose()


def test_rollbacks_of_the_second_version_are_none_to_go_back_from(database_url: str) -> None:
    engine = open_engine(database_url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        for digest in ("aa" * 32, "bb" * 32):
            model = {"model": digest, "product": "plate", "path": "one", "algorithm": "a", "metrics": {}}
            connection.execute(insert(models).values(**model, created_at=datetime.now(UTC)))
        for day, (digest, reason) in enumerate([("aa", "the first"), ("bb", "better"), ("aa", "rolled back: escapes")], 1):
            connection.execute(
                text(
                    "INSERT INTO deployments (station, product, model, deployed_at, ended_at, deployed_by, reason) "
                    "VALUES ('st-1', 'plate', :model, :at, :until, 'ada', :reason)"
                ),
                {
                    "model": digest * 32,
                    "at": f"2025-01-0{day} 00:00:00+00:00",
                    "until": f"2025-01-0{day + 1} 00:00:00+00:00" if day < 3 else None,
                    "reason": reason,
                },
            )
    migrate(engine)
    with engine.begin() as connection:
        assert [each.taken_out for each in list_deployments(connection, "st-1")] == ["bb" * 32, None, None]
        with pytest.raises(Conflict, match="no other model was in service"):
            next_rollback(connection, "st-1", "plate")
    engine.dispose()


def test_inspections_of_the_third_version_are_kept_without_a_proposed_class(
    database_url: str, seeder_class, image_dir: Path
) -> None:
    engine = open_engine(database_url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        seeder = seeder_class(connection, image_dir)
        seeder.lot("L1")
        former = seeder.inspection("L1", "S1", Verdict.FAIL)
        add_label(connection, former, "dent", "ada")
    migrate(engine)
    with engine.begin() as connection:
        seeder.connection = connection
        later = seeder.inspection("L1", "S2", Verdict.FAIL, proposed_class="dent")
        assert get_inspection(connection, former).proposed_class is None
        assert (get_inspection(connection, former).serial, get_inspection(connection, former).score) == ("S1", 3.1)
        assert label_history(connection, former)[0].label == "dent"
        assert get_inspection(connection, later).proposed_class == "dent"
    engine.dispose()


def test_a_failed_transaction_leaves_nothing(engine: Engine) -> None:
    def open_twice() -> None:
        values = {"lot": "L1", "product": "plate", "state": "open", "opened_at": datetime.now(UTC)}
        with engine.begin() as connection:
            connection.execute(insert(lots).values(values))
            connection.execute(insert(lots).values(values))

    with pytest.raises(IntegrityError):
        open_twice()
    with engine.connect() as connection:
        assert connection.execute(select(lots.c.lot)).all() == []


def test_foreign_keys_are_checked(engine: Engine, seeder) -> None:
    with pytest.raises(IntegrityError):
        seeder.connection.execute(
            text("INSERT INTO images VALUES (99, 'frame', 'ab', 'image/png', 1, 1, 'Mono8', 1, NULL, NULL)")
        )


def test_a_reader_cannot_write(reader: Engine) -> None:
    with pytest.raises(DBAPIError, match=r"read-?only"), reader.begin() as connection:
        connection.execute(text("DELETE FROM lots"))


def test_a_reader_sees_one_snapshot_while_the_writer_goes_on(reader: Engine, engine: Engine, seeder) -> None:
    count = text("SELECT count(*) FROM lots")
    with reader.connect() as reading:
        assert reading.execute(count).scalar_one() == 0
        seeder.lot("L1")
        seeder.connection.commit()
        assert reading.execute(count).scalar_one() == 0
    with reader.connect() as reading:
        assert reading.execute(count).scalar_one() == 1


def test_sqlite_survives_a_power_cut_and_lets_readers_in(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'records.db'}")
    with engine.connect() as connection:
        pragmas = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    engine.dispose()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}


def test_a_reader_makes_no_database(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    engine = open_engine(f"sqlite:///{path}", read_only=True)
    with pytest.raises(OperationalError), engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    engine.dispose()
    assert not path.exists()


def test_who_reads_the_records_of_a_station_waits_for_no_writer(tmp_path: Path) -> None:
    config = StationsConfig(
        station=StationConfig(data_dir=tmp_path / "data"),
        cameras=(CameraConfig(name="top", serial="SIM1"),),
        products=(ProductConfig(part_number="plate", camera="top"),),
    )
    count = text("SELECT count(*) FROM lots")
    with read_records(config) as reader, reader.connect() as reading:
        assert reading.execute(count).scalar_one() == 0, "made for the first one who asks"
    with open_records(config) as writer, writer.begin(), read_records(config) as reader, reader.connect() as reading:
        assert reading.execute(count).scalar_one() == 0


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://root@localhost/station", "records.db"])
def test_other_databases_are_refused_with_the_way_out(url: str) -> None:
    with pytest.raises(ConfigError, match="sqlite:///file"):
        open_engine(url)


def test_images_and_training_sets_of_the_sixth_version_are_counted_and_kept(
    database_url: str, seeder_class, image_dir: Path
) -> None:
    engine = open_engine(database_url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    document = json.dumps({"product": "plate", "members": [{"sha256": "ab" * 32}, {"sha256": "cd" * 32}]})
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0006")
        seeder = seeder_class(connection, image_dir)
        image = (
            "INSERT INTO images (seq, kind, sha256, media_type, width, height, pixel_format, nbytes) "
            "VALUES (:seq, :kind, :sha256, 'image/png', 1, 1, 'Mono8', :nbytes)"
        )
        for number, verdict in enumerate((Verdict.PASS, Verdict.PASS, Verdict.FAIL)):
            seq = seeder.inspection("L1", f"S{number}", verdict)
            for kind, nbytes in (("frame", 100 + number), ("map", 7)):
                connection.execute(text(image), {"seq": seq, "kind": kind, "sha256": f"{kind}{number}", "nbytes": nbytes})
        connection.execute(
            text(
                "INSERT INTO training_sets (training_set, product, document, sizes, warnings, created_by, created_at) "
                "VALUES ('s', 'plate', :document, '{}', '[]', 'ada', '2025-01-02 03:04:05+00:00')"
            ),
            {"document": document},
        )
    migrate(engine)
    with engine.connect() as connection:
        totals = {(each.kind, each.verdict): (each.images, each.nbytes) for each in read_totals(connection)}
        assert totals == {
            ("frame", "pass"): (2, 201),
            ("frame", "fail"): (1, 102),
            ("map", "pass"): (2, 14),
            ("map", "fail"): (1, 7),
        }
        assert referred_to(connection, ["ab" * 32, "cd" * 32, "ef" * 32, "frame0"]) == {"ab" * 32, "cd" * 32, "frame0"}
    engine.dispose()
