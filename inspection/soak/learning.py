"""Faults of models and of learning, made and undone as those in injectors.py."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil

from inspection.artifact import WEIGHTS
from inspection.deploying import deploy_artifact
from inspection.domain import RunState, TrainingRun, TrainingSettings
from inspection.errors import Conflict
from inspection.images import ImageStore
from inspection.records.database import open_records, read_records
from inspection.records.training_runs import cancel_run, get_run, request_run
from inspection.records.training_sets import freeze
from inspection.soak.injectors import Skipped, Undo, kill
from inspection.soak.station import PRODUCT, TRAINER, SoakStation
from inspection.training_set import checked, draft

# A run is claimed within this time, or not at all now.
_CLAIMED_S = 3.0
_SMALLEST = 160


def model_changed(station: SoakStation, _target: str, _chance: random.Random) -> Undo:
    """Another model is put in service, and the former one back."""
    present, reserve = station.models
    _deploy(station, reserve[1])
    return lambda: _deploy(station, present[1])


def model_damaged(station: SoakStation, _target: str, _chance: random.Random) -> Undo:
    """The file of the model in service is altered on the disk, and the inspector has to load it anew."""
    weights = station.models[0][1] / WEIGHTS
    whole = weights.read_bytes()
    # Beside and renamed: a process that has the file mapped keeps the whole one.
    _replace(weights, whole[:-1] + bytes([whole[-1] ^ 1]))
    pid = station.pid("inspector")
    with suppress(ProcessLookupError):
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
    return lambda: _replace(weights, whole)  # from a backup


def _deploy(station: SoakStation, path: Path) -> None:
    deploy_artifact(station.config, path, PRODUCT, "soak", "a fault of the plan", override="the model is as good as the other")


def _replace(file: Path, data: bytes) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_bytes(data)
    fresh.replace(file)


def trainer_killed(station: SoakStation, target: str, chance: random.Random) -> Undo:
    """In the middle of a run on what the station has passed so far; the next trainer takes the run up, and it is cancelled."""
    run = _start_training(station)

    def cancel() -> None:
        with suppress(Conflict), open_records(station.config) as engine, engine.begin() as connection:
            cancel_run(connection, run.training_run_id, "soak")

    try:
        _wait_until_claimed(station, run)
        kill(station, target, chance)
    except (Skipped, psutil.Error):
        cancel()
        raise
    return cancel


def _start_training(station: SoakStation) -> TrainingRun:
    with read_records(station.config) as engine, engine.connect() as connection:
        ready = checked(draft(connection, PRODUCT), ImageStore(station.config.image_dir))
    with open_records(station.config) as engine, engine.begin() as connection:
        frozen = freeze(connection, ready, "soak")
        settings = TrainingSettings(longer_side=_SMALLEST)
        return request_run(connection, station.config.station.name, frozen.training_set, "soak", "a fault of the plan", settings)


def _wait_until_claimed(station: SoakStation, run: TrainingRun) -> None:
    until = time.monotonic() + _CLAIMED_S
    with read_records(station.config) as engine:
        while time.monotonic() < until:
            with engine.connect() as connection:
                if get_run(connection, run.training_run_id).state is RunState.RUNNING:
                    return
            time.sleep(0.05)
    raise Skipped(f"no {TRAINER} claimed the run")
