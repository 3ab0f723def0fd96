"""The ``station`` commands that teach the station: label, training-set, training-run, golden, models, gate, rollback, shadow."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection

from inspection import config as configuration
from inspection.cli_options import OPERATOR, ByOption, ConfigOption, ProductOption, ReasonOption, run_or_explain
from inspection.config import Config
from inspection.domain import MAX_SEED, MAX_SIDE, MIN_SIDE, Box, Gate, TrainingRun, TrainingSet
from inspection.errors import ConfigError

app = typer.Typer()
training_set = typer.Typer(help="What models learn from: frozen lists of images and labels.", no_args_is_help=True)
training_run = typer.Typer(help="Trainings: requested here, carried out by the trainer.", no_args_is_help=True)
golden = typer.Typer(help="Images that every model must judge right before it may decide.", no_args_is_help=True)
shadow = typer.Typer(help="Challengers that judge live parts without effect.", no_args_is_help=True)
app.add_typer(training_set, name="training-set")
app.add_typer(training_run, name="training-run")
app.add_typer(golden, name="golden")
app.add_typer(shadow, name="shadow")

_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
SetArgument = Annotated[
    str, typer.Argument(metavar="TRAINING_SET", help="Digest of the training set, as `training-set create` told.")
]
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="Digest of the model, as `station models` lists it.")]
RunArgument = Annotated[int, typer.Argument(metavar="RUN", help="Number of the run, as `training-run list` lists it.")]


@contextmanager
def _reading(config: Path) -> Iterator[tuple[Config, Connection]]:
    """The configuration, and one snapshot of its records."""
    from inspection.records.database import read_records

    loaded = configuration.load(config)
    with read_records(loaded) as engine, engine.connect() as connection:
        yield loaded, connection


@contextmanager
def _writing(config: Path) -> Iterator[tuple[Config, Connection]]:
    """The configuration, and one transaction on its records. The recorder waits for its end: nothing slow belongs in it."""
    from inspection.records.database import open_records

    loaded = configuration.load(config)
    with open_records(loaded) as engine, engine.begin() as connection:
        yield loaded, connection


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
) -> None:
    """Say what a part really is. The newest label counts; earlier ones stay as history."""
    from inspection.records.labels import add_label

    def action() -> None:
        boxes = tuple(_box(text) for text in region or ())
        with _writing(config) as (_, connection):
            added = add_label(connection, seq, label, by, reason, boxes)
        typer.echo(f"inspection {seq} is {added.label}, said {by}")

    run_or_explain(action)


def _box(text: str) -> Box:
    try:
        x, y, width, height = (int(number) for number in text.split(","))
    except ValueError:
        raise ConfigError(f"region {text!r} is not X,Y,WIDTH,HEIGHT in pixels; write it like 120,40,30,18") from None
    return Box(x, y, width, height)


# --- training sets ----------------------------------------------------------------------------------------------------


@training_set.command(name="import", context_settings=_PASS_ON)
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
        with _reading(config) as (loaded, connection):
            ready = checked(draft(connection, product), ImageStore(loaded.image_dir))
        with _writing(config) as (_, connection):
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
        with _reading(config) as (_, connection):
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
        with _reading(config) as (_, connection):
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
) -> None:
    """Ask for a model; the station's trainer makes it."""
    from inspection.records.training_runs import request_run

    def action() -> None:
        with _writing(config) as (loaded, connection):
            run = request_run(connection, loaded.station.name, training_set, by, reason, seed, size)
        typer.echo(f"training run {run.training_run_id} is queued")

    run_or_explain(action)


@training_run.command(name="list")
def list_training_runs(
    config: ConfigOption, product: Annotated[str | None, typer.Option(help="Of this product only.")] = None
) -> None:
    """Training runs, newest first."""
    from inspection.records.training_runs import list_runs

    def action() -> None:
        with _reading(config) as (_, connection):
            listed = list_runs(connection, product, 100)
        for run in listed:
            typer.echo(_run_line(run))

    run_or_explain(action)


@training_run.command(name="show")
def show_run(run: RunArgument, config: ConfigOption) -> None:
    """One training run with its log."""
    from inspection.records.training_runs import get_run

    def action() -> None:
        with _reading(config) as (_, connection):
            found = get_run(connection, run)
        typer.echo(_run_line(found))
        typer.echo(found.log, nl=False)

    run_or_explain(action)


@training_run.command()
def cancel(run: RunArgument, config: ConfigOption, by: ByOption = OPERATOR) -> None:
    """End a run that waits or is under way."""
    from inspection.records.training_runs import cancel_run

    def action() -> None:
        with _writing(config) as (_, connection):
            found = cancel_run(connection, run, by)
        typer.echo(f"training run {run} is {found.state}" + ("; the trainer ends it" if found.ended_at is None else ""))

    run_or_explain(action)


def _run_line(run: TrainingRun) -> str:
    line = (
        f"{run.training_run_id:>4} {run.requested_at:%F %T} {run.product:<12} {run.state:<9} {run.stage} {run.done}/{run.steps}"
    )
    line += f" attempt {run.attempts}"
    return line + (f" model {run.model}" if run.model else "") + (f" error: {run.error}" if run.error else "")


# --- models -----------------------------------------------------------------------------------------------------------


@app.command()
def models(config: ConfigOption) -> None:
    """Registered models, newest first: what their gates said, and which are in service."""
    from inspection.records.deployments import list_deployments, list_models
    from inspection.records.gates import latest_gate

    def action() -> None:
        with _reading(config) as (loaded, connection):
            station = loaded.station.name
            serving = {item.model for item in list_deployments(connection, station) if item.ended_at is None}
            listed = [(model, latest_gate(connection, station, model.model)) for model in list_models(connection)]
        for model, gate in listed:
            passed = "not gated" if gate is None else "gate passed" if gate.passed else "gate not passed"
            service = "  in service" if model.model in serving else ""
            typer.echo(f"{model.model} {model.created_at:%F %T} {model.product:<12} {passed}{service}  {model.algorithm}")

    run_or_explain(action)


