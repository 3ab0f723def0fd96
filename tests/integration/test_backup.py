"""Backups: one snapshot while somebody writes, verified to the last byte, restored so that no number comes twice."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from small_models import small_model
from sqlalchemy import func, insert, select, text
from typer.testing import CliRunner

from cameras.fault_kinds import FaultKind
from inspection import config as configuration
from inspection.artifact import model_at, read_artifact
from inspection.backup import making, postgresql
from inspection.backup.making import make_backup
from inspection.backup.manifest import MANIFEST, SQLITE, BackupError, chosen, entry_of, folder_of, names, read_manifest
from inspection.backup.restoring import restore_backup
from inspection.backup.verifying import Sound, verify_backup
from inspection.cli import app
from inspection.commands import HoldLot, OpenLot, execute
from inspection.config import Config, prepare_directories
from inspection.domain import ImageKind, Role, Verdict
from inspection.errors import ConfigError
from inspection.images import ImageStore
from inspection.ledger import Ledger
from inspection.mes.events import Pending, newest
from inspection.mes.outbox import Positions, positions_path
from inspection.mes.receiver import Stream
from inspection.processes import only_one
from inspection.records.audit import HEAD, Trace, append, note_head, verify
from inspection.records.database import open_engine, open_records
from inspection.records.deployments import register_model
from inspection.records.labels import add_label
from inspection.records.numbers import passed_over
from inspection.records.queries import changes_after, get_inspection, latest_faults
from inspection.records.tables import inspections, lot_events, sessions
from inspection.records.users import create_user, list_users

CONFIGURATION = """
[station]
name = "st-1"
data_dir = "data"
{database}

[[cameras]]
name = "cam-1"
serial = "SIM0001"

[[products]]
part_number = "plate"
camera = "cam-1"

[[receivers]]
kind = "http"
name = "mes"
url = "http://127.0.0.1:9/events"
secret_file = "mes.secret"
"""


def quiet(_what: str, _done: int, _total: int) -> None:
    """Nobody looks on."""


@pytest.fixture
def config_path(tmp_path: Path, database_url: str) -> Path:
    # SQLite lies in the data directory, as on a station.
    database = f'database_url = "{database_url}"' if database_url.startswith("postgresql") else ""
    path = tmp_path / "station.toml"
    path.write_text(CONFIGURATION.format(database=database))
    return path


@pytest.fixture
def config(config_path: Path, migrated_sqlite: Path) -> Iterator[Config]:
    config = configuration.load(config_path)
    prepare_directories(config)
    if config.database_url.startswith("sqlite"):
        shutil.copy(migrated_sqlite, config.data_dir / SQLITE)
    yield config
    shutil.rmtree(config.run_dir, ignore_errors=True)


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "elsewhere"


def record(config: Config, seeder_class, serials: range) -> None:
    """A lot with parts, images, labels, a user and the audit trail, as far as they are not there yet."""
    with open_records(config) as engine, engine.begin() as connection:
        seeder = seeder_class(connection, config.image_dir)
        seeder.triggers = seeder.seqs = connection.execute(select(func.coalesce(func.max(inspections.c.seq), 0))).scalar_one()
        if seeder.seqs == 0:
            execute(connection, OpenLot(lot="L1", product="plate", by="mes"))
            create_user(connection, "ada", Role.ADMIN, "hash", "ada")
        for number in serials:
            seq = seeder.inspection("L1", f"S{number}", Verdict.FAIL)
            seeder.image(seq, ImageKind.FRAME, np.full((4, 4), number % 256, np.uint8), "Mono8")
            add_label(connection, seq, "dent", "ada")
        entry = append(connection, Trace("ada", "qa", "test", "label"), "done")
    note_head(config.data_dir / HEAD, entry)


def counted(config: Config, table) -> int:
    engine = open_engine(config.database_url, read_only=True)
    with engine.connect() as connection:
        count = connection.execute(select(func.count()).select_from(table)).scalar_one()
    engine.dispose()
    return count


def alter(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Somebody changes what a backup says of itself."""
    manifest = json.loads((folder / MANIFEST).read_bytes())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def content_of(data_dir: Path) -> dict[Path, int]:
    """When everything was written last but the database that is put in its place at the end."""
    return {file: file.stat().st_mtime_ns for file in data_dir.rglob("*") if "restoring" not in file.name}


