"""Invariants 1 and 2 when processes hang, deadlock or swell: each is killed and started again, the records say so, and the line
goes on; a stop of the station loses no part.

``FAULT_SEEDS=50 python -m pytest -rP -m by_hand tests/faults/test_hanging_processes.py`` does it with 50 orders of faults more.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from running_station import RunningStation
from sqlalchemy import select

from inspection.cell import CellPart
from inspection.domain import Verdict
from inspection.records.database import open_engine
from inspection.records.tables import faults
from inspection.watchdog import Watchdog

INJECTED = Path(__file__).parents[1] / "support" / "injected"
VICTIMS = ("camera@top", "inspector", "recorder", "line", "web")
HOW = {"stop": signal.SIGSTOP, "deadlock": signal.SIGUSR2, "swell": signal.SIGUSR1}
KINDS = {"stop": "process_hung", "deadlock": "process_hung", "swell": "process_over_memory"}
# A camera process that is stopped leaves its edges to the simulated camera, which keeps 32. After three missed deadlines, which
# is some 20 parts, the line allows no more.
RATE = 10


@pytest.fixture
def station(tmp_path: Path, plate_model: Path, monkeypatch: pytest.MonkeyPatch) -> RunningStation:
    """Its processes obey the signals of ``injected``, and may use no more than 1 GiB."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(INJECTED), *filter(None, [os.environ.get("PYTHONPATH")])]))
    station = RunningStation(tmp_path, plate_model, deadline_ms=1_500)
    text = station.config_path.read_text()
    station.config_path.write_text(text.replace('data_dir = "data"\n', 'data_dir = "data"\nprocess_memory_mib = 1024\n'))
    return station


def recorded(station: RunningStation) -> set[tuple[str, str]]:
    """(source, kind) of all faults of supervision."""
    engine = open_engine(station.config.database_url, read_only=True)
    with engine.connect() as connection:
        found = connection.execute(select(faults.c.source, faults.c.kind).where(faults.c.kind.startswith("process_")))
        rows = {(row.source, row.kind) for row in found}
    engine.dispose()
    return rows


def strike(station: RunningStation, victim: str, how: str) -> int:
    """The id of the process that hangs or swells from now on."""
    pid = station.pid(victim)
    assert pid is not None, f"process {victim} does not run"
    os.kill(pid, HOW[how])
    return pid


def replaced(station: RunningStation, victim: str, pid: int) -> bool:
    return station.pid(victim) not in (None, pid)


def test_hanging_and_swelling_processes_are_replaced_and_a_stop_loses_no_part(station: RunningStation) -> None:
    struck: dict[str, int] = {}

    def parts() -> Iterator[CellPart]:
        number = 0
        for number in range(20):
            yield next(station.parts("L1", [number]))
        struck["camera@top"] = strike(station, "camera@top", "stop")
        struck["web"] = strike(station, "web", "swell")
        while not all(replaced(station, victim, pid) for victim, pid in struck.items()) or not station.ready():
            number += 1
            yield next(station.parts("L1", [number]))
        # A stop in the midst of parts, of which some come while the line is going.
        yield from station.parts("L2", range(1_000, 1_040))
        stop = Thread(target=station.stop)
        stop.start()
        yield from station.parts("L2", range(1_040, 1_042))
        stop.join()
        check_whole(station, "L2")
        station.start()
        yield from station.parts("L2", range(1_042, 1_050))

    with station:
        station.open_lot("L1")
        station.open_lot("L2")
        station.convey(parts(), RATE)
        for lot in ("L1", "L2"):
            station.check_invariants(lot)
            station.check_images(lot)
        assert recorded(station) == {("camera@top", "process_hung"), ("web", "process_over_memory")}


def check_whole(station: RunningStation, lot: str) -> None:
    """After a stop every trigger has its verdict, every verdict its image, and every pass was accepted."""
    assert station.manager.returncode == 0
    rows = station.rows(lot)
    assert station.summary(lot).open_triggers == 0
    assert len(rows) >= 40
    assert {row["verdict"] for row in rows} <= set(Verdict) - {Verdict.NOT_INSPECTED}
    assert all(row["frame_sha256"] for row in rows)
    assert all((row["output"] == "accept") == (row["verdict"] == "pass") for row in rows)


@pytest.mark.by_hand
def test_a_supervisor_beats_while_it_supervises_and_is_overdue_when_it_hangs(
    station: RunningStation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As systemd sees it, which is played by the watchdog of the station."""
    systemd = Watchdog(tmp_path / "systemd")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "systemd"))
    with station:
        systemd.started(station.manager.pid)
        os.kill(station.manager.pid, signal.SIGSTOP)
        station.wait_until(lambda: systemd.overdue() != {}, 30, "the supervisor to be overdue")
        os.kill(station.manager.pid, signal.SIGCONT)
        station.wait_until(lambda: systemd.overdue() == {}, 10, "the supervisor to beat again")
        # It was away, and accuses nobody of that.
        station.wait_until(station.ready, 10, "the station to be ready")
        assert recorded(station) == set()
    systemd.close()


@pytest.mark.by_hand
def test_a_process_that_ends_at_every_start_is_seen_and_keeps_no_core_busy(station: RunningStation) -> None:
    with socket.socket() as taken, station:
        os.kill(station.pid("web") or 0, signal.SIGKILL)
        station.wait_until(lambda: not station.ready(), 10, "the page to be gone")
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", station.config.web.port))
        taken.listen()
        station.wait_until(lambda: "web ended soon after" in station.states().get("supervisor", ""), 120, "the back-off")
        assert recorded(station) == {("web", "process_ended")}
        # The line needs no pages.
        station.open_lot("L1")
        station.convey(station.parts("L1", range(20)), RATE)
        station.check_invariants("L1")
        assert all(row["verdict"] != "not_inspected" for row in station.rows("L1"))


def plan(seed: int) -> dict[int, tuple[str, str]]:
    """At which part what strikes which process: with seed 0 each is stopped in turn."""
    if seed == 0:
        return {100 + 400 * turn: (victim, "stop") for turn, victim in enumerate(VICTIMS)}
    chance = random.Random(seed)
    at = sorted(chance.sample(range(40, 1_200), chance.randint(2, 5)))
    return {number: (chance.choice(VICTIMS), chance.choice(list(HOW))) for number in at}


@pytest.mark.by_hand
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(int(os.environ.get("FAULT_SEEDS", "0")) + 1))
def test_faults_of_each_process_at_random_moments(station: RunningStation, seed: int) -> None:
    planned, struck = plan(seed), []
    last = max(planned) + 100

    def parts() -> Iterator[CellPart]:
        for number in range(last):
            if number in planned and station.pid(planned[number][0]) is not None:
                strike(station, *planned[number])
                struck.append(planned[number])
            yield next(station.parts("L1", [number]))

    with station:
        station.open_lot("L1")
        station.convey(parts(), RATE)
        station.wait_until(lambda: recorded(station) >= {(victim, KINDS[how]) for victim, how in struck}, 60, "all faults")
        station.wait_until(station.ready, 60, "all processes to be back")
        # The line goes on by itself.
        station.convey(station.parts("L1", range(last, last + 40)), RATE)
        station.check_invariants("L1")
        station.check_images("L1")
        rows = station.rows("L1")
        assert all(row["verdict"] != "not_inspected" for row in rows[-40:])
        inspected = sum(row["verdict"] != "not_inspected" for row in rows)
        said = ", ".join(f"{victim} {how}" for victim, how in struck)
        sys.stdout.write(f"seed {seed}: {len(rows)} parts, {inspected} inspected; {said}\n")
