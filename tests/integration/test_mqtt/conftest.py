"""A broker, a host that listens on it, and a receiver of the outbox that delivers to it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from mqtt_peers import GROUP, NODE, Broker, Host

from inspection.config import MqttReceiverConfig
from inspection.mes.mqtt import SparkplugReceiver

MakeReceiver = Callable[..., SparkplugReceiver]


@pytest.fixture(scope="session")
def npm_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with npm's decoder and MQTT client; once, also where several processes run tests."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder /= "npm"
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "installed").exists():
            folder.mkdir(exist_ok=True)
            packages = ["sparkplug-payload@1.0.3", "mqtt@5.16.0"]
            command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), *packages]
            done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
            if done.returncode != 0:
                pytest.skip(f"npm's registry does not answer: {done.stderr[-300:]}")
            (folder / "installed").touch()
    return folder


@pytest.fixture
def make_broker(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    if shutil.which("mosquitto") is None:
        pytest.skip("mosquitto is not installed")
    brokers: list[Broker] = []

    def make(*settings: str, tls: tuple[str, ...] = ()) -> Broker:
        brokers.append(Broker(tmp_path, settings or ("allow_anonymous true",), tls))
        brokers[-1].start()
        return brokers[-1]

    yield make
    for each in brokers:
        each.stop()


@pytest.fixture
def broker(make_broker: Callable[..., Broker]) -> Broker:
    return make_broker()


@pytest.fixture
def host(broker: Broker) -> Iterator[Host]:
    listening = Host(broker.port)
    yield listening
    listening.close()


@pytest.fixture
def make_receiver(tmp_path: Path) -> Iterator[MakeReceiver]:
    """Receivers for a port, all of the same edge node and with the same bdSeq file, one after the other."""
    made: list[SparkplugReceiver] = []

    def make(port: int, **settings: Any) -> SparkplugReceiver:
        usual = {"kind": "mqtt", "name": "mes", "host": "127.0.0.1", "port": port, "group": GROUP, "node": NODE}
        made.append(SparkplugReceiver(MqttReceiverConfig.model_validate(usual | settings), tmp_path))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def receiver(broker: Broker, make_receiver: MakeReceiver) -> SparkplugReceiver:
    return make_receiver(broker.port)
