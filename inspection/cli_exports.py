"""The ``station export`` command: a lot into files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from inspection.cli_options import ConfigOption, reading, run_or_explain
from inspection.errors import StationError

if TYPE_CHECKING:
    from inspection.records.exports import Rows

app = typer.Typer()


@app.command()
def export(
    lot: Annotated[str, typer.Argument(help="Name of the lot.")],
    config: ConfigOption,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Its inspections as CSV.")] = None,
    parquet: Annotated[Path | None, typer.Option(metavar="FILE", help="Its inspections as Parquet.")] = None,
    b2mml: Annotated[Path | None, typer.Option(metavar="FILE", help="The lot as B2MML, for an MES.")] = None,
    certificate: Annotated[Path | None, typer.Option(metavar="FILE", help="Its certificate as PDF.")] = None,
) -> None:
    """Write a lot into files, all from one snapshot of the records."""
    run_or_explain(lambda: _export(lot, config, csv, parquet, b2mml, certificate))


def _export(lot: str, path: Path, csv: Path | None, parquet: Path | None, b2mml: Path | None, certificate: Path | None) -> None:
    from inspection.images import ImageStore
    from inspection.mes.b2mml import b2mml_chunks
    from inspection.mes.certificate import certificate as certificate_of
    from inspection.mes.certified import certify
    from inspection.mes.tabular import csv_chunks, write_parquet
    from inspection.records.exports import lot_head, lot_rows

    if not (csv or parquet or b2mml or certificate):
        raise StationError("nothing to write; name a file with --csv, --parquet, --b2mml or --certificate")
    with reading(path) as (config, connection):
        head, now = lot_head(connection, lot), datetime.now(UTC)
        station = config.station.name

        def rows() -> Iterator[Rows]:
            return lot_rows(lambda: nullcontext(connection), head)

        if csv:
            _write(csv, lambda file: file.writelines(csv_chunks(rows())))
        if parquet:
            _write(parquet, lambda file: write_parquet(rows(), file))
        if b2mml:
            _write(b2mml, lambda file: file.writelines(b2mml_chunks(station, head, rows(), now)))
        if certificate:
            certified = certify(connection, lot, station, config.recipe_digests(), now)
            _write(certificate, lambda file: file.write(certificate_of(certified, ImageStore(config.image_dir))))


def _write(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """The whole file or none; StationError if it cannot be written."""
    fresh = path.with_name(f"{path.name}.new")
    try:
        with fresh.open("wb") as file:
            write(file)
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise StationError(f"cannot write {path}: {error.strerror}; choose another place") from error
    typer.echo(f"wrote {path}")
