"""Commands that change something write who did it, as ``--by`` says, into the audit trail."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import insert
from typer.testing import CliRunner

from inspection import config as configuration
from inspection.cli import app
from inspection.domain import GoldenImage, Model, Scope
from inspection.records.audit import Wanted, list_entries
from inspection.records.database import open_records
from inspection.records.deployments import register_model
from inspection.records.stored_images import add_golden
from inspection.records.tables import shadows
from inspection.records.tokens import create_token

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CHALLENGER, IMAGE = "cd" * 32, "ab" * 32
STATION = """
cameras = [{ name = "top", serial = "SIM1" }]
products = [{ part_number = "plate", camera = "top" }]
receivers = [{ kind = "http", name = "mes", url = "https://mes.example", secret_file = "mes.secret" }]
web = { tls = "generated" }
opcua = {}
"""


@pytest.fixture
def station(tmp_path: Path) -> Path:
    """With a token, a golden image and a challenger."""
    path = tmp_path / "station.toml"
    path.write_text(STATION)
    with open_records(configuration.load(path)) as engine, engine.begin() as connection:
        create_token(connection, "mes", [Scope.READ], "ada")
        add_golden(connection, GoldenImage("plate", IMAGE, "ok", "x", "Mono8", "ada", NOW))
        register_model(connection, Model(CHALLENGER, "plate", f"models/{CHALLENGER}", "PatchCore", NOW, {}))
        running = {"station": "station", "product": "plate", "model": CHALLENGER, "started_at": NOW}
        connection.execute(insert(shadows).values(**running, started_by="ada", reason=""))
    return path


@pytest.mark.parametrize(
    ("command", "detail"),
    [
        ("golden remove " + IMAGE + " --product plate --reason blurred", {"sha256": IMAGE, "reason": "blurred"}),
        ("shadow stop --product plate", None),
        ("token revoke mes", None),
        ("outbox replay mes --after 4", {"stream": "inspections", "after": 4}),
        ("tls renew", None),
        ("opcua user add mes --password correct-horse-battery", None),
    ],
)
def test_who_asked_is_in_the_audit_trail(station: Path, command: str, detail: dict[str, object] | None) -> None:
    done = CliRunner().invoke(app, [*command.split(), "--by", "kim", "--config", str(station)])
    assert done.exit_code == 0, done.output
    with open_records(configuration.load(station)) as engine, engine.connect() as connection:
        first = list_entries(connection, Wanted(), None, 10)[-1]
    assert (first.by, json.loads(first.detail) if first.detail else None) == ("kim", detail)
    assert command.startswith(first.action)


def test_a_golden_image_is_not_removed_without_a_reason(station: Path) -> None:
    command = ["golden", "remove", IMAGE, "--product", "plate", "--config", str(station)]
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 2
    assert "--reason" in refused.stderr
