"""What the ``station`` commands share: options that mean the same everywhere, and how a command ends when something is wrong."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from cameras.errors import CameraError
from inspection import config as configuration
from inspection.commands import check_reason, check_text
from inspection.config import Config
from inspection.errors import StationError


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
def writing(config: Path) -> Iterator[tuple[Config, Connection]]:
    """The configuration, and one transaction on its records. The recorder waits for its end: nothing slow belongs in it."""
    from inspection.records.database import open_records

    loaded = configuration.load(config)
    with open_records(loaded) as engine, engine.begin() as connection:
        yield loaded, connection


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