def lose(config: Config) -> None:
    """The disk of the station is gone; so is the database, wherever it was."""
    if config.database_url.startswith("postgresql"):
        engine = open_engine(config.database_url)
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        engine.dispose()
    shutil.rmtree(config.data_dir)


@pytest.fixture(autouse=True)
def _programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL's own, of the server that the tests use."""
    spec = importlib.util.find_spec("pgserver")
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent / "pginstall" / "bin"
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_what_was_backed_up_is_there_after_everything_was_lost(
    config: Config, config_path: Path, destination: Path, seeder_class
) -> None:
    record(config, seeder_class, range(1, 6))
    now = datetime.now(UTC)
    with open_records(config) as engine, engine.begin() as connection:
        times = {"started_at": now, "used_at": now, "authenticated_at": now}
        connection.execute(insert(sessions).values(digest="ab" * 32, user="ada", client="", **times))
    Positions(positions_path(config.outbox_dir, "mes")).move({Stream.INSPECTIONS: 4})
    name, manifest = make_backup(config, config_path, destination, quiet)
    assert (manifest.rows["inspections"], manifest.images, manifest.lost) == (5, 5, 0)
    assert manifest.left_out == (str(config_path.parent / "mes.secret"),)
    lose(config)
    restored = restore_backup(verify_backup(destination, name, quiet), destination, config, "ada", False, quiet)
    assert (restored.images, restored.replaced) == (5, None)
    with open_records(config) as engine, engine.connect() as connection:
        inspection = get_inspection(connection, 3)
        assert (inspection.serial, inspection.images[0].kind) == ("S3", ImageKind.FRAME)
        assert ImageStore(config.image_dir).read(inspection.images[0].sha256)
        assert [user.user for user in list_users(connection)] == ["ada"]
        found = verify(connection, config.data_dir / HEAD)
        assert (found.problem, found.entries) == (None, 2), "with an entry about the restoration"
        [lost] = [fault for fault in latest_faults(connection, 10) if fault.kind == FaultKind.RECORDS_LOST]
        assert "restored from the backup of" in lost.detail
    assert counted(config, sessions) == 0, "who was logged in then might have been logged out since"
    assert Positions(positions_path(config.outbox_dir, "mes")).numbers[Stream.INSPECTIONS] == 4


