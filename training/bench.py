"""Command line: ``python -m training bench``: the station beside its limit and beside anomalib, in one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from inspection.figures import Row, show, write
from inspection.scheduling import wait_for_inspection

if TYPE_CHECKING:
    from training.peers import Fit, Measured
    from training.speed import Case

app = typer.Typer(help="Compare the station with anomalib's algorithms on folders of images.", no_args_is_help=True)
Datasets = Annotated[list[Path], typer.Argument(metavar="DATASET_DIR...", help="Folders in the MVTec-AD layout.")]
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write every run to FILE as JSON.")]
Markdown = Annotated[Path | None, typer.Option("--markdown", metavar="FILE", help="Write the table to FILE as Markdown.")]
Size = Annotated[int, typer.Option(metavar="PIXELS", min=64, max=1024, help="Longer side of every network's input.")]
Most = Annotated[
    int | None, typer.Option("--most", metavar="N", min=20, help="Train on N images, evenly spread, of larger sets.")
]


@app.command()
def detection(
    datasets: Datasets,
    json: Json = None,
    markdown: Markdown = None,
    seeds: Annotated[int, typer.Option(min=1, metavar="K", help="Train each K times; mean and spread.")] = 1,
    size: Size = 320,
    most: Most = None,
    peers: Annotated[str, typer.Option(metavar="A,B", help="Algorithms beside the station's own.")] = "",
) -> None:
    """Train the station's detector and anomalib's on train/good of each folder and measure all alike on test/*."""
    wait_for_inspection()
    console = Console(stderr=True)
    with console.status("loading torch and anomalib"):
        from training.peers import OURS, PEERS, measure
        from training.zoo.algorithms import algorithm
    others = tuple(peers.split(",")) if peers else PEERS
    for name in others:
        algorithm(name)
    wanted = [(dataset, method, seed) for dataset in datasets for method in (OURS, *others) for seed in range(seeds)]
    measured: list[Measured] = []
    with _bar(console) as bar:
        runs, stages = bar.add_task("", total=len(wanted)), bar.add_task("")
        for dataset, method, seed in wanted:
            bar.update(runs, description=f"{dataset.resolve().name}, {method}")
            measured.append(
                measure(
                    dataset, method, seed, size, most,
                    lambda stage, done, steps: bar.update(stages, description=stage, completed=done, total=steps),
                )
            )  # fmt: skip
            bar.advance(runs)
            _write(json, size, measured)
    for each in measured:
        if each.error:
            console.print(f"{each.product}, {each.method}: {each.error}", style="yellow", markup=False)
    _end(detection_rows(measured), markdown)


@app.command()
def training(
    datasets: Datasets,
    json: Json = None,
    markdown: Markdown = None,
    size: Size = 320,
    most: Most = None,
    limit: Annotated[float, typer.Option(metavar="SECONDS", min=1, help="anomalib is stopped after this long.")] = 600.0,
) -> None:
    """Time the station's fit beside that of anomalib's Patchcore with the same weights, layers and input size."""
    wait_for_inspection()
    console = Console(stderr=True)
    with console.status("loading torch and anomalib"):
        from training.peers import fits
    measured: list[Fit] = []
    with _bar(console) as bar:
        runs = bar.add_task("", total=3 * len(datasets))
        for dataset in datasets:
            name = dataset.resolve().name

            def show(method: str, name: str = name) -> None:
                bar.update(runs, description=f"{name}, {method}")

            for fit in fits(dataset, size, most, limit, show):
                measured.append(fit)
                bar.advance(runs)
                _write(json, size, measured)
    _end(fit_rows(measured), markdown)


@app.command()
def detector(
    json: Json = None,
    markdown: Markdown = None,
    rounds: Annotated[int, typer.Option(min=4, metavar="N", help="Frames through every side, in turn.")] = 100,
    size: Size = 320,
) -> None:
    """Time the detector from raw camera buffer to verdict beside bare inference, anomalib's inferencer and what Studio does."""
    console = Console(stderr=True)
    with console.status("loading torch and anomalib"):
        from training.speed import SENSORS, measure
    cases: list[Case] = []
    with _bar(console) as bar:
        for width, height, pixel_format in SENSORS:
            task = bar.add_task(f"{width} × {height} {pixel_format.name}")

            def show(done: int, steps: int, task: TaskID = task) -> None:
                bar.update(task, completed=done, total=steps)

            cases.append(measure(width, height, pixel_format, rounds, size, show))
            _write(json, size, cases)
    _end(speed_rows(cases), markdown)


def speed_rows(cases: Sequence[Case]) -> list[Row]:
    """The table's head and one row for each side of each sensor, with the ratio of medians to the station on as many cores."""
    rows: list[Row] = [("sensor", "network", "side", "ms, median", "quartiles", "to the station", "scores differ by")]
    for case in cases:
        for name, side in case.sides.items():
            own = case.sides["station, all cores" if name not in ("station", "bare inference") else "station"]
            rows.append(
                (
                    f"{case.width} × {case.height} {case.pixel_format}",
                    f"{case.network_width} × {case.network_height} {case.precision}",
                    name,
                    f"{side.ms:.1f}",
                    f"{side.quartiles[0]:.1f} to {side.quartiles[1]:.1f}",
                    f"{side.ms / own.ms:.2f}",
                    f"{side.score_difference:.2%}",
                )
            )
    return rows


def detection_rows(measured: Sequence[Measured]) -> list[Row]:
    """The table's head and one row for each product and method; of several seeds, mean ± standard deviation."""
    rows: list[Row] = [
        ("product", "method", "images", "image AUROC", "pixel AUROC", "AUPRO", "fit, s", "ms per image", "model, MB")
    ]
    for product, method in dict.fromkeys((each.product, each.method) for each in measured):
        group = [each for each in measured if (each.product, each.method) == (product, method)]
        figures = [each.figures for each in group if each.figures is not None]
        rows.append(
            (
                product,
                method,
                str(group[0].images),
                _number([each.image_auroc for each in figures], 3),
                _number([each.pixel_auroc for each in figures], 3),
                _number([each.aupro for each in figures], 3),
                _number([each.fit_s for each in figures], 1),
                _number([each.ms_per_image for each in figures], 1),
                _number([each.model_bytes / 1e6 for each in figures], 1),
            )
        )
    return rows


def fit_rows(measured: Sequence[Fit]) -> list[Row]:
    """The table's head and one row for each fit.

    Ratios are of processor seconds, to the first fit of the product, which is the station's.
    """
    rows: list[Row] = [
        ("product", "method", "images", "bank", "bank, s", "CPU s", "ratio", "stored, s", "CPU s", "ratio", "image AUROC")
    ]
    first: dict[str, Fit] = {}
    for each in measured:
        own, least = first.setdefault(each.product, each), "" if each.finished else "> "
        row = [each.product, each.method, str(each.images), str(each.bank_patches)]
        for seconds, of_own in ((each.bank, own.bank), (each.stored, own.stored)):
            row += [f"{least}{value:.1f}" for value in (seconds.clock, seconds.processor, seconds.processor / of_own.processor)]
        rows.append((*row, _number([each.image_auroc], 3)))
    return rows


def _number(values: Sequence[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    spread = f" ± {stdev(known):.{digits}f}" if len(known) > 1 else ""
    return f"{mean(known):.{digits}f}{spread}"


def _end(rows: Sequence[Row], markdown: Path | None) -> None:
    show(rows)
    if markdown is not None:
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        lines.insert(1, "|" + "---|" * len(rows[0]))
        markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write(path: Path | None, size: int, measured: Sequence[Any]) -> None:
    versions = {name: version(name) for name in ("anomalib", "torch", "timm", "openvino")}
    write(path, {"longer_side": size, "versions": versions, "runs": [asdict(each) for each in measured]})


def _bar(console: Console) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    return Progress(*columns, console=console)
