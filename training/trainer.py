"""The trainer process: claims training runs, has each carried out by a process of its own, and records how it goes. It also
carries out the gates that people ask for through the REST interface, which runs no networks.

Torch is loaded in those processes alone, so that a trainer with nothing to do holds no memory. A trainer that dies takes its
process along; the run is claimed again once its heartbeat has expired.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TypeVar

import msgspec
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from cameras.beat import beat as prove_progress
from inspection import logs
from inspection.artifact import model_at
from inspection.config import Config, prepare_directories
from inspection.domain import Check, Gate, RunState, TrainingRun
from inspection.errors import StationError
from inspection.memory import expendable
from inspection.processes import end_with_manager, end_with_parent, only_one
from inspection.progress import Progress
from inspection.records.database import open_engine, open_records
from inspection.records.deployments import register_model
from inspection.records.gates import store_gate, waiting_gate
from inspection.records.training_runs import beat, claim_run, end_run, give_back_run, is_waiting
from training.perform import Failed, Made, Message, Step

log = logging.getLogger(__name__)
T = TypeVar("T")

POLL_S = 1.0
BEAT_S = 1.0
# Nobody waits for the trainer; hashing a large model, or the write lock, may take it a while.
_TURN_S = 60.0
_ERROR_CHARACTERS = 2_000


class _Lost(Exception):
    """The run is not this trainer's any more: it was away too long, and another attempt began."""


class _Cancelled(Exception):
    """Somebody cancelled the run."""


class _Stopped(Exception):
    """The trainer is to stop."""


def run_trainer(config: Config, config_path: Path) -> None:
    """Carry out runs until SIGTERM; ConfigError if a trainer works for this station already."""
    logs.start("trainer")
    end_with_manager()
    expendable("trainer")
    prepare_directories(config)
    with only_one(config, "trainer"), open_records(config) as engine:
        trainer = Trainer(config, config_path, engine)

        def stop(_signal: int, _frame: FrameType | None) -> None:
            trainer.running = False

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        log.info("started, process %d", os.getpid())
        trainer.run()
        log.info("stopped")


