"""Who hangs is known from what processes say of themselves: real processes, real sockets."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import inspection.watchdog
from cameras.beat import notify
from inspection.watchdog import Watchdog

# Beats at each line of its input, announcing the number in it.
BEATER = "import sys; from cameras.beat import beat\nfor line in sys.stdin: beat(float(line)); print('beat', flush=True)"


class Beater:
    """A process that beats when it is told to."""

    def __init__(self, socket: Path) -> None:
        environment = {**os.environ, "NOTIFY_SOCKET": str(socket)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", BEATER], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self.process.pid

    def beat(self, within_s: float) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{within_s}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "beat\n"


@contextmanager
def beater(socket: Path) -> Iterator[Beater]:
    found = Beater(socket)
    with found.process:
        yield found
        found.process.kill()


@pytest.fixture
def watchdog(tmp_path: Path) -> Iterator[Watchdog]:
    watchdog = Watchdog(tmp_path / "watchdog")
    yield watchdog
    watchdog.close()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_process_is_overdue_when_its_next_beat_does_not_come_as_announced(watchdog: Watchdog, tmp_path: Path) -> None:
    with beater(tmp_path / "watchdog") as quick, beater(tmp_path / "watchdog") as slow:
        watchdog.started(quick.pid)
        watchdog.started(slow.pid)
        quick.beat(0.3)
        slow.beat(60)
        assert watchdog.overdue() == {}
        until(lambda: set(watchdog.overdue()) == {quick.pid})
        assert watchdog.overdue()[quick.pid] >= 0.3
        # What announces more time is said at once, whenever the last beat was.
        quick.beat(60)
        assert watchdog.overdue() == {}


def test_a_process_has_longer_for_its_first_beat(watchdog: Watchdog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with beater(tmp_path / "watchdog") as process, beater(tmp_path / "watchdog") as other:
        watchdog.started(process.pid)
        assert watchdog.overdue() == {}
        monkeypatch.setattr(inspection.watchdog, "START_S", 0.1)
        watchdog.started(process.pid)
        # Nobody beats for another process.
        other.beat(60)
        until(lambda: set(watchdog.overdue()) == {process.pid})
        watchdog.ended(process.pid)
        assert watchdog.overdue() == {}


def test_nobody_is_accused_of_what_came_while_the_watchdog_was_away(
    watchdog: Watchdog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection.watchdog, "_AWAY_S", 0.2)
    with beater(tmp_path / "watchdog") as process:
        watchdog.started(process.pid)
        process.beat(0.5)
        assert watchdog.overdue() == {}
        time.sleep(0.7)  # as long as the watchdog is to be away
        assert watchdog.overdue() == {}
        until(lambda: set(watchdog.overdue()) == {process.pid})


def test_a_supervisor_that_is_not_there_costs_a_process_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nowhere"))
    assert not notify("WATCHDOG=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    assert notify("WATCHDOG=1")
