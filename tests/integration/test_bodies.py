"""What a request sends is counted while it comes, by anybody and for every address."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import struct
import threading
import zlib
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from people import PASSWORD, add_user, session_cookie
from sqlalchemy import Engine
from starlette.testclient import TestClient

from cameras.frame import Frame, PixelFormat
from inspection import image_files
from inspection.errors import StationError
from inspection.images import decode_frame
from inspection.rendering import decode_map
from inspection.web import bodies, routes_training
from inspection.web.app import OPENAPI, create_api
from inspection.web.bodies import MOST_BYTES, most_bytes
from inspection.web.routes_training import MAX_UPLOAD
from inspection.web.settings import Settings


@pytest.fixture(params=["sqlite"])
def database_url(request: pytest.FixtureRequest, tmp_path: Any) -> str:
    return f"sqlite:///{tmp_path / 'records.db'}"


@pytest.fixture
def station(engine: Engine, web_settings: Settings) -> Iterator[TestClient]:
    """With an administrator, who is logged in, and no limit on how often somebody asks."""
    add_user(engine)
    app = create_api(dataclasses.replace(web_settings, requests_per_s=1e6))
    headers = {"origin": "http://testserver", "cookie": f"station_session={session_cookie(engine, 'ada')}"}
    with TestClient(app, client=("192.0.2.7", 4711), headers=headers) as client:
        yield client


class Endless:
    """A body without an end, that counts what was taken of it."""

    def __init__(self) -> None:
        self.taken = 0

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self.taken += 2**16
            yield b" " * 2**16


WRITES = [
    (method.upper(), path.replace("{", "").replace("}", ""))
    for path, methods in json.loads(OPENAPI.read_text(encoding="utf-8"))["paths"].items()
    for method, operation in methods.items()
    if "requestBody" in operation
]


def test_every_route_that_takes_a_body_refuses_one_that_is_too_long_without_reading_it(station: TestClient) -> None:
    assert len(WRITES) > 20
    for method, path in WRITES:
        answer = station.request(method, path, content=b"{}", headers={"content-length": str(most_bytes(path) + 1)})
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large"), path
        assert answer.headers["connection"] == "close"


def test_a_body_that_does_not_say_how_long_it_is_is_cut_off_when_it_is_too_long(station: TestClient) -> None:
    """Whoever is not known yet may send a few kilobytes."""

    async def ask(path: str, headers: dict[str, str]) -> tuple[int, int]:
        endless = Endless()

        async def chunks() -> AsyncIterator[bytes]:
            for chunk in endless:
                yield chunk

        received = iter(endless)
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"host", b"testserver")] + [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": ("192.0.2.7", 4711),
            "server": ("testserver", 80),
            "scheme": "http",
            "http_version": "1.1",
        }
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": next(received), "more_body": True}

        async def send(message: Any) -> None:
            sent.append(message)

        await station.app(scope, receive, send)
        return sent[0]["status"], endless.taken

    known = {"origin": "http://testserver", "cookie": station.headers["cookie"], "content-type": "application/json"}
    stranger = {"origin": "http://testserver", "content-type": "application/json"}
    status, taken = asyncio.run(ask("/api/v1/session", stranger))
    assert (status, taken) == (413, 2**16)
    status, taken = asyncio.run(ask("/api/v1/lots", known))
    assert status == 413
    assert MOST_BYTES < taken <= MOST_BYTES + 2**17
    status, taken = asyncio.run(ask("/api/v1/lots", known | {"idempotency-key": "k"}))
    assert status == 422
    status, taken = asyncio.run(ask("/api/v1/lots", stranger))
    assert (status, taken < 2**19) == (401, True), "of a stranger's body only what the audit trail keeps is read"


def test_a_body_that_stops_coming_is_given_up(station: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_SILENT_S", 0.05)

    async def silent() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(station.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            return await client.post("/api/v1/session", content=silent(), headers={"origin": "http://testserver"})

    answer = asyncio.run(ask())
    assert (answer.status_code, answer.json()["code"]) == (408, "too_slow")


def test_only_so_many_large_bodies_are_in_memory_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MOST_BYTES", 10)
    inside = most = 0
    go_on = asyncio.Event()

    async def route(scope: Any, receive: Any, send: Any) -> None:
        nonlocal inside, most
        while (await receive()).get("more_body"):
            pass
        inside += 1
        most = max(most, inside)
        await go_on.wait()
        inside -= 1
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def ask(app: Any) -> None:
        scope = {"type": "http", "path": "/api/v1/imported-images", "headers": []}

        async def receive() -> Any:
            return {"type": "http.request", "body": b"x" * 20, "more_body": False}

        async def send(message: Any) -> None:
            pass

        await app(scope, receive, send)

    async def five() -> None:
        app = bodies.BodyLimit(route)
        asked = [asyncio.create_task(ask(app)) for _ in range(5)]
        while inside < 2:
            await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(*asked)

    asyncio.run(five())
    assert most == 2


def test_the_largest_image_file_that_is_taken_fits(station: TestClient) -> None:
    assert most_bytes("/api/v1/imported-images") > MAX_UPLOAD * 4 / 3 + 10_000
    serials = [f"{number:064d}" for number in range(10_000)]
    answer = station.post("/api/v1/lots/nowhere/parts", json={"serials": serials})
    assert answer.status_code == 503, "10 000 serials fit; only the recorder is missing here"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


def zeros(number: int) -> bytes:
    return zlib.compress(bytes(number), 9)


BOMBS = {
    "a promise of 10^10 pixels": png(100_000, 100_000, chunk(b"IDAT", zeros(100))),
    "a gigapixel of zeros": png(32_000, 32_000, chunk(b"IDAT", zeros(32_001_000))),
    "text that unpacks to 100 MB": png(1, 1, chunk(b"zTXt", b"a\0\0" + zeros(10**8)), chunk(b"IDAT", zeros(2))),
    "no image": b"MZ" * 100,
    "a script": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n(%pipe%id) (w) file\n",
}


def test_an_image_file_that_would_fill_the_memory_is_refused(station: TestClient) -> None:
    for name, bomb in BOMBS.items():
        new = {"product": "plate", "name": "x.png", "folder": "f", "content": base64.b64encode(bomb).decode()}
        answer = station.post("/api/v1/imported-images", json=new)
        assert (answer.status_code, answer.json()["code"]) == (422, "unreadable_image"), name


def test_images_that_are_imported_at_once_are_decoded_one_after_the_other(
    station: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(2)
    met = []

    def frame_of(content: bytes, name: str) -> Frame:
        try:
            together.wait(0.5)
            met.append(name)
        except threading.BrokenBarrierError:
            together.reset()
        return image_files.frame_of(content, name)

    monkeypatch.setattr(routes_training, "frame_of", frame_of)

    def ask(width: int) -> int:
        content = base64.b64encode(png(width, 1, chunk(b"IDAT", zeros(1 + width)))).decode()
        new = {"product": "plate", "name": f"{width}.png", "folder": "f", "content": content}
        return station.post("/api/v1/imported-images", json=new).status_code

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(ask, [1, 2])) == [201, 201]
    assert met == []


def test_a_stored_file_that_promises_gigabytes_is_not_decoded() -> None:
    for bomb in (png(100_000, 100_000, chunk(b"IDAT", zeros(100))), b"", png(2**31 - 1, 2**31 - 1), png(0, 5), png(7, 7)):
        with pytest.raises(StationError, match="damaged"):
            decode_frame(bomb, PixelFormat.Mono8)
        with pytest.raises(StationError, match="damaged"):
            decode_map(bomb)


def test_a_password_is_short_enough_to_be_compared(station: TestClient) -> None:
    answer = station.post("/api/v1/session", json={"user": "ada", "password": PASSWORD * 20})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
