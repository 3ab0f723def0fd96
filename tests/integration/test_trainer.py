"""The trainer as a process: it carries out runs and gates, lets itself be stopped, and holds nothing when there is nothing to do.

That it survives kill -9 is tested on a running station, in tests/e2e/test_loop.py.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from running_station import scene
from sqlalchemy import Engine

import inspection.records.database
import training.trainer
from inspection import config as configuration
from inspection.artifact import read_artifact
from inspection.config import Config
from inspection.deploying import model_at, register_artifact
from inspection.domain import Box, Gate, ImageKind, Member, Model, RunState, Side, Source, TrainingRun, TrainingSettings, Verdict
from inspection.images import ImageStore
from inspection.records.database import open_records
from inspection.records.gates import latest_gate, request_gate
from inspection.records.labels import add_label
from inspection.records.model_scores import known_scores
from inspection.records.training_runs import cancel_run, claim_run, get_run, request_run
from inspection.records.training_sets import freeze, members_of
from inspection.training_set import checked, draft
from training import autopilot
from training.importing import import_good
from training.perform import Failed, Made, Message, in_order, perform, region_mask, thinned
from training.train import STAGES
from training.trainer import Trainer, _Attempt, _supervise

STATION = """
[station]
name = "cell"
data_dir = "data"
[[cameras]]
name = "top"
serial = "SIM1"
[[products]]
part_number = "plate"
camera = "top"
deadline_ms = 5000
"""


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    path = tmp_path / "station.toml"
    path.write_text(STATION)
    return path


@pytest.fixture
def config(config_path: Path) -> Config:
    return configuration.load(config_path)


@pytest.fixture
def training_set(config: Config, tmp_path: Path) -> str:
    """Of the images of a folder alone, as for a first model."""
    good = tmp_path / "photographs" / "train" / "good"
    good.mkdir(parents=True)
    for number in range(12):
        cv2.imwrite(str(good / f"{number}.png"), scene(number))
    (good / "broken.png").write_bytes(b"no picture")
    imported = import_good(config, good.parents[1], "plate", "ada")
    assert (imported.new, imported.known, list(imported.skipped)) == (12, 0, ["broken.png"])
    assert import_good(config, good.parents[1], "plate", "ada").known == 12
    store = ImageStore(config.image_dir)
    with open_records(config) as engine, engine.begin() as connection:
        frozen = freeze(connection, checked(draft(connection, "plate"), store), "ada")
        for member in members_of(connection, frozen.training_set):
            assert (store.frame(member.sha256, "Mono8").pixels == scene(int(Path(member.name).stem))).all(), "without loss"
    return frozen.training_set


def request(config: Config, training_set: str, longer_side: int | None = 96) -> int:
    with open_records(config) as engine, engine.begin() as connection:
        settings = TrainingSettings(longer_side=longer_side)
        return request_run(connection, "cell", training_set, "ada", "a test", settings).training_run_id


def wait_for(config: Config, number: int, condition: Callable[[TrainingRun], bool]) -> TrainingRun:
    until = time.monotonic() + 200
    with open_records(config) as engine:
        while True:
            with engine.connect() as connection:
                run = get_run(connection, number)
            if condition(run):
                return run
            assert run.state in (RunState.QUEUED, RunState.RUNNING), run
            assert time.monotonic() < until, run
            time.sleep(0.1)


def children(config_path: Path) -> list[int]:
    """Processes that carry out runs of this station now."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"perform" in arguments and str(config_path).encode() in arguments:
            found.append(int(entry.name))
    return found


def until_gone(config_path: Path) -> None:
    until = time.monotonic() + 10
    while children(config_path):
        assert time.monotonic() < until, "a training goes on without its trainer"
        time.sleep(0.05)


def _scores(engine: Engine, model: str) -> dict[str, float]:
    with engine.connect() as connection:
        return known_scores(connection, model)


def _latest_gate(engine: Engine, model: str) -> Gate | None:
    with engine.connect() as connection:
        return latest_gate(connection, "cell", model)


