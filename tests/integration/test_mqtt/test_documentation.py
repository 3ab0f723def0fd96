"""The page on MQTT says what is so: its configuration loads, its rules suffice, its program runs, its table is complete."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

from mqtt_peers import Broker, inspection_event

from inspection.config import MqttReceiverConfig
from inspection.mes.mqtt import SparkplugReceiver
from inspection.mes.receiver import Stream
from inspection.mes.sparkplug_metrics import METRICS

PAGE = (Path(__file__).parents[3] / ".github" / "interfaces" / "mqtt.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The first block of code in a language."""
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def test_the_configuration_loads() -> None:
    (receiver,) = tomllib.loads(block("toml"))["receivers"]
    assert set(receiver) == set(MqttReceiverConfig.model_fields), "all settings are shown"
    assert MqttReceiverConfig.model_validate(receiver).port == 8883


def test_the_metrics_are_those_in_the_table() -> None:
    described: dict[str, dict[str, str]] = {}
    device = ""
    for line in PAGE.split("## Metrics", 1)[1].splitlines():
        cells = [cell.strip(" `") for cell in line.strip("|").split("|")]
        if len(cells) != 4 or cells[2] in ("datatype", "---"):
            continue
        device = cells[0] or device
        described.setdefault(device, {})[cells[1]] = cells[2].upper()
    assert set(described) == set(Stream)
    for stream, metrics in METRICS.items():
        written = {name: datatype.name.replace("_", "") for name, datatype in metrics.items()}
        assert described[stream] | {"event_id": "STRING", "data": "STRING"} == written


def test_the_program_prints_a_line_per_part_and_the_access_rules_let_the_station_in(
    make_broker: Callable[..., Broker],
    make_receiver: Callable[..., SparkplugReceiver],
    npm_modules: Path,
    tmp_path: Path,
) -> None:
    rules, users, password = tmp_path / "rules", tmp_path / "users", tmp_path / "password"
    rules.write_text("topic read #\n" + block("conf"))
    password.write_text("secret\n")
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(users), "station", "secret"], check=True, capture_output=True)
    for file in (rules, users, password):
        file.chmod(0o600)
    broker = make_broker("allow_anonymous true", f"acl_file {rules}", f"password_file {users}")
    receiver = make_receiver(broker.port, group="Plant1", username="station", password_file=password)
    program = npm_modules / "listen.js"
    program.write_text(block("js"))
    command = ["node", str(program), f"mqtt://127.0.0.1:{broker.port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as listening:
        assert listening.stdout is not None
        assert listening.stdout.readline() == "listening\n"
        receiver.deliver([inspection_event(1), inspection_event(2, verdict="fail", score=3.5, regions=[{"x": 1}])])
        assert listening.stdout.readline() == "cell-7/inspections/1 L-1 S-1 pass 1.25 0 regions\n"
        assert listening.stdout.readline() == "cell-7/inspections/2 L-1 S-2 fail 3.5 1 regions\n"
        listening.kill()
