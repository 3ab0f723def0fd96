"""``station soak`` as a command: it ends by itself or by Ctrl-C, with its report, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keeps the model."""
    return tmp_path_factory.mktemp("soak")


def soak(data: Path, report: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "inspection", "soak", "--data", str(data), "--json", str(report), "--rate", "20", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)


def check(found: dict[str, Any], data: Path) -> None:
    assert found["violations"] == []
    assert found["parts"] == sum(found["verdicts"].values()) > 100
    assert found["verdicts"]["fail"] + found["verdicts"].get("review", 0) > 0, "one in eight has a scratch"
    assert found["checks"]["the image is the part's own"] > 10
    assert found["checks"]["receivers get the rows as they are"] >= found["parts"]
    assert {held["process"] for held in found["memory"]} >= {"inspector", "recorder", "line", "soak"}
    assert sum(stretch["parts"] for stretch in found["stretches"]) > 100
    assert [path.name for path in data.iterdir()] == ["320x256"], "only the model is kept"


@pytest.mark.by_hand
def test_a_soak_with_faults_reports_what_each_cost(data: Path, tmp_path: Path) -> None:
    page = tmp_path / "soak.html"
    process = soak(data, tmp_path / "soak.json", "--hours", "0.02", "--faults", "1", "--html", str(page))
    said, complained = process.communicate(timeout=280)
    assert process.returncode == 0, said + complained
    found = json.loads((tmp_path / "soak.json").read_bytes())
    check(found, data)
    assert found["faults"]
    assert all(fault["recovered_s"] is not None for fault in found["faults"])
    assert "every trigger has one row" in said
    assert "<svg" in page.read_text()


@pytest.mark.by_hand
def test_ctrl_c_ends_a_soak_with_the_report_so_far(data: Path, tmp_path: Path) -> None:
    process = soak(data, tmp_path / "soak.json", "--hours", "10")
    until = time.monotonic() + 200
    while not any(data.glob("soak-*/data/images/*/*.png")):
        assert process.poll() is None
        assert time.monotonic() < until, "no part comes"
        time.sleep(0.1)  # between two looks
    time.sleep(15)  # what is soaked in
    process.send_signal(signal.SIGINT)
    said, complained = process.communicate(timeout=100)
    assert process.returncode == 0, said + complained
    found = json.loads((tmp_path / "soak.json").read_bytes())
    check(found, data)
    assert (found["seed"], found["faults"]) == (None, [])
    assert found["seconds"] < 300
