"""The feed of the live page: the lot that runs, the latency, and what is left when the records cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from inspection.domain import LotState, Model, Verdict
from inspection.recorder_client import ZmqRecorderClient
from inspection.records import deployments
from inspection.records.database import open_engine
from inspection.web.context import Context
from inspection.web.pages import feed as feeds
from inspection.web.pages.feed import Feed
from inspection.web.settings import Settings
from inspection.web.triggers import Triggers

NO_TRIGGERS = Triggers(lambda: pytest.fail("a page triggered a part"))


@pytest.fixture
def recorder() -> Iterator[ZmqRecorderClient]:
    client = ZmqRecorderClient("ipc:///none")
    yield client
    client.close()


@pytest.fixture
def feed(reader, engine, web_settings, recorder, monkeypatch) -> Feed:
    monkeypatch.setattr(feeds, "_FRESH_S", 0.0)
    return Feed(Context(web_settings, reader, engine, recorder, NO_TRIGGERS))


def test_an_empty_station_shows_nothing_and_does_not_fail(feed: Feed) -> None:
    snapshot = feed.current()
    assert (snapshot.parts, snapshot.summary, snapshot.lot, snapshot.latency, snapshot.rate) == ((), None, None, None, 0.0)


def test_the_running_lot_is_the_newest_parts_lot_or_one_opened_since(feed: Feed, seeder) -> None:
    seeder.lot("L1")
    seeder.inspection("L1", "S1")
    seeder.lot("older", opened_at=seeder.start - timedelta(days=1))
    seeder.connection.commit()
    assert feed.current().lot.lot == "L1"
    seeder.lot("closed", opened_at=datetime.now(UTC), state=LotState.CLOSED)
    seeder.connection.commit()
    assert feed.current().lot.lot == "L1"
    seeder.lot("L2", opened_at=datetime.now(UTC) + timedelta(seconds=1))
    seeder.connection.commit()
    assert (feed.current().lot.lot, feed.current().summary.triggered) == ("L2", 0)


def test_a_lot_that_was_never_opened_is_shown_with_its_counts(feed: Feed, seeder) -> None:
    seeder.inspection("ghost", "S1", Verdict.NOT_INSPECTED, reason="unknown_lot")
    seeder.connection.commit()
    snapshot = feed.current()
    assert (snapshot.summary.lot, snapshot.summary.not_inspected, snapshot.lot) == ("ghost", 1, None)


def test_latency_model_and_faults(feed: Feed, seeder) -> None:
    seeder.lot("L1")
    for number in range(101):
        seeder.inspection("L1", f"S{number}", timings_ms={"total": float(number)})
    seeder.inspection("L1", "S-none", Verdict.NOT_INSPECTED)
    for _ in range(6):
        seeder.fault()
    created = datetime.now(UTC)
    deployments.register_model(seeder.connection, Model("ab" * 32, "plate", "models/ab", "patchcore", created, {}))
    deployed = deployments.deploy(seeder.connection, "st-1", "plate", "ab" * 32, "ada", "first")
    seeder.connection.commit()
    snapshot = feed.current()
    assert (snapshot.latency.p50_ms, snapshot.latency.p99_ms, snapshot.latency.inspections) == (50.0, 99.0, 101)
    assert snapshot.deployment == deployed
    assert [fault.fault_id for fault in snapshot.faults] == [6, 5, 4, 3]
    assert len(snapshot.parts) == 12
    assert snapshot.parts[0].serial == "S-none"


def test_the_rate_counts_triggers_between_looks(feed: Feed, seeder) -> None:
    assert feed.current().rate == 0.0
    for number in range(10):
        seeder.trigger("L1", f"S{number}")
    seeder.connection.commit()
    assert feed.current().rate > 1.0


def test_unreadable_records_are_said_and_survived(tmp_path: Path, recorder) -> None:
    url = f"sqlite:///{tmp_path / 'none.db'}"
    settings = Settings("st-1", url, tmp_path, tmp_path / "status.json", "ipc:///none", ())
    feed = Feed(Context(settings, open_engine(url, read_only=True), open_engine(url), recorder, NO_TRIGGERS))
    assert any("records cannot be read" in reason for reason in feed.current().health.reasons)