class Trainer:
    """Claims the runs of one station, one at a time."""

    def __init__(self, config: Config, config_path: Path, writer: Engine) -> None:
        self._config = config
        self._config_path = config_path
        self._writer = writer
        self._reader = open_engine(config.database_url, read_only=True)
        self.running = True

    def run(self) -> None:
        while self.running:
            prove_progress(_TURN_S)
            try:
                run, gate = self._claim()
                if run is not None:
                    _Attempt(self._config, self._config_path, self._writer, run, lambda: self.running).carry_out()
                    continue
                if gate is not None:
                    self._gate(gate)
                    continue
            except SQLAlchemyError as error:
                log.error("the records cannot be used, trying again: %s", error)
            time.sleep(POLL_S)

    def _claim(self) -> tuple[TrainingRun | None, Gate | None]:
        """A run that is ours from now on, or else a gate that somebody waits for."""
        # Most looks find nothing, and a look must not take the write lock from the recorder.
        with self._reader.connect() as connection:
            gate = waiting_gate(connection, self._config.station.name)
            if gate is not None or not is_waiting(connection, self._config.station.name):
                return None, gate
        with self._writer.begin() as connection:
            return claim_run(connection, self._config.station.name), None

    def _gate(self, gate: Gate) -> None:
        """A gate that breaks off is one that was not passed: else it would be tried for ever."""

        def check() -> None:
            if not self.running:
                raise _Stopped

        command = ["inspection", "gate", gate.model, "--by", gate.gated_by, "--config", str(self._config_path)]
        try:
            code, errors = _supervise(command, lambda line: log.info("%s", _text(line)), check)
        except _Stopped:
            return
        except (OSError, ValueError) as error:  # such as a name that no command line takes
            code, errors = -1, str(error)
        with self._writer.begin() as connection:
            left = waiting_gate(connection, gate.station)
            if left is not None and left.gate_id == gate.gate_id:
                broken = Check(
                    "gate", False, f"it ended with {code} and without a result: {errors or 'see the log of the trainer'}"
                )
                store_gate(connection, gate.station, gate.product, gate.model, [broken], None, gate.gated_by)
                return
        self._score(gate.model, check)

    def _score(self, model: str, check: Callable[[], None]) -> None:
        """After the gate's result is there: nobody waits for scores to see it. A person may deploy without them."""

        def say(line: bytes) -> None:
            progress = msgspec.json.decode(line, type=Progress)
            if progress.said:
                log.warning("%s", progress.said)

        try:
            code, errors = _supervise([*_scoring(model), "--config", str(self._config_path)], say, check)
        except _Stopped:
            return
        except OSError as error:
            code, errors = -1, str(error)
        if code:
            log.error("model %s was not scored, which ended with %d: %s", model[:12], code, errors)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How a run ended."""

    state: RunState
    model: str | None = None
    error: str | None = None


class _Attempt:
    """One attempt at one run: train, register, gate."""

    def __init__(self, config: Config, config_path: Path, engine: Engine, run: TrainingRun, go_on: Callable[[], bool]) -> None:
        self._config = config
        self._config_path = config_path
        self._engine = engine
        self._run = run
        self._go_on = go_on
        self._step = Step("starting", 0, 0)
        self._beat_at = time.monotonic()
        self._log = run.log

    def carry_out(self) -> None:
        """Until the run is over, or not ours any more. Raises SQLAlchemyError if its end cannot be recorded."""
        self._say(f"attempt {self._run.attempts}")
        try:
            self._end(self._outcome())
        except _Lost:
            log.warning("run %d is not ours any more", self._run.training_run_id)
        except _Stopped:
            self._say("the trainer was stopped")
            with self._engine.begin() as connection:
                give_back_run(connection, self._run, self._log)

    def _outcome(self) -> _Outcome:
        try:
            made = self._train()
            if isinstance(made, Failed):
                return self._failed(made.error)
            for name, reason in made.skipped.items():
                self._say(f"skipped {name}: {reason}")
            for name, reason in made.suspected.items():
                self._say(f"look at {name}: {reason}")
            self._register(made)
            self._say(f"made model {made.digest}")
            self._gate(made.digest)
            self._score(made.digest)
            return _Outcome(RunState.SUCCEEDED, model=made.digest)
        except _Cancelled:
            self._say(f"cancelled by {self._run.cancelled_by}")
            return _Outcome(RunState.CANCELLED)
        except (StationError, SQLAlchemyError) as error:
            return self._failed(f"the model that was made cannot be registered: {error}")

    def _failed(self, error: str) -> _Outcome:
        error = _storable(error)
        self._say(error)
        return _Outcome(RunState.FAILED, error=error)

    def _train(self) -> Made | Failed:
        results: list[Made | Failed] = []
        decoder = msgspec.json.Decoder(Message)

        def take(line: bytes) -> None:
            message = decoder.decode(line)
            if not isinstance(message, Step):
                results.append(message)
                return
            if message.stage != self._step.stage:
                self._say(message.stage)
            self._step = message

        command = ["training", "perform", str(self._run.training_run_id)]
        try:
            code, errors = self._supervise(command, take)
        except OSError as error:
            return Failed(f"the training process cannot be started: {error}; is there enough memory?")
        if results:
            return results[-1]
        ended = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return Failed(f"the training process {ended}: {errors or 'it said nothing; is there enough memory?'}")

    def _register(self, made: Made) -> None:
        model = model_at(Path(made.path), self._run.product, made.digest)
        self._persist(lambda connection: register_model(connection, model))

    def _gate(self, digest: str) -> None:
        """A model that does not pass is a result too: the run made it, and its gate says what is wrong."""
        self._step = Step("gate", 0, 1)
        said: list[str] = []
        command = ["inspection", "gate", digest, "--by", "trainer"]
        try:
            code, errors = self._supervise(command, lambda line: said.append(_text(line)))
        except _Stopped:
            # The model is made; to train it again would bring nothing.
            self._say("the trainer was stopped before the gate was done; gate the model with `station gate`")
            return
        except OSError as error:
            self._say(f"the gate cannot be started: {error}; gate the model with `station gate`")
            return
        for line in (*said, *errors.splitlines()):
            self._say(line)
        if not said:
            self._say(f"the gate ended with {code} and without a result; gate the model with `station gate`")
        self._step = Step("gate", 1, 1)

    def _score(self, digest: str) -> None:
        """Scores and maps for the pages that compare models; what breaks off here changes nothing of the model."""
        self._step = Step("score", 0, 0)

        def take(line: bytes) -> None:
            progress = msgspec.json.decode(line, type=Progress)
            if progress.said:
                self._say(progress.said)
            else:
                self._step = Step("score", progress.done, progress.steps)

        again = "gate the model again to have the rest scored"
        try:
            code, errors = self._supervise(_scoring(digest), take)
        except _Stopped:
            self._say(f"the trainer was stopped before stored images were scored; {again}")
            return
        except _Cancelled:
            self._say(f"{self._run.cancelled_by} ended the scoring of stored images, the model is made; {again}")
            return
        except OSError as error:
            code, errors = -1, str(error)
        if code:
            self._say(f"scoring stored images ended with {code}: {errors}; {again}")

    def _supervise(self, command: list[str], take: Callable[[bytes], None]) -> tuple[int, str]:
        return _supervise([*command, "--config", str(self._config_path)], take, self._beat)

    def _beat(self) -> None:
        if not self._go_on():
            raise _Stopped
        now = time.monotonic()
        if now - self._beat_at < BEAT_S:
            return
        self._beat_at = now
        step = self._step
        try:
            with self._engine.begin() as connection:
                run = beat(connection, self._run, step.stage, step.done, step.steps, self._log)
        except SQLAlchemyError as error:
            log.error("the heartbeat cannot be written, trying again: %s", error)
            return
        if run is None:
            raise _Lost
        self._run = run
        if run.cancelled_by is not None:
            raise _Cancelled

    def _end(self, how: _Outcome) -> None:
        log.info("run %d: %s", self._run.training_run_id, how.state)
        run = replace(self._run, stage=self._step.stage, done=self._step.done, steps=self._step.steps)
        if self._persist(lambda connection: end_run(connection, run, how.state, self._log, how.model, how.error)) is None:
            raise _Lost

    def _persist(self, write: Callable[[Connection], T]) -> T:
        """One transaction, tried again while the database is busy or away: nobody shall train anew for that.

        Raises its other errors, and _Stopped.
        """
        while True:
            prove_progress(_TURN_S)
            try:
                with self._engine.begin() as connection:
                    return write(connection)
            except (OperationalError, InterfaceError) as error:
                if not self._go_on():
                    raise _Stopped from error
                log.error("run %d cannot be recorded, trying again: %s", self._run.training_run_id, error)
                time.sleep(POLL_S)

    def _say(self, line: str) -> None:
        line = _storable(line)
        log.info("run %d: %s", self._run.training_run_id, line)
        self._log += f"{datetime.now(UTC):%F %T} {line}\n"


def _scoring(model: str) -> list[str]:
    return ["inspection", "score", model, "--json"]


def _supervise(command: list[str], take: Callable[[bytes], None], beat: Callable[[], None]) -> tuple[int, str]:
    """Run a module to its end, hand each line that it prints to ``take``; its exit code, and the end of its errors.

    ``beat`` is called at least every half second until the process is over; what it raises kills the process. Raises OSError
    or ValueError if it cannot be started.
    """
    with tempfile.TemporaryFile() as errors:
        arguments = [sys.executable, "-m", *command]
        child = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=errors, preexec_fn=end_with_parent)
        assert child.stdout is not None
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(child.stdout, selectors.EVENT_READ)
                buffer = b""
                while True:
                    prove_progress(_TURN_S)
                    if selector.select(BEAT_S / 2):
                        chunk = os.read(child.stdout.fileno(), 65_536)
                        if not chunk:
                            break
                        *lines, buffer = (buffer + chunk).split(b"\n")
                        for line in lines:
                            take(line)
                    beat()
            # Its output is over before it is: freeing a network's memory takes time.
            while (code := child.poll()) is None:
                prove_progress(_TURN_S)
                beat()
                with suppress(subprocess.TimeoutExpired):
                    child.wait(BEAT_S / 2)
        finally:
            child.kill()
            child.wait()
            child.stdout.close()
        errors.seek(0)
        return code, _text(errors.read()).strip()[-_ERROR_CHARACTERS:]


def _text(output: bytes) -> str:
    return _storable(output.decode(errors="replace"))


def _storable(text: str) -> str:
    """PostgreSQL stores no NUL."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
