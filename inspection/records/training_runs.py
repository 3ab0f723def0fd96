"""Training runs: requested by people, claimed and carried out by a trainer. The caller commits.

A run belongs to the trainer that claimed it as long as it beats; ``attempt`` fences it: a trainer that was away too long finds
that its attempt is over, and nothing it says of it is written.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, RowMapping, and_, func, insert, or_, select, update

from inspection.domain import RunState, TrainingRun, TrainingSettings
from inspection.errors import Conflict, NotFound
from inspection.records.tables import training_runs
from inspection.records.training_sets import get_training_set

EXPIRED_S = 5.0
"""A trainer that did not beat for so long is dead, and its run may be claimed again."""
MAX_ATTEMPTS = 3
MAX_LOG = 20_000
DEFAULTS = TrainingSettings()
_OVER = (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED)


def request_run(
    connection: Connection,
    station: str,
    training_set: str,
    by: str,
    reason: str,
    settings: TrainingSettings = DEFAULTS,
) -> TrainingRun:
    """Queue a run. NotFound if there is no such training set."""
    product = get_training_set(connection, training_set).product
    values = {
        "station": station,
        "product": product,
        "training_set": training_set,
        "settings": asdict(settings),
        "state": RunState.QUEUED,
        "stage": "queued",
        "done": 0,
        "steps": 0,
        "attempts": 0,
        "requested_by": by,
        "requested_at": datetime.now(UTC),
        "reason": reason,
        "log": "",
    }
    return _run(connection.execute(insert(training_runs).values(**values).returning(*training_runs.c)).mappings().one())


def get_run(connection: Connection, training_run_id: int) -> TrainingRun:
    """One run; NotFound if there is none of this number."""
    row = (
        connection.execute(select(training_runs).where(training_runs.c.training_run_id == training_run_id))
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise NotFound(f"training run {training_run_id} is not recorded on this station; list the runs to find its number")
    return _run(row)


def list_runs(connection: Connection, product: str | None, limit: int) -> tuple[TrainingRun, ...]:
    """The newest runs of one product or of all, newest first."""
    statement = select(training_runs).order_by(training_runs.c.training_run_id.desc()).limit(limit)
    if product is not None:
        statement = statement.where(training_runs.c.product == product)
    return tuple(_run(row) for row in connection.execute(statement).mappings())


def run_of_model(connection: Connection, model: str) -> int | None:
    """The number of the run that made a model; None for one that no run made, such as one with chosen thresholds."""
    made = select(training_runs.c.training_run_id).where(training_runs.c.model == model)
    return connection.execute(made.order_by(training_runs.c.training_run_id).limit(1)).scalar_one_or_none()


def cancel_run(connection: Connection, training_run_id: int, by: str) -> TrainingRun:
    """Cancel a run: at once if no trainer has it, else the trainer ends it within seconds. Conflict if it is over."""
    run = get_run(connection, training_run_id)
    if run.state in _OVER:
        raise Conflict(f"training run {training_run_id} {run.state} already; there is nothing to cancel")
    changed = connection.execute(
        update(training_runs)
        .where(training_runs.c.training_run_id == training_run_id, training_runs.c.state.not_in(_OVER))
        .values(cancelled_by=by)
    ).rowcount
    if not changed:
        raise Conflict(f"training run {training_run_id} ended just now; there is nothing to cancel")
    _end_cancelled(connection, run.station)
    return get_run(connection, training_run_id)


# --- the trainer's side -----------------------------------------------------------------------------------------------


def is_waiting(connection: Connection, station: str) -> bool:
    """Is there a run that a trainer may claim?"""
    return connection.execute(select(training_runs.c.training_run_id).where(_claimable(station)).limit(1)).first() is not None


def claim_run(connection: Connection, station: str) -> TrainingRun | None:
    """The oldest run that waits, or whose trainer died; it is the caller's from now on. None if there is none."""
    _end_cancelled(connection, station)
    _end_worn_out(connection, station)
    chosen = (
        select(training_runs.c.training_run_id)
        .where(_claimable(station))
        .order_by(training_runs.c.training_run_id)
        .limit(1)
        # Two trainers on one PostgreSQL: the second takes the next run. SQLite has one writer at a time.
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    now = datetime.now(UTC)
    row = (
        connection.execute(
            update(training_runs)
            .where(training_runs.c.training_run_id == chosen)
            .values(
                state=RunState.RUNNING,
                stage="starting",
                done=0,
                steps=0,
                attempts=training_runs.c.attempts + 1,
                started_at=func.coalesce(training_runs.c.started_at, now),
                heartbeat_at=now,
            )
            .returning(*training_runs.c)
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else _run(row)


def beat(connection: Connection, run: TrainingRun, stage: str, done: int, steps: int, log: str) -> TrainingRun | None:
    """Say that the run goes on, and how far it is. None if it is not the caller's any more."""
    return _write(connection, run, stage=stage, done=done, steps=steps, log=log[-MAX_LOG:], heartbeat_at=datetime.now(UTC))


def end_run(
    connection: Connection, run: TrainingRun, state: RunState, log: str, model: str | None = None, error: str | None = None
) -> TrainingRun | None:
    """Record how the run ended, and how far ``run`` was then. None if it is not the caller's any more."""
    reached = {"stage": run.stage, "done": run.done, "steps": run.steps}
    ended = {"state": state, "log": log[-MAX_LOG:], "model": model, "error": error, "ended_at": datetime.now(UTC)}
    return _write(connection, run, **reached, **ended)


def give_back_run(connection: Connection, run: TrainingRun, log: str) -> None:
    """The trainer stops before the run is done: it waits again, and the attempt does not count."""
    _write(connection, run, state=RunState.QUEUED, stage="queued", attempts=run.attempts - 1, log=log[-MAX_LOG:])


def _write(connection: Connection, run: TrainingRun, **values: Any) -> TrainingRun | None:
    mine = and_(
        training_runs.c.training_run_id == run.training_run_id,
        training_runs.c.attempts == run.attempts,
        training_runs.c.state == RunState.RUNNING,
    )
    row = (
        connection.execute(update(training_runs).where(mine).values(**values).returning(*training_runs.c))
        .mappings()
        .one_or_none()
    )
    return None if row is None else _run(row)


def _expired() -> Any:
    dead_since = datetime.now(UTC) - timedelta(seconds=EXPIRED_S)
    return and_(training_runs.c.state == RunState.RUNNING, training_runs.c.heartbeat_at < dead_since)


def _claimable(station: str) -> Any:
    waits = or_(training_runs.c.state == RunState.QUEUED, _expired())
    return and_(training_runs.c.station == station, waits)


def _end_cancelled(connection: Connection, station: str) -> None:
    """Cancelled runs that no trainer has."""
    connection.execute(
        update(training_runs)
        .where(_claimable(station), training_runs.c.cancelled_by.is_not(None))
        .values(state=RunState.CANCELLED, ended_at=datetime.now(UTC))
    )


def _end_worn_out(connection: Connection, station: str) -> None:
    """Runs whose trainer died each time, as by want of memory: the next one would die too."""
    error = f"the trainer died {MAX_ATTEMPTS} times during this run; look at its log and at the memory of the machine"
    connection.execute(
        update(training_runs)
        .where(_claimable(station), training_runs.c.attempts >= MAX_ATTEMPTS)
        .values(state=RunState.FAILED, error=error, ended_at=datetime.now(UTC))
    )


def _run(row: RowMapping) -> TrainingRun:
    # Runs of earlier versions name less, and an algorithm, of which there was one.
    settings = msgspec.convert(row["settings"], TrainingSettings)
    return TrainingRun(**{**row, "state": RunState(row["state"]), "settings": settings})
