"""What OpenAPI does not describe: pages, their files and sockets; addresses, methods and headers that are spelled otherwise."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from people import CHEAP, add_user, session_cookie
from raw_client import RawClient
from sqlalchemy import Engine

from inspection.domain import Role
from inspection.records.database import open_engine
from inspection.web.access import Access
from inspection.web.app import OPENAPI, create_api
from inspection.web.context import Context
from inspection.web.names import EncodedAddresses
from inspection.web.settings import Settings
from inspection.web.trail import Templates

PEOPLE = ("operator", "qa", "engineer", "admin")
# Every address that is not under /api/v1/, and the roles that open it. A new page is entered here by hand.
OPEN = {
    "/": PEOPLE,
    "/review": PEOPLE,
    "/lots": PEOPLE,
    "/lots/{lot}": PEOPLE,
    "/parts/{serial}": PEOPLE,
    "/inspections/{seq}": PEOPLE,
    "/quality": PEOPLE,
    "/training": PEOPLE,
    "/training/{training_run_id}": PEOPLE,
    "/models": PEOPLE,
    "/models/{digest}": PEOPLE,
    "/golden": PEOPLE,
    "/audit": ("qa", "engineer", "admin"),
    "/settings": ("engineer", "admin"),
    "/users": ("admin",),
    "/account": PEOPLE,
    # For those who are not logged in yet.
    "/login": ("", *PEOPLE, "mes_service"),
    "/setup": ("", *PEOPLE, "mes_service"),
    "/static": ("", *PEOPLE, "mes_service"),
    # NiceGUI's own: what its pages load, and what they are served through.
    "/_nicegui_ws": PEOPLE,
    "/_nicegui/V/static": PEOPLE,
    "/_nicegui/V/libraries/{key:path}": PEOPLE,
    "/_nicegui/V/components/{key:path}": PEOPLE,
    "/_nicegui/V/resources/{key}/{path:path}": PEOPLE,
    "/_nicegui/V/dynamic_resources/{name}": PEOPLE,
    "/_nicegui/V/esm/{key}/{path:path}": PEOPLE,
}


def routes_of(routes: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Address and methods of each, those of mounted applications without an address of their own included."""
    for route in routes:
        path = getattr(route, "path", "")
        if path:
            yield re.sub(r"^/_nicegui/[^/]+", "/_nicegui/V", path), tuple(sorted(getattr(route, "methods", None) or ()))
        elif hasattr(route, "app"):
            yield from routes_of(getattr(route.app, "routes", ()))


