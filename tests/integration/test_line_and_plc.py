"""What the line says to the gateway of a PLC: that it numbers, and what was judged."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from line_peers import LinePeers, config, line_peers
from peers import Peer, in_thread

from cameras.bus import Bus
from cameras.messages import Heartbeat
from inspection.config import PlcConfig
from inspection.domain import Verdict
from inspection.line import LineProcess
from inspection.lookups import Lookups
from inspection.messages import LineMessage, OutputCommand, PlcMessage, Recorded

PLC = PlcConfig(camera="top", rejector_distance_mm=6_000, accept_window_mm=0, max_speed_mm_per_s=1_000, actuator_ms=0)


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> Iterator[LinePeers]:
    with line_peers(monkeypatch) as peers:
        yield peers


def test_the_gateway_hears_the_line_from_when_it_numbers(peers: LinePeers) -> None:
    gateway = Peer(peers.run_dir, "plc", PlcMessage)
    bus = Bus(peers.run_dir, "line", LineMessage)
    configured = config(5_000, "Line1", 60).model_copy(update={"plc": PLC})
    with in_thread(LineProcess(configured, bus, Lookups(peers.lots.get, peers.requests.get, peers.challenge_due)), bus):
        for _ in range(3):
            peers.recorder.expect(Heartbeat)
        assert gateway.came(Heartbeat) == []
        peers.tell_last_trigger()
        assert gateway.expect(Heartbeat).process == "line"
    gateway.close()


def test_score_and_model_come_with_the_command(peers: LinePeers) -> None:
    with peers.armed_line():
        ticket = peers.exposed()
        row = Recorded(
            seq=1,
            trigger_id=ticket.trigger_id,
            serial=ticket.serial,
            verdict=Verdict.FAIL,
            reason=None,
            durable_ns=time.monotonic_ns(),
            score=2.5,
            model="ab" * 32,
        )
        peers.recorder.send("line", row)
        command = peers.cell.expect(OutputCommand)
        assert (command.score, command.model) == (2.5, "ab" * 32)
