"""``station export``: a lot into files."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from lxml import etree
from typer.testing import CliRunner, Result

from inspection import config as configuration
from inspection.cli import app
from inspection.domain import Verdict
from inspection.records.database import open_records

STATION = """
[station]
data_dir = "data"

[[cameras]]
name = "top"
serial = "SIM1"

[[products]]
part_number = "plate"
camera = "top"
"""


@pytest.fixture
def config(tmp_path: Path, seeder_class) -> Path:
    """A station that inspected the lot ``24/0815 a``, which no web address can name."""
    path = tmp_path / "station.toml"
    path.write_text(STATION)
    loaded = configuration.load(path)
    with open_records(loaded) as engine, engine.connect() as connection:
        seeder = seeder_class(connection, loaded.image_dir)
        for verdict in Verdict:
            seeder.inspection("24/0815 a", f"S-{verdict}", verdict)
        connection.commit()
    return path


def export(config: Path, *arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, arguments), "--config", str(config)])


def test_a_lot_is_written_in_every_form(config: Path, tmp_path: Path) -> None:
    files = {name: tmp_path / f"lot.{name}" for name in ("csv", "parquet", "b2mml", "certificate")}
    result = export(config, "24/0815 a", *(argument for name, file in files.items() for argument in (f"--{name}", file)))
    assert result.exit_code == 0, result.output
    with files["csv"].open(newline="", encoding="utf-8") as file:
        assert [row["verdict"] for row in csv.DictReader(file)] == list(Verdict)
    assert pq.read_table(files["parquet"]).num_rows == len(Verdict)
    assert etree.parse(files["b2mml"]).getroot().tag == "{http://www.mesa.org/xml/B2MML}OperationsPerformance"
    document = files["certificate"].read_bytes()
    assert document.startswith(b"%PDF-")
    assert f"SHA-256 of the certified rows: {hashlib.sha256(files['csv'].read_bytes()).hexdigest()}".encode() in document
    assert sorted(path.name for path in tmp_path.glob("lot.*")) == sorted(file.name for file in files.values())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["24/0815 a"], "name a file with --csv"),
        (["L9", "--csv", "lot.csv"], "check the name or open it first"),
        (["24/0815 a", "--csv", "/nowhere/lot.csv"], "cannot write /nowhere/lot.csv"),
    ],
)
def test_what_cannot_be_written_is_said(config: Path, arguments: list[str], says: str) -> None:
    result = export(config, *arguments)
    assert result.exit_code == 1
    assert says in result.stderr


def test_a_recipe_has_another_digest_when_anything_of_it_changes(config: Path) -> None:
    def digest(change: str = "") -> str:
        config.write_text(STATION.replace('serial = "SIM1"', f'serial = "SIM1"\n{change}'))
        return configuration.load(config).recipe_digests()["plate"]

    assert digest() == digest()
    assert len({digest(), digest("features = {Gain = 1.0}"), digest("features = {Gain = 2.0}")}) == 3
    assert digest("ring_slots = 16") == digest()
