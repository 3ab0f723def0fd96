"""REST writes: commands travel to a recorder over ZeroMQ, and its reply comes back as HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import zmq
from sqlalchemy import Engine
from starlette.testclient import TestClient

from inspection import recorder_client
from inspection.commands import CloseLot, Command, Done, execute
from inspection.errors import Unavailable
from inspection.recorder_client import ZmqRecorderClient


@pytest.fixture
def recorder(engine: Engine, command_address: str) -> Iterator[None]:
    """The recorder's part in it: one transaction per command, the reply after the commit."""
    context = zmq.Context()
    socket = context.socket(zmq.REP)
    socket.bind(command_address)

    def serve() -> None:
        while (raw := socket.recv()) != b"stop":
            with engine.begin() as connection:
                reply = execute(connection, msgspec.json.decode(raw, type=Command))
            socket.send(msgspec.json.encode(reply))
        socket.close(0)

    thread = threading.Thread(target=serve)
    thread.start()
    yield
    with context.socket(zmq.REQ) as stop:
        stop.connect(command_address)
        stop.send(b"stop")
        thread.join()
        stop.close(0)
    context.term()


@pytest.mark.usefixtures("recorder")
class TestWithRecorder:
    def test_a_lot_from_opening_to_closing(self, api: TestClient) -> None:
        opened = api.post("/api/v1/lots", json={"lot": "L1", "product": "plate", "expected_quantity": 20})
        assert opened.status_code == 201
        assert opened.json()["state"] == "open"
        assert opened.json() == api.get("/api/v1/lots/L1").json()
        announced = api.post("/api/v1/lots/L1/parts", json={"serials": ["S1", "S2"]})
        assert (announced.status_code, announced.json()) == (201, {"lot": "L1", "announced": 2})
        assert api.get("/api/v1/parts/S2").json() == {"serial": "S2", "attempts": []}
        closed = api.post("/api/v1/lots/L1/close")
        assert (closed.status_code, closed.json()["state"]) == (200, "closed")
        assert closed.json()["closed_at"] >= closed.json()["opened_at"]

    def test_refusals_are_problems(self, api: TestClient) -> None:
        def code(path: str, **body: object) -> tuple[int, str]:
            response = api.post(f"/api/v1/lots{path}", json=body)
            assert response.headers["content-type"] == "application/problem+json"
            return response.status_code, response.json()["code"]

        assert code("", lot="L1", product="teapot") == (422, "unknown_product")
        assert code("/L1/close") == (404, "unknown_lot")
        assert code("/L1/parts", serials=["S1"]) == (404, "unknown_lot")
        assert api.post("/api/v1/lots", json={"lot": "L1", "product": "plate"}).status_code == 201
        assert code("", lot="L1", product="plate") == (409, "lot_exists")
        assert api.post("/api/v1/lots/L1/parts", json={"serials": ["S1"]}).status_code == 201
        assert code("/L1/parts", serials=["S2", "S1"]) == (409, "duplicate_serial")
        assert api.get("/api/v1/parts/S2").status_code == 404
        assert code("/L1/parts", serials=["S 3"]) == (422, "invalid_request")
        assert code("/L1/parts", serials=[]) == (422, "invalid_request")
        assert api.post("/api/v1/lots/L1/close").status_code == 200
        assert code("/L1/close") == (409, "closed_lot")
        assert code("/L1/parts", serials=["S3"]) == (409, "closed_lot")

    def test_a_name_with_a_slash(self, api: TestClient) -> None:
        assert api.post("/api/v1/lots", json={"lot": "24/0815", "product": "plate"}).status_code == 201
        assert api.post("/api/v1/lots/24%2F0815/parts", json={"serials": ["S/1"]}).status_code == 201
        assert api.post("/api/v1/lots/24%2f0815/close").json()["state"] == "closed"


def test_without_a_recorder_writing_is_unavailable_and_reading_goes_on(api, seeder, monkeypatch) -> None:
    monkeypatch.setattr(recorder_client, "TIMEOUT_MS", 50)
    seeder.lot("L1")
    seeder.connection.commit()
    response = api.post("/api/v1/lots/L1/close")
    assert (response.status_code, response.json()["code"]) == (503, "unavailable")
    assert "look whether the command took effect" in response.json()["detail"]
    assert api.get("/api/v1/lots/L1").json()["state"] == "open"


@pytest.mark.parametrize(
    ("reply", "status", "code"),
    [
        (b'{"type": "Refused", "code": "unavailable", "detail": "the disk is full"}', 503, "unavailable"),
        (b'{"type": "Maybe"}', 503, "unavailable"),
        (b"\xff", 503, "unavailable"),
    ],
)
def test_a_recorder_in_trouble_is_unavailable(api, command_address: str, reply: bytes, status: int, code: str) -> None:
    with zmq.Context() as context, context.socket(zmq.REP) as socket:
        socket.bind(command_address)

        def answer() -> None:
            socket.recv()
            socket.send(reply)

        thread = threading.Thread(target=answer)
        thread.start()
        response = api.post("/api/v1/lots/L1/close")
        thread.join()
    assert (response.status_code, response.json()["code"]) == (status, code)


def test_commands_from_many_threads_each_get_their_own_reply(tmp_path: Path) -> None:
    address = f"ipc://{tmp_path}/commands"
    client = ZmqRecorderClient(address)
    with zmq.Context() as context, context.socket(zmq.REP) as socket:
        socket.bind(address)

        def serve() -> None:
            for _ in range(40):
                command = msgspec.json.decode(socket.recv(), type=Command)
                socket.send(msgspec.json.encode(Done(lot=command.lot)))

        got: dict[str, str] = {}

        def ask(lot: str) -> None:
            got[lot] = client.execute(CloseLot(lot=lot)).lot

        threads = [threading.Thread(target=serve), *(threading.Thread(target=ask, args=(f"L{n}",)) for n in range(40))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    client.close()
    assert got == {f"L{n}": f"L{n}" for n in range(40)}


def test_the_client_says_when_nobody_answers(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(recorder_client, "TIMEOUT_MS", 20)
    client = ZmqRecorderClient(f"ipc://{tmp_path}/commands")
    with pytest.raises(Unavailable, match=r"did not answer within 0\.02 s"):
        client.execute(CloseLot(lot="L1"))
    client.close()
