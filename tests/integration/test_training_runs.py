"""Training runs in the records: claimed by one trainer at a time, fenced, cancelled, given up."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, insert, update

from inspection.domain import RunState, TrainingRun, TrainingSettings
from inspection.errors import Conflict, NotFound
from inspection.records import tables
from inspection.records.training_runs import (
    EXPIRED_S,
    MAX_ATTEMPTS,
    beat,
    cancel_run,
    claim_run,
    end_run,
    get_run,
    give_back_run,
    is_waiting,
    list_runs,
    request_run,
)

SET = "ab" * 32


@pytest.fixture
def connection(seeder):
    """A connection to records with one training set."""
    values = {"training_set": SET, "product": "plate", "document": "{}", "sizes": {}, "warnings": [], "created_by": "ada"}
    seeder.connection.execute(insert(tables.training_sets).values(**values, created_at=datetime.now(UTC)))
    return seeder.connection


def request(connection, **values: int) -> TrainingRun:
    return request_run(connection, "st-1", SET, "ada", "more rejects", **values)


def silence(connection, run: TrainingRun) -> None:
    """Its trainer died so long ago that the heartbeat has expired."""
    long_ago = datetime.now(UTC) - timedelta(seconds=EXPIRED_S + 1)
    row = tables.training_runs.c.training_run_id == run.training_run_id
    connection.execute(update(tables.training_runs).where(row).values(heartbeat_at=long_ago))


def test_a_run_from_request_to_success(connection) -> None:
    requested = request(connection, settings=TrainingSettings(seed=3, longer_side=160))
    assert (requested.state, requested.product) == (RunState.QUEUED, "plate")
    assert requested.settings == TrainingSettings(seed=3, longer_side=160)
    assert is_waiting(connection, "st-1")
    assert not is_waiting(connection, "st-2"), "the images are on st-1"
    assert claim_run(connection, "st-2") is None
    run = claim_run(connection, "st-1")
    assert (run.state, run.attempts) == (RunState.RUNNING, 1)
    assert not is_waiting(connection, "st-1")
    assert claim_run(connection, "st-1") is None, "it beats"
    going = beat(connection, run, "bank", 1, 2, "read 12 images\n")
    assert (going.stage, going.done, going.steps, going.log) == ("bank", 1, 2, "read 12 images\n")
    ended = end_run(connection, run, RunState.SUCCEEDED, "done\n")
    assert ended.ended_at >= ended.started_at >= ended.requested_at
    assert get_run(connection, run.training_run_id) == ended
    assert list_runs(connection, None, 10) == list_runs(connection, "plate", 10) == (ended,)
    assert list_runs(connection, "flange", 10) == ()


def test_a_run_without_a_size_leaves_the_design_to_the_training(connection) -> None:
    assert request(connection).settings == TrainingSettings()


def test_runs_that_an_earlier_version_recorded_are_read(connection) -> None:
    run = request(connection).training_run_id
    earlier = {"algorithm": "patchcore", "longer_side": 320, "seed": 7}
    connection.execute(update(tables.training_runs).where(tables.training_runs.c.training_run_id == run).values(settings=earlier))
    assert get_run(connection, run).settings == TrainingSettings(7, 320)


def test_runs_are_claimed_in_the_order_of_their_requests(connection) -> None:
    requested = [request(connection).training_run_id for _ in range(3)]
    assert [claim_run(connection, "st-1").training_run_id for _ in range(3)] == requested


def test_what_cannot_be_trained_is_not_queued(connection) -> None:
    with pytest.raises(NotFound, match="training set cdcd"):
        request_run(connection, "st-1", "cd" * 32, "ada", "")
    with pytest.raises(NotFound, match="training run 7 is not recorded"):
        get_run(connection, 7)


def test_a_run_whose_trainer_died_is_claimed_again_and_the_former_trainer_is_fenced_off(connection) -> None:
    request(connection)
    first = claim_run(connection, "st-1")
    silence(connection, first)
    second = claim_run(connection, "st-1")
    assert (second.training_run_id, second.attempts) == (first.training_run_id, 2)
    assert beat(connection, first, "bank", 1, 1, "") is None
    assert end_run(connection, first, RunState.SUCCEEDED, "") is None
    assert get_run(connection, first.training_run_id).state is RunState.RUNNING
    assert beat(connection, second, "bank", 1, 1, "") is not None


def test_a_run_that_kills_each_trainer_fails_in_the_end(connection) -> None:
    request(connection)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        run = claim_run(connection, "st-1")
        assert run.attempts == attempt
        silence(connection, run)
    assert claim_run(connection, "st-1") is None
    failed = get_run(connection, run.training_run_id)
    assert failed.state is RunState.FAILED
    assert "the trainer died 3 times" in failed.error


def test_a_trainer_that_is_stopped_gives_its_run_back_without_counting_the_attempt(connection) -> None:
    request(connection)
    run = claim_run(connection, "st-1")
    give_back_run(connection, run, "stopped\n")
    again = claim_run(connection, "st-1")
    assert (again.training_run_id, again.attempts, again.log) == (run.training_run_id, 1, "stopped\n")


def test_a_waiting_run_is_cancelled_at_once_and_a_running_one_by_its_trainer(connection) -> None:
    waiting, running = request(connection), request(connection)
    assert cancel_run(connection, waiting.training_run_id, "bob").state is RunState.CANCELLED
    run = claim_run(connection, "st-1")
    assert run.training_run_id == running.training_run_id
    assert cancel_run(connection, run.training_run_id, "bob").state is RunState.RUNNING
    assert beat(connection, run, "bank", 0, 1, "").cancelled_by == "bob"
    end_run(connection, run, RunState.CANCELLED, "")
    with pytest.raises(Conflict, match="cancelled already"):
        cancel_run(connection, run.training_run_id, "bob")


def test_a_cancelled_run_whose_trainer_died_is_not_begun_again(connection) -> None:
    request(connection)
    run = claim_run(connection, "st-1")
    silence(connection, run)
    assert cancel_run(connection, run.training_run_id, "bob").state is RunState.CANCELLED
    assert claim_run(connection, "st-1") is None


def test_trainers_that_claim_at_the_same_time_get_different_runs(engine: Engine, connection) -> None:
    requested = {request(connection).training_run_id for _ in range(8)}
    connection.commit()
    claimed: list[int] = []

    def claim() -> None:
        for _ in range(4):
            with engine.begin() as mine:
                run = claim_run(mine, "st-1")
            if run is not None:
                claimed.append(run.training_run_id)

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(requested)
