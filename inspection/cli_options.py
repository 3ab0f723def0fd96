"""What the ``station`` commands share: options that mean the same everywhere, and how a command ends when something is wrong."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from cameras.errors import CameraError
from inspection import config as configuration
from inspection.commands import check_reason, check_text
from inspection.config import Config
from inspection.errors import StationError
from inspection.records.audit import ASKED, DONE, FAILED, HEAD, Trace, Trail, append, note_head


def _for_the_record(check: Callable[[str], str]) -> Callable[[str | None], str | None]:
    """The callback of an option that goes into the records as ``check`` returns it."""

    def callback(text: str | None) -> str | None:
        try:
            return None if text is None else check(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return callback


_REASON = _for_the_record(check_reason)
ConfigOption = Annotated[Path, typer.Option("--config", help="The station's configuration file.")]
ProductOption = Annotated[str, typer.Option(help="Part number of the product.")]
ReasonOption = Annotated[str, typer.Option(help="Why, for the record.", callback=_REASON)]
ByOption = Annotated[str, typer.Option(help="Who, for the record.", callback=_for_the_record(check_text))]
OverrideOption = Annotated[
    str | None, typer.Option(metavar="WHY", help="Deploy a model that does not pass its gate, and record why.", callback=_REASON)
]
_PROGRESS_S = 30.0
OPERATOR = os.environ.get("USER", "operator")
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
"""Settings of a command that hands its arguments on to a process that may import torch."""


@contextmanager
def reading(config: Path) -> Iterator[tuple[Config, Connection]]:
    """The configuration, and one snapshot of its records."""
    from inspection.records.database import read_records

    loaded = configuration.load(config)
    with read_records(loaded) as engine, engine.connect() as connection:
        yield loaded, connection


@contextmanager
def writing(config: Path, trace: Trace) -> Iterator[tuple[Config, Connection]]:
    """The configuration, and one transaction on its records, with an entry in the audit trail.

    The recorder waits for its end: nothing slow belongs in it.
    """
    from inspection.records.database import open_records

    loaded = configuration.load(config)
    with open_records(loaded) as engine:
        with engine.begin() as connection:
            yield loaded, connection
            entry = append(connection, trace, DONE)
        note_head(loaded.data_dir / HEAD, entry)


@contextmanager
def audited(config: Config, trace: Trace) -> Iterator[None]:
    """What a command does in several steps, with an entry in the audit trail before, and one that says how it ended."""
    from inspection.records.database import open_records

    with open_records(config) as engine:
        trail = Trail(engine, config.data_dir)
        asked = trail.write(trace, ASKED)
        outcome = FAILED
        try:
            yield
            outcome = DONE
        finally:
            trail.write(replace(trace, detail=json.dumps({ASKED: asked.audit_id})), outcome)


@contextmanager
def showing_progress() -> Iterator[Callable[[str], None]]:
    """How a long command says where it is: in one changing line of a terminal; elsewhere (a log) in a line now and then."""
    console = Console(stderr=True)
    if console.is_terminal:
        with console.status("") as status:
            yield status.update
        return
    due_s = 0.0

    def say(text: str) -> None:
        nonlocal due_s
        if time.monotonic() >= due_s:
            due_s = time.monotonic() + _PROGRESS_S
            typer.echo(f"{datetime.now().astimezone():%H:%M:%S} {text}", err=True)

    yield say


def command(by: str, action: str, subject: str, **detail: object) -> Trace:
    """What the audit trail says of a command; what is None is left out."""
    said = {name: value for name, value in detail.items() if value is not None}
    return Trace(by, "command", "cli", action, subject, json.dumps(said, ensure_ascii=False, default=str) if said else "")


def run_or_explain(action: Callable[[], None]) -> None:
    """Errors that a user can mend end with their message, not with a traceback."""
    try:
        action()
    except (StationError, CameraError) as error:
        message = str(error)
    except OperationalError as error:
        message = f"the database cannot be used: {error.orig}; see database_url in the configuration"
    else:
        return
    typer.secho(f"station: {message}", err=True, fg=typer.colors.RED)
    raise typer.Exit(1)
