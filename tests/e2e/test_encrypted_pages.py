"""The pages over TLS in a real browser: its warning, cookies that stay encrypted, live updates over wss."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from people import PASSWORD, add_user
from served_pages import CHROMIUM
from typer.testing import CliRunner
from web_process import web_process

from inspection.cli import app
from inspection.records.database import migrate, open_engine

if not CHROMIUM.exists():
    pytest.skip(f"the page tests need a browser at {CHROMIUM}", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="the page tests need the playwright package")
expect = sync_api.expect


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Its address, and its folder with the configuration; ``ada`` may log in."""
    folder = tmp_path_factory.mktemp("encrypted")
    (folder / "station.toml").write_text(
        'cameras = [{ name = "top", serial = "SIM1" }]\nproducts = [{ part_number = "plate", camera = "top" }]\n'
        '[web]\ntls = "generated"\n'
    )
    url = f"sqlite:///{folder / 'records.db'}"
    engine = open_engine(url)
    migrate(engine)
    add_user(engine)
    engine.dispose()
    with web_process(folder, url, encrypted=folder / "station.toml") as address:
        yield address, folder


def test_a_browser_works_over_tls_once_somebody_compared_the_fingerprint(browser: Any, station: tuple[str, Path]) -> None:
    address, folder = station
    warned = browser.new_page()
    with pytest.raises(sync_api.Error, match="ERR_CERT_AUTHORITY_INVALID"):
        warned.goto(address)
    warned.close()
    host, port = address.removeprefix("https://").split(":")
    der = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((host, int(port))))
    shown = CliRunner().invoke(app, ["tls", "show", "--config", str(folder / "station.toml")]).output
    assert sha256(der).hexdigest().upper() in shown.replace(":", ""), "the command shows the one that the browser warns of"

    # What passing the warning does.
    context = browser.new_context(base_url=address, ignore_https_errors=True)
    page = context.new_page()
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    page.goto("/lots")
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("h1")).to_have_text("Lots")
    (cookie,) = (each for each in context.cookies() if each["name"] == "station_session")
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Strict")
    page.goto("/")
    page.wait_for_selector(".live")
    assert "recorder runs" not in page.locator("body").inner_text()
    beat = {"at": time.time(), "heard_s": time.monotonic() + 1e6, "state": "recorder runs in a test", "counters": {}, "ok": False}
    (folder / "status.json").write_text(json.dumps({"processes": {"recorder": beat}}))
    expect(page.locator("body")).to_contain_text("recorder runs in a test")
    assert sockets
    assert all(each.startswith("wss://") for each in sockets)
    context.close()


def test_programs_trust_the_certificate_and_nothing_is_served_in_the_clear(station: tuple[str, Path]) -> None:
    address, folder = station
    trusting = ssl.create_default_context(cafile=folder / "data" / "tls" / "station.crt")
    with httpx.Client(verify=trusting, base_url=address) as client:
        health = client.get("/api/v1/health")
        assert health.json()["live"] is True
        assert "strict-transport-security" not in health.headers, "with it a browser lets nobody pass a warning"
        assert "server" not in health.headers
    with pytest.raises(httpx.TransportError):
        httpx.get(address.replace("https:", "http:") + "/api/v1/health")
    with pytest.raises(httpx.ConnectError):
        httpx.get(address + "/api/v1/health")
