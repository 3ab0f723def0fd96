"""The ``station`` commands that teach the station: label, training-set, training-run."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from inspection.cli_options import (
    OPERATOR,
    PASS_ON,
    ByOption,
    ConfigOption,
    ProductOption,
    ReasonOption,
    command,
    reading,
    run_or_explain,
    writing,
)
from inspection.domain import MAX_SEED, MAX_SIDE, MIN_SIDE, Box, TrainingRun, TrainingSet, TrainingSettings
from inspection.errors import ConfigError

app = typer.Typer()
training_set = typer.Typer(help="What models learn from: frozen lists of images and labels.", no_args_is_help=True)
training_run = typer.Typer(help="Trainings: requested here, carried out by the trainer.", no_args_is_help=True)
app.add_typer(training_set, name="training-set")
app.add_typer(training_run, name="training-run")

SetArgument = Annotated[
    str, typer.Argument(metavar="TRAINING_SET", help="Digest of the training set, as `training-set create` told.")
]
RunArgument = Annotated[int, typer.Argument(metavar="RUN", help="Number of the run, as `training-run list` lists it.")]


# --- labels -----------------------------------------------------------------------------------------------------------


@app.command()
def label(
    seq: Annotated[int, typer.Argument(help="Number of the inspection.")],
    label: Annotated[str, typer.Argument(help="ok, or the name of the defect.")],
    config: ConfigOption,
    reason: ReasonOption = "",
    by: ByOption = OPERATOR,
    region: Annotated[
        list[str] | None, typer.Option(metavar="X,Y,WIDTH,HEIGHT", help="Where, in pixels; may be repeated.")
    ] = None,
    polygon: Annotated[
        list[str] | None, typer.Option(metavar="X,Y,X,Y,X,Y…", help="Where, by the pixels around it; may be repeated.")
    ] = None,
) -> None:
    """Say what a part really is. The newest label counts; earlier ones stay as history."""
    from inspection.records.labels import add_label

    def action() -> None:
        boxes = (*(_box(text) for text in region or ()), *(_polygon(text) for text in polygon or ()))
        trace = command(by, "label", f"inspection {seq}", label=label, reason=reason, regions=region, polygons=polygon)
        with writing(config, trace) as (_, connection):
            added = add_label(connection, seq, label, by, reason, boxes)
        typer.echo(f"inspection {seq} is {added.label}, said {by}")

    run_or_explain(action)


def _box(text: str) -> Box:
    try:
        x, y, width, height = (int(number) for number in text.split(","))
    except ValueError:
        raise ConfigError(f"region {text!r} is not X,Y,WIDTH,HEIGHT in pixels; write it like 120,40,30,18") from None
    return Box(x, y, width, height)


def _polygon(text: str) -> Box:
    try:
        numbers = [int(number) for number in text.split(",")]
        points = list(zip(numbers[::2], numbers[1::2], strict=True))
    except ValueError:
        points = []
    if len(points) < 3:
        raise ConfigError(f"polygon {text!r} is not X,Y of three pixels or more; write it like 120,40,150,40,135,58")
    return Box.around(points)


# --- training sets ----------------------------------------------------------------------------------------------------


@training_set.command(name="import", context_settings=PASS_ON)
def import_good(context: typer.Context) -> None:
    """Take the good images of a folder into the image store; see `station training-set import --help`."""
    os.execv(sys.executable, [sys.executable, "-m", "training", "import", *context.args])  # noqa: S606


@training_set.command()
def create(config: ConfigOption, product: ProductOption, by: ByOption = OPERATOR) -> None:
    """Freeze what can be learned from now: labelled and passed parts, and imported images."""
    from inspection.images import ImageStore
    from inspection.records.training_sets import freeze
    from inspection.training_set import checked, draft

    def action() -> None:
        with reading(config) as (loaded, connection):
            ready = checked(draft(connection, product), ImageStore(loaded.image_dir))
        with writing(config, command(by, "training-set create", f"product {product}")) as (_, connection):
            frozen = freeze(connection, ready, by)
        _print_set(frozen)

    run_or_explain(action)


@training_set.command()
def show(
    training_set: SetArgument,
    config: ConfigOption,
    members: Annotated[bool, typer.Option("--members", help="Also every image.")] = False,
) -> None:
    """Sizes, warnings and, if asked, the images of a training set."""
    from inspection.records.training_sets import get_training_set, members_of

    def action() -> None:
        with reading(config) as (_, connection):
            found = get_training_set(connection, training_set)
            listed = members_of(connection, training_set) if members else ()
        _print_set(found)
        for member in listed:
            typer.echo(f"{member.sha256} {member.side:<10} {member.label:<12} {member.source:<6} {member.name}")

    run_or_explain(action)


@training_set.command(name="list")
def list_sets(config: ConfigOption, product: Annotated[str | None, typer.Option(help="Of this product only.")] = None) -> None:
    """Training sets, newest first."""
    from inspection.records.training_sets import list_training_sets

    def action() -> None:
        with reading(config) as (_, connection):
            listed = list_training_sets(connection, product, 100)
        for found in listed:
            typer.echo(f"{found.training_set} {found.created_at:%F %T} {found.product:<12} {_sizes(found)}")

    run_or_explain(action)


def _print_set(found: TrainingSet) -> None:
    typer.echo(f"training set {found.training_set} of {found.product}, {found.created_at:%F %T} UTC by {found.created_by}")
    typer.echo(_sizes(found))
    for warning in found.warnings:
        typer.secho(f"note: {warning}", fg=typer.colors.YELLOW)


def _sizes(found: TrainingSet) -> str:
    sides = []
    for side, labels in found.sizes.items():
        sides.append(f"{side}: " + (", ".join(f"{count} {name}" for name, count in labels.items()) or "nothing"))
    return "; ".join(sides)


# --- training runs ----------------------------------------------------------------------------------------------------


@training_run.command()
def start(
    training_set: SetArgument,
    config: ConfigOption,
    reason: ReasonOption = "",
    by: ByOption = OPERATOR,
    seed: Annotated[int, typer.Option(help="Same set, settings and seed, same scores.", min=0, max=MAX_SEED)] = 0,
    size: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            min=MIN_SIDE,
            max=MAX_SIDE,
            help="Longer side of the network's input; without it, several are tried.",
        ),
    ] = None,
    false_rejects: Annotated[str, typer.Option(metavar="SHARE", help="Good parts that may be stopped at most.")] = "2%",
    confidence: Annotated[str, typer.Option(metavar="SHARE", help="How sure that has to be.")] = "95%",
) -> None:
    """Ask for a model; the station's trainer makes it."""
    from inspection.quality.claims import read_share
    from inspection.records.training_runs import request_run

    def action() -> None:
        wished = read_share("--false-rejects", false_rejects), read_share("--confidence", confidence)
        settings = TrainingSettings(seed, size, *wished)
        trace = command(by, "training-run start", f"training_set {training_set}", reason=reason, settings=asdict(settings))
        with writing(config, trace) as (loaded, connection):
            run = request_run(connection, loaded.station.name, training_set, by, reason, settings)
        typer.echo(f"training run {run.training_run_id} is queued")

    run_or_explain(action)