async def everything(scope: Any, receive: Any, send: Any) -> None:
    """Stands behind the middleware: answers 204 to whatever gets through."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture(params=["sqlite"])
def database_url(request: pytest.FixtureRequest, tmp_path: Any) -> str:
    return f"sqlite:///{tmp_path / 'records.db'}"


@pytest.fixture
def callers(engine: Engine) -> dict[str, list[tuple[str, str]]]:
    """The headers of each role, and of nobody."""
    told: dict[str, list[tuple[str, str]]] = {"": []}
    for role in Role:
        add_user(engine, role.value, role)
        told[role.value] = [("origin", "http://station"), ("cookie", f"station_session={session_cookie(engine, role.value)}")]
    return told


@pytest.fixture
def gate(engine: Engine, database_url: str, web_settings: Settings) -> Iterator[RawClient]:
    """The middleware, with everything behind it."""
    reader = open_engine(database_url, read_only=True)
    settings = dataclasses.replace(web_settings, requests_per_s=1e6)
    context = Context(settings, reader, engine, None, None, passwords=CHEAP)  # type: ignore[arg-type]
    client = RawClient(EncodedAddresses(Access(everything, context, Templates())))
    yield client
    client.close()
    reader.dispose()


def test_every_page_and_every_file_is_open_to_those_roles_that_the_table_names(
    gate: RawClient, whole_app: FastAPI, callers: dict[str, list[tuple[str, str]]]
) -> None:
    elsewhere = {path: methods for path, methods in routes_of(whole_app.router.routes) if not path.startswith("/api/")}
    assert set(elsewhere) == set(OPEN), "say who may ask for it, in OPEN"
    assert set(filter(None, elsewhere.values())) == {("GET",)}, "pages are read; writing is for REST"
    for template, roles in OPEN.items():
        path = "/static/station.css" if template == "/static" else re.sub("{[^}]*}", "1", template)
        for role, headers in callers.items():
            for method in ("GET", "HEAD"):
                assert (gate.ask(method, path, headers)[0] == 204) == (role in roles), (method, path, role)
            assert gate.ask("POST", path, headers[1:])[0] != 204 or template == "/static", (path, role, "a write of nowhere")


def test_who_asks_with_bytes_that_no_address_has_is_asked_to_log_in(gate: RawClient, callers: dict[str, Any]) -> None:
    assert gate.ask("GET", "/lots?q=\xff\xfe")[0] == 303
    assert gate.ask("GET", "/lots?q=\xff\xfe", callers["qa"])[0] == 204


def spelled(path: str) -> list[str]:
    """The same address, or one that somebody may take for it."""
    head, _, last = path.rpartition("/")
    letter = f"%{ord(last[0]):02x}"
    return [
        path + "/",
        path + "//",
        path + "/.",
        path + "?x",
        path + "%2f",
        path + "%00",
        path + ";a=b",
        path + "%20",
        path.upper(),
        path.replace("/api/v1", "/API/v1"),
        path.replace("/api/v1", "/api//v1"),
        path.replace("/api/v1", "//api/v1"),
        path.replace("/api/v1", "/api/v1/."),
        path.replace("/api/v1", "/api/./v1"),
        path.replace("/api/v1", "/api/v1/session/.."),
        path.replace("/api/v1", "/api/v1/session/%2e%2e"),
        path.replace("/api/v1", "/api/v1/lots/..%2f.."),
        path.replace("/api/v1", "/static/../api/v1"),
        path.replace("/api/v1", "/static/%2e%2e/api/v1"),
        path.replace("/api/v1", "/static/..%2fapi/v1"),
        path.replace("/api/v1", "/login/../api/v1"),
        path.replace("/api/v1", "/api/v1/openapi.json/.."),
        path.replace("/api/", "/%61pi/"),
        path.replace("/api/", "/api%2f"),
        f"{head}/{letter}{last[1:]}",
        f"{head}/{last}%ee%80%80",
        "http://station" + path,
    ]


def test_no_spelling_of_an_address_opens_more_than_the_address(
    engine: Engine, web_settings: Settings, callers: dict[str, list[tuple[str, str]]]
) -> None:
    """The real routes stand behind it: whatever the middleware takes an address for, the router must take it for the same."""
    app = create_api(dataclasses.replace(web_settings, requests_per_s=1e6), passwords=CHEAP)
    client = RawClient(app)
    paths = [re.sub("{[^}]*}", "1", path) for path in json.loads(OPENAPI.read_text(encoding="utf-8"))["paths"]]
    reads = [path for path in paths if path != "/api/v1/session"]
    for path in reads:
        assert client.ask("GET", path, [])[0] >= 300, ("nobody", path)
    # One address of each kind in all spellings: they differ in nothing that a spelling could change.
    kinds = {path.split("/")[3]: path for path in reads}
    for path in kinds.values():
        for raw in spelled(path):
            assert client.ask("GET", raw, [])[0] >= 300, ("nobody", raw)
    kept = {"operator": ("users", "settings", "audit-entries"), "qa": ("users", "settings"), "engineer": ("users",)}
    for role, refused in kept.items():
        for kind in refused:
            for raw in [kinds[kind], *spelled(kinds[kind])]:
                assert client.ask("GET", raw, callers[role])[0] >= 300, (role, raw)
    client.close()
    app.state.context.reader.dispose()
    app.state.context.writer.dispose()
    app.state.context.recorder.close()


def test_no_method_opens_more_than_those_that_are_described(gate: RawClient, callers: dict[str, list[tuple[str, str]]]) -> None:
    for method in ("HEAD", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "Post", "GET ", ""):
        for path in ("/api/v1/users", "/api/v1/settings", "/users", "/api/v1/lots"):
            assert gate.ask(method, path, [])[0] != 204, (method, path)
            if path != "/api/v1/lots":
                assert gate.ask(method, path, callers["operator"])[0] != 204, (method, path)
    override = ("x-http-method-override", "GET")
    assert gate.ask("DELETE", "/api/v1/golden-images/1", [*callers["operator"], override])[0] == 403


@pytest.mark.parametrize("header", ["origin", "sec-fetch-site", "host", "authorization"])
def test_a_header_that_says_two_things_says_nothing(
    gate: RawClient, callers: dict[str, list[tuple[str, str]]], header: str
) -> None:
    good = {"origin": "http://station", "sec-fetch-site": "same-origin", "host": "station", "authorization": "Bearer x"}[header]
    bad = {"origin": "http://evil", "sec-fetch-site": "cross-site", "host": "evil", "authorization": "Bearer y"}[header]
    cookie = callers["admin"][1]
    once = [("origin", "http://station"), cookie]
    assert gate.ask("POST", "/api/v1/lots", once)[0] == 204
    for first, second in ((good, bad), (bad, good)):
        twice = [(name, value) for name, value in once if name != header]
        added = [(header, second)] if header == "host" else [(header, first), (header, second)]
        told = gate.ask("POST", "/api/v1/lots", [*twice, *added])[0]
        # Without a token that counts, the cookie does.
        assert told == (204 if header in ("authorization", "sec-fetch-site") else 403), (header, first, second)


@pytest.mark.parametrize("garbage", ["http://[", "http://[::1", "[", "//", "http://station\udcff", "null", "", "a" * 9_000])
def test_headers_that_cannot_be_read_are_refused(
    gate: RawClient, callers: dict[str, list[tuple[str, str]]], garbage: str
) -> None:
    said = garbage.encode("utf-8", "surrogateescape").decode("latin-1")
    for header in ("origin", "referer", "authorization", "cookie"):
        assert gate.ask("POST", "/api/v1/lots", [(header, said)])[0] in (401, 403), header
    assert gate.ask("POST", "/api/v1/lots", [("origin", said), callers["admin"][1]])[0] == 403
