"""No name that comes from outside becomes a path: a file beside the station's own is never served, written or listed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from raw_client import RawClient

from cameras.errors import CameraError
from cameras.simulator.control import SimulatedCamera
from inspection import config as configuration
from inspection.errors import ConfigError, StationError

SECRET = b"nobody is to read this"
NAMES = [
    "../secret",
    "../../secret",
    "..",
    ".",
    "/etc/passwd",
    "....//secret",
    "..\\secret",
    "%2e%2e%2fsecret",
    "%252e%252e%252fsecret",
    "secret\0.png",
    "\uff0e\uff0e\uff0fsecret",
    "..%c0%afsecret",
    "ab" * 32 + "/../../../secret",
    "a\nb",
    "~root",
    "file:///etc/passwd",
    "\u202esecret",
]
ADDRESSES = [
    "/static/{}",
    "/_nicegui/x/static/{}",
    "/_nicegui/x/libraries/{}",
    "/_nicegui/x/components/{}",
    "/_nicegui/x/resources/a/{}",
    "/_nicegui/x/esm/nicegui/{}",
    "/api/v1/images/{}",
    "/api/v1/models/{}",
    "/api/v1/models/{}/maps/" + "ab" * 32,
    "/api/v1/models/" + "ab" * 32 + "/maps/{}",
    "/api/v1/golden-images/{}/image",
    "/api/v1/inspections/{}/image",
    "/api/v1/training-sets/{}",
    "/api/v1/settings/versions/{}",
    "/api/v1/lots/{}/results.csv",
    "/api/v1/lots/{}/certificate.pdf",
    "/api/v1/lots/{}",
    "/api/v1/parts/{}",
    "/{}",
    "//{}",
]


@pytest.fixture
def station(whole_app: FastAPI) -> Iterator[tuple[RawClient, Path]]:
    """Somebody on this machine, who may see everything as long as there is no user; secrets lie around what is served."""
    folder: Path = whole_app.state.context.settings.data_dir.parent
    for place in (folder, folder / "station", folder / "station" / "images"):
        for name in ("secret", "secret.png", "passwd"):
            (place / name).write_bytes(SECRET)
    client = RawClient(whole_app, "127.0.0.1", "localhost")
    yield client, folder
    client.close()


def test_no_name_leaves_the_folder_that_it_is_looked_for_in(station: tuple[RawClient, Path]) -> None:
    client, _ = station
    for address in ADDRESSES:
        for name in NAMES:
            written = {quote(name, safe="")}
            if not address.startswith("/api/"):
                written.add(quote(quote(name, safe=""), safe=""))
            if name.isascii() and name.isprintable():
                written.add(name)
            for each in written:
                status, content = client.ask("GET", address.format(each), [("accept", "*/*")])
                assert status < 500, (address, each, content[:200])
                assert SECRET not in content, (address, each)
                assert b"root:" not in content, (address, each)
    assert client.ask("GET", "/static/station.css")[0] == 200, "files that are there are served"


def test_nothing_is_made_under_a_name_that_is_a_path(station: tuple[RawClient, Path]) -> None:
    client, folder = station
    before = set(folder.rglob("*"))
    headers = [("content-type", "application/json"), ("origin", "http://localhost")]
    for name in (".", "..", "a\nb", "secret\0", "\u202ex", "\ud800"):
        for new in ({"lot": name, "product": "plate"}, {"lot": "L", "product": name}):
            assert client.ask("POST", "/api/v1/lots", headers, json.dumps(new).encode())[0] == 422, new
    picture = {"product": "plate", "name": "../../x.png", "folder": "../../x", "content": "AAAA"}
    assert client.ask("POST", "/api/v1/imported-images", headers, json.dumps(picture).encode())[0] == 422
    made = {path.name for path in set(folder.rglob("*")) - before}
    assert made <= {"audit.head", "records.db-wal", "records.db-shm"}


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "a\0", "x\n", ".x", "", "ü", "x" * 33])
def test_no_configured_name_is_a_path(tmp_path: Path, name: str) -> None:
    text = 'cameras = [{{ name = {0}, serial = "S" }}]\nproducts = [{{ part_number = {1}, camera = {0} }}]\nstation.name = {2}\n'
    written = '"' + name.replace("\0", "\\u0000").replace("\n", "\\n") + '"'
    for camera, part, station in ((written, '"p"', '"s"'), ('"c"', written, '"s"'), ('"c"', '"p"', written)):
        with pytest.raises(ConfigError):
            configuration.parse(text.format(camera, part, station), tmp_path / "station.toml")


@pytest.mark.parametrize("serial", ["..", "../x", "a/b", ".x", "", "x" * 64])
def test_no_serial_of_a_simulated_camera_is_a_path(tmp_path: Path, serial: str) -> None:
    with pytest.raises((CameraError, StationError)):
        SimulatedCamera.create(tmp_path / "simulator", serial, 8, 8)
    assert list(tmp_path.iterdir()) == []
