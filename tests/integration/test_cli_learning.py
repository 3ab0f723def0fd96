"""The ``station`` commands that teach the station, from labels to a queued training."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from shadow_messages import found_fast
from sqlalchemy import text
from typer.testing import CliRunner, Result

from inspection import config as configuration
from inspection.cli import app
from inspection.domain import Box, ImageKind, Model, RunState, TrainingSettings
from inspection.records.database import open_records
from inspection.records.deployments import deploy, register_model
from inspection.records.labels import label_history
from inspection.records.training_runs import get_run

STATION = """
[station]
data_dir = "data"

[[cameras]]
name = "top"
serial = "SIM1"

[[products]]
part_number = "plate"
camera = "top"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "station.toml"
    path.write_text(STATION)
    return path


@pytest.fixture
def records(config: Path, seeder_class) -> Iterator:
    """A connection to a station that passed eleven parts."""
    loaded = configuration.load(config)
    with open_records(loaded) as engine, engine.connect() as connection:
        seeder = seeder_class(connection, loaded.image_dir)
        for shade in range(11):
            seeder.image(seeder.inspection("L1", f"S{shade}"), ImageKind.FRAME, np.full((8, 8), shade, np.uint8), "Mono8")
        connection.commit()
        yield connection


def station(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--config", str(config)])


def said(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def refusal(result: Result) -> str:
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.stderr.startswith("station: ")
    return result.stderr


def test_from_a_label_to_a_training_run(config: Path, records) -> None:
    assert "inspection 1 is dent, said ada" in said(
        station(config, "label", "1", "dent", "--by", "ada", "--reason", "seen", "--region", "1,2,3,4")
    )
    assert label_history(records, 1)[0].regions == (Box(1, 2, 3, 4),)
    records.rollback()
    said(station(config, "label", "1", "dent", "--polygon", "1,2,5,2,3,6"))
    assert label_history(records, 1)[0].regions == (Box(1, 2, 5, 5, ((1, 2), (5, 2), (3, 6))),)
    records.rollback()
    assert "polygon '1,2,3' is not X,Y" in refusal(station(config, "label", "1", "dent", "--polygon", "1,2,3"))
    assert "region '1,2' is not X,Y,WIDTH,HEIGHT" in refusal(station(config, "label", "1", "dent", "--region", "1,2"))
    told = station(config, "label", "1", "dent", "--by", "a\x1b")
    assert told.exit_code == 2
    assert "no control characters" in told.stderr
    assert station(config, "label", "1", "dent", "--reason", "a\x1b").exit_code == 2
    assert "inspection 99 is not recorded" in refusal(station(config, "label", "99", "ok"))

    first_line = said(station(config, "training-set", "create", "--product", "plate", "--by", "ada")).splitlines()[0]
    digest = first_line.split()[2]
    shown = said(station(config, "training-set", "show", digest, "--members"))
    assert "train: 1 dent, 10 ok; validation: nothing" in shown
    assert "note: 10 of 10 good images to learn from are passes that nobody labelled" in shown
    assert shown.count("L1/S") == 11
    assert digest in said(station(config, "training-set", "list"))
    assert "0 good images of flange" in refusal(station(config, "training-set", "create", "--product", "flange"))

    wished = ("--size", "160", "--seed", "3", "--false-rejects", "0.5%", "--confidence", "90%")
    assert "training run 1 is queued" in said(station(config, "training-run", "start", digest, *wished))
    assert "with its sign" in refusal(station(config, "training-run", "start", digest, "--false-rejects", "0.5"))
    run = get_run(records, 1)
    records.rollback()
    assert run.settings == TrainingSettings(3, 160, 0.005, 0.9)
    assert station(config, "training-run", "start", digest, "--seed", "-1").exit_code == 2
    assert "training run 2 is queued" in said(station(config, "training-run", "start", digest))
    assert get_run(records, 2).settings == TrainingSettings()
    records.rollback()
    assert "plate        queued" in said(station(config, "training-run", "list"))
    assert "training run 1 is cancelled" in said(station(config, "training-run", "cancel", "1", "--by", "bob"))
    assert get_run(records, 1).state is RunState.CANCELLED
    records.rollback()
    assert "there is nothing to cancel" in refusal(station(config, "training-run", "cancel", "1"))


def test_what_only_reads_does_not_wait_for_the_recorder(config: Path, records) -> None:
    digest = said(station(config, "training-set", "create", "--product", "plate")).split()[2]
    said(station(config, "training-run", "start", digest))
    records.execute(text("SELECT 1"))  # a writer's transaction holds the lock from its first statement
    for command in (
        ("training-set", "list"),
        ("training-set", "show", digest, "--members"),
        ("training-run", "list"),
        ("training-run", "show", "1"),
        ("golden", "list", "--product", "plate"),
        ("models",),
        ("shadow", "list"),
    ):
        said(station(config, *command))


def test_the_golden_set(config: Path, records) -> None:
    said(station(config, "label", "2", "ok"))
    assert "1 of 1 are new in the golden set" in said(station(config, "golden", "add", "2", "--product", "plate"))
    sha256, label, name = said(station(config, "golden", "list", "--product", "plate")).split()
    assert (label, name) == ("ok", "L1/S1")
    said(station(config, "golden", "remove", sha256, "--product", "plate", "--reason", "blurred"))
    assert said(station(config, "golden", "list", "--product", "plate")) == ""
    assert "inspection 3 has no label" in refusal(station(config, "golden", "add", "3", "--product", "plate"))


def test_models_gates_rollbacks_and_shadows_say_what_is_missing(config: Path, records) -> None:
    for digest in ("ab" * 32, "cd" * 32):
        register_model(records, Model(digest, "plate", f"models/{digest}", "PatchCore", datetime(2025, 1, 1, tzinfo=UTC), {}))
    deploy(records, "station", "plate", "ab" * 32, "ada", "the first")
    records.commit()
    lines = said(station(config, "models")).splitlines()
    assert any(line.startswith("ab" * 32) and "not gated  in service" in line for line in lines)
    assert any(line.startswith("cd" * 32) and "in service" not in line for line in lines)
    gated = station(config, "gate", "cd" * 32)
    assert gated.exit_code == 1
    assert "parity     FAILED  the model in" in gated.stdout
    assert "gate not passed" in said(station(config, "models"))
    assert "model efefefefefef is not registered" in refusal(station(config, "gate", "ef" * 32))
    rolled = station(config, "rollback", "--product", "plate", "--reason", "escapes")
    assert "no other model was in service for plate on station before" in refusal(rolled)

    start = ("shadow", "start", "cd" * 32, "--product", "plate", "--reason", "better?")
    assert "has not passed the latency check of a gate on station" in refusal(station(config, *start))
    found_fast(records, "station", "plate")
    records.commit()
    said(station(config, *start))
    listed = said(station(config, "shadow", "list"))
    assert "running" in listed
    assert "agreed on 0 of 0 parts" in listed
    said(station(config, "shadow", "stop", "--product", "plate"))
    assert "running" not in said(station(config, "shadow", "list"))
    assert "no challenger runs for plate" in refusal(station(config, "shadow", "stop", "--product", "plate"))
