"""``station soak``: the station for hours, with faults."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from inspection.cli_options import run_or_explain, showing_progress

app = typer.Typer()


@app.command()
def soak(
    hours: Annotated[float, typer.Option(min=0.001, help="How long parts come.")] = 1.0,
    rate: Annotated[float, typer.Option(min=1, metavar="N", help="Parts per second.")] = 25.0,
    faults: Annotated[
        int | None, typer.Option(min=0, metavar="SEED", help="Faults from the plan of this seed; none without.")
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all figures to FILE as JSON.")] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page with charts to FILE.")] = None,
    data: Annotated[Path, typer.Option(metavar="DIR", help="Where the model is kept for the next time.")] = Path("data/bench"),
) -> None:
    """Run a station on a simulated camera for hours, injure it, and check all the while that nothing is lost or swapped.

    Ctrl-C ends it with the report so far. The exit status is 1 if anything did not hold.
    """
    from inspection.figures import write
    from inspection.soak.command import soaked
    from inspection.soak.page import write_page
    from inspection.soak.report import print_report

    def action() -> None:
        directory = data.resolve()
        directory.mkdir(parents=True, exist_ok=True)
        # A service manager's way to say Ctrl-C.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with ExitStack() as stack:
            run_dir = Path(stack.enter_context(TemporaryDirectory(prefix="soak-", dir=directory)))
            progress = stack.enter_context(showing_progress())
            found = soaked(directory, run_dir, hours * 3600, rate, faults, progress)
        write(json, asdict(found))
        if html is not None:
            write_page(html, found)
        print_report(found)
        if found.violations:
            raise typer.Exit(1)

    run_or_explain(action)
