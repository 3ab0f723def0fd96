"""`station settings try` says what another configuration would change, and writes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from inspection import config as configuration
from inspection.cli import app
from inspection.records.database import open_records

TEXT = """
[station]
name = "st-1"
data_dir = "data"

[[cameras]]
name = "top"
serial = "SIM0001"

[[products]]
part_number = "plate"
camera = "top"
deadline_ms = 500
"""


@pytest.fixture
def path(tmp_path: Path, seeder_class) -> Path:
    path = tmp_path / "station.toml"
    path.write_text(TEXT)
    config = configuration.load(path)
    with open_records(config) as engine, engine.begin() as connection:
        seeder = seeder_class(connection, config.image_dir)
        seeder.lot("L1")
        for number in range(10):
            seeder.inspection("L1", f"S{number}")
    return path


def tried(path: Path, text: str) -> Result:
    new = path.with_name("new.toml")
    new.write_text(text)
    return CliRunner().invoke(app, ["settings", "try", str(new), "--config", str(path)])


def test_it_says_what_changes_and_what_would_have_been_different(path: Path) -> None:
    said = tried(path, TEXT.replace("500", "20"))
    assert said.exit_code == 0, said.output
    assert "products.plate.deadline_ms: 500" in said.stdout
    assert "plate: 10 of 10 parts would have been late, 0 were" in said.stdout
    assert path.read_text() == TEXT


def test_the_same_changes_nothing(path: Path) -> None:
    assert tried(path, TEXT).stdout == "no setting changes\n"


@pytest.mark.parametrize(
    ("text", "key"), [("[", "file"), (TEXT.replace("top", "side", 1), "names camera"), (TEXT + "depth = 1", "depth")]
)
def test_what_the_station_would_not_start_with_is_told_by_key(path: Path, text: str, key: str) -> None:
    said = tried(path, text)
    assert said.exit_code == 1
    assert "would not start" in said.stderr
    assert key in said.stderr
