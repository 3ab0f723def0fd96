"""A station that runs is examined without being disturbed, and is restarted with other settings while parts come."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import count

import httpx
import pytest
from running_station import PRODUCT, RunningStation

from inspection.cell import CellPart

RATE = 10


@pytest.mark.by_hand
def test_parts_come_while_the_doctor_looks_and_the_station_is_restarted_with_another_deadline(station: RunningStation) -> None:
    stop = threading.Event()

    def parts() -> Iterator[CellPart]:
        for number in count():
            if stop.is_set():
                return
            yield from station.parts("L1", [number])

    def settings() -> dict:
        return web.get("/api/v1/settings").json()

    def restarted_since(started_at: str) -> bool:
        try:
            return bool(settings()["started_at"] != started_at)
        except httpx.TransportError:
            return False

    with station, httpx.Client(base_url=station.url, timeout=30) as web:
        station.open_lot("L1")
        conveyor = threading.Thread(target=lambda: station.convey(parts(), RATE))
        conveyor.start()
        try:
            found = examined(station)
            assert found["configuration: station.toml"] == "ok"
            assert found["cameras: camera top"] == "ok", "held by the station, and not opened"
            assert found["network: port of REST and pages"] == "ok", "this station's own"
            assert found["records: database"] == "ok"
            assert station.states()["line"] == "top: armed"
            reasons = {row["reason"] for row in station.rows("L1")}
            assert reasons <= {None, "deadline", "overload"}, "the camera stayed as it was, however slow the machine"

            shown = settings()
            text = shown["toml"].replace("deadline_ms = 3000", "deadline_ms = 6000")
            new = {"toml": text, "digest": shown["digest"], "reason": "test"}
            waiting = web.put("/api/v1/settings", json=new).json()["waiting"]
            assert [each["key"] for each in waiting] == [f"products.{PRODUCT}.deadline_ms"]
            wanted = {"reason": "test"}
            assert web.post("/api/v1/settings/restart", json=wanted).json()["code"] == "in_production"
            pid, before = station.manager.pid, station.pid("line")
            assert web.post("/api/v1/settings/restart", json=wanted | {"in_production": True}).status_code == 202
            station.wait_until(lambda: restarted_since(shown["started_at"]), 120, "the station to be restarted")
            station.wait_until(station.ready, 120, "the station to be ready again")
            assert settings()["waiting"] == []
            assert (station.manager.poll(), station.manager.pid) == (None, pid), "the same process, for whoever started it"
            assert station.pid("line") not in (None, before)
        finally:
            stop.set()
            conveyor.join(30)
        station.convey(station.parts("L1", range(100_000, 100_010)), RATE)
        station.check_invariants("L1")
        assert "pass" in [row["verdict"] for row in station.rows("L1")[-10:]], "it inspects again"

        # With a file that it could not be started with, it goes on as it is.
        station.config_path.write_text("= nonsense")
        before = station.pid("line")
        os.kill(station.manager.pid, signal.SIGHUP)
        station.convey(station.parts("L1", range(200_000, 200_010)), RATE)
        assert station.pid("line") == before
        station.check_invariants("L1")


def examined(station: RunningStation) -> dict[str, str]:
    report = station.directory / "doctor.json"
    command = [sys.executable, "-m", "inspection", "doctor", str(station.config_path), "--json", str(report)]
    subprocess.run(command, check=False, capture_output=True, timeout=120)
    return {f"{each['area']}: {each['check']}": each["outcome"] for each in json.loads(report.read_text())["findings"]}
