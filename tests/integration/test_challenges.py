"""Golden parts and challenges over REST and at the line, on real records."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from line_peers import LinePeers, line_peers
from local_client import local_client
from sqlalchemy import Engine, event, update
from starlette.testclient import TestClient

from inspection import challenge_lock
from inspection.challenge_lock import ChallengeLock
from inspection.challenges import Asked
from inspection.commands import Command, Reply, execute
from inspection.config import ProductConfig
from inspection.domain import ImageKind, LotState, Model, Reason, Verdict
from inspection.errors import Unavailable
from inspection.lookups import Pause
from inspection.messages import Ticket
from inspection.records import tables
from inspection.records.deployments import deploy, register_model
from inspection.records.labels import add_label
from inspection.training_set import draft
from inspection.web.app import create_api
from inspection.web.settings import Settings

MODEL, NEXT = "ab" * 32, "ef" * 32
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
RECIPE = ProductConfig(part_number="plate", camera="top", challenge_every_hours=8)


class Recorder:
    """Executes commands as the recorder does; away, it answers nothing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.away = False

    def execute(self, command: Command) -> Reply:
        if self.away:
            raise Unavailable("the recorder did not answer within 2 s; try again")
        with self._engine.begin() as connection:
            return execute(connection, command)

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def recorder(engine: Engine) -> Recorder:
    return Recorder(engine)


@pytest.fixture
def api(engine: Engine, web_settings: Settings, recorder: Recorder) -> Iterator[TestClient]:
    """A station whose recipe of ``plate`` asks for a challenge every 8 hours; its model is in service."""
    put_in_service(engine, MODEL)
    app = create_api(dataclasses.replace(web_settings, challenges={"plate": Asked(8)}))
    app.state.context.recorder.close()
    app.state.context = dataclasses.replace(app.state.context, recorder=recorder)
    with local_client(app) as client:
        yield client


def put_in_service(engine: Engine, model: str) -> None:
    with engine.begin() as connection:
        register_model(connection, Model(model, "plate", f"models/{model}", "patchcore", datetime.now(UTC), {}))
        deploy(connection, "st-1", "plate", model, "ada", "test")


def golden_parts(api: TestClient) -> None:
    for serial, label in (("G1", "ok"), ("B1", "dent")):
        assert api.post("/api/v1/golden-parts", json={"product": "plate", "serial": serial, "label": label}).status_code == 201


def start(api: TestClient) -> dict:
    started = api.post("/api/v1/challenges", json={"product": "plate", "by": "kim", "reason": "shift"})
    assert started.status_code == 201, started.text
    return started.json()


def feed(seeder, lot: str, **verdicts: Verdict) -> None:
    for serial, verdict in verdicts.items():
        seeder.inspection(lot, serial, verdict)
    seeder.connection.commit()


def where(api: TestClient) -> dict:
    return api.get("/api/v1/challenges/standings").json()["items"][0]["standing"]


def problem(response) -> tuple[int, str]:
    assert len(response.json()["detail"]) > 20
    return response.status_code, response.json()["code"]


def test_a_challenge_from_start_to_passed_unlocks_production(api: TestClient, seeder) -> None:
    assert where(api)["locked"]
    assert problem(api.post("/api/v1/challenges", json={"product": "plate"})) == (409, "cannot_challenge"), "no golden parts"
    golden_parts(api)
    started = start(api)
    assert (started["state"], started["lot"]) == ("running", f"challenge-plate-{started['challenge_id']}")
    assert problem(api.post("/api/v1/challenges", json={"product": "plate"})) == (409, "cannot_challenge"), "one is running"
    events = api.get(f"/api/v1/lots/{started['lot']}/events").json()["items"]
    assert [(each["change"], each["by"], each["reason"]) for each in events] == [("opened", "kim", "shift")]

    here = f"/api/v1/challenges/{started['challenge_id']}"
    feed(seeder, started["lot"], G1=Verdict.NOT_INSPECTED, stranger=Verdict.PASS)
    seen = api.get(here).json()
    assert [(each["serial"], each["verdict"], each["right"]) for each in seen["results"]] == [
        ("B1", None, None),
        ("G1", "not_inspected", None),
    ]
    assert (seen["strangers"], "'B1', 'G1'" in seen["to_do"]) == (["stranger"], True)
    assert problem(api.post(f"{here}/finish")) == (409, "challenge_incomplete")
    feed(seeder, started["lot"], G1=Verdict.PASS, B1=Verdict.REVIEW)
    assert api.get(here).json()["to_do"] is None
    ended = api.post(f"{here}/finish", json={"by": "kim"}).json()
    assert (ended["state"], [each["right"] for each in ended["results"]]) == ("passed", [True, True])
    assert api.get(f"/api/v1/lots/{started['lot']}").json()["state"] == "closed"
    assert (where(api)["locked"], api.get(here).json()["results"]) == (False, ended["results"])
    assert problem(api.post(f"{here}/finish")) == (409, "challenge_over")
    assert api.get("/api/v1/challenges", params={"product": "plate"}).json()["items"] == [ended]
    assert api.get("/api/v1/challenges", params={"product": "flange"}).json()["items"] == []
    assert problem(api.get("/api/v1/challenges/99")) == (404, "unknown_challenge")


