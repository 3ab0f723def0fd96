"""Command line: ``python -m training``, which ``station`` calls for all that needs torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from inspection.cli_options import OPERATOR, ByOption, audited, command
from inspection.domain import MAX_SIDE, MIN_SIDE
from inspection.errors import StationError
from inspection.quality.claims import read_share
from inspection.scheduling import wait_for_inspection
from training import bench
from training.check_command import check as check_dataset
from training.check_command import checked, progress_bar, summary, table
from training.checking import withheld
from training.design import DEADLINE_MS
from training.errors import TrainingError
from training.findings import document

if TYPE_CHECKING:
    from training.train import TrainedModel

app = typer.Typer(help="Train and evaluate models from folders of images.", no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(bench.app, name="bench")
Dataset = Annotated[
    Path, typer.Argument(metavar="DATASET_DIR", help="Folder in the MVTec-AD layout; training reads train/good only.")
]
Size = Annotated[
    int | None,
    typer.Option(metavar="PIXELS", min=MIN_SIDE, max=MAX_SIDE, help="Longer side of the input; without it, several are tried."),
]
Deadline = Annotated[
    float, typer.Option(metavar="MS", min=1, help="Without --size: the time that a frame may take on this machine.")
]
Config = Annotated[Path, typer.Option("--config", metavar="FILE", help="The station's configuration file.")]
FalseRejectsOption = Annotated[
    str, typer.Option(metavar="SHARE", help="Good parts that may be stopped at most; a twentieth of them may be failed.")
]
ConfidenceOption = Annotated[str, typer.Option(metavar="SHARE", help="How sure that has to be; the model says if it is.")]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the result to FILE as JSON.")]


@app.command()
def train(
    dataset: Dataset,
    out: Annotated[Path, typer.Option(metavar="MODELS_DIR", help="The model is stored as MODELS_DIR/<digest>.")],
    product: Annotated[str, typer.Option(metavar="NAME", help="The product that the images show.")],
    seed: Annotated[int, typer.Option(help="Same images and seed, same scores.")] = 0,
    size: Size = None,
    deadline_ms: Deadline = DEADLINE_MS,
    algorithm: Annotated[
        str, typer.Option(metavar="NAME", help="patchcore, the station's own, or one of anomalib's; a wrong name lists them.")
    ] = "patchcore",
    backbone: Annotated[str, typer.Option(metavar="TIMM_NAME", help="anomalib's: the network that --weights holds.")] = "",
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="anomalib's: a state dict, .pth or .safetensors, in place of the packaged weights."),
    ] = None,
    licence: Annotated[str, typer.Option(metavar="TEXT", help="Licence of --weights, for the record.")] = "",
    layers: Annotated[str, typer.Option(metavar="A,B", help="Layers of --backbone; else those at the algorithm's strides.")] = "",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="anomalib's: passes over the images; else so many that a small set takes minutes.")
    ] = None,
    false_rejects: FalseRejectsOption = "2%",
    confidence: ConfidenceOption = "95%",
    json: Json = None,
) -> None:
    """Train a model from good images alone (at least 10; 30 or more give steadier thresholds)."""
    wait_for_inspection()
    console = Console(stderr=True)
    report = checked(dataset, console)
    with console.status("loading torch and anomalib"):
        from training.calibration import FalseRejects
        from training.dataset import good_images
        from training.zoo.command import trainer

        wished = FalseRejects(read_share("--false-rejects", false_rejects), read_share("--confidence", confidence))
        STAGES, run = trainer(algorithm, size, deadline_ms, backbone, weights, licence, layers, epochs)  # noqa: N806
    with _stages(console, STAGES) as show:
        images = withheld(good_images(dataset), report)
        model = run(images, product, out, seed=seed, progress=show, false_rejects=wished)
    _tell(console, model, json)
    typer.echo(f"{model.path} {model.digest} trained on {model.metrics['images']:.0f} images in {model.seconds:.1f} s")


@app.command()
def extend(
    artifact: Annotated[Path, typer.Argument(help="A model's artifact directory, as `station train` made it.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Images of good parts, in it or in its train/good.")],
    false_rejects: FalseRejectsOption = "2%",
    confidence: ConfidenceOption = "95%",
    json: Json = None,
) -> None:
    """Add good images to a model without those it was trained on; the result is stored beside it."""
    wait_for_inspection()
    console = Console(stderr=True)
    with console.status("loading torch and anomalib"):
        from training.calibration import FalseRejects
        from training.dataset import images_in
        from training.extend import STAGES
        from training.extend import extend as add

        wished = FalseRejects(read_share("--false-rejects", false_rejects), read_share("--confidence", confidence))
    with _stages(console, STAGES) as show:
        model = add(artifact, images_in(folder), artifact.resolve().parent, progress=show, false_rejects=wished)
    _tell(console, model, json)
    typer.echo(f"{model.path} {model.digest} knows {model.metrics['added']:.0f} more images, in {model.seconds:.1f} s")


@contextmanager
def _stages(console: Console, stages: Iterable[str]) -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each stage; takes a stage, its steps that are done, and all of them."""
    columns = TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console) as bar:
        tasks = {stage: bar.add_task(stage, total=None, start=False) for stage in stages}

        def show(stage: str, done: int, steps: int) -> None:
            if not bar.tasks[tasks[stage]].started:
                bar.start_task(tasks[stage])
            bar.update(tasks[stage], completed=done, total=steps)

        yield show


