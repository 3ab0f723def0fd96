"""``station settings``: what another configuration file would change, before it does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from inspection import config as configuration
from inspection import config_changes
from inspection.cli_options import ConfigOption, run_or_explain
from inspection.errors import ConfigError

settings_app = typer.Typer(help="Try a configuration file without putting it into effect.", no_args_is_help=True)


@settings_app.command("try")
def try_settings(
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The configuration file to try.")],
    config: ConfigOption,
    parts: Annotated[int, typer.Option(min=1, help="Try each recipe on so many of the newest parts.")] = 200,
) -> None:
    """Would the station start with NEW, what would change, and what would have been different for the newest parts? Nothing is
    written. Ends with 1 if the station would not start.
    """
    from inspection.dry_run import dry_run, newest_parts
    from inspection.images import ImageStore
    from inspection.records.database import read_records

    def action() -> None:
        # Relative paths are those of the file in force, whose place it would take.
        path = config.resolve()
        text, now = configuration.read(new), configuration.read(path)
        checked = config_changes.check(now, text, path)
        if not checked.valid:
            wrong = "\n".join(f"  {each.key}: {each.message}" for each in checked.errors)
            raise ConfigError(f"the station would not start with {new}:\n{wrong}")
        for change in checked.changes:
            typer.echo(f"{change.key}: {_said(change.before)} becomes {_said(change.after)}")
        if not checked.changes:
            typer.echo("no setting changes")
        if checked.restart:
            typer.echo(f"to be restarted for it: {', '.join(checked.restart)}")
        before, after = configuration.parse(now, path), configuration.parse(text, path)
        with read_records(before) as engine, engine.connect() as connection:
            found = {each.part_number: newest_parts(connection, each.part_number, parts) for each in after.products}
        store = ImageStore(before.image_dir)
        for product, inspections in found.items():
            tried = dry_run(before, after, product, inspections, store, checked.changes)
            if tried.deadline is not None:
                late = tried.deadline
                typer.echo(f"{product}: {late.late_after} of {late.timed} parts would have been late, {late.late_before} were")
            if tried.serial_code is not None:
                read = tried.serial_code
                typer.echo(
                    f"{product}: of {read.frames} frames {read.same} show the serial of their trigger, "
                    f"{read.mismatch} another one, {read.unread} none"
                )

    run_or_explain(action)


def _said(value: str | None) -> str:
    return "nothing" if value is None else value