@app.command()
def gate(model: ModelArgument, config: ConfigOption, by: ByOption = OPERATOR) -> None:
    """Check a registered model on this machine; ends with 1 if it does not pass."""

    def action() -> None:
        from inspection.gate import gate_model

        result = gate_model(configuration.load(config), model, by)
        for line in gate_lines(result):
            typer.echo(line)
        if not result.passed:
            raise typer.Exit(1)

    run_or_explain(action)


def gate_lines(gate: Gate) -> Iterator[str]:
    """A gate in words."""
    yield f"gate {'passed' if gate.passed else 'not passed'}: model {gate.model}"
    for check in gate.checks:
        yield f"  {check.check:<10} {'passed' if check.passed else 'FAILED'}  {check.detail}"


@app.command()
def rollback(config: ConfigOption, product: ProductOption, reason: ReasonOption, by: ByOption = OPERATOR) -> None:
    """Put the model in service again that decided before the present one."""
    from inspection.deploying import roll_back

    def action() -> None:
        deployment = roll_back(configuration.load(config), product, by, reason)
        typer.echo(f"{deployment.model} decides for {product} again since {deployment.deployed_at:%F %T} UTC")

    run_or_explain(action)


# --- golden images ----------------------------------------------------------------------------------------------------


@golden.command(name="import", context_settings=_PASS_ON)
def import_golden(context: typer.Context) -> None:
    """Take the images in test/* of a folder as golden ones; see `station golden import --help`."""
    os.execv(sys.executable, [sys.executable, "-m", "training", "import", "--golden", *context.args])  # noqa: S606


@golden.command()
def add(
    seqs: Annotated[list[int], typer.Argument(metavar="SEQ...", help="Numbers of labelled inspections.")],
    config: ConfigOption,
    product: ProductOption,
    by: ByOption = OPERATOR,
) -> None:
    """Put labelled inspections into the golden set, with their labels."""
    from inspection.records.stored_images import add_golden, golden_inspections

    def action() -> None:
        with _reading(config) as (_, connection):
            found = golden_inspections(connection, product, seqs, by)
        with _writing(config) as (_, connection):
            added = sum(add_golden(connection, image) for image in found)
        typer.echo(f"{added} of {len(seqs)} are new in the golden set of {product}")

    run_or_explain(action)


@golden.command(name="list")
def list_golden_images(config: ConfigOption, product: ProductOption) -> None:
    """The golden set of a product."""
    from inspection.records.stored_images import list_golden

    def action() -> None:
        with _reading(config) as (_, connection):
            listed = list_golden(connection, product)
        for image in listed:
            typer.echo(f"{image.sha256} {image.label:<12} {image.name}")

    run_or_explain(action)


@golden.command()
def remove(
    sha256: Annotated[str, typer.Argument(help="The image, as `golden list` lists it.")],
    config: ConfigOption,
    product: ProductOption,
) -> None:
    """Take an image out of the golden set."""
    from inspection.records.stored_images import remove_golden

    def action() -> None:
        with _writing(config) as (_, connection):
            remove_golden(connection, product, sha256)

    run_or_explain(action)


# --- shadows ----------------------------------------------------------------------------------------------------------


@shadow.command(name="start")
def start_challenger(
    model: ModelArgument, config: ConfigOption, product: ProductOption, reason: ReasonOption, by: ByOption = OPERATOR
) -> None:
    """Let a model judge live parts beside the one in service, when the inspector has time."""
    from inspection.records.shadows import start_shadow

    _with_station(config, lambda station, connection: start_shadow(connection, station, product, model, by, reason))


@shadow.command()
def stop(config: ConfigOption, product: ProductOption) -> None:
    """End the challenger of a product."""
    from inspection.records.shadows import stop_shadow

    _with_station(config, lambda station, connection: stop_shadow(connection, station, product))


@shadow.command(name="list")
def list_challengers(
    config: ConfigOption,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Disagreements to list of the running ones.")] = 20,
) -> None:
    """Challengers, newest first: how often they agreed, and where those that are running differ."""
    from inspection.records.shadows import disagreements, list_shadows, shadow_summary

    def action() -> None:
        with _reading(config) as (loaded, connection):
            listed = [
                (
                    found,
                    shadow_summary(connection, found.model),
                    disagreements(connection, found.model, 0, limit) if found.ended_at is None else (),
                )
                for found in list_shadows(connection, loaded.station.name)
            ]
        for found, summary, differing in listed:
            until = "running" if found.ended_at is None else f"until {found.ended_at:%F %T}"
            typer.echo(f"{found.model} {found.product:<12} since {found.started_at:%F %T} {until}")
            typer.echo(f"  agreed on {summary.agreed} of {summary.inspected} parts")
            for each in differing:
                said = f", labelled {each.label}" if each.label else ""
                typer.echo(
                    f"  {each.seq} {each.lot} {each.serial}: {each.verdict} ({each.score:.3g}), "
                    f"challenger {each.shadow_verdict} ({each.shadow_score:.3g}){said}"
                )

    run_or_explain(action)


def _with_station(config: Path, action: Callable[[str, Connection], object]) -> None:
    def in_transaction() -> None:
        with _writing(config) as (loaded, connection):
            action(loaded.station.name, connection)

    run_or_explain(in_transaction)
