"""When a process is killed, when it starts again, and what the records hear of it."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from peers import Peer

import inspection.watchdog
from cameras.bus import Bus
from cameras.messages import FaultReport, Heartbeat, Message
from inspection.config import CameraConfig, Config, ProductConfig, StationConfig
from inspection.messages import RecorderMessage
from inspection.supervision import Supervision, pause_s
from inspection.watchdog import Watchdog

SLEEPER = "import time; time.sleep(600)"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', 'held = b\"x\" * (400 << 20); ' + {SLEEPER!r}])"


class Station:
    """A supervision and the recorder that hears it; the processes are the test's."""

    def __init__(self, run_dir: Path) -> None:
        config = Config(
            station=StationConfig(process_memory_mib=256),
            cameras=(CameraConfig(name="top", serial="1"),),
            products=(ProductConfig(part_number="plate", camera="top"),),
        )
        self.recorder = Peer(run_dir, "recorder", RecorderMessage)
        self.bus = Bus(run_dir, "supervisor", Message)
        self.watchdog = Watchdog(run_dir / "watchdog")
        self.supervision = Supervision(config, self.bus, self.watchdog)
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, program: str = SLEEPER) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", program])
        self.processes.append(process)
        self.supervision.started(name, process.pid)
        return process

    def look_until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < end
            self.supervision.look()
            time.sleep(0.02)

    def fault(self) -> FaultReport:
        return self.recorder.expect(FaultReport)

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.watchdog.close()
        self.bus.close()
        self.recorder.close()


@pytest.fixture
def station() -> Iterator[Station]:
    # Socket paths are short; pytest's are not.
    with tempfile.TemporaryDirectory(prefix="supervision-") as run_dir:
        station = Station(Path(run_dir))
        yield station
        station.close()


def test_a_process_that_hangs_is_killed_and_named_in_the_records(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection.watchdog, "START_S", 0.1)
    process = station.start("inspector")
    process.send_signal(signal.SIGSTOP)
    station.look_until(lambda: process.poll() is not None)
    assert process.returncode == -signal.SIGKILL
    station.supervision.ended(process.pid, process.returncode)
    fault = station.fault()
    assert (fault.source, fault.kind, fault.count) == ("inspector", "process_hung", 1)
    assert "no sign of progress" in fault.detail


def test_a_process_that_ends_is_named_with_how_it_ended(station: Station) -> None:
    for end, said in ((-9, "was ended by SIGKILL"), (3, "ended with 3"), (None, "nobody knows how")):
        station.supervision.ended(station.start("line").pid, end)
        fault = station.fault()
        assert (fault.source, fault.kind) == ("line", "process_ended")
        assert said in fault.detail


def test_a_process_that_uses_too_much_memory_is_killed_or_its_child_that_does(station: Station) -> None:
    swollen = station.start("web", "held = b'x' * (400 << 20); " + SLEEPER)
    station.look_until(lambda: swollen.poll() is not None)
    station.supervision.ended(swollen.pid, swollen.returncode)
    fault = station.fault()
    assert (fault.source, fault.kind) == ("web", "process_over_memory")
    assert "256 are allowed" in fault.detail
    parent = station.start("trainer", PARENT)
    # It ends because its child does, which alone was killed.
    station.look_until(lambda: parent.poll() is not None)
    assert parent.returncode == 0
    assert "its child" in station.fault().detail


def test_one_that_ends_soon_after_each_start_waits_longer_and_longer_and_is_seen(station: Station) -> None:
    assert [pause_s(lives) for lives in (0, 1, 2, 3, 4, 5, 8, 9, 1_000)] == [0, 0, 0, 1, 2, 4, 32, 60, 60]
    pid = station.start("web").pid
    for _ in range(3):
        assert station.supervision.is_due("web")
        station.supervision.started("web", pid)
        station.supervision.ended(pid, 1)
    assert not station.supervision.is_due("web")
    assert station.supervision.is_due("line")
    station.supervision.look()
    beat = station.recorder.expect(Heartbeat)
    assert (beat.process, beat.ok) == ("supervisor", False)
    assert "web ended soon after 3 starts" in beat.state
    station.look_until(lambda: station.supervision.is_due("web"))
    for _ in range(37):
        station.supervision.started("web", pid)
        station.supervision.ended(pid, 1)
    # Forty ends are fewer faults, which count them all.
    station.recorder.expect(FaultReport, lambda fault: "after 40 short lives" in fault.detail)
    assert [fault.count for fault in station.recorder.came(FaultReport)] == [1] * 8 + [8] * 3


def test_what_ends_while_the_station_stops_is_no_fault(station: Station) -> None:
    process = station.start("line")
    station.supervision.stop()
    station.supervision.ended(process.pid, -9)
    assert station.recorder.came(FaultReport) == []
