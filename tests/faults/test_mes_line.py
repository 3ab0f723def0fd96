"""The whole way: PLC and conveyor at changing speed in front, MES receivers behind, one of them down half of the time; frames are
dropped and processes killed meanwhile.

``MES_PARTS=5000 MES_RATE=50 python -m pytest -rP tests/faults/test_mes_line.py`` conveys as many parts as wanted,
so many a second on average, and says what came of them.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from http_receiver import HttpPeer
from mqtt_peers import Broker, Host
from plc_station import check_bins, conveyor, plc_station, recorded_faults
from running_station import RunningStation

from inspection.cell import CellPart
from inspection.domain import Output
from inspection.mes.receiver import Stream
from inspection.plc.conveyor import Conveyed

PARTS = int(os.environ.get("MES_PARTS", "1"))
RATE = float(os.environ.get("MES_RATE", "11.5"))
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VICTIMS = ("recorder", "outbox", "inspector", "line", "plc")
# So many are accepted before each kill, and after the last one.
ACCEPTED = max(8, PARTS // 20)
MOST = 20_000 + 10 * PARTS
# One frame in so many is lost on its way from the camera.
DROPPED = 40


class HalfTheTime:
    """A receiver that is down as long as it is up, on one port; what each of its lives got is kept."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._peer = HttpPeer(SECRET)
        self.port = self._peer.port
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._live)
        self._thread.start()

    def _live(self) -> None:
        while not self._end.wait(2):
            self._peer.stop()
            self.events += self._peer.received
            self._end.wait(2)
            self._peer = HttpPeer(SECRET, self.port)

    def stop_failing(self) -> None:
        self._end.set()
        self._thread.join()

    def close(self) -> None:
        self._peer.stop()

    def got(self) -> list[dict[str, Any]]:
        return self.events + self._peer.received


@pytest.fixture
def receiver() -> Iterator[HalfTheTime]:
    receiver = HalfTheTime()
    yield receiver
    receiver.stop_failing()
    receiver.close()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    if shutil.which("mosquitto") is None:
        pytest.skip("mosquitto is not installed")
    folder = tmp_path / "broker"
    folder.mkdir()
    broker = Broker(folder)
    broker.start()
    yield broker
    broker.stop()


def parts_with_kills(station: RunningStation, conveyed: list[Conveyed], killed: list[str]) -> Iterator[CellPart]:
    """Parts without end, until the line has resumed after each kill."""
    since = 0
    for number in range(MOST):
        if sum(part.bin is Output.ACCEPT for part in conveyed[since:]) >= ACCEPTED:
            if len(killed) >= len(VICTIMS) and number >= PARTS:
                return
            killed.append(VICTIMS[len(killed) % len(VICTIMS)])
            station.kill(killed[-1])
            # The belt is full of parts from before.
            since = len(conveyed) + 1
        yield next(station.parts("L1", [number]))
    raise AssertionError(f"the line did not resume after {killed}")


@pytest.mark.timeout(300 + PARTS)
def test_bins_records_and_both_receivers_agree_part_by_part(
    tmp_path: Path, plate_model: Path, receiver: HalfTheTime, broker: Broker
) -> None:
    secret = tmp_path / "mes.secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    receivers = f"""
[[receivers]]
kind = "http"
name = "mes"
url = "http://127.0.0.1:{receiver.port}/events"
secret_file = "mes.secret"

[[receivers]]
kind = "mqtt"
name = "scada"
host = "127.0.0.1"
port = {broker.port}
group = "plant"
node = "cell"
"""
    station = plc_station(tmp_path, plate_model, receivers, RATE)
    host = Host(broker.port)
    killed: list[str] = []
    with station:
        station.open_lot("L1")
        station.camera.fault("drop", every=DROPPED)
        belt = conveyor(station, RATE)
        started = time.monotonic()
        belt.run(parts_with_kills(station, belt.parts, killed))
        rate = len(belt.parts) / (time.monotonic() - started)
        station.camera.clear_fault()
        assert killed[: len(VICTIMS)] == list(VICTIMS)
        station.wait_until(station.ready, 60, "all processes to be back")
        check_bins(station, "L1", belt.parts)
        station.close_lot("L1")
        receiver.stop_failing()
        rows = {row["seq"]: row for row in station.rows("L1")}
        last = max(rows)

        def delivered() -> bool:
            on_mqtt = any(message.values.get("seq") == last for message in host.of("DDATA"))
            closed = any(event["data"].get("change") == "closed" for event in receiver.got())
            return on_mqtt and closed

        station.wait_until(delivered, 120, "the receivers to be caught up")
        assert "accept_not_commanded" not in recorded_faults(station)
        summary = httpx.get(f"{station.url}/api/v1/lots/L1/summary").json()

    got = [event for event in receiver.got() if event["stream"] == Stream.INSPECTIONS]
    first_times = list(dict.fromkeys(event["number"] for event in got))
    assert first_times == sorted(rows), "all of them, in order"
    of_mqtt = {message.values["seq"]: message.values for message in host.of("DDATA") if message.device == Stream.INSPECTIONS}
    assert of_mqtt.keys() == rows.keys()
    for event in got:
        row = rows[event["number"]]
        for told in (event["data"], of_mqtt[event["number"]]):
            assert (told["serial"], told["verdict"], told["reason"], told["output"]) == (
                *(row["serial"], row["verdict"], row["reason"], row["output"] or Output.REJECT),
            )
    accepted = sum(row["output"] == Output.ACCEPT for row in rows.values())
    assert (summary["triggered"], summary["accepted"]) == (len(rows), accepted)
    assert len(VICTIMS) * ACCEPTED < sum(part.bin is Output.ACCEPT for part in belt.parts) <= accepted
    host.close()
    say(rate, killed, belt.parts, list(rows.values()))


def say(rate: float, killed: list[str], conveyed: list[Conveyed], rows: list[dict[str, Any]]) -> None:
    """Shown by ``-rP``."""
    in_bin = sum(part.bin is Output.ACCEPT for part in conveyed)
    reasons = Counter(row["reason"] or row["verdict"] for row in rows)
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    sys.stdout.write(f"{len(conveyed)} parts at {rate:.1f} parts/s, {len(rows)} triggers, {in_bin} in the accept bin, ")
    sys.stdout.write(f"{len(killed)} kills; {counts}\n")
