"""Who may ask the REST interface for what: tokens and scopes, limits, and requests that come twice."""

from __future__ import annotations

import dataclasses
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from local_client import HERE, local_client
from people import add_user
from sqlalchemy import Engine, func, select, update
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from cameras.bus import Bus
from inspection.commands import Command, Done, OpenLot, Refused, Reply, execute
from inspection.domain import Output, Role, Scope, Verdict
from inspection.errors import Conflict, NotFound
from inspection.messages import LineMessage, OutputCommand, TriggerRequest
from inspection.records import tables
from inspection.records.audit import Wanted, list_entries
from inspection.records.tokens import create_token, find_token, list_tokens, revoke_token
from inspection.web import access, triggers
from inspection.web.app import create_api
from inspection.web.context import Context
from inspection.web.limits import Bucket, Limit
from inspection.web.settings import Settings
from inspection.web.trail import Templates

STRANGER = ("192.0.2.7", 4711)
OWN, REBOUND = {"host": "localhost"}, {"host": "evil.example"}


class Recorder:
    """Executes commands as the recorder does, and counts them; ``during`` is called before each."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.executed = 0
        self.during: Callable[[], None] = lambda: None

    def execute(self, command: Command) -> Reply:
        self.during()
        self.executed += 1
        with self._engine.begin() as connection:
            return execute(connection, command)

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def served(engine: Engine, web_settings: Settings) -> Iterator[Callable[..., TestClient]]:
    """Makes clients of one API; settings as given."""
    opened: list[TestClient] = []

    def serve(client: tuple[str, int] = HERE, recorder: Recorder | None = None, **settings: Any) -> TestClient:
        app = create_api(dataclasses.replace(web_settings, **settings))
        if recorder is not None:
            app.state.context.recorder.close()
            app.state.context = dataclasses.replace(app.state.context, recorder=recorder)
        test_client = local_client(app, client)
        test_client.__enter__()
        opened.append(test_client)
        return test_client

    yield serve
    for each in opened:
        each.__exit__(None, None, None)


def token(engine: Engine, *scopes: Scope, account: str = "mes", **values: Any) -> dict[str, str]:
    with engine.begin() as connection:
        made = create_token(connection, account, scopes, "kim", **values)
    return {"authorization": f"Bearer {made}"}


def problem(response: Any) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, response.json()["code"]


# --- tokens ---


def test_without_a_valid_token_nothing_is_told(engine: Engine, served: Callable[..., TestClient]) -> None:
    api = served(STRANGER, tokens=True)
    valid = token(engine, Scope.READ)
    for headers in ({}, {"authorization": "Bearer x"}, {"authorization": valid["authorization"].replace("Bearer", "Basic")}):
        response = api.get("/api/v1/lots", headers=headers)
        assert problem(response) == (401, "no_valid_token")
        assert response.headers["www-authenticate"] == "Bearer"
    assert api.get("/api/v1/lots", headers=valid).json() == {"items": [], "next_cursor": None}
    assert api.get("/api/v1/openapi.json").status_code == 200


def test_a_token_opens_its_scopes_and_no_other(engine: Engine, served: Callable[..., TestClient]) -> None:
    api = served(STRANGER, tokens=True, recorder=Recorder(engine))
    reading, lots = token(engine, Scope.READ), token(engine, Scope.LOTS, account="erp")
    new = {"lot": "L", "product": "plate"}
    refused = api.post("/api/v1/lots", json=new, headers=reading)
    assert problem(refused) == (403, "missing_scope")
    assert refused.json()["detail"] == "the token of mes lacks the scope lots; it has read"
    assert api.post("/api/v1/lots", json=new, headers=lots).status_code == 201
    assert api.get("/api/v1/lots/L/events", headers=reading).json()["items"][0]["by"] == "erp", (
        "the account, if nobody else is named"
    )
    assert problem(api.get("/api/v1/lots", headers=lots)) == (403, "missing_scope")


def test_no_program_writes_in_the_name_of_a_user(engine: Engine, served: Callable[..., TestClient]) -> None:
    api = served(STRANGER, recorder=Recorder(engine))
    add_user(engine, "kim", Role.QA)
    program = token(engine, Scope.LOTS, Scope.READ)
    for lot, by in (("L", "kim"), ("M", "mes"), ("N", "k" * 64), ("O", None)):
        assert api.post("/api/v1/lots", json={"lot": lot, "product": "plate", "by": by}, headers=program).status_code == 201
    found = [api.get(f"/api/v1/lots/{lot}/events", headers=program).json()["items"][0]["by"] for lot in "LMNO"]
    assert found == ["kim (mes)", "mes", "k" * 58 + " (mes)", "mes"]
    longest = token(engine, Scope.LOTS, account="a" * 64)
    api.post("/api/v1/lots", json={"lot": "P", "product": "plate", "by": "kim"}, headers=longest)
    assert api.get("/api/v1/lots/P/events", headers=program).json()["items"][0]["by"] == "a" * 64
    with engine.connect() as connection:
        entry = list_entries(connection, Wanted(), None, 100)[-1]
    assert (entry.by, entry.role, json.loads(entry.detail)["by"]) == ("mes", "program", "kim"), "what it says is kept there"


def test_revoked_and_expired_tokens_open_nothing(engine: Engine) -> None:
    with engine.begin() as connection:
        made = create_token(connection, "mes", [Scope.READ], "kim")
        short = create_token(connection, "shift", [Scope.READ], "kim", datetime.now(UTC) + timedelta(hours=8))
        assert find_token(connection, made).account == "mes"  # type: ignore[union-attr]
        assert find_token(connection, short).account == "shift"  # type: ignore[union-attr]
        with pytest.raises(Conflict, match="revoke it first"):
            create_token(connection, "mes", [Scope.READ], "kim")
        revoke_token(connection, "mes")
        assert find_token(connection, made) is None
        with pytest.raises(NotFound, match="has no token"):
            revoke_token(connection, "mes")
        again = create_token(connection, "mes", [Scope.LOTS], "kim")
        assert find_token(connection, made) is None
        assert find_token(connection, again).scopes == (Scope.LOTS,)  # type: ignore[union-attr]
        connection.execute(
            update(tables.tokens).where(tables.tokens.c.account == "shift").values(expires_at=datetime.now(UTC) - timedelta(1))
        )
        assert find_token(connection, short) is None
        assert [each.account for each in list_tokens(connection)] == ["mes", "shift"]
        kept = connection.execute(select(tables.tokens.c.digest)).scalars().all()
        assert not {made, short, again} & set(kept), "the records know digests alone"
        with pytest.raises(Conflict, match="opens nothing"):
            create_token(connection, "idle", [], "kim")


def test_this_machine_reads_without_a_token_for_its_pages_and_writes_with_one(served: Callable[..., TestClient]) -> None:
    api = served(tokens=True)
    assert api.get("/api/v1/lots").status_code == 200
    assert problem(api.get("/api/v1/lots", headers=REBOUND)) == (401, "no_valid_token"), "a foreign name that leads here"
    assert problem(api.post("/api/v1/lots", json={})) == (401, "no_valid_token")
    assert problem(api.get("/api/v1/lots", headers={"authorization": "Bearer wrong"})) == (401, "no_valid_token")
    refused = served(STRANGER, tokens=True).get("/")
    assert (refused.status_code, "Not set up yet" in refused.text) == (403, True)


@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize(("client", "host", "let_in"), [(STRANGER, OWN, False), (HERE, OWN, True), (HERE, REBOUND, False)])
def test_before_there_are_users_what_pages_are_served_through_is_for_this_machine(
    engine: Engine,
    reader: Engine,
    web_settings: Settings,
    client: tuple[str, int],
    host: dict[str, str],
    tokens: bool,
    let_in: bool,
) -> None:
    async def echo(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "hello"})

    context = Context(dataclasses.replace(web_settings, tokens=tokens), reader, engine, None, None)  # type: ignore[arg-type]
    guarded = access.Access(echo, context, Templates())
    connection = local_client(guarded, client).websocket_connect("/_nicegui_ws/socket.io/", headers=host)
    if let_in:
        with connection as socket:
            assert socket.receive_text() == "hello"
    else:
        with pytest.raises(WebSocketDisconnect), connection:
            pass


@pytest.mark.parametrize(("client", "host"), [(STRANGER, OWN), (HERE, REBOUND)])
def test_before_there_are_users_nothing_is_told_to_others_and_nothing_done_for_them(
    engine: Engine, served: Callable[..., TestClient], client: tuple[str, int], host: dict[str, str]
) -> None:
    """A proxy on this machine brings others here, and a foreign name can be made to lead here."""
    recorder = Recorder(engine)
    api = served(client, recorder)
    assert problem(api.get("/api/v1/lots", headers=host)) == (403, "first_start")
    new = {"lot": "L", "product": "plate"}
    assert problem(api.post("/api/v1/lots", json=new, headers=host)) == (403, "first_start")
    assert problem(api.get("/api/v1/lots/L/results.csv", headers=host)) == (403, "first_start")
    assert recorder.executed == 0
    for machine in ("/api/v1/health", "/metrics"):
        told = api.get(machine, headers=host)
        assert (told.json()["code"] == "first_start") if client == STRANGER else (told.status_code in (200, 503)), machine


@pytest.mark.parametrize("address", ["http://127.0.0.1:8080", "http://localhost:8080", "http://[::1]:8080"])
def test_before_there_are_users_this_machine_is_served_at_its_own_names(served: Callable[..., TestClient], address: str) -> None:
    api = served()
    api.base_url = address
    assert api.get("/api/v1/lots").status_code == 200
    assert api.get("/setup").status_code != 403


# --- limits ---


def test_too_many_requests_are_refused_for_a_while(engine: Engine, served: Callable[..., TestClient]) -> None:
    api = served(requests_per_s=1.0)
    answers = [api.get("/api/v1/lots") for _ in range(20)]
    refused = [answer for answer in answers if answer.status_code != 200]
    assert 5 <= len(answers) - len(refused) < 20
    assert {problem(answer) for answer in refused} == {(429, "too_many_requests")}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)


def test_too_many_pages_are_refused_and_their_parts_are_not(served: Callable[..., TestClient]) -> None:
    api = served(STRANGER, requests_per_s=1.0)
    answers = [api.get("/lots") for _ in range(20)]
    refused = [answer for answer in answers if answer.status_code != 403]
    assert 5 <= len(answers) - len(refused) < 20
    assert {problem(answer) for answer in refused} == {(429, "too_many_requests")}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert {api.get("/_nicegui/x").status_code for _ in range(20)} == {403}


def test_whoever_has_a_network_of_addresses_has_one_bucket() -> None:
    limit = Limit(0.001, 1)
    assert limit.take("2001:db8:0:1::1") == 0
    assert limit.take("2001:db8:0:1:ffff::2") > 0
    assert limit.take("2001:db8:0:2::1") == 0
    for alone in ("192.0.2.7", "192.0.2.8", "::ffff:192.0.2.9", "::ffff:192.0.2.10", "user/kim", "mes"):
        assert limit.take(alone) == 0, alone
    assert limit.take("192.0.2.9") > 0, "the same address, written otherwise"


def test_a_bucket_fills_again() -> None:
    bucket = Bucket(2, time.monotonic())
    assert [bucket.take(0.001, 2) for _ in range(2)] == [0, 0]
    assert bucket.take(0.001, 2) > 100
    bucket.at -= 5_000
    assert bucket.take(0.001, 2) == 0


# --- requests that come twice ---


def test_a_request_with_a_key_is_worked_on_once(engine: Engine, served: Callable[..., TestClient]) -> None:
    recorder = Recorder(engine)
    api = served(recorder=recorder)
    key = {"idempotency-key": "order-17"}
    first = api.post("/api/v1/lots", json={"lot": "L", "product": "plate"}, headers=key)
    again = api.post("/api/v1/lots", json={"lot": "L", "product": "plate"}, headers=key)
    assert (first.status_code, again.status_code, recorder.executed) == (201, 201, 1)
    assert again.json() == first.json()
    assert (first.headers.get("idempotency-replayed"), again.headers["idempotency-replayed"]) == (None, "true")
    other = api.post("/api/v1/lots", json={"lot": "M", "product": "plate"}, headers=key)
    assert problem(other) == (422, "idempotency_key_reused")
    without = api.post("/api/v1/lots", json={"lot": "L", "product": "plate"})
    assert problem(without) == (409, "lot_exists")
    refused = [api.post("/api/v1/lots/X/close", headers={"idempotency-key": "k2"}) for _ in range(2)]
    assert [problem(answer) for answer in refused] == [(404, "unknown_lot")] * 2
    assert recorder.executed == 3
    for bad in ("", "x" * 256):
        assert problem(api.post("/api/v1/lots/X/close", headers={"idempotency-key": bad})) == (422, "invalid_request")


def test_keys_of_two_accounts_are_two(engine: Engine, served: Callable[..., TestClient]) -> None:
    recorder = Recorder(engine)
    api = served(recorder=recorder, tokens=True)
    for account, lot in (("mes", "L"), ("erp", "M")):
        headers = {"idempotency-key": "1", **token(engine, Scope.LOTS, account=account)}
        assert api.post("/api/v1/lots", json={"lot": lot, "product": "plate"}, headers=headers).json()["lot"] == lot


def test_the_same_request_at_the_same_moment_is_worked_on_once(engine: Engine, served: Callable[..., TestClient]) -> None:
    recorder = Recorder(engine)
    api = served(recorder=recorder)
    began, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        began.set()
        assert go_on.wait(20)

    recorder.during = hold

    def ask() -> Any:
        return api.post("/api/v1/lots", json={"lot": "L", "product": "plate"}, headers={"idempotency-key": "k"})

    with ThreadPoolExecutor() as pool:
        first = pool.submit(ask)
        assert began.wait(20)
        assert problem(ask()) == (409, "in_progress")
        go_on.set()
        assert first.result().status_code == 201
    assert ask().status_code == 201
    assert recorder.executed == 1


def test_what_the_station_failed_to_do_is_tried_again(engine: Engine, served: Callable[..., TestClient]) -> None:
    class Away(Recorder):
        def execute(self, command: Command) -> Reply:
            self.executed += 1
            return Refused(code="unavailable", detail="try again") if self.executed == 1 else Done(lot=command.lot)

    recorder = Away(engine)
    with engine.begin() as connection:
        execute(connection, OpenLot(lot="L", product="plate"))
    api = served(recorder=recorder)
    answers = [api.post("/api/v1/lots/L/close", headers={"idempotency-key": "k"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 200, 200]
    assert recorder.executed == 2
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(tables.idempotency_keys)).scalar_one() == 1


# --- lots ---


def test_a_held_lot_takes_nothing_until_it_is_released(engine: Engine, served: Callable[..., TestClient]) -> None:
    api = served(recorder=Recorder(engine))
    why = {"by": "kim", "reason": "dents at station 3"}
    api.post("/api/v1/lots", json={"lot": "L", "product": "plate", "by": "mes", "reason": "order 7"})
    assert problem(api.post("/api/v1/lots/L/release", json=why)) == (409, "not_held")
    assert api.post("/api/v1/lots/L/hold", json=why).json()["state"] == "held"
    assert problem(api.post("/api/v1/lots/L/hold", json=why)) == (409, "held_lot")
    assert problem(api.post("/api/v1/lots/L/parts", json={"serials": ["S"]})) == (409, "held_lot")
    assert problem(api.post("/api/v1/lots/L/close")) == (409, "held_lot")
    assert api.post("/api/v1/lots/L/release", json=why).json()["state"] == "open"
    assert api.post("/api/v1/lots/L/close").json()["state"] == "closed"
    assert api.post("/api/v1/lots/L/hold", json=why).json()["state"] == "held"
    assert api.post("/api/v1/lots/L/release", json=why).json()["state"] == "closed", "as it was"
    assert problem(api.post("/api/v1/lots/L/hold", json={"by": "kim"})) == (422, "invalid_request")
    assert problem(api.post("/api/v1/lots/X/hold", json=why)) == (404, "unknown_lot")
    events = api.get("/api/v1/lots/L/events").json()["items"]
    assert [event["change"] for event in events] == ["opened", "held", "released", "closed", "held", "released"]
    assert (events[0]["by"], events[0]["reason"], events[1]["reason"]) == ("mes", "order 7", "dents at station 3")
    assert problem(api.get("/api/v1/lots/X/events")) == (404, "unknown_lot")


# --- triggers ---


class Line:
    """Answers requests as the line does, after ``ignored`` of them."""

    def __init__(self, run_dir: Path, ignored: int = 0) -> None:
        self.bus = Bus(run_dir, "line", LineMessage)
        self.asked: list[TriggerRequest] = []
        self.ignored = ignored

    def run(self, end: threading.Event) -> None:
        while not end.is_set():
            for request in self.bus.receive(0.02):
                self.asked.append(request)
                if len(self.asked) > self.ignored:
                    command = OutputCommand(
                        request_id=request.request_id,
                        trigger_id=7,
                        serial=request.serial or "READ-1",
                        output=Output.ACCEPT,
                        verdict=Verdict.PASS,
                        reason=None,
                        durable_ms=12.5,
                    )
                    self.bus.send(request.reply_to, command)
        self.bus.close()


@pytest.mark.parametrize("ignored", [0, 1])
def test_a_part_is_triggered_by_rest_and_asked_for_again_when_the_line_is_silent(
    engine: Engine, served: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch, ignored: int
) -> None:
    monkeypatch.setattr(triggers, "_REPEAT_S", 0.05)
    with engine.begin() as connection:
        execute(connection, OpenLot(lot="L", product="plate"))
    with tempfile.TemporaryDirectory(prefix="triggers-") as run_dir:
        line, end = Line(Path(run_dir), ignored), threading.Event()
        thread = threading.Thread(target=line.run, args=(end,))
        thread.start()
        api = served(software_triggered={"plate": ("top", 20.0)}, run_dir=Path(run_dir))
        try:
            answer = api.post("/api/v1/triggers", json={"lot": "L", "serial": "S"})
        finally:
            end.set()
            thread.join()
    assert (answer.status_code, answer.json()["output"], answer.json()["trigger_id"]) == (201, "accept", 7)
    assert [request.passed for request in line.asked] == [False, True][: ignored + 1]
    assert {(request.lot, request.serial, request.camera) for request in line.asked} == {("L", "S", "top")}


def test_the_serial_that_the_code_tells_is_answered(engine: Engine, served: Callable[..., TestClient]) -> None:
    with engine.begin() as connection:
        for product in ("plate", "flange"):
            execute(connection, OpenLot(lot=f"L-{product}", product=product))
    with tempfile.TemporaryDirectory(prefix="triggers-") as run_dir:
        line, end = Line(Path(run_dir)), threading.Event()
        thread = threading.Thread(target=line.run, args=(end,))
        thread.start()
        cameras = {"plate": ("top", 2_000.0), "flange": ("top", 2_000.0)}
        api = served(software_triggered=cameras, serials_from_code=frozenset(["plate"]), run_dir=Path(run_dir))
        try:
            answer = api.post("/api/v1/triggers", json={"lot": "L-plate"})
            refused = api.post("/api/v1/triggers", json={"lot": "L-flange"})
        finally:
            end.set()
            thread.join()
    assert (answer.status_code, answer.json()["serial"]) == (201, "READ-1")
    assert [request.serial for request in line.asked] == [None]
    assert problem(refused) == (422, "invalid_request")
    assert "name the serial" in refused.json()["detail"]


def test_a_line_that_says_nothing_means_that_the_part_is_not_accepted(
    engine: Engine, served: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triggers, "_PATIENCE_S", 0.1)
    with engine.begin() as connection:
        execute(connection, OpenLot(lot="L", product="plate"))
    with tempfile.TemporaryDirectory(prefix="triggers-") as run_dir:
        api = served(software_triggered={"plate": ("top", 20.0)}, run_dir=Path(run_dir))
        answer = api.post("/api/v1/triggers", json={"lot": "L", "serial": "S"})
    assert problem(answer) == (503, "unavailable")
    assert "do not accept" in answer.json()["detail"]


def test_only_cameras_that_software_triggers_are_triggered_by_rest(engine: Engine, served: Callable[..., TestClient]) -> None:
    with engine.begin() as connection:
        execute(connection, OpenLot(lot="L", product="plate"))
    api = served()
    assert problem(api.post("/api/v1/triggers", json={"lot": "L", "serial": "S"})) == (409, "no_software_trigger")
    assert problem(api.post("/api/v1/triggers", json={"lot": "X", "serial": "S"})) == (404, "unknown_lot")
