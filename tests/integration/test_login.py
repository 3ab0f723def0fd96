"""Login, first start, sessions: who is let in, for how long, and from where."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from argon2 import PasswordHasher
from people import PASSWORD, add_user, headers, session_cookie
from sqlalchemy import Engine, select
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from inspection import recorder_client
from inspection.domain import Role, Scope
from inspection.errors import Conflict
from inspection.passwords import Passwords, check_password
from inspection.records import tables
from inspection.records.tokens import create_token
from inspection.web import access
from inspection.web.app import create_api
from inspection.web.pages.plain import safe_next
from inspection.web.settings import Settings

STRANGER, HERE = ("192.0.2.7", 4711), ("127.0.0.1", 4711)
ORIGIN = {"origin": "http://localhost"}


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


class Counting(Passwords):
    """Counts what costs time."""

    def __init__(self) -> None:
        super().__init__(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        self.compared = 0

    def match(self, kept: str | None, password: str) -> bool:
        self.compared += 1
        return super().match(kept, password)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def passwords() -> Counting:
    return Counting()


@pytest.fixture(params=["sqlite"])
def database_url(request: pytest.FixtureRequest, tmp_path: Any) -> str:
    return f"sqlite:///{tmp_path / 'records.db'}"


@pytest.fixture
def served(
    engine: Engine, web_settings: Settings, clock: Clock, passwords: Counting, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., TestClient]]:
    """Makes clients of one station, each with cookies of its own."""
    monkeypatch.setattr(access, "_LOGINS_AT_ONCE", 1_000)
    monkeypatch.setattr(recorder_client, "TIMEOUT_MS", 20)
    opened: list[TestClient] = []

    def serve(client: tuple[str, int] = STRANGER, **settings: Any) -> TestClient:
        app = create_api(dataclasses.replace(web_settings, **settings), clock, passwords)
        made = TestClient(app, base_url="http://localhost", client=client, follow_redirects=False, headers=ORIGIN)
        made.__enter__()
        opened.append(made)
        return made

    yield serve
    for each in opened:
        each.__exit__(None, None, None)


def problem(response: Any) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json", response.text
    return response.status_code, response.json()["code"]


def log_in(api: TestClient, user: str = "ada", password: str = PASSWORD) -> Any:
    return api.post("/api/v1/session", json={"user": user, "password": password})


# --- first start ---


def test_the_first_user_is_made_on_this_machine_and_is_the_administrator(
    engine: Engine, served: Callable[..., TestClient]
) -> None:
    new = {"user": "ada", "role": "admin", "password": PASSWORD}
    here = served(HERE, tokens=True)
    assert problem(served(STRANGER).post("/api/v1/users", json=new)) == (403, "first_start")
    rebound = {"host": "evil.example", "origin": "http://evil.example"}
    assert problem(here.post("/api/v1/users", json=new, headers=rebound)) == (403, "first_start"), "a name that leads here"
    assert problem(here.post("/api/v1/users", json=new, headers={"sec-fetch-site": "cross-site"})) == (403, "cross_site")
    assert problem(here.post("/api/v1/users", json=new | {"role": "qa"})) == (409, "invalid_user")
    for weak in ("too short", "adaadaadaada", "123456789012", "Password1234!", "qwertyuiopasdf", "aaaaaaaaaaaaa"):
        assert problem(here.post("/api/v1/users", json=new | {"password": weak})) == (422, "weak_password"), weak
    made = here.post("/api/v1/users", json=new)
    shown = made.json()
    assert (made.status_code, shown["role"], shown["must_change_password"]) == (201, "admin", False)
    assert PASSWORD not in made.text
    assert "argon2" not in made.text
    assert problem(here.post("/api/v1/users", json=new | {"user": "eve"})) == (401, "not_logged_in")
    with engine.connect() as connection:
        kept = connection.execute(select(tables.users.c.password_hash)).scalar_one()
    assert kept.startswith("$argon2id$")


def test_before_the_first_user_pages_lead_to_the_first_start_on_this_machine_alone(served: Callable[..., TestClient]) -> None:
    here, away = served(HERE), served(STRANGER)
    answer = here.get("/lots?cursor=x", headers={"accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/setup")
    assert here.get("/api/v1/lots").status_code == 200
    answer = away.get("/lots")
    assert answer.status_code == 403
    assert "opened on the station itself" in answer.text


def test_passwords_are_long_and_not_the_first_that_are_tried() -> None:
    for good in ("correct horse battery", "sieben Zwerge tanzen", "密码很长密码真的很长吗是的", "x" * 5 + "-lamp-over-table"):
        check_password("ada", good)
    for bad in ("elevenchars", "ADAadaADAada", "abcabcabcabc", "abcdefghijklm", "1q2w3e4r5t6y", "administrator2026", "y" * 257):
        with pytest.raises(Conflict):
            check_password("ada", bad)


# --- log in ---


def test_a_login_begins_a_session_and_a_logout_ends_it(engine: Engine, served: Callable[..., TestClient]) -> None:
    add_user(engine)
    api = served()
    answer = log_in(api)
    assert (answer.status_code, answer.json()["user"], answer.json()["role"]) == (201, "ada", "admin")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert "secure" not in cookie.lower()
    first = api.cookies["station_session"]
    assert len(first) >= 43, "256 bits"
    with engine.connect() as connection:
        kept = connection.execute(select(tables.sessions)).mappings().one()
    assert first not in str(kept)
    assert api.get("/api/v1/lots").status_code == 200
    log_in(api)
    assert api.cookies["station_session"] != first, "a login makes a new session"
    fixed = served()
    fixed.cookies.set("station_session", first)
    assert problem(fixed.get("/api/v1/lots")) == (401, "not_logged_in")
    assert api.delete("/api/v1/session").status_code == 204
    assert problem(api.get("/api/v1/session")) == (401, "not_logged_in")
    with engine.connect() as connection:
        assert connection.execute(select(tables.sessions)).all() == []


def test_a_cookie_of_a_page_that_came_encrypted_goes_nowhere_else(engine: Engine, served: Callable[..., TestClient]) -> None:
    add_user(engine)
    api = served()
    api.base_url = "https://localhost"
    assert "secure" in log_in(api).headers["set-cookie"].lower()


def test_a_cookie_goes_nowhere_else_though_the_proxy_does_not_say_that_the_page_came_encrypted(
    engine: Engine, served: Callable[..., TestClient]
) -> None:
    add_user(engine)
    api = served()
    shown = {"user": "ada", "password": PASSWORD}
    told = api.post("/api/v1/session", json=shown, headers={"origin": "https://localhost"}).headers["set-cookie"]
    assert "secure" in told.lower()
    sent = {"origin": "https://localhost", "cookie": told.split(";")[0]}
    assert "secure" in api.delete("/api/v1/session", headers=sent).headers["set-cookie"].lower()


def test_wrong_names_wrong_passwords_and_disabled_users_are_told_the_same_at_the_same_cost(
    engine: Engine, served: Callable[..., TestClient], passwords: Counting
) -> None:
    add_user(engine)
    add_user(engine, "gone", Role.QA)
    api = served()
    admin = headers(engine, url="http://localhost")
    assert api.post("/api/v1/users/gone/disable", headers=admin).status_code == 200
    answers = [log_in(api, *shown) for shown in (("nobody", PASSWORD), ("ada", "wrong"), ("gone", PASSWORD))]
    assert {problem(answer) for answer in answers} == {(401, "wrong_login")}
    assert len({answer.json()["detail"] for answer in answers}) == 1
    assert passwords.compared == 3


def test_five_failures_in_a_row_lock_a_user_for_a_while_or_until_an_administrator_helps(
    engine: Engine, served: Callable[..., TestClient], clock: Clock
) -> None:
    add_user(engine)
    add_user(engine, "ops", Role.OPERATOR)
    api = served()
    for _ in range(4):
        assert log_in(api, "ops", "wrong").status_code == 401
    assert log_in(api, "ops").status_code == 201, "the count begins again"
    for _ in range(5):
        log_in(api, "ops", "wrong")
    assert problem(log_in(api, "ops")) == (401, "wrong_login"), "the right password too"
    clock.now += timedelta(minutes=15, seconds=1)
    assert log_in(api, "ops").status_code == 201
    for _ in range(5):
        log_in(api, "ops", "wrong")
    admin = {"cookie": f"station_session={session_cookie(engine, 'ada', clock.now)}"}
    assert served().post("/api/v1/users/ops/unlock", headers=admin).json()["locked_until"] is None
    assert log_in(api, "ops").status_code == 201
    with engine.connect() as connection:
        told = (
            connection.execute(select(tables.audit_entries.c.outcome).where(tables.audit_entries.c.by == "ops")).scalars().all()
        )
    assert told.count("401 lockout") == 2
    assert told.count("401 locked_user") == 1


def test_a_longer_row_of_failures_locks_for_longer(engine: Engine, served: Callable[..., TestClient], clock: Clock) -> None:
    add_user(engine)
    api = served()
    for minutes in (15, 30, 60):
        for _ in range(5):
            log_in(api, "ada", "wrong")
        clock.now += timedelta(minutes=minutes, seconds=-1)
        assert log_in(api).status_code == 401
        clock.now += timedelta(seconds=2)
    assert log_in(api).status_code == 201


def test_too_many_passwords_from_one_address_are_refused(
    engine: Engine, served: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "_LOGINS_AT_ONCE", 3)
    add_user(engine)
    api = served()
    answers = [log_in(api, f"name-{number}", "wrong") for number in range(4)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert problem(answers[3]) == (429, "too_many_logins")
    assert int(answers[3].headers["retry-after"]) >= 1


# --- how long ---


def test_a_session_ends_after_idle_minutes_and_after_half_a_day(
    engine: Engine, served: Callable[..., TestClient], clock: Clock
) -> None:
    add_user(engine)
    api = served(session_idle_minutes=30.0)
    log_in(api)
    clock.now += timedelta(minutes=29)
    assert api.get("/api/v1/lots").status_code == 200
    clock.now += timedelta(minutes=29)
    for by_itself in ({"sec-fetch-dest": "image"}, {"station-unattended": "1"}):
        assert api.get("/api/v1/lots", headers=by_itself).status_code == 200
    clock.now += timedelta(minutes=2)
    assert problem(api.get("/api/v1/lots")) == (401, "not_logged_in"), "what a page asks by itself keeps nobody logged in"
    log_in(api)
    for _ in range(12 * 3 - 1):
        clock.now += timedelta(minutes=20)
        assert api.get("/api/v1/lots").status_code == 200
    clock.now += timedelta(minutes=20)
    assert api.get("/api/v1/lots").status_code == 401


def test_the_use_of_a_session_is_written_down_once_a_minute(
    engine: Engine, served: Callable[..., TestClient], clock: Clock
) -> None:
    add_user(engine)
    api = served()
    log_in(api)
    began = clock.now

    def used_at() -> datetime:
        with engine.connect() as connection:
            return connection.execute(select(tables.sessions.c.used_at)).scalar_one()

    clock.now += timedelta(seconds=59)
    api.get("/api/v1/lots")
    assert used_at() == began
    clock.now += timedelta(seconds=1)
    api.get("/api/v1/lots")
    assert used_at() == clock.now


def test_a_new_password_and_disabling_end_all_sessions(engine: Engine, served: Callable[..., TestClient]) -> None:
    add_user(engine)
    add_user(engine, "ops", Role.OPERATOR)
    one, two, admin = served(), served(), served()
    for api in (one, two):
        log_in(api, "ops")
    log_in(admin)
    change = {"password": PASSWORD, "new_password": "another good sentence"}
    assert problem(one.post("/api/v1/session/password", json=change | {"password": "wrong"})) == (403, "wrong_password")
    assert problem(one.post("/api/v1/session/password", json=change | {"new_password": "opsopsopsops"})) == (422, "weak_password")
    assert one.post("/api/v1/session/password", json=change).status_code == 200
    assert one.get("/api/v1/session").status_code == 200, "this browser has a new one"
    assert two.get("/api/v1/session").status_code == 401
    assert log_in(two, "ops").status_code == 401
    assert log_in(two, "ops", "another good sentence").status_code == 201
    assert admin.post("/api/v1/users/ops/password", json={"password": "a third good sentence"}).status_code == 200
    assert [api.get("/api/v1/session").status_code for api in (one, two)] == [401, 401]
    log_in(one, "ops", "a third good sentence")
    assert admin.post("/api/v1/users/ops/disable").json()["disabled_at"] is not None
    assert one.get("/api/v1/session").status_code == 401
    assert admin.post("/api/v1/users/ops/enable").status_code == 200
    assert log_in(one, "ops", "a third good sentence").status_code == 201


def test_a_role_counts_from_the_next_request_on_and_one_administrator_stays(
    engine: Engine, served: Callable[..., TestClient]
) -> None:
    add_user(engine)
    add_user(engine, "ops", Role.OPERATOR)
    admin, ops = served(), served()
    log_in(admin)
    log_in(ops, "ops")
    assert problem(ops.get("/api/v1/users")) == (403, "missing_scope")
    add_user(engine, "sap", Role.MES_SERVICE)
    service = ops.get("/lots", headers=headers(engine, "sap", "http://localhost") | {"accept": "text/html"})
    assert (service.status_code, "for programs" in service.text) == (403, True)
    assert problem(admin.post("/api/v1/users/ada/role", json={"role": "qa"})) == (409, "last_admin")
    assert problem(admin.post("/api/v1/users/ada/disable")) == (409, "last_admin")
    assert problem(admin.post("/api/v1/users/nobody/disable")) == (404, "unknown_user")
    assert admin.post("/api/v1/users/ops/role", json={"role": "admin"}).status_code == 200
    assert [each["user"] for each in ops.get("/api/v1/users").json()["items"]] == ["ada", "ops", "sap"]
    assert admin.post("/api/v1/users/ada/role", json={"role": "qa"}).status_code == 200
    assert problem(admin.get("/api/v1/users")) == (403, "missing_scope")
    new = {"user": "ada", "role": "qa", "password": PASSWORD}
    assert problem(ops.post("/api/v1/users", json=new)) == (409, "invalid_user")
    for name in ("two words", "n" * 49):
        assert ops.post("/api/v1/users", json=new | {"user": name}).status_code in (409, 422)


def test_a_password_that_somebody_else_chose_opens_nothing_but_its_change(
    engine: Engine, served: Callable[..., TestClient]
) -> None:
    add_user(engine)
    admin, new = served(), served()
    log_in(admin)
    first, own = "a window over the sea", "a bench in the shade"
    made = admin.post("/api/v1/users", json={"user": "eve", "role": "engineer", "password": first})
    assert made.json()["must_change_password"] is True
    assert log_in(new, "eve", first).json()["must_change_password"] is True
    html = {"accept": "text/html", "sec-fetch-site": "same-origin"}
    for path in ("/api/v1/lots", "/api/v1/settings", "/api/v1/health"):
        assert problem(new.get(path)) == (403, "password_change_needed"), path
    assert problem(new.post("/api/v1/lots", json={"lot": "L", "product": "plate"})) == (403, "password_change_needed")
    for path in ("/", "/lots", "/settings"):
        assert new.get(path, headers=html).headers["location"] == "/account", path
        assert problem(new.get(path, headers={"accept": "application/json"})) == (403, "password_change_needed"), path
    assert new.get("/account", headers=html).status_code != 303, "this page is for that"
    change = {"password": first, "new_password": first}
    assert problem(new.post("/api/v1/session/password", json=change)) == (422, "weak_password")
    answer = new.post("/api/v1/session/password", json=change | {"new_password": own})
    assert (answer.status_code, answer.json()["must_change_password"]) == (200, False)
    assert new.get("/api/v1/settings").status_code == 404, "the role opens again what it opens"

    assert admin.post("/api/v1/users/eve/password", json={"password": first}).json()["must_change_password"] is True
    log_in(new, "eve", first)
    assert problem(new.get("/api/v1/lots")) == (403, "password_change_needed")
    assert admin.post("/api/v1/users/ada/password", json={"password": own}).json()["must_change_password"] is False, "one's own"
    log_in(admin, "ada", own)
    program = admin.post("/api/v1/users", json={"user": "sap", "role": "mes_service", "password": first})
    assert program.json()["must_change_password"] is False, "nobody is there to change it"


# --- from where ---


def test_a_write_with_a_cookie_comes_from_a_page_of_this_station(engine: Engine, served: Callable[..., TestClient]) -> None:
    add_user(engine)
    api = served()
    log_in(api)
    del api.headers["origin"]
    close = "/api/v1/lots/L/close"
    for foreign in (
        {},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", **ORIGIN},
        {"sec-fetch-site": "none"},
    ):
        assert problem(api.post(close, headers=foreign)) == (403, "cross_site"), foreign
    for own in (ORIGIN, {"sec-fetch-site": "same-origin"}):
        assert problem(api.post(close, headers=own)) == (503, "unavailable"), "as far as the recorder, which is not there"
    assert api.get("/api/v1/lots", headers={"sec-fetch-site": "cross-site"}).status_code == 200
    assert problem(api.post("/api/v1/session", json={}, headers={"sec-fetch-site": "cross-site"})) == (403, "cross_site")


def test_once_there_is_a_user_everybody_shows_who_he_is(engine: Engine, served: Callable[..., TestClient]) -> None:
    here = served(HERE)
    assert here.get("/api/v1/lots").status_code == 200
    add_user(engine)
    with engine.begin() as connection:
        token = create_token(connection, "mes", [Scope.READ], "kim")
    assert problem(here.get("/api/v1/lots")) == (401, "not_logged_in")
    assert here.get("/api/v1/lots", headers={"authorization": f"Bearer {token}"}).status_code == 200
    assert problem(here.get("/api/v1/health")) == (503, "not_ready"), "for this machine"
    assert problem(served(STRANGER).get("/api/v1/health")) == (401, "not_logged_in")
    assert here.get("/api/v1/openapi.json").status_code == 200
    answer = served(STRANGER).get("/lots/24%2F7?verdict=fail", headers={"accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/lots/24%252F7%3Fverdict%3Dfail")
    assert problem(here.get("/_nicegui/x", headers={"accept": "*/*"})) == (401, "not_logged_in")


@pytest.mark.parametrize(
    ("origin", "cookie", "let_in"),
    [
        ("http://testserver", True, True),
        ("http://testserver", False, False),
        ("http://evil.example", True, False),
        (None, True, False),
    ],
)
def test_what_pages_are_served_through_needs_a_session_and_a_page_of_this_station(
    engine: Engine, served: Callable[..., TestClient], origin: str | None, cookie: bool, let_in: bool
) -> None:
    add_user(engine)
    api = served()

    @api.app.websocket("/_nicegui_ws/socket.io/")  # type: ignore[attr-defined]
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("hello")

    sent = ({"cookie": f"station_session={session_cookie(engine)}"} if cookie else {}) | ({"origin": origin} if origin else {})
    del api.headers["origin"]
    connection = api.websocket_connect("/_nicegui_ws/socket.io/", headers=sent)
    if let_in:
        with connection as socket:
            assert socket.receive_text() == "hello"
    else:
        with pytest.raises(WebSocketDisconnect), connection:
            pass


def test_after_a_login_only_pages_of_this_station_are_opened() -> None:
    for good in ("/", "/lots/24%2F7?verdict=fail", "/inspections/7#map"):
        assert safe_next(good) == good
    for bad in (
        "",
        "lots",
        "//evil.example",
        "/\\evil.example",
        "https://evil.example/",
        "/login?next=/",
        "/a\nb",
        "/api/v1/lots",
    ):
        assert safe_next(bad) == "/", bad


# --- the password again ---


def test_what_cannot_easily_be_undone_asks_for_the_password_again(
    engine: Engine, served: Callable[..., TestClient], clock: Clock
) -> None:
    add_user(engine)
    api = served()
    log_in(api)
    rollback = {"product": "plate", "reason": "a test"}
    assert problem(api.post("/api/v1/deployments/rollback", json=rollback)) == (409, "no_former_model")
    clock.now += timedelta(minutes=5, seconds=1)
    assert problem(api.post("/api/v1/deployments/rollback", json=rollback)) == (403, "password_needed")
    assert problem(api.post("/api/v1/lots/L/release", json={"reason": "good"})) == (403, "password_needed")
    assert problem(api.post("/api/v1/session/confirm", json={"password": "wrong"})) == (403, "wrong_password")
    assert api.post("/api/v1/session/confirm", json={"password": PASSWORD}).status_code == 200
    assert problem(api.post("/api/v1/deployments/rollback", json=rollback)) == (409, "no_former_model")
    for _ in range(5):
        api.post("/api/v1/session/confirm", json={"password": "wrong"})
    assert problem(api.get("/api/v1/session")) == (401, "not_logged_in"), "somebody guesses at a browser that was left open"
    assert log_in(api).status_code == 401


def test_every_answer_tells_browsers_what_to_refuse(engine: Engine, served: Callable[..., TestClient]) -> None:
    add_user(engine)
    api = served()
    log_in(api)
    for path in ("/api/v1/lots", "/api/v1/nowhere", "/users"):
        told = api.get(path).headers
        assert "frame-ancestors 'none'" in told["content-security-policy"], path
        assert (told["x-content-type-options"], told["referrer-policy"]) == ("nosniff", "same-origin")