@contextmanager
def trainer(config_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", "training", "trainer", "--config", str(config_path)])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_trainer_gates_is_cancelled_and_gives_back_what_it_has_not_done(
    config: Config, config_path: Path, training_set: str, plate_model: Path, seeder_class
) -> None:
    model = register_artifact(config, plate_model, "plate").model
    with trainer(config_path) as process, open_records(config) as engine:
        with engine.begin() as connection:
            seeder = seeder_class(connection, config.image_dir)
            labelled = seeder.image(seeder.inspection("L1", "S1"), ImageKind.FRAME, scene(77), "Mono8")
            add_label(connection, 1, "ok", "ada")
            asked = request_gate(connection, "cell", "plate", model, "bob")
        until = time.monotonic() + 60
        while (gate := _latest_gate(engine, model)) is None:
            assert time.monotonic() < until, "the trainer does not gate"
            time.sleep(0.1)
        assert (gate.gate_id, gate.passed, gate.gated_by) == (asked.gate_id, True, "bob")
        # Then it scores what the model will be compared on.
        while not (scores := _scores(engine, model)):
            assert time.monotonic() < until, "the trainer does not score"
            time.sleep(0.1)
        assert list(scores) == [labelled]
        # Nothing to do: no network in memory.
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        assert "sqlite" in maps.lower()
        assert "torch" not in maps
        assert "openvino" not in maps

        number = request(config, training_set)
        wait_for(config, number, lambda run: run.state is RunState.RUNNING)
        with engine.begin() as connection:
            cancel_run(connection, number, "bob")
        cancelled = wait_for(config, number, lambda run: run.state is RunState.CANCELLED)
        assert "cancelled by bob" in cancelled.log
        assert cancelled.model is None
        until_gone(config_path)

        # As when the machine wants for memory.
        starved = request(config, training_set)
        wait_for(config, starved, lambda run: run.state is RunState.RUNNING and children(config_path) != [])
        os.kill(children(config_path)[0], signal.SIGKILL)
        failed = wait_for(config, starved, lambda run: run.state is RunState.FAILED)
        assert failed.error.startswith("the training process was killed by SIGKILL")

        # Stopped in order, it gives its run back at once, and the attempt does not count.
        last = request(config, training_set)
        wait_for(config, last, lambda run: run.state is RunState.RUNNING)
        process.terminate()
        assert process.wait(10) == 0
        until_gone(config_path)
        given_back = wait_for(config, last, lambda run: run.state is RunState.QUEUED)
        assert given_back.attempts == 0


# --- what the trainer does with its children, in this process ---


@pytest.fixture
def attempt(
    config: Config, config_path: Path, training_set: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Made], TrainingRun]]:
    """Carries out a run whose training made this, and which is neither gated nor scored; returns the run as it ended."""
    monkeypatch.setattr(training.trainer, "POLL_S", 0.05)
    monkeypatch.setattr(inspection.records.database, "BUSY_TIMEOUT_MS", 50)
    number = request(config, training_set)
    with open_records(config) as engine:

        def carried_out(made: Made) -> TrainingRun:
            with engine.begin() as connection:
                run = claim_run(connection, "cell")
            attempt = _Attempt(config, config_path, engine, run, lambda: True)
            monkeypatch.setattr(attempt, "_train", lambda: made)
            monkeypatch.setattr(attempt, "_gate", lambda digest: None)
            monkeypatch.setattr(attempt, "_score", lambda digest: None)
            attempt.carry_out()
            with engine.connect() as connection:
                return get_run(connection, number)

        yield carried_out


