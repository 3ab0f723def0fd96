"""Configuration files: every shipped example loads, and mistakes are named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy import make_url

from inspection import config as configuration
from inspection.errors import ConfigError

TOP = Path(__file__).parents[2]

GOOD = """
[[cameras]]
name = "top"
serial = "1"

[[products]]
part_number = "p"
camera = "top"
"""


@pytest.mark.parametrize("path", sorted((TOP / "deploy").glob("*.toml")), ids=lambda path: path.name)
def test_every_shipped_example_loads(path: Path) -> None:
    config = configuration.load(path)
    assert config.data_dir.is_absolute()
    assert len(str(config.run_dir / "camera@").encode()) + 40 < 107, "socket paths must fit"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("camera_name = 'x'", "Extra inputs"),
        ("[[cameras]]\nname = 'top'\nserial = '2'", "same name"),
        ("[[products]]\npart_number = 'q'\ncamera = 'side'", "names camera 'side'"),
        ("[[products]]\npart_number = 'p'\ncamera = 'top'", "same part_number"),
        ("[line]\nexpose_window_ms = 'soon'", "line.expose_window_ms"),
        ("[web]\nport = 70000", "web.port"),
        ("serial_from = 'code'", "needs serial_code"),
        ("[[cameras]]\nname = 'q'\nserial = '2'\naccept_output = {line = 'Line2', pulse_ms = 0}", "accept_output.pulse_ms"),
        ("= nonsense", "not valid TOML"),
    ],
)
def test_mistakes_are_named_with_their_place(tmp_path: Path, change: str, said: str) -> None:
    path = tmp_path / "station.toml"
    path.write_text(GOOD + change)
    with pytest.raises(ConfigError, match=said) as error:
        configuration.load(path)
    assert str(path) in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"station\.toml"):
        configuration.load(tmp_path / "station.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not valid TOML"):
        configuration.load(tmp_path / "b.toml")


def test_the_data_directory_is_relative_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "station.toml"
    path.write_text(GOOD)
    assert configuration.load(path).data_dir == (tmp_path / "data").resolve()


def test_files_of_receivers_lie_beside_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "station.toml"
    path.write_text(
        """
cameras = [{ name = "top", serial = "SIM1" }]
products = [{ part_number = "plate", camera = "top" }]

[[receivers]]
kind = "http"
name = "mes"
url = "https://mes.example/events"
secret_file = "mes.secret"

