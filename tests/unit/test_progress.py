"""Long commands say where they are, also where nobody looks: in a service's log."""

from __future__ import annotations

import time

import pytest

from inspection.cli_options import showing_progress


def test_in_a_log_the_first_step_is_said_and_then_one_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    with showing_progress() as say:
        for minute in range(3):
            for step in range(5):
                say(f"minute {minute}, step {step}")
            now_s += 60
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["minute 0, step 0", "minute 1, step 0", "minute 2, step 0"]