def test_a_training_outlasts_a_database_that_is_busy(
    attempt: Callable[[Made], TrainingRun], config: Config, plate_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_records(config) as other, other.connect() as holding:

        def hold(made: str, product: str, digest: str | None = None) -> Model:
            holding.exec_driver_sql("SELECT 1")
            threading.Timer(0.5, holding.rollback).start()
            return model_at(made, product, digest)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(training.trainer, "model_at", hold)
            run = attempt(Made(str(plate_model), plate_model.name, {"a.png": "torn"}, {"L1/S1#4": "labelled good, but scores 9"}))
    assert (run.state, run.model) == (RunState.SUCCEEDED, plate_model.name)
    assert "skipped a.png: torn\n" in run.log
    assert "look at L1/S1#4: labelled good, but scores 9\n" in run.log
    assert "cannot be recorded, trying again" in caplog.text


def test_a_model_that_cannot_be_registered_fails_the_run_and_says_why(
    attempt: Callable[[Made], TrainingRun], plate_model: Path
) -> None:
    run = attempt(Made(str(plate_model), "ab" * 32, {}))
    assert (run.state, run.model) == (RunState.FAILED, None)
    assert run.error.startswith("the model that was made cannot be registered: ")
    assert run.error in run.log


def test_a_run_that_fails_says_what_any_database_takes(attempt: Callable[[Made | Failed], TrainingRun]) -> None:
    assert attempt(Failed("odd \0 name")).error == "odd \ufffd name"


def test_a_gate_that_cannot_be_started_is_one_that_was_not_passed(config: Config, config_path: Path, plate_model: Path) -> None:
    """And is not tried for ever."""
    model = register_artifact(config, plate_model, "plate").model
    with open_records(config) as engine:
        with engine.begin() as connection:
            asked = request_gate(connection, "cell", "plate", model, "bob\0")
        Trainer(config, config_path, engine)._gate(asked)
        gate = _latest_gate(engine, model)
    assert (gate.gate_id, gate.passed) == (asked.gate_id, False)
    assert "without a result: embedded null byte" in gate.checks[0].detail


def test_a_child_that_takes_long_to_end_is_beaten_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lingers.py").write_text("import os, time\nprint('done', flush=True)\nos.close(1)\ntime.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    said: list[bytes] = []
    beats = iter(range(4))

    def beat() -> None:
        if said and next(beats, None) is None:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        _supervise(["lingers"], said.append, beat)
    assert said == [b"done"]


# --- what the trainer's child does, in this process ---


def performed(config: Config, training_set: str, longer_side: int | None = 96) -> list[Message]:
    output = io.BytesIO()
    perform(config, request(config, training_set, longer_side), output)
    return [msgspec.json.decode(line, type=Message) for line in output.getvalue().splitlines()]


def test_a_run_learns_from_the_sets_lots_to_learn_from_alone(config: Config, training_set: str, seeder_class) -> None:
    """Labelled rejects with their regions too; what is kept for validation is not seen."""
    with open_records(config) as engine, engine.begin() as connection:
        seeder = seeder_class(connection, config.image_dir)
        for number, (lot, label) in enumerate([("L1", "dent"), ("L1", "scratch"), ("L10", "dent"), ("L10", "ok"), ("L1", "ok")]):
            pixels = scene(100 + number)
            if label != "ok":
                pixels[60:80, 60:90] = 255
            seq = seeder.inspection(lot, f"S{number}", Verdict.FAIL)
            seeder.image(seq, ImageKind.FRAME, pixels, "Mono8")
            add_label(connection, seq, label, "ada", regions=(Box(60, 60, 30, 20),) if label == "dent" else ())
        taught = freeze(connection, checked(draft(connection, "plate"), ImageStore(config.image_dir)), "ada")
        members = members_of(connection, taught.training_set)
    assert taught.sizes == {"train": {"dent": 1, "ok": 13, "scratch": 1}, "validation": {"dent": 1, "ok": 1}}
    marked = next(member for member in members if member.label == "dent" and member.side is Side.TRAIN)
    mask = region_mask(ImageStore(config.image_dir), marked)
    assert (mask.shape, mask.sum(), mask[60:80, 60:90].all()) == ((120, 160), 600, True)

    *steps, made = performed(config, taught.training_set)
    assert isinstance(made, Made)
    assert {step.stage for step in steps} == set(STAGES)
    provenance = read_artifact(Path(made.path), made.digest).manifest.provenance
    good = [member.sha256 for member in in_order(members) if member.side is Side.TRAIN and member.label == "ok"]
    assert [image.sha256 for image in provenance.images] == good, "neighbours beside each other"
    learned = {member.sha256: member.label for member in members if member.side is Side.TRAIN}
    assert {image.sha256 for image in provenance.images} == {sha256 for sha256, label in learned.items() if label == "ok"}
    assert {image.sha256 for image in provenance.rejects} == {sha256 for sha256, label in learned.items() if label != "ok"}
    assert made.skipped == {}


def test_a_run_without_its_images_fails_and_says_why(config: Config, training_set: str) -> None:
    for path in config.image_dir.glob("*/*.png"):
        path.unlink()
    last = performed(config, training_set)[-1]
    assert isinstance(last, Failed)
    assert "0 of 12 images are usable" in last.error
    assert "is not in the store" in last.error


@pytest.mark.by_hand
def test_a_run_without_a_size_has_the_design_that_is_fast_enough_for_the_product(config: Config, training_set: str) -> None:
    *steps, made = performed(config, training_set, longer_side=None)
    assert isinstance(made, Made)
    assert {step.stage for step in steps} == {autopilot.STAGE, *STAGES}
    tried = read_artifact(Path(made.path), made.digest).manifest.provenance.tried
    assert [trial.design.longer_side for trial in tried] == [160], "for the record"
    plate = config.products[0].model_copy(update={"deadline_ms": 0.002})
    last = performed(config.model_copy(update={"products": (plate,)}), training_set, longer_side=None)[-1]
    assert isinstance(last, Failed)
    assert "no design inspects a frame within 0.001 ms" in last.error


def test_parts_of_a_lot_stay_together_in_the_order_in_which_they_were_made() -> None:
    """A training set is ordered by hashes, which are as good as random."""
    random = np.random.default_rng(0)
    lots = [("L2", range(1, 40)), ("L1", range(40, 80)), ("L10", range(80, 90))]
    made = [
        Member(random.bytes(32).hex(), "ok", lot, Side.TRAIN, Source.PASS, f"{lot}/S{seq}#{seq}", "Mono8", seq=seq)
        for lot, seqs in lots
        for seq in seqs
    ]
    imported = [
        Member(random.bytes(32).hex(), "ok", "folder: /a", Side.TRAIN, Source.FOLDER, f"{number:02}.png", "Mono8")
        for number in range(20)
    ]
    ordered = in_order(sorted([*made, *imported], key=lambda member: member.sha256))
    assert ordered[:-20] == sorted(made, key=lambda member: (member.lot, member.seq))
    assert ordered[-20:] == imported
    assert thinned(ordered, 30) == [member for member in ordered if member in thinned(ordered, 30)]


def test_parts_that_people_called_ok_are_learned_from_before_all_others() -> None:
    sources = [Source.LABEL if number % 10 == 0 else Source.PASS for number in range(100)]
    good = [Member(f"{number:064}", "ok", "L1", Side.TRAIN, source, "", "Mono8") for number, source in enumerate(sources)]
    assert thinned(good, 200) == good
    some = thinned(good, 40)
    assert len({member.sha256 for member in some}) == 40
    assert sum(member.source is Source.LABEL for member in some) == 10
    others = [good.index(member) for member in some if member.source is Source.PASS]
    assert max(np.diff(others)) <= 5, "from all along the list"
    assert thinned(good, 5) == good[0:50:10]
