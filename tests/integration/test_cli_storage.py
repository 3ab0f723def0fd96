"""``station storage`` and ``station legal-hold`` on the records of a station."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from inspection.cli import app
from inspection.config import load
from inspection.domain import Verdict
from inspection.records.database import open_records


@pytest.fixture
def config(tmp_path: Path, seeder_class) -> Path:
    path = tmp_path / "station.toml"
    path.write_text(
        '[station]\ndata_dir = "data"\n[[cameras]]\nname = "top"\nserial = "SIM0001"\n'
        '[[products]]\npart_number = "plate"\ncamera = "top"\n'
    )
    loaded = load(path)
    with open_records(loaded) as engine, engine.begin() as connection:
        seeder_class(connection, loaded.image_dir).inspection("L1", "S1", Verdict.FAIL)
    return path


def run(*arguments: str, status: int = 0) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == status, done.output
    return done.output


def test_a_legal_hold_is_placed_listed_and_released(config: Path) -> None:
    at = ("--config", str(config), "--by", "ada")
    assert "legal hold 1 is in force" in run("legal-hold", "place", *at, "--lot", "L1", "--reason", "claim 7")
    assert "lot L1" in run("legal-hold", "list", *at[:2])
    assert "no part of lot 'L9'" in run("legal-hold", "place", *at, "--lot", "L9", "--reason", "x", status=1)
    assert "name either a lot, a serial" in run("legal-hold", "place", *at, "--reason", "x", status=1)
    assert "is released" in run("legal-hold", "release", "1", *at, "--reason", "settled")
    assert "lot L1" not in run("legal-hold", "list", *at[:2])
    assert "settled" in run("legal-hold", "list", *at[:2], "--released")
    assert "entries fit" in run("audit", "verify", *at[:2])


def test_the_disk_is_told(config: Path) -> None:
    told = run("storage", "--config", str(config))
    assert "reject frames" in told
    assert "free" in told
