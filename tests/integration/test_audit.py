"""The audit trail: its chain, what is found when somebody tampers with it, and that no write is without a trace."""

from __future__ import annotations

import asyncio
import csv
import dataclasses
import io
import json
import re
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from local_client import ADDRESS, local_client
from people import CHEAP, PASSWORD, add_user, headers
from sqlalchemy import Engine, delete, select, update
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient
from starlette.types import Message
from typer.testing import CliRunner

from inspection.cli import app
from inspection.domain import OK, AuditEntry, Role, Scope, Verdict
from inspection.records.audit import (
    FIRST,
    HEAD,
    Trace,
    Trail,
    Verified,
    Wanted,
    append,
    list_entries,
    note_head,
    read_head,
    verify,
)
from inspection.records.database import open_engine
from inspection.records.tables import audit_entries, labels
from inspection.records.tokens import create_token
from inspection.web import access, audited
from inspection.web.app import create_api
from inspection.web.audited import Audited
from inspection.web.identity import Caller
from inspection.web.limits import Limit
from inspection.web.problems import Problem
from inspection.web.settings import Settings
from inspection.web.trail import Templates

entries = audit_entries.c
TRACE = Trace("kim", "qa", "192.0.2.7", "POST /deployments", "product plate", '{"reason":"ü 检 🙂"}')


def trail(engine: Engine, folder: Path, number: int) -> Trail:
    written = Trail(engine, folder)
    for each in range(number):
        written.write(dataclasses.replace(TRACE, subject=f"lot {each}"), "201")
    return written


def verified(engine: Engine, folder: Path, after: int = 0) -> Verified:
    with engine.connect() as connection:
        return verify(connection, folder / HEAD, after)


# --- the chain ---


def test_entries_are_numbered_without_gaps_and_chained_whoever_writes_at_the_same_time(engine: Engine, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: trail(engine, tmp_path, 5), range(4)))
    with engine.connect() as connection:
        listed = list_entries(connection, Wanted(), None, 100)
    assert [entry.audit_id for entry in listed] == list(range(20, 0, -1))
    assert [entry.previous for entry in listed] == [*(entry.digest for entry in listed[1:]), FIRST]
    assert verified(engine, tmp_path) == Verified(20, 20)
    assert verified(engine, tmp_path, after=15) == Verified(5, 20)
    number, digest = (tmp_path / HEAD).read_text().split()
    assert (int(number), digest) == (20, listed[0].digest)


@pytest.mark.parametrize(
    ("change", "first_wrong", "says"),
    [
        (update(audit_entries).where(entries.audit_id == 4).values(by="eve"), 4, "was altered"),
        (update(audit_entries).where(entries.audit_id == 4).values(outcome="403 missing_scope"), 4, "was altered"),
        (delete(audit_entries).where(entries.audit_id == 4), 4, "is missing"),
        (delete(audit_entries).where(entries.audit_id == 1), 1, "is missing"),
        (delete(audit_entries).where(entries.audit_id > 6), 7, "entries 7 to 9 are missing at the end"),
        (delete(audit_entries), 1, "entries 1 to 9 are missing at the end"),
    ],
)
def test_what_was_altered_or_taken_out_is_found(engine: Engine, tmp_path: Path, change: Any, first_wrong: int, says: str) -> None:
    trail(engine, tmp_path, 9)
    with engine.begin() as connection:
        connection.execute(change)
    found = verified(engine, tmp_path)
    assert found.first_wrong == first_wrong
    assert says in str(found.problem)


def test_a_chain_that_was_made_anew_is_not_the_one_that_was_noted(engine: Engine, tmp_path: Path) -> None:
    trail(engine, tmp_path, 3)
    with engine.begin() as connection:
        connection.execute(delete(audit_entries))
        for _ in range(5):
            append(connection, dataclasses.replace(TRACE, by="eve"), "201")
    found = verified(engine, tmp_path)
    assert (found.first_wrong, "made anew" in str(found.problem)) == (3, True)
    (tmp_path / HEAD).unlink()
    assert "missing or unreadable" in str(verified(engine, tmp_path).problem)


