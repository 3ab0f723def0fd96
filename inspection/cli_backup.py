"""``station backup`` and ``station restore``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from inspection import config as configuration
from inspection.cli_options import OPERATOR, ByOption, audited, command, run_or_explain


class _MakesByDefault(TyperGroup):
    """``station backup CONFIG DEST`` is ``station backup make CONFIG DEST``."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        return super().resolve_command(ctx, args if args[0] in self.commands else ["make", *args])


backup_app = typer.Typer(
    cls=_MakesByDefault, help="Back a station up while it runs: station backup CONFIG DEST.", no_args_is_help=True
)
Destination = Annotated[Path, typer.Argument(metavar="DEST", help="The folder of backups, best on another disk.")]
Configuration = Annotated[Path, typer.Argument(metavar="CONFIG", help="The station's configuration file.")]
Which = Annotated[str | None, typer.Option("--backup", metavar="NAME", help="Which one; without, the newest.")]


@backup_app.command("make")
def make(config: Configuration, destination: Destination, by: ByOption = OPERATOR) -> None:
    """Copy records, images, models and settings as they are now; what former backups brought there is not copied again."""
    from inspection.backup.gently import step_back
    from inspection.backup.making import make_backup
    from inspection.records.database import open_engine, up_to_date

    def action() -> None:
        path = config.resolve()
        loaded = configuration.load(path)
        step_back()
        engine = open_engine(loaded.database_url, read_only=True)
        current = up_to_date(engine)
        engine.dispose()
        with _progress() as told:
            if current:
                with audited(loaded, command(by, "backup", f"folder {destination}")):
                    name, made = make_backup(loaded, path, destination, told)
            else:
                # Before an upgrade: the audit trail would have to be brought up to date first.
                name, made = make_backup(loaded, path, destination, told)
        typer.echo(f"{name}: {made.rows.get('inspections', 0)} inspections, {made.images} images, {len(made.models)} models")
        if made.lost or made.lost_models:
            lost = f"{made.lost} images, models {', '.join(made.lost_models) or 'none'}"
            typer.echo(f"missing or damaged at the station: {lost}", err=True)
        if made.left_out:
            typer.echo(f"not copied, keep them elsewhere: {', '.join(made.left_out)}", err=True)

    run_or_explain(action)


@backup_app.command("verify")
def verify(destination: Destination, backup: Which = None) -> None:
    """Read a backup to its last byte; ends with 1 if anything is missing or altered."""
    from inspection.backup.manifest import chosen
    from inspection.backup.verifying import verify_backup

    def action() -> None:
        with _progress() as told:
            sound = verify_backup(destination, chosen(destination, backup), told)
        counts = f"{sum(sound.manifest.rows.values())} rows, {sound.manifest.images - sound.manifest.lost} images"
        typer.echo(f"{sound.name} is whole: {counts}, {len(sound.manifest.models)} models")

    run_or_explain(action)


def restore(
    destination: Destination,
    config: Configuration,
    backup: Which = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the records that are there.")] = False,
    by: ByOption = OPERATOR,
) -> None:
    """Put a backup in the place of what was lost; the station must not run."""
    from inspection.backup.manifest import chosen
    from inspection.backup.restoring import copy_configuration, restore_backup
    from inspection.backup.verifying import verify_backup

    def action() -> None:
        path = config.resolve()
        with _progress() as told:
            sound = verify_backup(destination, chosen(destination, backup), told)
            copy_configuration(sound, path)
            restored = restore_backup(sound, destination, configuration.load(path), by, overwrite, told)
        typer.echo(f"{sound.name} is restored: {restored.images} images, {restored.models} models")
        typer.echo(f"Everything is numbered after {restored.number}, so that receivers take nothing for what they have.")
        typer.echo("Lots opened since the backup are not known: open them again. Tokens and passwords are those of then: look at")
        typer.echo("`station token list` and `station user list`. Everybody has to log in again.")
        if restored.replaced is not None:
            typer.echo(f"The former database is in {restored.replaced}")
        if missing := [each for each in sound.manifest.left_out if not Path(each).exists()]:
            typer.echo(f"Bring these, which no backup holds: {', '.join(missing)}")

    run_or_explain(action)


@contextmanager
def _progress() -> Iterator[Any]:
    """A bar where somebody looks on; nothing for a timer."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda _what, _done, _total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def told(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield told