@ON_SQLITE
def test_a_wrong_verdict_fails_the_challenge_and_cannot_be_abandoned(api: TestClient, seeder) -> None:
    golden_parts(api)
    first = start(api)
    feed(seeder, first["lot"], G1=Verdict.PASS, B1=Verdict.FAIL)
    api.post(f"/api/v1/challenges/{first['challenge_id']}/finish")
    assert not where(api)["locked"]
    second = start(api)
    feed(seeder, second["lot"], B1=Verdict.PASS)
    here = f"/api/v1/challenges/{second['challenge_id']}"
    assert problem(api.post(f"{here}/abandon")) == (409, "challenge_failed")
    assert api.post(f"{here}/finish").json()["state"] == "failed", "one escape is enough, whatever is missing"
    assert where(api)["locked"]


@ON_SQLITE
def test_an_abandoned_challenge_changes_nothing(api: TestClient, seeder) -> None:
    golden_parts(api)
    first = start(api)
    feed(seeder, first["lot"], G1=Verdict.PASS, B1=Verdict.FAIL)
    api.post(f"/api/v1/challenges/{first['challenge_id']}/finish")
    second = start(api)
    feed(seeder, second["lot"], B1=Verdict.FAIL)
    assert api.post(f"/api/v1/challenges/{second['challenge_id']}/abandon").json()["state"] == "abandoned"
    assert not where(api)["locked"]


@ON_SQLITE
def test_overdue_and_another_model_lock_production_again(api: TestClient, seeder, engine: Engine) -> None:
    golden_parts(api)
    passed = start(api)
    feed(seeder, passed["lot"], G1=Verdict.PASS, B1=Verdict.FAIL)
    api.post(f"/api/v1/challenges/{passed['challenge_id']}/finish")
    with engine.begin() as connection:
        connection.execute(update(tables.deployments).values(deployed_at=datetime.now(UTC) - timedelta(hours=10)))
        connection.execute(update(tables.challenges).values(ended_at=datetime.now(UTC) - timedelta(hours=9)))
    assert (where(api)["locked"], "more than 8 h" in where(api)["why"]) == (True, True)
    put_in_service(engine, NEXT)
    again = start(api)
    # Judged by the former model, which the inspector had not put away yet.
    feed(seeder, again["lot"], G1=Verdict.PASS, B1=Verdict.FAIL)
    assert problem(api.post(f"/api/v1/challenges/{again['challenge_id']}/finish")) == (409, "challenge_incomplete")
    for serial, verdict in (("G1", Verdict.PASS), ("B1", Verdict.FAIL)):
        seeder.inspection(again["lot"], serial, verdict, model=NEXT, attempt=2)
    seeder.connection.commit()
    assert api.post(f"/api/v1/challenges/{again['challenge_id']}/finish").json()["state"] == "passed"
    assert not where(api)["locked"]


@ON_SQLITE
def test_a_challenge_whose_lot_cannot_be_opened_is_abandoned(api: TestClient, recorder: Recorder) -> None:
    golden_parts(api)
    recorder.away = True
    assert problem(api.post("/api/v1/challenges", json={"product": "plate"})) == (503, "unavailable")
    recorder.away = False
    assert [each["state"] for each in api.get("/api/v1/challenges").json()["items"]] == ["abandoned"]
    assert start(api)["state"] == "running"


def test_golden_parts_are_kept_changed_and_removed(api: TestClient) -> None:
    golden_parts(api)
    changed = api.post("/api/v1/golden-parts", json={"product": "plate", "serial": "B1", "label": "scratch", "by": "ada"})
    assert (changed.json()["label"], changed.json()["added_by"]) == ("scratch", "ada")
    assert problem(api.post("/api/v1/golden-parts", json={"product": "plate", "serial": "x", "label": "OK"})) == (
        409,
        "invalid_golden_part",
    )
    assert problem(api.post("/api/v1/golden-parts", json={"product": "none", "serial": "x", "label": "ok"})) == (
        422,
        "unknown_product",
    )
    listed = api.get("/api/v1/golden-parts", params={"product": "plate"}).json()["items"]
    assert [(each["serial"], each["label"]) for each in listed] == [("B1", "scratch"), ("G1", "ok")]
    left = api.delete("/api/v1/golden-parts/B1", params={"product": "plate"}).json()["items"]
    assert [each["serial"] for each in left] == ["G1"]
    assert problem(api.delete("/api/v1/golden-parts/B1", params={"product": "plate"})) == (404, "unknown_golden_part")


