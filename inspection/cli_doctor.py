"""``station doctor``: findings as a table and a document; ends with 1 if a station would fail here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from inspection.cli_options import run_or_explain, showing_progress


def doctor(
    config: Annotated[
        Path | None, typer.Argument(help="The station's configuration file; without, what can be looked at without one.")
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the findings to FILE as JSON.")] = None,
    seconds: Annotated[
        float, typer.Option(min=0, max=600, help="How long parts come to measure speed, at two rates each; 0 leaves it out.")
    ] = 3.0,
) -> None:
    """Is this machine fit for a station? Producers, cameras, processor, disk, clock, network; changes nothing."""
    from rich.console import Console

    from inspection.doctor.examination import examine, failed
    from inspection.doctor.findings import document, summary, table
    from inspection.figures import write

    def action() -> None:
        with showing_progress() as progress:
            findings = list(examine(config, seconds, progress))
        write(json, document(findings))
        console = Console()
        if not console.is_terminal:
            console.width = 180
        console.print(table(findings))
        typer.echo(summary(findings))
        if failed(findings):
            raise typer.Exit(1)

    run_or_explain(action)
