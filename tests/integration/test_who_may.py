"""Every route of the REST interface × every role, every scope of a token, and nobody: what the middleware lets through."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from people import CHEAP, add_user, session_cookie
from sqlalchemy import Engine
from starlette.testclient import TestClient

from inspection.domain import Role, Scope
from inspection.records.database import open_engine
from inspection.records.tokens import create_token
from inspection.web import access
from inspection.web.access import Access
from inspection.web.app import OPENAPI
from inspection.web.context import Context
from inspection.web.permissions import needed_scope, needs_password, page_scope
from inspection.web.settings import Settings
from inspection.web.trail import Templates

OPENS = {
    "": ("operator", "qa", "engineer", "admin", "mes_service"),
    "read": ("operator", "qa", "engineer", "admin", "mes_service"),
    "lots": ("operator", "qa", "engineer", "admin", "mes_service"),
    "trigger": ("operator", "qa", "engineer", "admin", "mes_service"),
    "label": ("qa", "engineer", "admin"),
    "train": ("qa", "engineer", "admin"),
    "deploy": ("qa", "engineer", "admin"),
    "audit": ("qa", "engineer", "admin"),
    "settings": ("engineer", "admin"),
    "users": ("admin",),
}
"""Which roles each scope stands for; "": whoever is logged in, or shows a token."""
# A new route is entered here by hand, with the scope that it shall need; * where the password must have been shown just now.
NEEDS = {
    "POST /lots": "lots",
    "GET /lots": "read",
    "POST /lots/{lot}/close": "lots",
    "POST /lots/{lot}/hold": "lots",
    "POST /lots/{lot}/release": "lots*",
    "GET /lots/{lot}/events": "read",
    "POST /lots/{lot}/parts": "lots",
    "GET /lots/{lot}": "read",
    "GET /lots/{lot}/summary": "read",
    "GET /lots/{lot}/results": "read",
    "POST /triggers": "trigger",
    "GET /lots/{lot}/results.csv": "read",
    "GET /lots/{lot}/results.parquet": "read",
    "GET /lots/{lot}/b2mml.xml": "read",
    "GET /lots/{lot}/certificate.pdf": "read",
    "GET /parts/{serial}": "read",
    "GET /changes": "read",
    "GET /inspections/{seq}": "read",
    "GET /inspections/{seq}/image": "read",
    "GET /inspections/{seq}/map": "read",
    "GET /faults": "read",
    "GET /health": "read",
    "GET /health/live": "read",
    "GET /health/ready": "read",
    "POST /inspections/{seq}/labels": "label",
    "GET /inspections/{seq}/labels": "read",
    "GET /labels": "read",
    "GET /golden-images": "read",
    "POST /golden-images": "label",
    "DELETE /golden-images/{sha256}": "label",
    "POST /training-sets": "train",
    "GET /training-sets": "read",
    "GET /training-sets/{training_set}": "read",
    "POST /training-runs": "train",
    "GET /training-runs": "read",
    "GET /training-runs/{training_run_id}": "read",
    "POST /training-runs/{training_run_id}/cancel": "train",
    "GET /models": "read",
    "GET /models/{model}": "read",
    "POST /models/{model}/gates": "deploy*",
    "POST /deployments": "deploy*",
    "POST /deployments/rollback": "deploy*",
    "GET /shadows": "read",
    "POST /shadows": "deploy*",
    "POST /shadows/stop": "deploy*",
    "GET /shadows/disagreements": "read",
    "GET /inspections": "read",
    "GET /review": "read",
    "GET /review/{seq}": "read",
    "GET /inspections/{seq}/nearest-good": "read",
    "GET /inspections/{seq}/suggestion": "read",
    "GET /defect-classes": "read",
    "POST /defect-classes": "label",
    "PATCH /defect-classes/{defect_class}": "label",
    "DELETE /defect-classes/{defect_class}": "label",
    "POST /imported-images": "train",
    "GET /training-sets/draft": "read",
    "GET /models/{model}/comparison": "read",
    "GET /models/{model}/maps/{sha256}": "read",
    "GET /images/{sha256}": "read",
    "POST /models/{model}/thresholds": "deploy*",
    "GET /quality": "read",
    "GET /golden-parts": "read",
    "POST /golden-parts": "label",
    "DELETE /golden-parts/{serial}": "label",
    "GET /golden-images/{sha256}/image": "read",
    "GET /labels/golden-candidates": "read",
    "GET /gates/golden": "read",
    "GET /challenges": "read",
    "POST /challenges": "lots",
    "GET /challenges/standings": "read",
    "GET /challenges/{challenge_id}": "read",
    "POST /challenges/{challenge_id}/finish": "lots",
    "POST /challenges/{challenge_id}/abandon": "lots",
    "GET /legal-holds": "read",
    "POST /legal-holds": "label",
    "POST /legal-holds/{legal_hold_id}/release": "label*",
    "GET /storage": "read",
    "GET /settings": "settings",
    "PUT /settings": "settings",
    "POST /settings/check": "settings",
    "POST /settings/edit": "settings",
    "POST /settings/dry-run": "settings",
    "POST /settings/restart": "settings*",
    "GET /settings/versions": "settings",
    "GET /settings/versions/{version}": "settings",
    "GET /settings/station": "settings",
    "GET /settings/storage": "settings",
    "GET /session": "",
    "POST /session": "open",
    "DELETE /session": "",
    "POST /session/confirm": "",
    "POST /session/password": "",
    "GET /users": "users",
    "POST /users": "users*",
    "POST /users/{user}/role": "users*",
    "POST /users/{user}/disable": "users*",
    "POST /users/{user}/enable": "users*",
    "POST /users/{user}/unlock": "users*",
    "POST /users/{user}/password": "users*",
    "GET /audit-entries": "audit",
    "GET /audit-entries/verification": "audit",
    "GET /audit-entries/entries.csv": "audit",
}
ROUTES = [
    f"{method.upper()} {path.removeprefix('/api/v1')}"
    for path, methods in json.loads(OPENAPI.read_text(encoding="utf-8"))["paths"].items()
    for method in methods
]


async def everything(scope: Any, receive: Any, send: Any) -> None:
    """Stands behind the middleware: answers 204 to whatever gets through."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def station(
    database_url: str, engine: Engine, web_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Engine, TestClient]]:
    monkeypatch.setattr(access, "_LOGINS_AT_ONCE", 1e6)
    reader = open_engine(database_url, read_only=True)
    settings = Settings(**{name: getattr(web_settings, name) for name in web_settings.__slots__} | {"requests_per_s": 1e6})
    context = Context(settings, reader, engine, None, None, passwords=CHEAP)  # type: ignore[arg-type]
    yield engine, TestClient(Access(everything, context, Templates()), client=("192.0.2.7", 4711))
    reader.dispose()


