"""``station storage`` and ``station legal-hold``: what the disk holds, and which images stay whatever retention says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from inspection.cli_options import OPERATOR, ByOption, ConfigOption, ReasonOption, command, reading, run_or_explain, writing
from inspection.figures import show

app = typer.Typer()
hold_app = typer.Typer(
    help="Keep images whatever retention says; a lot that is to take no parts is held instead.", no_args_is_help=True
)
_GB = 1e9


@app.command("storage")
def storage(config: ConfigOption) -> None:
    """What the disk holds, how fast it fills, and what comes of that at the present rate."""
    from inspection.retention import Limits
    from inspection.web.storage import storage_report

    def action() -> None:
        with reading(config) as (loaded, connection):
            found = storage_report(loaded.data_dir, loaded.database_url, Limits.of(loaded.images), connection)
        rows = [(each.holds.replace("_", " "), f"{each.nbytes / _GB:.3f}", _per_day(each.bytes_a_day)) for each in found.portions]
        rows += [("other", f"{found.other_bytes / _GB:.3f}", ""), ("free", f"{found.free_bytes / _GB:.3f}", "")]
        show([("", "GB", "GB a day"), *rows])
        for line in found.forecast.in_words():
            typer.echo(line)

    run_or_explain(action)


@hold_app.command("place")
def place(
    config: ConfigOption,
    reason: ReasonOption,
    lot: Annotated[str | None, typer.Option(help="All images of this lot.")] = None,
    serial: Annotated[str | None, typer.Option(help="All images of this serial, in all lots.")] = None,
    seq: Annotated[int | None, typer.Option(help="The images of the inspection of this number.", min=1)] = None,
    by: ByOption = OPERATOR,
) -> None:
    """Keep images until the hold is released."""
    from inspection.records.legal_holds import place_hold

    def action() -> None:
        trace = command(by, "legal-hold place", "legal hold", lot=lot, serial=serial, seq=seq, reason=reason)
        with writing(config, trace) as (_, connection):
            hold = place_hold(connection, lot=lot, serial=serial, seq=seq, by=by, reason=reason, at=datetime.now(UTC))
        typer.echo(f"legal hold {hold.legal_hold_id} is in force")

    run_or_explain(action)


@hold_app.command("release")
def release(
    number: Annotated[int, typer.Argument(help="The number of the hold.", min=1)],
    config: ConfigOption,
    reason: ReasonOption,
    by: ByOption = OPERATOR,
) -> None:
    """Leave the images to retention again."""
    from inspection.records.legal_holds import release_hold

    def action() -> None:
        with writing(config, command(by, "legal-hold release", f"legal hold {number}", reason=reason)) as (_, connection):
            release_hold(connection, number, by, reason, datetime.now(UTC))
        typer.echo(f"legal hold {number} is released")

    run_or_explain(action)


@hold_app.command("list")
def list_all(
    config: ConfigOption, released: Annotated[bool, typer.Option("--released", help="Those that were released too.")] = False
) -> None:
    """Legal holds in force."""
    from inspection.records.legal_holds import list_holds

    def action() -> None:
        with reading(config) as (_, connection):
            found = list_holds(connection, released=released)
        rows = []
        for each in found:
            on = f"lot {each.lot}" if each.lot else f"serial {each.serial}" if each.serial else f"inspection {each.seq}"
            ended = f"released {each.released_at:%F} by {each.released_by}: {each.release_reason}" if each.released_at else ""
            rows.append((str(each.legal_hold_id), on, f"{each.placed_at:%F %T}", each.placed_by, each.reason, ended))
        show([("number", "on", "since", "by", "why", ""), *rows])

    run_or_explain(action)


def _per_day(nbytes: float | None) -> str:
    return "" if nbytes is None else f"{nbytes / _GB:.3f}"