def test_golden_parts_are_no_production_and_nothing_learns_from_them(api: TestClient, seeder, engine: Engine) -> None:
    golden_parts(api)
    seeder.lot("L1")
    started = start_after_commit(api, seeder)
    for number, (lot, serial) in enumerate((("L1", "S1"), (started["lot"], "G1"), (started["lot"], "B1"))):
        seq = seeder.inspection(lot, serial, Verdict.PASS)
        seeder.image(seq, ImageKind.FRAME, np.full((8, 8), number, np.uint8), "Mono8")
    seeder.connection.commit()
    with engine.begin() as connection:
        add_label(connection, 3, "dent", "ada")
    with engine.connect() as connection:
        assert [member.name for member in draft(connection, "plate").members] == ["L1/S1#1"]
    assert [lot["lot"] for lot in api.get("/api/v1/lots").json()["items"]] == ["L1"]
    every = api.get("/api/v1/lots", params={"with_challenges": True}).json()["items"]
    assert {lot["lot"]: lot["challenge"] for lot in every} == {"L1": None, started["lot"]: started["challenge_id"]}
    assert [each["challenge"] for each in api.get("/api/v1/changes").json()["items"]] == [
        None,
        started["challenge_id"],
        started["challenge_id"],
    ]
    for name in ("results.csv", "results.parquet", "b2mml.xml", "certificate.pdf"):
        assert problem(api.get(f"/api/v1/lots/{started['lot']}/{name}")) == (409, "challenge_lot")
    assert len(api.get(f"/api/v1/lots/{started['lot']}/results").json()["items"]) == 2


def start_after_commit(api: TestClient, seeder) -> dict:
    seeder.connection.commit()
    return start(api)


# --- at the line ---


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> Iterator[LinePeers]:
    with line_peers(monkeypatch) as peers:
        yield peers


def exposed(peers: LinePeers, lot: str) -> None:
    """A part of this lot is inspected."""
    assert peers.ack(peers.ask(lot=lot)).expose
    assert peers.inspector.expect(Ticket) == peers.recorder.expect(Ticket)


@ON_SQLITE
def test_a_locked_product_is_refused_and_its_challenge_is_not(
    api: TestClient, seeder, reader: Engine, engine: Engine, peers: LinePeers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(challenge_lock, "REMEMBER_S", 0.0)
    peers.challenge_due = ChallengeLock(reader, "st-1", [RECIPE], Pause()).is_due
    golden_parts(api)
    with peers.armed_line():
        ticket = peers.refused(peers.ask(), Reason.CHALLENGE_DUE)
        peers.record(ticket, Verdict.NOT_INSPECTED, Reason.CHALLENGE_DUE)
        peers.output(ticket)
        started = start(api)
        peers.lots[started["lot"]] = (LotState.OPEN, "plate")
        exposed(peers, started["lot"])
        peers.refused(peers.ask(), Reason.CHALLENGE_DUE)
        feed(seeder, started["lot"], G1=Verdict.PASS, B1=Verdict.FAIL)
        api.post(f"/api/v1/challenges/{started['challenge_id']}/finish")
        exposed(peers, "L")
        # The challenge is over: its lot is no way around the lock any more.
        with engine.begin() as connection:
            connection.execute(update(tables.challenges).values(ended_at=datetime.now(UTC) - timedelta(hours=9)))
        peers.refused(peers.ask(lot=started["lot"]), Reason.CHALLENGE_DUE)


@ON_SQLITE
def test_records_that_cannot_be_read_leave_the_last_answer_and_lock_without_one(
    api: TestClient, seeder, engine: Engine, reader: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    golden_parts(api)
    lock = ChallengeLock(reader, "st-1", [RECIPE], Pause())
    started = start(api)
    feed(seeder, started["lot"], G1=Verdict.PASS, B1=Verdict.FAIL)
    api.post(f"/api/v1/challenges/{started['challenge_id']}/finish")
    assert not lock.is_due("L", "plate")
    engine.dispose()
    reader.dispose()
    database = Path(database_url.removeprefix("sqlite:///"))
    away = database.with_suffix(".away")
    database.rename(away)
    try:
        monkeypatch.setattr(challenge_lock, "REMEMBER_S", 0.0)
        assert not lock.is_due("L", "plate")
        assert ChallengeLock(reader, "st-1", [RECIPE], Pause()).is_due("L", "plate")
        free = RECIPE.model_copy(update={"challenge_every_hours": None})
        assert not ChallengeLock(reader, "st-1", [free], Pause()).is_due("L", "plate")
    finally:
        away.rename(database)


@ON_SQLITE
def test_an_unlocked_line_does_not_read_the_records_for_each_part(
    api: TestClient, seeder, reader: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(challenge_lock, "REMEMBER_S", 600.0)
    golden_parts(api)
    started = start(api)
    feed(seeder, started["lot"], G1=Verdict.PASS, B1=Verdict.FAIL)
    api.post(f"/api/v1/challenges/{started['challenge_id']}/finish")
    reads: list[object] = []
    event.listen(reader, "begin", reads.append)
    lock = ChallengeLock(reader, "st-1", [RECIPE], Pause())
    assert not any(lock.is_due("L", "plate") for _ in range(100))
    assert len(reads) == 1
