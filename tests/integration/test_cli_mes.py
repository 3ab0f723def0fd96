"""`station token` and `station outbox` on a station's own records."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from inspection import config as configuration
from inspection.cli import app
from inspection.commands import OpenLot, execute
from inspection.mes.outbox import Positions, positions_path
from inspection.mes.receiver import Stream
from inspection.records.database import open_engine, open_records
from inspection.records.tokens import find_token


@pytest.fixture
def station(tmp_path: Path) -> Path:
    path = tmp_path / "station.toml"
    path.write_text(
        """
cameras = [{ name = "top", serial = "SIM1" }]
products = [{ part_number = "plate", camera = "top" }]
receivers = [{ kind = "http", name = "mes", url = "https://mes.example", secret_file = "mes.secret" }]
"""
    )
    with open_records(configuration.load(path)) as engine, engine.begin() as connection:
        execute(connection, OpenLot(lot="L", product="plate"))
    return path


def run(station: Path, *arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [*arguments, "--config", str(station)])
    assert result.exit_code == code, result.output
    return result


def test_a_token_is_printed_once_and_opens_what_it_was_made_for(station: Path) -> None:
    token = run(station, "token", "create", "mes", "--scopes", "read,lots", "--days", "30").stdout.strip()
    engine = open_engine(configuration.load(station).database_url, read_only=True)
    with engine.connect() as connection:
        found = find_token(connection, token)
    engine.dispose()
    assert found is not None
    assert found.scopes == ("lots", "read")
    assert found.expires_at is not None
    shown = run(station, "token", "list").stdout
    assert "mes" in shown
    assert token not in shown
    run(station, "token", "create", "mes", code=1)
    run(station, "token", "revoke", "mes")
    assert "revoked" in run(station, "token", "list").stdout
    refused = run(station, "token", "create", "erp", "--scopes", "everything", code=1)
    assert "write some of read, lots" in refused.stderr


def test_replay_is_left_for_the_outbox_and_shown_before_it_is_taken_up(station: Path) -> None:
    assert "0 of 1" in run(station, "outbox", "show").stdout
    run(station, "outbox", "replay", "mes", "--after", "4", "--stream", "labels")
    positions = Positions(positions_path(configuration.load(station).outbox_dir, "mes"))
    positions.move({Stream.LABELS: 9, Stream.LOT_EVENTS: 1})
    positions.replay()
    assert positions.numbers == {Stream.LABELS: 4, Stream.LOT_EVENTS: 1, Stream.INSPECTIONS: 0}
    positions.replay()
    assert positions.numbers[Stream.LABELS] == 4
    assert "1 of 1" in run(station, "outbox", "show").stdout
    refused = run(station, "outbox", "replay", "nobody", "--after", "0", code=1)
    assert "the configuration names mes" in refused.stderr
