"""``station sbom``: what the station is made of."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def sbom(
    json: Annotated[
        Path | None,
        typer.Option(metavar="FILE", allow_dash=True, help="Write CycloneDX 1.6 to this file; - for standard output."),
    ] = None,
    licences: Annotated[
        Path | None, typer.Option(metavar="FILE", allow_dash=True, help="Write names and licences as Markdown; - likewise.")
    ] = None,
) -> None:
    """List the installed packages that the station needs, with versions and licences."""
    from inspection.figures import show
    from inspection.sbom import ROOT, cyclonedx, packages, table

    found = packages()
    if json is not None:
        _write(json, cyclonedx(found, version(ROOT)))
    if licences is not None:
        _write(licences, table(found))
    if json is None and licences is None:
        rows = [(each.name, each.version, each.licence, "" if each.direct else "brought along") for each in found]
        show([("package", "version", "licence", ""), *rows])


def _write(path: Path, text: str) -> None:
    if str(path) == "-":
        typer.echo(text, nl=False)
    else:
        path.write_text(text, encoding="utf-8")
