"""Which cores the processes of a station compute on, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SHOW = """
import json, os, sys, threading
os.sched_setaffinity(0, json.loads(sys.argv[1]))
from inspection import cores
cores.keep_to_core(sys.argv[2])
found = [sorted(os.sched_getaffinity(0))]
def encode():
    cores.compute_anywhere()
    found.append(sorted(os.sched_getaffinity(threading.get_native_id())))
thread = threading.Thread(target=encode)
thread.start()
thread.join()
print(json.dumps(found))
"""


def show(cores: list[int], process: str) -> list[list[int]]:
    """The cores of the process, and those of its thread that computes anywhere."""
    done = subprocess.run([sys.executable, "-c", SHOW, json.dumps(cores), process], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_of_two_cores_the_inspector_has_one_for_itself() -> None:
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        pytest.skip("this machine has one core")
    assert show(cores, "inspector") == [cores[:1], cores]
    assert show(cores, "recorder") == [cores[1:], cores]


def test_one_core_is_shared_by_all() -> None:
    core = sorted(os.sched_getaffinity(0))[:1]
    assert show(core, "inspector") == show(core, "recorder") == [core, core]
