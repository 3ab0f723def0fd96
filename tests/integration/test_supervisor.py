"""What the manager's processes and pipes do when one of them ends."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from circus.process import Process
from circus.stream.redirector import Redirector
from tornado.ioloop import IOLoop

from inspection.processes import MANAGER
from inspection.supervisor import let_go_of_pipes

STATION = """
[[cameras]]
name = "top"
serial = "SIM1"
[[products]]
part_number = "plate"
camera = "top"
"""


@pytest.mark.parametrize("module", [["inspection", "process", "recorder"], ["training", "trainer"]])
def test_a_process_whose_manager_died_while_it_started_ends(tmp_path: Path, module: list[str]) -> None:
    config = tmp_path / "station.toml"
    config.write_text(STATION)
    # No process has this id: the manager is not the parent.
    environment = {**os.environ, MANAGER: "0"}
    command = [sys.executable, "-m", *module, "--config", str(config)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "the manager that started this process, 0, has ended" in done.stderr


def test_pipes_of_an_ended_process_leave_the_loop_with_its_last_words() -> None:
    async def in_a_loop() -> None:
        said: list[dict[str, Any]] = []
        redirector, other = (Redirector(said.append, said.append, loop=IOLoop.current()) for _ in range(2))
        redirector.start()
        other.start()
        process = speaking("print('last words')")
        redirector.add_redirections(process)
        pid, numbers = process.pid, {process.stdout.fileno(), process.stderr.fileno()}
        process.wait(60)
        watcher = SimpleNamespace(processes={pid: process}, stream_redirector=redirector)
        assert let_go_of_pipes(watcher, None, "before_reap", process_pid=pid)
        process.stop()
        # Also of one that circus stopped itself, whose pipes are closed by then.
        assert let_go_of_pipes(watcher, None, "before_reap", process_pid=pid)
        assert [(each["pid"], each["data"]) for each in said] == [(pid, b"last words\n")]
        # The next process of another watcher gets pipes of the same numbers.
        following = speaking("")
        assert numbers & {following.stdout.fileno(), following.stderr.fileno()}
        other.add_redirections(following)
        other.stop()
        following.wait(60)
        following.stop()

    asyncio.run(in_a_loop())


def speaking(program: str) -> Process:
    return Process("speaking", 1, sys.executable, args=["-c", program], pipe_stdout=True, pipe_stderr=True)