[[receivers]]
kind = "mqtt"
name = "scada"
host = "broker"
group = "plant"
node = "cell"
username = "station"
password_file = "/etc/station/password"
"""
    )
    http, mqtt = configuration.load(path).receivers
    assert (http.secret_file, http.ca_file) == (tmp_path / "mes.secret", None)  # type: ignore[union-attr]
    assert (mqtt.password_file, mqtt.ca_file) == (Path("/etc/station/password"), None)  # type: ignore[union-attr]


def test_two_receivers_of_one_name_would_share_their_position(tmp_path: Path) -> None:
    one = '[[receivers]]\nkind = "http"\nname = "mes"\nurl = "https://mes.example"\nsecret_file = "s"\n'
    path = tmp_path / "station.toml"
    path.write_text(
        'cameras = [{ name = "top", serial = "SIM1" }]\nproducts = [{ part_number = "plate", camera = "top" }]\n' + one * 2
    )
    with pytest.raises(ConfigError, match="two receivers have the same name"):
        configuration.load(path)


@pytest.mark.parametrize("user", ["station:hunter2", "station", ":hunter2", ""])
def test_the_url_of_a_receiver_holds_no_password(tmp_path: Path, user: str) -> None:
    receiver = '[[receivers]]\nkind = "http"\nname = "mes"\nsecret_file = "s"\nurl = "https://{}mes.example/a@b?c=d@e"\n'
    path = tmp_path / "station.toml"
    path.write_text(GOOD + receiver.format(""))
    configuration.load(path)
    path.write_text(GOOD + receiver.format(f"{user}@"))
    with pytest.raises(ConfigError, match=r"receivers\.0\.http\.url: .*no user or password in url.*secret_file") as error:
        configuration.load(path)
    assert "hunter2" not in str(error.value)


def test_other_machines_are_served_with_tokens_alone(tmp_path: Path) -> None:
    path = tmp_path / "station.toml"
    head = 'cameras = [{ name = "top", serial = "SIM1" }]\nproducts = [{ part_number = "plate", camera = "top" }]\n'
    path.write_text(head + '[web]\nhost = "0.0.0.0"\n')
    with pytest.raises(ConfigError, match="set tokens = true"):
        configuration.load(path)
    path.write_text(head + '[web]\nhost = "0.0.0.0"\ntokens = true\ntls = "generated"\n')
    assert configuration.load(path).web.tokens


@pytest.mark.parametrize(
    ("web", "says"),
    [
        ('host = "0.0.0.0"\ntokens = true', "without encryption anybody between reads passwords"),
        ('host = "192.0.2.1"\ntokens = true\ntls = "none"', "without encryption"),
        ('tls = "files"\ntls_certificate = "a.crt"', "needs tls_certificate and tls_key"),
        ('tls = "generated"\ntls_certificate = "a.crt"\ntls_key = "a.key"', "needs tls_certificate and tls_key"),
        ('host = "0.0.0.0"\ntokens = true\nallow_unencrypted = true', None),
        ('host = "127.0.0.1"', None),
        ('host = "::1"\ntls = "files"\ntls_certificate = "a.crt"\ntls_key = "a.key"', None),
    ],
)
def test_other_machines_are_served_encrypted_unless_somebody_said_otherwise(tmp_path: Path, web: str, says: str | None) -> None:
    path = tmp_path / "station.toml"
    path.write_text(
        f'cameras = [{{ name = "top", serial = "SIM1" }}]\nproducts = [{{ part_number = "p", camera = "top" }}]\n[web]\n{web}\n'
    )
    if says is None:
        configuration.load(path)
    else:
        with pytest.raises(ConfigError, match=says):
            configuration.load(path)


def test_the_password_of_a_database_lies_in_a_file_of_its_own(tmp_path: Path) -> None:
    path, secret = tmp_path / "station.toml", tmp_path / "database.password"
    head = 'cameras = [{ name = "top", serial = "SIM1" }]\nproducts = [{ part_number = "plate", camera = "top" }]\n[station]\n'
    for url in ("postgresql://station:hunter2@db/station", "postgresql://station@db/station?password=hunter2"):
        path.write_text(head + f'database_url = "{url}"\n')
        with pytest.raises(ConfigError, match="database_password_file"):
            configuration.load(path)
    path.write_text(head + 'database_url = "postgresql://station@db/station"\ndatabase_password_file = "database.password"\n')
    secret.touch(0o600)
    secret.write_text("p@ss:/word\n")
    url = make_url(configuration.load(path).database_url)
    assert (url.username, url.password, url.host, url.database) == ("station", "p@ss:/word", "db", "station")
    secret.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        _ = configuration.load(path).database_url


@pytest.mark.parametrize(
    "text",
    [
        "a" + ".a" * 50_000 + " = 1",
        "a" + " . a" * 50_000 + " = 1",
        "[a" + ".a" * 50_000 + "]",
        "a = " + "[" * 50_000,
        "a = {" + "b={" * 9_000,
        "a = " + "9" * 9_000,
    ],
    ids=["dots", "dots and blanks", "table", "arrays", "inline tables", "digits"],
)
def test_text_that_would_exhaust_the_memory_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="not valid TOML"):
        configuration.parse(text, tmp_path / "station.toml")


def test_long_lines_that_people_write_are_no_deep_keys(tmp_path: Path) -> None:
    networks = ", ".join(f'"10.0.{number}.0/24"' for number in range(60))
    text = f"""
# {"." * 200}
cameras = [{{ name = "top", serial = "SIM1" }}]
products = [{{ part_number = "plate", camera = "top" }}]  # {"A sentence. " * 30}
[plc]
camera = "top"
allowed_clients = [{networks}]
rejector_distance_mm = 600
accept_window_mm = 40
max_speed_mm_per_s = 1000
actuator_ms = 30
"""
    assert configuration.parse(text, tmp_path / "station.toml").plc is not None


def test_the_shipped_example_loads_with_everything_that_it_leaves_out(tmp_path: Path) -> None:
    shipped = (TOP / "deploy" / "station.toml").read_text(encoding="utf-8")
    path = tmp_path / "station.toml"
    path.write_text(re.sub(r"(?m)^# (?=\[|\w+ = |# )", "", shipped))
    config = configuration.load(path)
    assert config.plc is not None
    assert config.plc.deadline_ms == pytest.approx(530)
    assert [receiver.kind for receiver in config.receivers] == ["http", "mqtt"]
    assert config.opcua is not None
    assert config.products[0].serial_code is not None
    assert config.products[0].serial_from == "code"
    assert config.cameras[0].accept_output is not None