def _tell(console: Console, model: TrainedModel, json: Path | None) -> None:
    for name, reason in model.skipped.items():
        console.print(f"skipped {name}: {reason}", style="yellow", markup=False)
    _write(json, asdict(model))
    console.print(f"thresholds: {model.rule}", markup=False)


@app.command()
def evaluate(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET_DIR", help="Folder in the MVTec-AD layout: train/good, test/*.")],
    json: Json = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a report with pictures to FILE.")] = None,
    labelled: Annotated[
        int, typer.Option(min=0, metavar="N", help="Also train with N images of each defect moved from test into training.")
    ] = 0,
    seeds: Annotated[int, typer.Option(min=1, metavar="K", help="Train K times; mean and spread go under `seeds`.")] = 1,
    size: Size = None,
    deadline_ms: Deadline = DEADLINE_MS,
    artifact: Annotated[
        Path | None, typer.Option("--model", metavar="ARTIFACT", help="Evaluate this stored model instead of training one.")
    ] = None,
) -> None:
    """Train on train/good with the default recipe and report what the model does on test/*."""
    wait_for_inspection()
    if artifact is not None and (seeds > 1 or labelled):
        raise TrainingError("--model evaluates one stored model; leave --seeds and --labelled out")
    console = Console(stderr=True)
    checked(dataset, console, trains=artifact is None)
    with console.status("loading torch and anomalib"):
        from training import experiment
        from training.dataset import labelled_images
        from training.evaluate import evaluate as evaluate_model
        from training.report import summary_lines, write_report
    bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console)
    runs = []
    with bar:
        for seed in range(seeds):
            task = bar.add_task(f"seed {seed}")

            def show(stage: str, done: int, steps: int, task: TaskID = task, seed: int = seed) -> None:
                bar.update(task, description=f"seed {seed}: {stage:<10}" if seeds > 1 else stage, completed=done, total=steps)

            if artifact is None:
                runs.append(experiment.run(dataset, seed, show, labelled, size, deadline_ms))
            else:
                runs.append(experiment.Run(seed, evaluate_model(artifact, labelled_images(dataset), progress=show), 0, {}))
    result = experiment.document(runs)
    _write(json, result)
    if html is not None:
        write_report(html, dataset.resolve().name, runs)
    evaluation = runs[0].evaluation
    for name, reason in (runs[0].skipped | evaluation.unreadable).items():
        console.print(f"left out {name}: {reason}", style="yellow", markup=False)
    for line in evaluation.missing:
        console.print(line, style="yellow", markup=False)
    for line in summary_lines(runs):
        typer.echo(line)


@app.command()
def trainer(config: Config) -> None:
    """Carry out the station's training runs as they are requested, until SIGTERM."""
    wait_for_inspection()
    from inspection.config import load
    from training.trainer import run_trainer

    run_trainer(load(config), config.resolve())


@app.command(hidden=True)
def perform(training_run_id: int, config: Config) -> None:
    """One training run, as the trainer starts it: progress and result on standard output, a JSON message in a line."""
    from inspection.config import load
    from training.perform import perform as run

    # What libraries print must not come between the messages.
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    run(load(config), training_run_id, output)


@app.command(name="import")
def import_(
    folder: Annotated[Path, typer.Argument(metavar="DATASET_DIR", help="Folder in the MVTec-AD layout.")],
    config: Config,
    product: Annotated[str, typer.Option(metavar="NAME", help="The product that the images show.")],
    by: ByOption = OPERATOR,
    golden: Annotated[bool, typer.Option("--golden", help="Take test/* as golden images, not train/good as good ones.")] = False,
) -> None:
    """Take images of a folder into the station's image store: train/good to learn from, or test/* as golden images."""
    from inspection.config import load
    from training.importing import import_golden, import_good

    loaded = load(config)
    action = "golden import" if golden else "training-set import"
    with audited(loaded, command(by, action, f"product {product}", folder=folder)):
        imported = (import_golden if golden else import_good)(loaded, folder, product, by)
    for name, reason in imported.skipped.items():
        typer.echo(f"skipped {name}: {reason}", err=True)
    typer.echo(f"{imported.new} images imported, {imported.known} were there already")


@app.command()
def check(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET_DIR", help="Folder in the MVTec-AD layout: train/good, test/*.")],
    json: Json = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also train on it and list images that may be mislabelled; takes as long as training.")
    ] = False,
) -> None:
    """Find damaged, odd, repeated and mislabelled images before training; exit status 1 if there are errors."""
    wait_for_inspection()
    report = check_dataset(dataset, deep, Console(stderr=True))
    _write(json, document(report))
    if report.findings:
        Console().print(table(report))
    typer.echo(summary(report))
    if report.errors:
        raise typer.Exit(1)


@app.command()
def claims(
    artifact: Annotated[Path, typer.Argument(help="A model's artifact directory, as `station train` made it.")],
    labels: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Score the labelled images of DIR/test/* too, for escapes and false rejects."),
    ] = None,
    false_rejects: Annotated[str, typer.Option(metavar="SHARE", help="Good parts that may be stopped at most.")] = "0.5%",
    escapes: Annotated[str, typer.Option(metavar="SHARE", help="Defective parts that may escape at most.")] = "1%",
    confidence: Annotated[str, typer.Option(metavar="SHARE", help="How sure that has to be.")] = "95%",
    json: Json = None,
) -> None:
    """Say what a model's thresholds can claim, how surely, and how many more labelled parts a claim needs."""
    from training import claims_report
    from training.claims import claims as measure

    wish = claims_report.wish(false_rejects, escapes, confidence)
    console = Console(stderr=True)
    with progress_bar(console) as bar:
        task = bar.add_task("inspect", visible=labels is not None)
        result = measure(artifact, labels, wish, lambda stage, done, steps: bar.update(task, completed=done, total=steps))
    for name, reason in result.left_out.items():
        console.print(f"left out {name}: {reason}", style="yellow", markup=False)
    _write(json, claims_report.document(result))
    for line in claims_report.lines(result):
        typer.echo(line)


def _write(path: Path | None, result: dict[str, object]) -> None:
    if path is not None:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(result, enc_hook=str), indent=2) + b"\n")


if __name__ == "__main__":
    try:
        app()
    except (TrainingError, StationError) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
