"""On which cores and with which priority the processes of a station compute, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SHOW = """
import json, os, sys, threading
os.sched_setaffinity(0, json.loads(sys.argv[1]))
from inspection import scheduling
scheduling.schedule(sys.argv[2])
found = [sorted(os.sched_getaffinity(0))]
def encode():
    scheduling.compute_anywhere()
    found.append(sorted(os.sched_getaffinity(threading.get_native_id())))
thread = threading.Thread(target=encode)
thread.start()
thread.join()
print(json.dumps(found))
"""
PRIORITY = """
import os, sys, threading
from inspection import scheduling
# Whoever runs the tests may have a priority of its own.
os.setpriority(os.PRIO_PROCESS, 0, 0)
if sys.argv[2] == "nobody":
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
def nice():
    return os.getpriority(os.PRIO_PROCESS, 0)
if sys.argv[1] == "trainer":
    scheduling.wait_for_inspection()
else:
    scheduling.schedule(sys.argv[1])
found = [nice()]
def encode():
    with scheduling.in_background():
        found.append(nice())
    found.append(nice())
thread = threading.Thread(target=encode)
thread.start()
thread.join()
print(*found)
"""


def show(cores: list[int], process: str) -> list[list[int]]:
    """The cores of the process, and those of its thread that computes anywhere."""
    done = subprocess.run([sys.executable, "-c", SHOW, json.dumps(cores), process], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def priorities(process: str, user: str = "root") -> list[int]:
    """The nice values of the process, of its thread while that encodes, and of that thread afterwards."""
    if os.geteuid() != 0:
        pytest.skip("only root may raise priorities everywhere")
    command = [sys.executable, "-c", PRIORITY, process, user]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [int(value) for value in done.stdout.split()]


def test_of_two_cores_the_inspector_has_one_for_itself() -> None:
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        pytest.skip("this machine has one core")
    assert show(cores, "inspector") == [cores[:1], cores]
    assert show(cores, "recorder") == [cores[1:], cores]


def test_one_core_is_shared_by_all() -> None:
    core = sorted(os.sched_getaffinity(0))[:1]
    assert show(core, "inspector") == show(core, "recorder") == [core, core]


def test_what_judges_parts_comes_before_pages_and_these_before_training() -> None:
    assert priorities("inspector")[0] == -20
    for process in ("line", "camera@top", "recorder", "plc"):
        assert priorities(process)[0] == -10
    for process in ("web", "outbox", "opcua"):
        assert priorities(process)[0] == 5
    assert priorities("trainer")[0] == 10


def test_a_thread_waits_for_what_judges_parts_only_while_it_encodes() -> None:
    assert priorities("recorder") == [-10, 5, -10]


def test_who_may_not_raise_priorities_runs_without() -> None:
    assert priorities("line", "nobody")[0] == 0
    assert priorities("web", "nobody")[0] == 5