@training_run.command(name="list")
def list_training_runs(
    config: ConfigOption, product: Annotated[str | None, typer.Option(help="Of this product only.")] = None
) -> None:
    """Training runs, newest first."""
    from inspection.records.training_runs import list_runs

    def action() -> None:
        with reading(config) as (_, connection):
            listed = list_runs(connection, product, 100)
        for run in listed:
            typer.echo(_run_line(run))

    run_or_explain(action)


@training_run.command(name="show")
def show_run(run: RunArgument, config: ConfigOption) -> None:
    """One training run with its log."""
    from inspection.records.training_runs import get_run

    def action() -> None:
        with reading(config) as (_, connection):
            found = get_run(connection, run)
        typer.echo(_run_line(found))
        typer.echo(found.log, nl=False)

    run_or_explain(action)


@training_run.command()
def cancel(run: RunArgument, config: ConfigOption, by: ByOption = OPERATOR) -> None:
    """End a run that waits or is under way."""
    from inspection.records.training_runs import cancel_run

    def action() -> None:
        with writing(config, command(by, "training-run cancel", f"training_run {run}")) as (_, connection):
            found = cancel_run(connection, run, by)
        typer.echo(f"training run {run} is {found.state}" + ("; the trainer ends it" if found.ended_at is None else ""))

    run_or_explain(action)


def _run_line(run: TrainingRun) -> str:
    line = (
        f"{run.training_run_id:>4} {run.requested_at:%F %T} {run.product:<12} {run.state:<9} {run.stage} {run.done}/{run.steps}"
    )
    line += f" attempt {run.attempts}"
    return line + (f" model {run.model}" if run.model else "") + (f" error: {run.error}" if run.error else "")
