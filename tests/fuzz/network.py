"""What comes over the plant's and the cell's network: Sparkplug payloads, Modbus and OPC UA connections, and HTTP requests."""

from __future__ import annotations

import dataclasses
import json
import socket
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import unquote

from tests.fuzz.common import TOP, Harness, Transport, database, database_url, folder, loop, raise_trouble, turns


def sparkplug(data: bytes) -> None:
    """A broker's messages: what is read is written again as it was."""
    from inspection.mes.sparkplug import MalformedPayload, decode, encode, host_state

    with suppress(MalformedPayload):
        host_state(data)
    with suppress(MalformedPayload):
        payload = decode(data)
        with suppress(ValueError):  # values that no station writes
            assert decode(encode(payload)).seq == payload.seq


def _sparkplug_seeds() -> list[bytes]:
    from inspection.mes.sparkplug import Datatype, Metric, Payload, encode

    metrics = (
        Metric("Node Control/Rebirth", Datatype.BOOLEAN, True, 1, None, False),
        Metric("a", Datatype.DOUBLE, 1.5, 1, 7, True),
        Metric("b", Datatype.STRING, "text", 1, None, False),
    )
    return [encode(Payload(1_700_000_000_000, metrics, 3)), b'{"online":true,"timestamp":1700000000000}']


@cache
def _plc() -> Any:
    from inspection.config import PlcConfig
    from inspection.plc.registers import INPUT_COUNT, decode_outputs
    from inspection.plc.server import PlcServer

    distances = {"rejector_distance_mm": 20_000, "accept_window_mm": 0, "max_speed_mm_per_s": 1_000, "actuator_ms": 0}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = PlcConfig.model_validate({"port": port, "camera": "top", **distances})
    server = PlcServer(config, decode_outputs, lambda: [0] * INPUT_COUNT)
    # Nobody connects to it: connections are made below.
    assert loop().run_until_complete(server.start())
    return server._server


def modbus(data: bytes) -> None:
    """Frames to the PLC's server are answered, or the connection is closed; the next client is served."""
    server = _plc()

    async def talk(content: bytes) -> Transport:
        connection, transport = server.callback_new_connection(), Transport()
        connection.connection_made(transport)
        connection.data_received(content)
        await turns(30)
        if not transport.closed:
            connection.connection_lost(None)
        server.active_connections.clear()
        return transport

    loop().run_until_complete(talk(data))
    raise_trouble()
    answered = loop().run_until_complete(talk(b"\0\1\0\0\0\6\1\4\0\0\0\2"))
    assert answered.written[7:9] == b"\4\4", answered.written
    raise_trouble()


def _modbus_seeds() -> list[bytes]:
    frames = [b"\1\4\0\0\0\2", b"\1\3\0\0\0\12", b"\1\6\0\0\0\1", b"\1\x10\0\0\0\1\2\0\1", b"\1\x2b\x0e\1\0", b"\1\1\0\0\0\1"]
    whole = [b"\0\1\0\0" + len(frame).to_bytes(2, "big") + frame for frame in frames]
    return [*whole, b"".join(whole)]


@cache
def _opcua() -> Any:
    from inspection.config import OpcUaConfig
    from inspection.opcua.security import Trust, Users, own_identity
    from inspection.opcua.server import Gate, StationServer, _BinaryServer

    home = folder() / "opcua"
    settings = OpcUaConfig()
    gate = Gate(settings, Trust(home / "trusted", home / "rejected"), Users(home / "users"))
    server = StationServer(settings, own_identity(home, "fuzz"), gate)

    async def make() -> Any:
        await server.prepare()
        await server._setup_server_nodes()
        binary = _BinaryServer(server.iserver, "127.0.0.1", 4840, server.limits)
        binary.set_policies(server._policies)
        return binary

    return loop().run_until_complete(make())


def opcua(data: bytes) -> None:
    """Bytes of somebody who is not known yet: nothing gets out of the connection's own task, and nothing stays behind."""
    server = _opcua()

    async def talk() -> None:
        protocol, transport = server._make_protocol(), Transport()
        protocol.connection_made(transport)
        protocol.data_received(data)
        await turns(40)
        protocol.connection_lost(None)
        await turns(10)
        server.closing_tasks.clear()

    loop().run_until_complete(talk())
    raise_trouble()
    assert not server.clients