def test_no_number_that_was_given_out_after_the_backup_is_given_out_again(
    config: Config, config_path: Path, destination: Path, seeder_class
) -> None:
    record(config, seeder_class, range(1, 4))
    name, _ = make_backup(config, config_path, destination, quiet)
    record(config, seeder_class, range(4, 9))
    # Receivers had all of it. Their positions are lost with the disk, too.
    with open_records(config) as engine, engine.connect() as connection:
        told = newest(connection)
    lose(config)
    restore_backup(verify_backup(destination, name, quiet), destination, config, "ada", False, quiet)
    with open_records(config) as engine:
        with engine.begin() as connection:
            ledger = Ledger(connection)
            execute(connection, HoldLot(lot="L1", by="ada", reason="restored"))
            label = add_label(connection, 3, "scratch", "ada")
            held = connection.execute(select(func.max(lot_events.c.lot_event_id))).scalar_one()
            assert ledger.seq == ledger.last_trigger_id == passed_over(connection)
        assert ledger.seq > told[Stream.INSPECTIONS]
        with engine.connect() as connection:
            # A receiver that had everything gets what is new, and nothing else.
            events = Pending("st-1").after(connection, told, 10)
            assert [(event.stream, event.number) for event in events] == [
                (Stream.LOT_EVENTS, held),
                (Stream.LABELS, label.label_id),
            ]
            assert changes_after(connection, told[Stream.INSPECTIONS], 10) == ()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestOnSqlite:
    def test_the_next_backup_copies_new_images_only(
        self, config: Config, config_path: Path, destination: Path, seeder_class
    ) -> None:
        record(config, seeder_class, range(1, 4))
        first, _ = make_backup(config, config_path, destination, quiet)
        files = {file: file.stat().st_mtime_ns for file in (destination / "images").rglob("*.png")}
        record(config, seeder_class, range(4, 6))
        folder_of(destination, first).rename(folder_of(destination, "2020-01-01T000000Z"))
        second, _ = make_backup(config, config_path, destination, quiet)
        now = {file: file.stat().st_mtime_ns for file in (destination / "images").rglob("*.png")}
        assert len(now) == 5
        assert files.items() <= now.items()
        assert names(destination) == ["2020-01-01T000000Z", second]
        assert chosen(destination, None) == second
        for name in names(destination):
            verify_backup(destination, name, quiet)
        assert {file.stat().st_mode & 0o077 for file in destination.rglob("*")} == {0}, "nobody else may read it"

    def test_a_backup_is_one_snapshot_although_the_recorder_goes_on(
        self, config: Config, config_path: Path, destination: Path, seeder_class, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record(config, seeder_class, range(1, 5))
        monkeypatch.setattr("inspection.records.sqlite_copy.STEP_BYTES", 10 * 4096)
        engine = open_engine(config.database_url)
        steps = 0

        def meanwhile(what: str, _done: int, _total: int) -> None:
            nonlocal steps
            if what == "database":
                steps += 1
                with engine.begin() as connection:
                    seeder = seeder_class(connection, config.image_dir)
                    seeder.triggers = seeder.seqs = 4 + steps - 1
                    seeder.inspection("L1", f"S{4 + steps}")

        name, manifest = make_backup(config, config_path, destination, meanwhile)
        engine.dispose()
        assert steps > 3
        assert counted(config, inspections) == 4 + steps, "it went on"
        assert manifest.rows["inspections"] == 4
        verify_backup(destination, name, quiet)

    def test_an_interrupted_backup_never_looks_complete(
        self, config: Config, config_path: Path, destination: Path, seeder_class
    ) -> None:
        record(config, seeder_class, range(1, 4))
        for step in ("database", "verifying", "images"):

            def end(what: str, _done: int, _total: int, step: str = step) -> None:
                if what == step:
                    raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                make_backup(config, config_path, destination, end)
            with pytest.raises(BackupError, match="no complete backup"):
                chosen(destination, None)
        name, _ = make_backup(config, config_path, destination, quiet)
        assert [each.name for each in (destination / "backups").iterdir()] == [name], "what was left is removed"

    def test_a_disk_that_refuses_ends_the_backup_with_what_to_do(
        self, config: Config, config_path: Path, destination: Path, seeder_class, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record(config, seeder_class, range(1, 4))

        def full(_folder: Path) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(making, "sync_disk", full)
        with pytest.raises(BackupError, match="No space left on device; see whether there is room"):
            make_backup(config, config_path, destination, quiet)
        assert names(destination) == []

    @pytest.mark.parametrize("altered", ["station.db", "station.toml", "image", "image gone"])
    def test_whatever_is_altered_is_found(
        self, config: Config, config_path: Path, destination: Path, seeder_class, altered: str
    ) -> None:
        record(config, seeder_class, range(1, 4))
        name, _ = make_backup(config, config_path, destination, quiet)
        image = next((destination / "images").rglob("*.png"))
        file = image if "image" in altered else folder_of(destination, name) / altered
        if altered == "image gone":
            file.unlink()
        else:
            content = bytearray(file.read_bytes())
            content[len(content) // 2] ^= 1
            file.write_bytes(content)
        with pytest.raises(BackupError, match=r"altered|missing"):
            verify_backup(destination, name, quiet)

    @pytest.mark.parametrize(
        "name",
        [
            "../../data/own-key.pem",
            "/tmp/x",
            "settings/../../x",
            "settings/./x",
            "settings/a/b",
            "x/settings/a",
            "opcua/own-key.pem",
        ],
    )
    def test_a_manifest_that_names_other_files_than_backups_hold_is_refused(
        self, config: Config, config_path: Path, destination: Path, seeder_class, name: str
    ) -> None:
        record(config, seeder_class, range(1, 3))
        backup, _ = make_backup(config, config_path, destination, quiet)
        folder = folder_of(destination, backup)
        file = folder / name
        if folder in file.parents:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("x")
        alter(folder, lambda manifest: manifest["files"].update({name: {"sha256": hashlib.sha256(b"x").hexdigest(), "size": 1}}))
        with pytest.raises(BackupError, match="is in no backup"):
            verify_backup(destination, backup, quiet)

    @pytest.mark.parametrize("missing", ["station.toml", "station.db"])
    def test_a_backup_has_a_configuration_and_a_database(
        self, config: Config, config_path: Path, destination: Path, seeder_class, missing: str
    ) -> None:
        record(config, seeder_class, range(1, 3))
        backup, _ = make_backup(config, config_path, destination, quiet)
        alter(folder_of(destination, backup), lambda manifest: manifest["files"].pop(missing))
        with pytest.raises(BackupError, match="does not name the configuration and one database"):
            verify_backup(destination, backup, quiet)

    @pytest.mark.parametrize("linked", ["settings/plate.json", "settings", "image", "folder of images"])
    def test_links_lead_nowhere(
        self, config: Config, config_path: Path, destination: Path, seeder_class, linked: str, tmp_path: Path
    ) -> None:
        (config.data_dir / "settings").mkdir()
        (config.data_dir / "settings" / "plate.json").write_text("{}")
        record(config, seeder_class, range(1, 3))
        backup, _ = make_backup(config, config_path, destination, quiet)
        image = next((destination / "images").rglob("*.png"))
        path = {"image": image, "folder of images": image.parent}.get(linked, folder_of(destination, backup) / linked)
        path.rename(tmp_path / "elsewhere-than-that")
        path.symlink_to(tmp_path / "elsewhere-than-that")
        with pytest.raises(BackupError, match="is a link"):
            verify_backup(destination, backup, quiet)

    def test_of_a_model_that_was_lost_its_own_files_come_back_and_nothing_else(
        self, config: Config, config_path: Path, destination: Path, seeder_class
    ) -> None:
        record(config, seeder_class, range(1, 3))
        model = small_model(config.models_dir, files={"network.xml": b"x", "network.bin": b"y"})
        with open_records(config) as engine, engine.begin() as connection:
            register_model(connection, model_at(model, "plate"))
        backup, manifest = make_backup(config, config_path, destination, quiet)
        assert manifest.models == (model.name,)
        (destination / "models" / model.name / "beside").symlink_to("/etc/hostname")
        lose(config)
        restored = restore_backup(verify_backup(destination, backup, quiet), destination, config, "ada", False, quiet)
        assert restored.models == 1
        assert sorted(file.name for file in model.iterdir()) == ["model.json", "network.bin", "network.xml"]
        read_artifact(model, model.name)

    def test_a_manifest_names_models_by_their_digests(
        self, config: Config, config_path: Path, destination: Path, seeder_class
    ) -> None:
        record(config, seeder_class, range(1, 3))
        backup, _ = make_backup(config, config_path, destination, quiet)
        alter(folder_of(destination, backup), lambda manifest: manifest.update(models=["../victim"]))
        with pytest.raises(BackupError, match=r"models\[0\]"):
            verify_backup(destination, backup, quiet)

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE images SET sha256 = '../victim' WHERE seq = 1",
            "INSERT INTO models VALUES ('../victim', 'plate', 'models/x', 'PatchCore', '2026-01-01 00:00:00.000000', '{}')",
        ],
        ids=["image", "model"],
    )
    def test_a_digest_that_is_a_path_removes_and_writes_nothing(
        self, config: Config, config_path: Path, destination: Path, seeder_class, statement: str
    ) -> None:
        record(config, seeder_class, range(1, 3))
        backup, _ = make_backup(config, config_path, destination, quiet)
        folder = folder_of(destination, backup)
        (config.data_dir / "victim").mkdir()
        (destination / "victim").mkdir()
        with closing(sqlite3.connect(folder / SQLITE)) as connection, connection:
            connection.execute(statement)
            [models] = connection.execute("SELECT count(*) FROM models").fetchone()
        alter(folder, lambda manifest: manifest["files"].update({SQLITE: msgspec.to_builtins(entry_of(folder / SQLITE))}))
        alter(folder, lambda manifest: manifest["rows"].update(models=models))
        with pytest.raises(BackupError, match=r"image or model '\.\./victim', which is no SHA-256"):
            verify_backup(destination, backup, quiet)
        # A log beside the database may have shown another one while it was verified.
        sound = Sound(backup, folder, read_manifest(folder))
        before = content_of(config.data_dir)
        with pytest.raises(BackupError, match="which is no SHA-256"):
            restore_backup(sound, destination, config, "ada", True, quiet)
        assert content_of(config.data_dir) == before

    def test_a_damaged_database_makes_no_backup(self, config: Config, config_path: Path, destination: Path, seeder_class) -> None:
        record(config, seeder_class, range(1, 50))
        file = config.data_dir / SQLITE
        connection = sqlite3.connect(file)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        [page] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'ix_inspections_serial_seq'").fetchone()
        connection.close()
        with file.open("r+b") as content:
            content.seek((page - 1) * 4096)
            content.write(bytes(4096))
        with pytest.raises(BackupError, match="damaged"):
            make_backup(config, config_path, destination, quiet)
        assert names(destination) == []

    def test_images_that_the_station_has_lost_do_not_end_the_backup(
        self, config: Config, config_path: Path, destination: Path, seeder_class
    ) -> None:
        record(config, seeder_class, range(1, 5))
        lost, damaged, *_ = config.image_dir.rglob("*.png")
        lost.unlink()
        damaged.write_bytes(b"not what its name says")
        name, manifest = make_backup(config, config_path, destination, quiet)
        assert (manifest.images, manifest.lost) == (4, 2)
        verify_backup(destination, name, quiet)

    def test_records_are_overwritten_only_when_told_and_then_kept_beside(
        self, config: Config, config_path: Path, destination: Path, seeder_class
    ) -> None:
        record(config, seeder_class, range(1, 3))
        name, _ = make_backup(config, config_path, destination, quiet)
        record(config, seeder_class, range(3, 5))
        sound = verify_backup(destination, name, quiet)
        with pytest.raises(BackupError, match=r"has records already.*--overwrite"):
            restore_backup(sound, destination, config, "ada", False, quiet)
        assert counted(config, inspections) == 4
        with only_one(config, "recorder"), pytest.raises(ConfigError, match="recorder runs already"):
            restore_backup(sound, destination, config, "ada", True, quiet)
        restored = restore_backup(sound, destination, config, "ada", True, quiet)
        assert counted(config, inspections) == 2
        assert restored.replaced is not None
        engine = open_engine(f"sqlite:///{restored.replaced / SQLITE}", read_only=True)
        with engine.connect() as connection:
            assert connection.execute(select(func.count()).select_from(inspections)).scalar_one() == 4
        engine.dispose()

    def test_the_commands_say_what_they_did(
        self, config: Config, config_path: Path, destination: Path, seeder_class, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        record(config, seeder_class, range(1, 3))
        # The tests that follow are not to be as patient as a backup.
        monkeypatch.setattr("inspection.backup.gently.step_back", lambda: None)
        run = CliRunner().invoke
        made = run(app, ["backup", str(config_path), str(destination)])
        assert (made.exit_code, "2 inspections, 2 images" in made.stdout) == (0, True), made.output
        assert "mes.secret" in made.stderr
        sound = run(app, ["backup", "verify", str(destination)])
        assert (sound.exit_code, "is whole" in sound.stdout) == (0, True), sound.output
        refused = run(app, ["restore", str(destination), str(config_path)])
        assert (refused.exit_code, "--overwrite" in refused.stderr) == (1, True), refused.output
        shutil.rmtree(config.data_dir)
        config_path.unlink()
        done = run(app, ["restore", str(destination), str(config_path)])
        assert (done.exit_code, "Everything is numbered after" in done.stdout) == (0, True), done.output
        assert counted(configuration.load(config_path), inspections) == 2


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_without_pg_dump_it_says_what_to_install(
    config: Config, config_path: Path, destination: Path, seeder_class, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(config, seeder_class, range(1, 2))
    monkeypatch.setattr(postgresql.shutil, "which", lambda _program: None)
    with pytest.raises(BackupError, match="pg_dump is not on this machine: install PostgreSQL's client programs"):
        make_backup(config, config_path, destination, quiet)
    assert names(destination) == []
