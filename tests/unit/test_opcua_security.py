"""Certificates, trust and passwords of the OPC UA server: what is wrong or missing lets nobody in."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from typer.testing import CliRunner

from inspection.cli import app
from inspection.errors import ConfigError
from inspection.opcua.security import Trust, Users, own_identity

PASSWORD = "correct horse battery"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_certificate_is_made_once_and_its_key_is_private(tmp_path: Path) -> None:
    first = own_identity(tmp_path / "opcua", "cell")
    assert mode(tmp_path / "opcua" / "own-key.pem") == 0o600
    assert first.uri.endswith(":inspection-station:cell")
    assert own_identity(tmp_path / "opcua", "cell") == first


def test_a_readable_key_a_foreign_key_and_garbage_are_refused(tmp_path: Path) -> None:
    own_identity(tmp_path / "a", "cell")
    own_identity(tmp_path / "b", "cell")
    key = tmp_path / "a" / "own-key.pem"
    key.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        own_identity(tmp_path / "a", "cell")
    key.chmod(0o600)
    key.write_bytes((tmp_path / "b" / "own-key.pem").read_bytes())
    with pytest.raises(ConfigError, match="not the key"):
        own_identity(tmp_path / "a", "cell")
    key.write_bytes(b"garbage")
    with pytest.raises(ConfigError, match="cannot be used"):
        own_identity(tmp_path / "a", "cell")


def test_only_certificates_in_the_directory_are_trusted(tmp_path: Path) -> None:
    client = own_identity(tmp_path / "client", "client").certificate
    trust = Trust(tmp_path / "trusted", tmp_path / "rejected")
    assert trust.why_not(client) is not None, "no directory trusts nobody"
    (tmp_path / "trusted").mkdir()
    assert "is not in" in str(trust.why_not(client)), "an empty directory trusts nobody"
    assert trust.why_not(None) == "it has no certificate"
    assert "cannot be read" in str(trust.why_not(b"garbage"))
    (tmp_path / "trusted" / "broken.der").write_bytes(b"garbage")
    pem = x509.load_der_x509_certificate(client).public_bytes(Encoding.PEM)
    (tmp_path / "trusted" / "client.pem").write_bytes(pem)
    assert trust.why_not(client) is None
    assert len(list((tmp_path / "rejected").iterdir())) == 1


def test_rejected_certificates_do_not_fill_the_disk(tmp_path: Path) -> None:
    trust = Trust(tmp_path / "trusted", tmp_path / "rejected")
    (tmp_path / "rejected").mkdir()
    for number in range(20):
        (tmp_path / "rejected" / f"{number}.der").write_bytes(b"")
    assert trust.why_not(own_identity(tmp_path / "client", "client").certificate) is not None
    assert len(list((tmp_path / "rejected").iterdir())) == 20


def test_a_password_is_kept_as_a_hash_in_a_private_file(tmp_path: Path) -> None:
    users = Users(tmp_path / "users")
    users.add("mes", PASSWORD)
    users.add("other", PASSWORD)
    assert mode(tmp_path / "users") == 0o600
    text = (tmp_path / "users").read_text()
    assert PASSWORD not in text
    assert len({entry["hash"] for entry in json.loads(text).values()}) == 2, "salted"
    assert users.right("mes", PASSWORD)
    assert not users.right("mes", PASSWORD + "x")
    assert not users.right("nobody", PASSWORD)
    users.add("mes", "another long password")
    assert not users.right("mes", PASSWORD)
    assert users.right("mes", "another long password")


def test_after_five_wrong_passwords_a_name_is_refused_for_a_minute(tmp_path: Path) -> None:
    now = [0.0]
    users = Users(tmp_path / "users", clock=lambda: now[0])
    users.add("mes", PASSWORD)
    for _ in range(5):
        assert not users.right("mes", "wrong")
    assert not users.right("mes", PASSWORD)
    now[0] = 61.0
    assert users.right("mes", PASSWORD)


@pytest.mark.parametrize("content", ["", "[]", "null", '{"mes": {}}', '{"mes": {"salt": "zz", "hash": ""}}', "\x00"])
def test_a_damaged_users_file_lets_nobody_in_and_says_so(tmp_path: Path, content: str) -> None:
    path = tmp_path / "users"
    path.write_text(content)
    path.chmod(0o600)
    assert not Users(path).right("mes", PASSWORD)
    if content != "[]":
        with pytest.raises(ConfigError, match="cannot be read"):
            Users(path).add("mes", PASSWORD)


def test_a_users_file_that_others_can_read_lets_nobody_in(tmp_path: Path) -> None:
    users = Users(tmp_path / "users")
    users.add("mes", PASSWORD)
    (tmp_path / "users").chmod(0o640)
    assert not users.right("mes", PASSWORD)


def test_users_are_added_from_the_command_line(tmp_path: Path) -> None:
    config = tmp_path / "station.toml"
    config.write_text('[[cameras]]\nname = "top"\nserial = "1"\n[[products]]\npart_number = "p"\ncamera = "top"\n')
    command = ["opcua", "user", "add", "mes", "--config", str(config)]
    refused = CliRunner().invoke(app, command, input=f"{PASSWORD}\n{PASSWORD}\n")
    assert refused.exit_code == 1
    assert "no [opcua]" in refused.output
    config.write_text(config.read_text() + "[opcua]\n")
    short = CliRunner().invoke(app, command, input="short\nshort\n")
    assert "12 or more" in short.output
    assert CliRunner().invoke(app, command, input=f"{PASSWORD}\n{PASSWORD}\n").exit_code == 0
    assert Users(tmp_path / "data" / "opcua" / "users").right("mes", PASSWORD)
