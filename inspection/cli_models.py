"""The ``station`` commands on what models decide: models, gate, rollback, golden, shadow."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection

from inspection import config as configuration
from inspection.cli_options import (
    OPERATOR,
    PASS_ON,
    ByOption,
    ConfigOption,
    ProductOption,
    ReasonOption,
    audited,
    command,
    reading,
    run_or_explain,
    writing,
)
from inspection.domain import Gate
from inspection.records.audit import Trace
from inspection.scheduling import wait_for_inspection

app = typer.Typer()
golden = typer.Typer(help="Images that every model must judge right before it may decide.", no_args_is_help=True)
shadow = typer.Typer(help="Challengers that judge live parts without effect.", no_args_is_help=True)
app.add_typer(golden, name="golden")
app.add_typer(shadow, name="shadow")

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="Digest of the model, as `station models` lists it.")]


# --- models -----------------------------------------------------------------------------------------------------------


@app.command()
def models(config: ConfigOption) -> None:
    """Registered models, newest first: what their gates said, and which are in service."""
    from inspection.records.deployments import list_deployments, list_models
    from inspection.records.gates import latest_gate

    def action() -> None:
        with reading(config) as (loaded, connection):
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

        loaded = configuration.load(config)
        with audited(loaded, command(by, "gate", f"model {model}")):
            result = gate_model(loaded, model, by)
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
def score(
    model: ModelArgument,
    config: ConfigOption,
    json: Annotated[bool, typer.Option("--json", help="Say how far it is as JSON, a line each; for the trainer.")] = False,
) -> None:
    """Have a model, and the one in service, score the stored images on which both are compared."""

    def action() -> None:
        import msgspec

        from inspection.progress import Progress
        from inspection.scoring import score_model

        def step(done: int, steps: int) -> None:
            if json:
                typer.echo(msgspec.json.encode(Progress(done, steps)))

        wait_for_inspection()
        for scored in score_model(configuration.load(config), model, step):
            if not json:
                typer.echo(scored.in_words())
            elif scored.problem is not None or scored.unreadable:
                typer.echo(msgspec.json.encode(Progress(said=scored.in_words())))

    run_or_explain(action)


@app.command()
def rollback(config: ConfigOption, product: ProductOption, reason: ReasonOption, by: ByOption = OPERATOR) -> None:
    """Put the model in service again that decided before the present one."""
    from inspection.deploying import roll_back

    def action() -> None:
        loaded = configuration.load(config)
        with audited(loaded, command(by, "rollback", f"product {product}", reason=reason)):
            deployment = roll_back(loaded, product, by, reason)
        typer.echo(f"{deployment.model} decides for {product} again since {deployment.deployed_at:%F %T} UTC")

    run_or_explain(action)


# --- golden images ----------------------------------------------------------------------------------------------------


@golden.command(name="import", context_settings=PASS_ON)
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
        with reading(config) as (_, connection):
            found = golden_inspections(connection, product, seqs, by)
        with writing(config, command(by, "golden add", f"product {product}", seqs=seqs)) as (_, connection):
            added = sum(add_golden(connection, image) for image in found)
        typer.echo(f"{added} of {len(seqs)} are new in the golden set of {product}")

    run_or_explain(action)


@golden.command(name="list")
def list_golden_images(config: ConfigOption, product: ProductOption) -> None:
    """The golden set of a product."""
    from inspection.records.stored_images import list_golden

    def action() -> None:
        with reading(config) as (_, connection):
            listed = list_golden(connection, product)
        for image in listed:
            typer.echo(f"{image.sha256} {image.label:<12} {image.name}")

    run_or_explain(action)


@golden.command()
def remove(
    sha256: Annotated[str, typer.Argument(help="The image, as `golden list` lists it.")],
    config: ConfigOption,
    product: ProductOption,
    reason: ReasonOption,
    by: ByOption = OPERATOR,
) -> None:
    """Take an image out of the golden set."""
    from inspection.records.stored_images import remove_golden

    def action() -> None:
        trace = command(by, "golden remove", f"product {product}", sha256=sha256, reason=reason)
        with writing(config, trace) as (_, connection):
            remove_golden(connection, product, sha256)

    run_or_explain(action)


# --- shadows ----------------------------------------------------------------------------------------------------------


@shadow.command(name="start")
def start_challenger(
    model: ModelArgument, config: ConfigOption, product: ProductOption, reason: ReasonOption, by: ByOption = OPERATOR
) -> None:
    """Let a model judge live parts beside the one in service, when the inspector has time."""
    from inspection.records.shadows import start_shadow

    trace = command(by, "shadow start", f"product {product}, model {model}", reason=reason)
    _with_station(config, trace, lambda station, connection: start_shadow(connection, station, product, model, by, reason))


@shadow.command()
def stop(config: ConfigOption, product: ProductOption, by: ByOption = OPERATOR) -> None:
    """End the challenger of a product."""
    from inspection.records.shadows import stop_shadow

    trace = command(by, "shadow stop", f"product {product}")
    _with_station(config, trace, lambda station, connection: stop_shadow(connection, station, product))


@shadow.command(name="list")
def list_challengers(
    config: ConfigOption,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Disagreements to list of the running ones.")] = 20,
) -> None:
    """Challengers, newest first: how often they agreed, and where those that are running differ."""
    from inspection.records.shadows import disagreements, list_shadows, shadow_summary

    def action() -> None:
        with reading(config) as (loaded, connection):
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


def _with_station(config: Path, trace: Trace, action: Callable[[str, Connection], object]) -> None:
    def in_transaction() -> None:
        with writing(config, trace) as (loaded, connection):
            action(loaded.station.name, connection)

    run_or_explain(in_transaction)
