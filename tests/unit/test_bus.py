"""Mailboxes: order, restarts, garbage."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from cameras.bus import Bus
from cameras.messages import CameraReady, Desync


@pytest.fixture
def run_dir() -> Iterator[Path]:
    # Socket paths are short; pytest's are not.
    with tempfile.TemporaryDirectory(prefix="bus-") as folder:
        yield Path(folder)


def test_messages_arrive_in_order(run_dir: Path) -> None:
    sender, receiver = Bus(run_dir, "a", CameraReady), Bus(run_dir, "b", CameraReady)
    for number in range(100):
        sender.send("b", CameraReady(camera=str(number)))
    received: list[str] = []
    while len(received) < 100:
        got = [message.camera for message in receiver.receive(5)]
        assert got, "nothing came in 5 s"
        received += got
    assert received == [str(number) for number in range(100)]
    sender.close()
    receiver.close()


def test_what_was_sent_while_the_peer_was_away_is_delivered_when_it_comes(run_dir: Path) -> None:
    sender = Bus(run_dir, "a", CameraReady)
    assert sender.send("b", CameraReady(camera="early"))
    receiver = Bus(run_dir, "b", CameraReady)
    assert [message.camera for message in receiver.receive(5)] == ["early"]
    sender.close()
    receiver.close()


def test_garbage_and_unexpected_kinds_are_counted_and_do_not_stop_the_receiver(run_dir: Path) -> None:
    receiver = Bus(run_dir, "b", CameraReady)
    sender = Bus(run_dir, "a", CameraReady)
    raw = zmq.Context.instance().socket(zmq.PUSH)
    raw.connect(f"ipc://{run_dir}/b.inbox")
    raw.send(b"\x01\xff\x00garbage")
    raw.send(b"\x63\x80of another version")
    raw.send(b"")
    sender.send("b", Desync(camera="top", camera_epoch=1, detail="not for this inbox"))
    sender.send("b", CameraReady(camera="good"))
    received: list[str] = []
    for _ in range(50):
        received += [message.camera for message in receiver.receive(0.1)]
        if received and receiver.garbled == 4:
            break
    assert received == ["good"]
    assert receiver.garbled == 4
    raw.close(0)
    sender.close()
    receiver.close()


def test_a_peer_that_stays_away_fills_a_bounded_queue_and_refusals_are_counted(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cameras.bus.QUEUE_LIMIT", 10)
    sender = Bus(run_dir, "a", CameraReady)
    results = [sender.send("nobody", CameraReady(camera="x")) for _ in range(30)]
    assert results.count(False) == sender.refused > 0
    sender.close()


def test_a_requester_with_ever_new_names_cannot_use_up_sockets(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cameras.bus.PEER_LIMIT", 3)
    sender = Bus(run_dir, "a", CameraReady)
    assert [sender.send(f"peer{number}", CameraReady(camera="x")) for number in range(5)] == [True] * 3 + [False] * 2
    sender.close()
