"""The ``station`` command."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from inspection import (
    cli_backup,
    cli_bench,
    cli_doctor,
    cli_exports,
    cli_mes,
    cli_models,
    cli_opcua,
    cli_sbom,
    cli_settings,
    cli_soak,
    cli_storage,
    cli_tls,
    cli_training,
    cli_users,
)
from inspection import config as configuration
from inspection.cli_options import (
    OPERATOR,
    PASS_ON,
    ByOption,
    ConfigOption,
    OverrideOption,
    ReasonOption,
    audited,
    command,
    run_or_explain,
)

app = typer.Typer(
    name="station",
    help="Quality inspection station: GenICam cameras, anomaly detection, durable verdicts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

app.add_typer(cli_training.app)
app.add_typer(cli_models.app)
app.add_typer(cli_mes.token_app, name="token")
app.add_typer(cli_mes.outbox_app, name="outbox")
app.add_typer(cli_users.user_app, name="user")
app.add_typer(cli_users.audit_app, name="audit")
app.add_typer(cli_exports.app)
app.add_typer(cli_storage.app)
app.add_typer(cli_storage.hold_app, name="legal-hold")
app.add_typer(cli_bench.app, name="bench")
app.add_typer(cli_opcua.app, name="opcua")
app.add_typer(cli_backup.backup_app, name="backup")
app.command("restore")(cli_backup.restore)
app.add_typer(cli_soak.app)
app.add_typer(cli_tls.app, name="tls")
app.add_typer(cli_sbom.app)
app.command()(cli_doctor.doctor)
app.add_typer(cli_settings.settings_app, name="settings")

ConfigArgument = Annotated[Path, typer.Argument(help="The station's configuration file, such as deploy/station.toml.")]


@app.command()
def demo(
    images: Annotated[
        Path | None, typer.Option(help="A folder in the MVTec-AD layout, shown to the camera instead of the rendered product.")
    ] = None,
    rate: Annotated[float, typer.Option(help="Parts per second.", min=0.1, max=500)] = 5.0,
    parts: Annotated[int | None, typer.Option(help="Stop conveying after this many parts.", min=1)] = None,
    lots: Annotated[int, typer.Option(help="Spread the parts over this many lots.", min=1, max=1000)] = 1,
    exit_: Annotated[
        bool, typer.Option("--exit", help="End when the parts are done; with --images and without --parts, each test image once.")
    ] = False,
    json: Annotated[
        Path | None, typer.Option(help="Write the summary to this file; - for standard output.", allow_dash=True)
    ] = None,
    data: Annotated[Path, typer.Option(help="Where the demo keeps its database, images and models.")] = Path("data/demo"),
    port: Annotated[int, typer.Option(help="Port of the page; another one is taken if it is busy.", min=1, max=65_535)] = 8080,
    plc: Annotated[
        bool, typer.Option("--plc", help="Trigger by a simulated PLC with a conveyor, over Modbus TCP, instead of directly.")
    ] = False,
) -> None:
    """Train a first model, start the line on a simulated camera and inspect parts until Ctrl-C."""
    from inspection.demo import Demo

    run_or_explain(lambda: Demo(images, rate, parts, lots, exit_, json, data, port, plc).run())


@app.command()
def run(config: ConfigArgument) -> None:
    """Run the station: every process under a manager that restarts it."""
    from inspection.supervisor import supervise

    def start() -> None:
        path = config.resolve()
        text = configuration.read(path)
        supervise(configuration.parse(text, path), path, text)

    run_or_explain(start)


@app.command(hidden=True)
def process(name: str, config: ConfigOption) -> None:
    """Run one process of the station; `station run` and the service manager start them so."""
    from inspection.processes import run_process

    run_or_explain(lambda: run_process(configuration.load(config), name, config.resolve()))


@app.command()
def cameras(
    config: Annotated[Path | None, typer.Option("--config", help="List the producers of this configuration.")] = None,
    producer: Annotated[list[Path] | None, typer.Option(help="List this GenTL producer (.cti); may be repeated.")] = None,
    features: Annotated[bool, typer.Option("--features", help="Also every feature of each camera.")] = False,
) -> None:
    """List the cameras of the configured GenTL producers and their features."""
    from inspection.camera_list import print_cameras

    run_or_explain(lambda: print_cameras(configuration.load(config) if config else None, producer or [], features))


@app.command(context_settings=PASS_ON)
def train(context: typer.Context) -> None:
    """Train a model from a folder of images; see `station train --help`."""
    # Another process, because torch is imported nowhere else.
    os.execv(sys.executable, [sys.executable, "-m", "training", "train", *context.args])  # noqa: S606


@app.command(context_settings=PASS_ON)
def extend(context: typer.Context) -> None:
    """Add good images to a model, without those it was trained on; see `station extend --help`."""
    os.execv(sys.executable, [sys.executable, "-m", "training", "extend", *context.args])  # noqa: S606


@app.command(context_settings=PASS_ON)
def evaluate(context: typer.Context) -> None:
    """Train on a folder's good images and measure on its test images; see `station evaluate --help`."""
    os.execv(sys.executable, [sys.executable, "-m", "training", "evaluate", *context.args])  # noqa: S606


@app.command(context_settings=PASS_ON)
def check(context: typer.Context) -> None:
    """Check a folder of images before training; see `station check --help`."""
    os.execv(sys.executable, [sys.executable, "-m", "training", "check", *context.args])  # noqa: S606


@app.command(context_settings=PASS_ON)
def claims(context: typer.Context) -> None:
    """Say what a model's thresholds can claim and how surely; see `station claims --help`."""
    os.execv(sys.executable, [sys.executable, "-m", "training", "claims", *context.args])  # noqa: S606


@app.command()
def deploy(
    artifact: Annotated[Path, typer.Argument(help="A model's artifact directory, as `station train` made it.")],
    config: ConfigOption,
    product: Annotated[str, typer.Option(help="Part number of the product that the model shall decide for.")],
    reason: ReasonOption,
    by: ByOption = OPERATOR,
    override: OverrideOption = None,
) -> None:
    """Gate a model and put it in service for a product; the inspector takes it over between two parts."""
    from inspection.deploying import deploy_artifact, model_at

    def put_in_service() -> None:
        loaded = configuration.load(config)
        # What cannot be meant leaves no trace, as a station that never ran has nowhere to put it.
        loaded.recipe(product)
        model_at(artifact, product)
        with audited(loaded, command(by, "deploy", f"product {product}", artifact=artifact, reason=reason, override=override)):
            deployment = deploy_artifact(loaded, artifact, product, by, reason, override)
        typer.echo(f"{deployment.model} decides for {product} since {deployment.deployed_at:%F %T} UTC")

    run_or_explain(put_in_service)