def decision(client: TestClient, route: str, headers: dict[str, str]) -> str:
    """ "" if the request came through, else the code of the problem."""
    method, path = route.split(" ")
    answer = client.request(method, "/api/v1" + re.sub("{[^}]*}", "1", path), headers=headers)
    return "" if answer.status_code == 204 else answer.json()["code"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_every_route_is_open_to_those_roles_and_scopes_that_the_table_names(station: tuple[Engine, TestClient]) -> None:
    engine, client = station
    missing = [f'    "{route}": "…",' for route in ROUTES if route not in NEEDS]
    assert not missing, "say who may ask for it, in NEEDS:\n" + "\n".join(missing)
    assert set(NEEDS) == set(ROUTES), "NEEDS names routes that are not there any more"
    origin = {"origin": "http://testserver"}
    callers: dict[str, dict[str, str]] = {}
    for role in Role:
        add_user(engine, role.value, role)
        callers[role.value] = origin | {"cookie": f"station_session={session_cookie(engine, role.value)}"}
    with engine.begin() as connection:
        tokens = {
            scope: {"authorization": f"Bearer {create_token(connection, f'has-{scope}', [scope], 'test')}"} for scope in Scope
        }
    for route, needed in NEEDS.items():
        scope = needed.removesuffix("*")
        assert decision(client, route, origin) == ("" if scope == "open" else "not_logged_in"), route
        for role, headers in callers.items():
            opened = scope == "open" or role in OPENS[scope]
            assert decision(client, route, headers) == ("" if opened else "missing_scope"), (route, role)
        for held, headers in tokens.items():
            opened = scope in ("open", "", held)
            assert decision(client, route, headers) == ("" if opened else "missing_scope"), (route, held)


def test_what_cannot_easily_be_undone_needs_the_password_again() -> None:
    for route, needed in NEEDS.items():
        method, path = route.split(" ")
        assert needs_password(method, "/api/v1" + re.sub("{[^}]*}", "1", path)) == needed.endswith("*"), route
    assert needed_scope("POST", "/api/v1/unheard-of") is Scope.USERS, "what nobody thought of is for administrators"
    assert needs_password("POST", "/api/v1/tokens")


def test_pages_are_for_those_who_may_ask_for_what_they_show() -> None:
    scopes = {
        "/": "read",
        "/lots/24%2F7": "read",
        "/users": "users",
        "/audit": "audit",
        "/settings": "settings",
        "/account": None,
    }
    assert {path: page_scope(path) for path in scopes} == scopes