def _opcua_seeds() -> list[bytes]:
    def text(content: bytes) -> bytes:
        return len(content).to_bytes(4, "little") + content

    def message(kind: bytes, body: bytes) -> bytes:
        return kind + (8 + len(body)).to_bytes(4, "little") + body

    url = text(b"opc.tcp://127.0.0.1:4840")
    limits = b"".join(each.to_bytes(4, "little") for each in (0, 65_535, 65_535, 0, 0))
    hello = message(b"HELF", limits + url)
    policy = text(b"http://opcfoundation.org/UA/SecurityPolicy#None") + b"\xff" * 8
    header = b"\0\0" + bytes(8) + b"\1\0\0\0" + bytes(4) + b"\xff" * 4 + bytes(4) + b"\0\0\0"
    request = b"\1\0\xbe\1" + header + bytes(8) + b"\1\0\0\0" + b"\xff" * 4 + b"\x80\xee\x36\0"
    opened = message(b"OPNF", bytes(4) + policy + b"\1\0\0\0\1\0\0\0" + request)
    asked = message(b"MSGF", bytes(4) + b"\1\0\0\0\2\0\0\0\2\0\0\0" + b"\1\0\xac\1" + header + url + b"\xff" * 8)
    return [hello, hello + opened, hello + opened + asked]


@cache
def _web() -> Any:
    """The REST interface of a station with an administrator."""
    from argon2 import PasswordHasher

    from inspection.commands import execute
    from inspection.domain import Role
    from inspection.passwords import Passwords
    from inspection.records.users import create_user
    from inspection.web import access
    from inspection.web.app import create_api
    from inspection.web.settings import Settings

    engine = database("web")
    cheap = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    with engine.begin() as connection:
        create_user(connection, "ada", Role.ADMIN, cheap.hashed("correct horse battery"), "fuzz")
    access._LOGINS_AT_ONCE = 1e9
    home = folder()
    settings = Settings("st", database_url("web"), home / "images", home / "status.json", f"ipc://{home}/none", ("plate",))
    app = create_api(dataclasses.replace(settings, requests_per_s=1e9), passwords=cheap)
    app.state.context.recorder.close()

    class Recorder:
        """Executes commands as the recorder does."""

        def execute(self, command: Any) -> Any:
            with engine.begin() as connection:
                return execute(connection, command)

        def close(self) -> None: ...

    app.state.context = dataclasses.replace(app.state.context, recorder=Recorder())
    return app


def rest(data: bytes) -> None:
    """A request: a line with method and address, header lines, an empty line, a body. The answer is no failure of the station."""
    from inspection.records.sessions import start_session

    app = _web()
    # Each time: logging out is a request too.
    with database("web").begin() as connection:
        cookie = start_session(connection, "ada", "127.0.0.1", datetime.now(UTC)).encode()
    head, _, body = data.partition(b"\n\n")
    lines = head.split(b"\n")
    method, _, target = lines[0].partition(b" ")
    path, _, query = target.partition(b"?")
    pairs = [line.partition(b":")[::2] for line in lines[1:20]]
    if not path.startswith(b"/"):
        return  # a server refuses it
    message: Any = {"type": "http.request", "body": body, "more_body": False}
    status: list[int] = []

    async def receive() -> Any:
        nonlocal message
        given, message = message, {"type": "http.disconnect"}
        return given

    async def send(sent: Any) -> None:
        if sent["type"] == "http.response.start":
            status.append(sent["status"])

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "method": method.decode("latin-1").upper()[:10] or "GET",
        "path": unquote(path.decode("latin-1")),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": [(name.strip().lower(), value.strip().replace(b"COOKIE", cookie)) for name, value in pairs],
        "client": ("192.0.2.7", 4711),
        "server": ("station", 80),
        "scheme": "http",
        "http_version": "1.1",
    }
    loop().run_until_complete(app(scope, receive, send))
    assert status, "no answer"
    assert status[0] < 500 or b"health" in path, status


def _rest_seeds() -> list[bytes]:
    known = b"host: station\norigin: http://station\ncookie: station_session=COOKIE\ncontent-type: application/json\n\n"
    example = b'{"product":"plate","lot":"L","by":"x","reason":"y","serials":["S"],"model":"%s"}' % (b"ab" * 32)
    asked = [
        b"POST /api/v1/session\nhost: station\norigin: http://station\n\n" + b'{"user":"ada","password":"wrong"}',
        b"GET /api/v1/lots\nauthorization: Bearer station_x\nhost: [::1\norigin: http://[\n\n",
        b"POST /api/v1/lots\nhost: [::1\norigin: http://[\n\n{}",
        b"OPTIONS /api/v1/lots/%2e%2e%2f/events?cursor=%00\nhost: a\nhost: b\n\n",
        b"GET /static/%2e%2e/%2e%2e/headers.py\n\n",
    ]
    described = json.loads((TOP / "inspection" / "web" / "openapi.json").read_bytes())["paths"]
    for path, methods in described.items():
        for method in methods:
            line = f"{method.upper()} {path}".replace("{", "").replace("}", "").encode()
            asked.append(line + b"\n" + known + (b"" if method == "get" else example))
    return asked


HARNESSES = {
    "sparkplug": Harness(sparkplug, _sparkplug_seeds),
    "modbus": Harness(modbus, _modbus_seeds, slow=True),
    "opcua": Harness(opcua, _opcua_seeds, slow=True),
    "rest": Harness(rest, _rest_seeds, slow=True),
}