def test_a_renumbered_chain_does_not_fit(engine: Engine, tmp_path: Path) -> None:
    """Taking an entry out and moving the others up leaves digests that are of other numbers."""
    trail(engine, tmp_path, 4)
    with engine.begin() as connection:
        connection.execute(delete(audit_entries).where(entries.audit_id == 2))
        for number in (3, 4):
            connection.execute(update(audit_entries).where(entries.audit_id == number).values(audit_id=number - 1))
    assert verified(engine, tmp_path).first_wrong == 2


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_whoever_may_write_everything_is_found_out_by_what_left_the_machine(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "inspection.records.audit"):
        trail(engine, tmp_path, 101)
    kept = read_head(tmp_path / HEAD)
    assert kept is not None
    (logged,) = re.findall(r"audit entry (\d+) has the digest (\w{64})", caplog.text)
    with engine.begin() as connection:
        connection.execute(delete(audit_entries))
    (tmp_path / HEAD).unlink()
    trail(engine, tmp_path, 200)
    with engine.connect() as connection:
        assert verify(connection, tmp_path / HEAD).problem is None, "nothing on this machine tells"
        for number, digest in (kept, (int(logged[0]), logged[1])):
            found = verify(connection, tmp_path / HEAD, anchors={number: digest})
            assert (found.first_wrong, "kept elsewhere" in str(found.problem)) == (number, True)
        assert "noted elsewhere" in str(verify(connection, tmp_path / HEAD, anchors={300: "a" * 64}).problem)
        newest = read_head(tmp_path / HEAD)
        assert newest is not None
        assert verify(connection, tmp_path / HEAD, anchors=dict([newest])).problem is None


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_entry_of_a_command_keeps_an_anchor_out_of_the_log(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written = trail(engine, tmp_path, 99)
    with engine.begin() as connection:
        for _ in range(3):
            append(connection, TRACE, "done")
    with caplog.at_level("INFO", "inspection.records.audit"):
        entry = written.write(TRACE, "201")
        written.write(TRACE, "201")
    assert re.findall(r"audit entry (\d+) has the digest (\w{64})", caplog.text) == [("103", entry.digest)]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_any_change_of_any_column_of_any_entry_is_found(engine: Engine, tmp_path: Path) -> None:
    """Each column of each entry to what another entry has there, or to something new; entries swapped; one put in twice."""
    number = 5
    written = trail(engine, tmp_path, number)
    written.write(dataclasses.replace(TRACE, by="lee", role="admin", client="cli", action="x", detail=""), "403 y")
    with engine.connect() as connection:
        original = [dict(row) for row in connection.execute(select(audit_entries).order_by(entries.audit_id)).mappings()]
    tried = 0
    for row in original:
        for name, value in row.items():
            others = {repr(other[name]): other[name] for other in original if other[name] != value}
            new = {"audit_id": 99, "at": value}.get(name, f"{value}!")
            for changed in [*others.values(), new]:
                if (name == "audit_id" and changed in others.values()) or changed == value:
                    continue
                with engine.connect() as connection:
                    connection.execute(update(audit_entries).where(entries.audit_id == row["audit_id"]).values({name: changed}))
                    assert verify(connection, tmp_path / HEAD).problem is not None, (row["audit_id"], name, changed)
                    connection.rollback()
                tried += 1
    assert tried > 60
    for first, second in ((1, 2), (3, 6)):
        with engine.connect() as connection:
            for here, there in ((first, 1_000), (second, first), (1_000, second)):
                connection.execute(update(audit_entries).where(entries.audit_id == here).values(audit_id=there))
            assert verify(connection, tmp_path / HEAD).first_wrong == first
            connection.rollback()
    assert verified(engine, tmp_path).problem is None


def test_an_older_head_is_never_noted_over_a_newer_one(engine: Engine, tmp_path: Path) -> None:
    written = trail(engine, tmp_path, 2)
    with engine.begin() as connection:
        committed = append(connection, TRACE, "201")
    written.write(TRACE, "201")
    newest = (tmp_path / HEAD).read_text()
    note_head(tmp_path / HEAD, committed)
    assert (tmp_path / HEAD).read_text() == newest


# --- every write ---


def told(engine: Engine) -> list[AuditEntry]:
    with engine.connect() as connection:
        return list(reversed(list_entries(connection, Wanted(), None, 1000)))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestRequests:
    def test_a_write_is_told_before_and_after_with_who_what_and_how_it_ended(
        self, engine: Engine, api: TestClient, seeder: Any
    ) -> None:
        seeder.inspection("L1", "S1", Verdict.FAIL)
        seeder.connection.commit()
        add_user(engine, "kim", Role.QA)
        answer = api.post(
            "/api/v1/inspections/1/labels", json={"label": OK, "by": "eve", "reason": "dust"}, headers=headers(engine, "kim")
        )
        assert answer.json()["labelled_by"] == "kim", "whoever is logged in, whatever the body says"
        asked, ended = told(engine)
        assert (asked.by, asked.role, asked.client) == ("kim", "qa", "127.0.0.1")
        assert (asked.action, asked.outcome) == ("POST /inspections/{seq}/labels", "asked")
        assert asked.subject == "label ok, seq 1"
        assert json.loads(asked.detail) == {"label": "ok", "by": "eve", "reason": "dust"}
        assert (ended.by, ended.outcome, json.loads(ended.detail)) == ("kim", "201", {"asked": 1})

    def test_refusals_are_told_with_their_code(self, engine: Engine, api: TestClient) -> None:
        add_user(engine, "ops", Role.OPERATOR)
        ops = headers(engine, "ops")
        with engine.begin() as connection:
            token = create_token(connection, "mes", [Scope.LOTS], "kim")
        program = {"authorization": f"Bearer {token}"}
        api.post("/api/v1/lots/L/close")
        api.post("/api/v1/training-sets", json={"product": "plate"}, headers=ops)
        api.post("/api/v1/lots", json={"lot": "L"}, headers=ops)
        api.post("/api/v1/lots", json={"lot": "L", "product": "teapot", "by": "sap"}, headers=program)
        api.post("/api/v1/training-sets", json={"product": "plate"}, headers=program)
        api.post("/api/v1/nowhere", headers=ops | {"origin": "http://evil.example"})
        found = [(each.by, each.role, each.action, each.outcome) for each in told(engine)]
        assert found == [
            ("unnamed", "", "POST /lots/{lot}/close", "401 not_logged_in"),
            ("ops", "operator", "POST /training-sets", "403 missing_scope"),
            ("ops", "operator", "POST /lots", "asked"),
            ("ops", "operator", "POST /lots", "422 invalid_request"),
            ("mes", "program", "POST /lots", "asked"),
            ("mes", "program", "POST /lots", "422 unknown_product"),
            ("mes", "program", "POST /training-sets", "403 missing_scope"),
            ("ops", "operator", "POST /nowhere", "403 cross_site"),
        ]
        with engine.connect() as connection:
            assert len(list_entries(connection, Wanted(refused=True), None, 100)) == 6
            assert len(list_entries(connection, Wanted(by="mes"), None, 100)) == 3

    def test_no_password_and_no_token_is_written_down(self, engine: Engine, api: TestClient) -> None:
        add_user(engine)
        admin = headers(engine)
        secret = "a sentence that nobody shall read"
        api.post("/api/v1/users", json={"user": "new", "role": "qa", "password": secret}, headers=admin)
        api.post("/api/v1/session/password", json={"password": PASSWORD, "new_password": secret}, headers=admin)
        api.post("/api/v1/session", json={"user": secret, "password": PASSWORD}, headers={"origin": ADDRESS})
        api.post("/api/v1/nowhere", json={"list": [{"API_Token": secret}]}, headers=admin)
        api.post("/api/v1/session", content=secret.encode(), headers={"origin": ADDRESS})
        found = told(engine)
        assert [each.action for each in found].count("POST /users") == 2
        assert secret not in str(found)
        assert PASSWORD not in str(found)
        unknown = next(each for each in found if each.outcome == "401 unknown_user")
        assert (unknown.by, unknown.subject, unknown.detail) == ("unnamed", "", "")

    @pytest.mark.parametrize(
        ("outcome", "more", "origin"),
        [
            ("422 invalid_request", {"surplus": 1}, ADDRESS),
            ("403 cross_site", {}, "http://evil.example"),
            ("429 too_many_logins", {}, ADDRESS),
        ],
    )
    def test_a_password_in_the_wrong_field_is_not_written_down_whatever_becomes_of_the_login(
        self, engine: Engine, api: TestClient, outcome: str, more: dict[str, int], origin: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add_user(engine)
        secret = "a sentence that nobody shall read"
        if outcome.startswith("429"):
            monkeypatch.setattr(Limit, "take", lambda self, _who: 1.0 if self.rate == access._LOGINS_PER_S else 0.0)
        sent = {"user": secret, "by": secret, "password": PASSWORD} | more
        for path in ("session", "session/confirm"):
            api.post(f"/api/v1/{path}", json=sent, headers={"origin": origin})
        found = told(engine)
        assert found[0].outcome == outcome
        assert {(each.by, each.subject, each.detail) for each in found} == {("unnamed", "", "")}
        assert secret not in str(found)

    def test_where_no_entry_can_be_written_nothing_is_done(
        self, engine: Engine, api: TestClient, seeder: Any, web_settings: Settings
    ) -> None:
        seeder.inspection("L1", "S1")
        seeder.connection.commit()
        (web_settings.data_dir / HEAD).mkdir()
        answer = api.post("/api/v1/inspections/1/labels", json={"label": "scratch", "by": "kim"})
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert "nothing was done" in answer.json()["detail"]
        with engine.connect() as connection:
            assert connection.execute(select(labels)).all() == []
        assert api.get("/api/v1/lots").status_code == 200, "reading goes on"
        assert api.get("/api/v1/lots/L1/results.csv").status_code == 200, "what cannot be kept here must be taken away"

    def test_a_login_that_leaves_no_trace_is_none(self, engine: Engine, api: TestClient, web_settings: Settings) -> None:
        add_user(engine)
        (web_settings.data_dir / HEAD).mkdir()
        shown = {"user": "ada", "password": PASSWORD}
        answer = api.post("/api/v1/session", json=shown, headers={"origin": ADDRESS})
        assert (answer.status_code, "set-cookie" in answer.headers) == (503, False)

    def test_an_action_whose_process_failed_has_its_trace(self, engine: Engine, web_settings: Settings) -> None:
        app = create_api(web_settings)

        def fail(_command: object) -> None:
            assert told(engine)[-1].outcome == "asked", "before anything is done"
            raise ZeroDivisionError

        app.state.context.recorder.close()
        recorder = type("Failing", (), {"execute": staticmethod(fail), "close": staticmethod(lambda: None)})()
        app.state.context = dataclasses.replace(app.state.context, recorder=recorder)
        with local_client(app, raise_server_exceptions=False) as client:
            assert client.post("/api/v1/lots/L/close").status_code == 500
        assert [each.outcome for each in told(engine)] == ["asked", "500 internal_error"]

    def test_a_stranger_cannot_fill_the_disk_with_refusals(self, engine: Engine, api: TestClient) -> None:
        add_user(engine)
        for _ in range(80):
            assert api.post("/api/v1/lots/L/close").status_code == 401
        found = told(engine)
        assert 60 <= len(found) < 75
        assert {each.outcome for each in found} == {"401 not_logged_in"}

    def test_strangers_with_many_addresses_cannot_fill_it_either(self, engine: Engine, web_settings: Settings) -> None:
        add_user(engine)
        app = create_api(web_settings)
        written = Audited(app, app.state.context, Templates())
        anywhere = [f"198.51.100.{each}" for each in range(200)] + [f"2001:db8:{each:x}::1" for each in range(200)]
        refused = Problem(HTTPStatus.UNAUTHORIZED, "not_logged_in", "log in")

        async def ask(address: str) -> None:
            request = Request({"type": "http", "method": "POST", "path": "/api/v1/lots", "headers": [], "query_string": b""})
            caller = Caller(address, False, True, False, None, None, None)
            await written.refuse(request, caller, refused, Response(), empty, ignored)

        async def empty() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def ignored(_message: Message) -> None: ...

        async def everybody() -> None:
            for address in anywhere:
                await ask(address)

        asyncio.run(everybody())
        assert 240 <= len(told(engine)) < 300
        app.state.context.recorder.close()

    def test_logins_of_nobody_cannot_fill_the_disk_and_those_that_lock_a_user_are_all_told(
        self, engine: Engine, web_settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        add_user(engine)
        monkeypatch.setattr(audited, "_STRANGERS_AT_ONCE", 3)
        monkeypatch.setattr(access, "_LOGINS_AT_ONCE", 1_000)
        with local_client(create_api(web_settings, passwords=CHEAP)) as api:
            for user in [*(f"nobody-{each}" for each in range(12)), *["ada"] * 5]:
                shown = {"user": user, "password": "wrong"}
                assert api.post("/api/v1/session", json=shown, headers={"origin": ADDRESS}).status_code == 401
        found = [each.outcome for each in told(engine)]
        assert 3 <= found.count("401 unknown_user") < 12
        assert found[-5:] == ["401 wrong_password"] * 4 + ["401 lockout"]

    def test_a_long_body_arrives_whole_and_is_told_as_long(self, engine: Engine, api: TestClient) -> None:
        serials = [f"{number:060}" for number in range(9_000)]
        api.post("/api/v1/lots/L/parts", json={"serials": [*serials, "not a serial"]})
        asked, ended = told(engine)
        assert (asked.subject, asked.detail) == ("lot L", '{"body": "more than 262144 bytes"}')
        assert ended.outcome == "422 invalid_request", "the last of them was read"

    def test_the_trail_is_read_filtered_paged_verified_and_taken_away(self, engine: Engine, api: TestClient) -> None:
        add_user(engine, "kim", Role.QA)
        kim = headers(engine, "kim")
        trail_of = Trail(engine, Path(api.app.state.context.settings.data_dir))  # type: ignore[attr-defined]
        for number in range(5):
            trail_of.write(dataclasses.replace(TRACE, subject=f"=lot {number}"), "409 gate_not_passed" if number % 2 else "201")
        page = api.get("/api/v1/audit-entries?limit=2", headers=kim).json()
        assert ([each["audit_id"] for each in page["items"]], page["next_before"]) == ([5, 4], 4)
        page = api.get("/api/v1/audit-entries?limit=2&before=4", headers=kim).json()
        assert [each["audit_id"] for each in page["items"]] == [3, 2]
        refused = api.get("/api/v1/audit-entries?refused=true&action=/deploy&since=2020-01-01T00:00:00Z", headers=kim).json()
        assert [each["audit_id"] for each in refused["items"]] == [4, 2]
        assert api.get("/api/v1/audit-entries/verification", headers=kim).json() == {
            "entries": 5,
            "last": 5,
            "first_wrong": None,
            "problem": None,
        }
        rows = list(csv.DictReader(io.StringIO(api.get("/api/v1/audit-entries/entries.csv?by=kim", headers=kim).text)))
        assert [row["audit_id"] for row in rows] == ["6", "5", "4", "3", "2", "1"], "the export is told as well"
        assert rows[1]["subject"] == "'=lot 4"


# --- commands ---


def test_commands_leave_their_trace_and_verify_the_chain(tmp_path: Path) -> None:
    config = tmp_path / "station.toml"
    config.write_text('[[cameras]]\nname = "top"\nserial = "S"\n[[products]]\npart_number = "plate"\ncamera = "top"\n')

    def station(*arguments: str, stdin: str | None = None, rc: int = 0) -> str:
        done = CliRunner().invoke(app, [*arguments, "--config", str(config)], input=stdin)
        assert done.exit_code == rc, done.output
        return done.output

    assert "first user" in station("user", "create", "ops", "--role", "operator", stdin="a good sentence\n", rc=1)
    assert "12 to 256" in station("user", "create", "ada", "--role", "admin", stdin="short\n", rc=1)
    assert "ada can log in" in station("user", "create", "ada", "--role", "admin", "--by", "grace", stdin="a good sentence\n")
    assert "only administrator" in station("user", "disable", "ada", rc=1)
    for command in (("user", "create", "ops", "--role", "operator"), ("user", "password", "ops")):
        assert "changes the password at the next login" in station(*command, "--by", "ada", stdin="a good sentence\n")
    station("token", "create", "mes", "--by", "kim")
    assert "4 entries fit, up to number 4" in station("audit", "verify")
    copy = tmp_path / "copy"
    copy.write_bytes((tmp_path / "data" / HEAD).read_bytes())
    assert "4 entries fit" in station("audit", "verify", "--against", str(copy))
    copy.write_text(f"4 {'a' * 64}")
    assert "kept elsewhere" in station("audit", "verify", "--against", str(copy), rc=1)
    copy.write_text("garbage")
    assert "is no copy of audit.head" in station("audit", "verify", "--against", str(copy), rc=1)
    engine = open_engine(f"sqlite:///{tmp_path / 'data' / 'station.db'}")
    found = [(each.by, each.client, each.action, each.subject, each.outcome) for each in told(engine)]
    assert found == [
        ("grace", "cli", "user create", "user ada", "done"),
        ("ada", "cli", "user create", "user ops", "done"),
        ("ada", "cli", "user password", "user ops", "done"),
        ("kim", "cli", "token create", "account mes", "done"),
    ]
    with engine.begin() as connection:
        connection.execute(update(audit_entries).where(entries.audit_id == 1).values(by="kim"))
    engine.dispose()
    assert "does not fit from entry 1 on: entry 1 was altered" in station("audit", "verify", rc=1)
