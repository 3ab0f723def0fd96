"""The examples on the pages of the interfaces do what the pages say."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvicorn
import zmq
from sqlalchemy import Engine

from inspection import config as configuration
from inspection.commands import Command, execute
from inspection.mes.events import Pending
from inspection.mes.http_push import HttpReceiver
from inspection.mes.receiver import Stream, Undelivered
from inspection.records.database import migrate, open_engine
from inspection.web.app import create_api
from inspection.web.settings import Settings

PAGES = Path(__file__).parents[2] / ".github" / "interfaces"
README = Path(__file__).parents[2] / "README.md"


def example(page: str, language: str) -> str:
    """The last block in that language."""
    return re.findall(rf"```{language}\n(.*?)```", (PAGES / page).read_text(encoding="utf-8"), re.DOTALL)[-1]


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_every_page_is_linked_in_the_readme() -> None:
    readme = README.read_text(encoding="utf-8")
    for page in PAGES.glob("*.md"):
        assert f".github/interfaces/{page.name}" in readme, page.name


def test_the_receiver_of_the_page_keeps_every_event_once(seeder: Any, reader: Engine, tmp_path: Path) -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    seeder.lot("L")
    for number in range(5):
        seeder.inspection("L", f"S{number}")
    seeder.connection.commit()
    with reader.connect() as connection:
        events = Pending("st-1").after(connection, dict.fromkeys(Stream, 0), 10)
    port = free_port()
    command = [sys.executable, "-c", example("push.md", "python"), str(port), secret]
    peer = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    receiver = HttpReceiver(f"http://127.0.0.1:{port}/", secret)
    stranger = HttpReceiver(f"http://127.0.0.1:{port}/", "whsec_" + "B" * 32)
    try:
        until = time.monotonic() + 20
        while not answers(port):
            assert time.monotonic() < until
            time.sleep(0.02)
        receiver.deliver(events[:3])
        receiver.deliver(events)
        with pytest.raises(Undelivered, match="401"):
            stranger.deliver(events)
    finally:
        receiver.close()
        stranger.close()
        peer.kill()
        peer.wait()
    with sqlite3.connect(tmp_path / "events.db") as kept:
        rows = kept.execute("SELECT event_id, data FROM events ORDER BY rowid").fetchall()
    kept.close()
    assert [row[0] for row in rows] == [f"st-1/inspections/{number}" for number in range(1, 6)]
    assert [json.loads(row[1])["serial"] for row in rows] == [f"S{number}" for number in range(5)]


@contextmanager
def recording(engine: Engine, address: str) -> Iterator[None]:
    """Executes commands as the recorder does."""
    context = zmq.Context()
    socket = context.socket(zmq.REP)
    socket.bind(address)
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            if socket.poll(20):
                with engine.begin() as connection:
                    reply = execute(connection, msgspec.json.decode(socket.recv(), type=Command))
                socket.send(msgspec.json.encode(reply))
        socket.close(0)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        context.term()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_requests_of_the_page_are_answered(tmp_path: Path, command_address: str) -> None:
    port = free_port()
    path = tmp_path / "station.toml"
    path.write_text(
        f"""
[[cameras]]
name = "top"
serial = "SIM1"

[[products]]
part_number = "flange"
camera = "top"

[web]
port = {port}
tokens = true
"""
    )
    config = configuration.load(path)
    config.data_dir.mkdir()
    engine = open_engine(config.database_url)
    migrate(engine)
    settings = Settings(
        "station", config.database_url, config.image_dir, config.status_path, command_address, ("flange",), tokens=True
    )
    server = uvicorn.Server(uvicorn.Config(create_api(settings), port=port, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    script = 'set -euo pipefail\nstation() { "$PYTHON" -m inspection "$@"; }\n' + example("rest.md", "sh")
    environment = {**os.environ, "PYTHON": sys.executable, "STATION": f"http://127.0.0.1:{port}"}
    try:
        with recording(engine, command_address):
            until = time.monotonic() + 20
            while not answers(port):
                assert time.monotonic() < until
                time.sleep(0.02)
            done = subprocess.run(
                ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
    finally:
        server.should_exit = True
        thread.join()
        engine.dispose()
    assert done.returncode == 0, done.stdout + done.stderr
    opened, announced, summary, part, held, events = map(json.loads, done.stdout.splitlines())
    assert (opened["state"], announced["announced"], summary["triggered"]) == ("open", 2, 0)
    assert part == {"serial": "SN000001", "attempts": []}
    assert held["state"] == "held"
    assert [event["change"] for event in events["items"]] == ["opened", "held"]
