"""What a thief of the disk finds: no password, no token, no session that opens anything."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from people import PASSWORD
from sqlalchemy import Engine, make_url, text

from inspection.config import load, prepare_directories
from inspection.domain import Role, Scope
from inspection.errors import ConfigError
from inspection.passwords import Passwords
from inspection.records.sessions import start_session
from inspection.records.tokens import create_token
from inspection.records.users import create_user
from inspection.secrets import read_secret
from inspection.web.context import utc_now


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_records_hold_no_password_no_token_and_no_session(engine: Engine, database_url: str) -> None:
    with engine.begin() as connection:
        create_user(connection, "ada", Role.ADMIN, Passwords().hashed(PASSWORD), "test")
        session = start_session(connection, "ada", "192.0.2.7", utc_now())
        token = create_token(connection, "mes", [Scope.READ], "test")
    with engine.connect() as connection:
        kept = connection.execute(text("SELECT password_hash FROM users")).scalar_one()
    assert kept.startswith("$argon2id$v=19$m=65536,")
    engine.dispose()
    path = make_url(database_url).database
    assert path is not None
    content = b"".join(file.read_bytes() for file in Path(path).parent.glob("records.db*"))
    assert b"ada" in content
    for secret in (PASSWORD, session, token, token.removeprefix("station_")):
        assert secret.encode() not in content


def test_what_the_station_makes_is_for_its_own_user(tmp_path: Path) -> None:
    (tmp_path / "station.toml").write_text(
        'cameras = [{ name = "top", serial = "SIM1" }]\nproducts = [{ part_number = "plate", camera = "top" }]\n'
    )
    config = load(tmp_path / "station.toml")
    prepare_directories(config)
    for folder in (config.data_dir, config.image_dir, config.models_dir, config.outbox_dir, config.run_dir):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder
    shutil.rmtree(config.run_dir)


@pytest.mark.parametrize(
    "prepared",
    [
        lambda run_dir, private: run_dir.symlink_to(private),
        lambda run_dir, private: run_dir.symlink_to(private / "nowhere"),
        lambda run_dir, _: run_dir.touch(mode=0o600),
        lambda run_dir, _: (run_dir.mkdir(), run_dir.chmod(0o770)),
        pytest.param(
            lambda run_dir, _: (run_dir.mkdir(mode=0o700), os.chown(run_dir, 12_345, -1)),
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away"),
        ),
    ],
    ids=["link", "link to nothing", "file", "open to a group", "another user's"],
)
def test_a_folder_for_sockets_that_somebody_else_made_is_not_used(
    tmp_path: Path, prepared: Callable[[Path, Path], object]
) -> None:
    (tmp_path / "station.toml").write_text(
        'cameras = [{ name = "top", serial = "SIM1" }]\nproducts = [{ part_number = "plate", camera = "top" }]\n'
    )
    (tmp_path / "private").mkdir(mode=0o700)
    config = load(tmp_path / "station.toml")
    prepared(config.run_dir, tmp_path / "private")
    try:
        with pytest.raises(ConfigError, match=rf"{config.run_dir}, .* is no folder of the station's user alone"):
            prepare_directories(config)
        assert not config.data_dir.exists(), "nothing was begun"
    finally:
        # A link is removed, and not what it leads to.
        if config.run_dir.is_symlink() or config.run_dir.is_file():
            config.run_dir.unlink()
        else:
            shutil.rmtree(config.run_dir)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o622, 0o601])
def test_a_secret_that_others_may_read_or_write_is_refused_with_what_to_do(tmp_path: Path, mode: int) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hush\n")
    secret.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_secret(secret)
    secret.chmod(0o400)
    assert read_secret(secret) == "hush"
    if os.geteuid() == 0:
        os.chown(secret, 12_345, -1)
        with pytest.raises(ConfigError, match="belongs to another user"):
            read_secret(secret)


def test_what_the_service_manager_hands_over_comes_first_and_the_environment_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "mes.secret").write_text("handed over\n")
    (credentials / "mes.secret").chmod(0o440)
    monkeypatch.setenv("mes.secret", "from the environment")
    named = tmp_path / "mes.secret"
    with pytest.raises(ConfigError, match="cannot be read"):
        read_secret(named)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert read_secret(named) == "handed over"
    named.write_text("in the file\n")
    named.chmod(0o600)
    assert read_secret(named) == "handed over"
    (credentials / "mes.secret").unlink()
    assert read_secret(named) == "in the file"
