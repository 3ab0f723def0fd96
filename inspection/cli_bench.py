"""``station bench``: every benchmark, each with its limit or its peer beside it."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from inspection.cli_options import PASS_ON, run_or_explain, showing_progress
from inspection.errors import StationError
from inspection.figures import show, write

app = typer.Typer(help="Measure the station beside its limit and its peers.", no_args_is_help=True)
Json = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all figures to FILE as JSON.")]
Data = Annotated[Path, typer.Option(metavar="DIR", help="Where models and records are kept for the next time.")]
Browser = Annotated[Path | None, typer.Option(metavar="FILE", help="A Chromium; one on PATH, or Playwright's own.")]
BENCH_DIR = Path("data/bench")


@app.command(context_settings=PASS_ON)
def detection(context: typer.Context) -> None:
    """Accuracy beside anomalib's algorithms; see `station bench detection --help`."""
    _in_training("detection", context)


@app.command(context_settings=PASS_ON)
def training(context: typer.Context) -> None:
    """Time to train beside anomalib's Patchcore; see `station bench training --help`."""
    _in_training("training", context)


@app.command(context_settings=PASS_ON)
def detector(context: typer.Context) -> None:
    """Time to inspect beside bare inference and anomalib; see `station bench detector --help`."""
    _in_training("detector", context)


def _in_training(name: str, context: typer.Context) -> None:
    # Another process, because torch is imported nowhere else.
    os.execv(sys.executable, [sys.executable, "-m", "training", "bench", name, *context.args])  # noqa: S606


@app.command()
def line(
    seconds: Annotated[float, typer.Option(min=1, help="Of every stretch of parts.")] = 20.0,
    json: Json = None,
    data: Data = BENCH_DIR,
    rates: Annotated[str, typer.Option(metavar="A,B", help="Parts per second.")] = "25,50,100",
    cameras: Annotated[str, typer.Option(metavar="A,B", help="Also with so many, at 1280 × 1024 Mono8.")] = "2,4",
) -> None:
    """The whole line on simulated cameras: highest rate and latency, beside bare inference of the same network."""
    from inspection.bench.line import SENSORS, LineCase, measure

    head = ("sensor", "cameras", "wanted /s", "parts /s", "lost", "p50 ms", "p99 ms", "max ms", "of bare inference")

    def action() -> None:
        wanted, several = _numbers("--rates", rates), _numbers("--cameras", cameras)
        cases: list[LineCase] = []
        with showing_progress() as progress:
            for sensor, number in [(sensor, 1) for sensor in SENSORS] + [(SENSORS[1], number) for number in map(int, several)]:

                def note(step: str, what: str = f"{sensor}, {number} cameras") -> None:
                    progress(f"{what}: {step}")

                cases.append(measure(data.resolve(), sensor, number, seconds, wanted, note))
                write(json, {"cases": [asdict(case) for case in cases]})
        show([head, *_line_rows(cases)])

    run_or_explain(action)


@app.command()
def memory(
    seconds: Annotated[float, typer.Option(min=10, help="How long parts come.")] = 3600.0,
    rate: Annotated[float, typer.Option(min=1, metavar="N", help="Parts per second.")] = 25.0,
    json: Json = None,
    data: Data = BENCH_DIR,
) -> None:
    """What each process holds while one line runs for long, and how fast that grows."""
    from inspection.bench.line import SENSORS
    from inspection.bench.memory import measure

    def action() -> None:
        with showing_progress() as progress:
            case = measure(data.resolve(), SENSORS[1], rate, seconds, progress)
        write(json, asdict(case))
        head = ("process", "settled, MiB", "at the end, MiB", "slope, MiB/h", "± standard error")
        rows = [
            (name, *(f"{value / 2**20:.2f}" for value in (each.settled, each.last, each.slope_per_hour, each.slope_error)))
            for name, each in sorted(case.processes.items())
        ]
        show([head, *rows])
        lost = ", ".join(f"{number} {reason}" for reason, number in case.run.lost.items()) or "none"
        typer.echo(f"{case.run.parts} parts at {case.run.parts_per_s:.1f}/s, lost: {lost}")

    run_or_explain(action)


@app.command()
def images(
    json: Json = None,
    rounds: Annotated[int, typer.Option(min=1, metavar="N", help="Frames through every encoder.")] = 15,
    photographs: Annotated[Path | None, typer.Option(metavar="DIR", help="Also a photograph of this folder.")] = None,
) -> None:
    """What a frame of each class costs to keep, with the station's encoder beside others."""
    from inspection.bench.images import measure

    def action() -> None:
        with showing_progress() as progress:
            measured = list(measure(rounds, photographs, progress))
        write(json, {"encodings": [asdict(each) for each in measured]})
        head = ("frames", "encoder", "encode, CPU ms", "decode, CPU ms", "MB/s", "size, share", "lossless")
        rows = [
            (
                *(each.frames, each.encoder, f"{each.encode_ms:.1f}", f"{each.decode_ms:.1f}"),
                *(f"{each.mb_per_s:.0f}", f"{each.ratio:.3f}", "yes" if each.lossless else "no"),
            )
            for each in measured
        ]
        show([head, *rows])

    run_or_explain(action)


@app.command()
def records(
    rows: Annotated[
        int, typer.Option(min=10_000, metavar="N", help="The most inspections; also 10^5, 10^6 … below it.")
    ] = 1_000_000,
    json: Json = None,
    data: Data = BENCH_DIR,
    postgresql: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Also on this server, in databases of its own: postgresql://user@host/postgres."),
    ] = None,
) -> None:
    """Durable inserts and every kind of read, and how they grow with the number of inspections."""
    from inspection.bench.records import RecordsCase, measure, postgresql_url, sizes, sqlite_url

    def action() -> None:
        cases: list[RecordsCase] = []
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        with Progress(*columns, console=Console(stderr=True)) as bar:
            for size in sizes(rows):
                urls = [sqlite_url(data.resolve(), size)] + ([postgresql_url(postgresql, size)] if postgresql else [])
                for url in urls:
                    task = bar.add_task("")

                    def note(step: str, done: int, steps: int, task: TaskID = task, what: str = url.split(":")[0]) -> None:
                        bar.update(task, description=f"{what}, {step}", completed=done, total=steps)

                    cases.append(measure(url, size, note))
                    write(json, {"cases": [asdict(case) for case in cases]})
        # A row for each measurement: databases are fewer.
        head = ("", *(f"{case.database}, {case.rows:,}" for case in cases))
        table = [
            ("inserts/s, grouped", *(f"{case.grouped_per_s:,.0f}" for case in cases)),
            ("one alone, ms", *(f"{case.alone.p50:.1f}, {case.alone.p99:.1f}" for case in cases)),
            *(
                (f"{name}, ms", *(f"{case.reads[name].p50:.1f}, {case.reads[name].p99:.1f}" for case in cases))
                for name in cases[0].reads
            ),
        ]
        show([head, *table])
        typer.echo("ms are p50, p99")

    run_or_explain(action)


@app.command()
def review(
    rows: Annotated[int, typer.Option(min=1_000, metavar="N", help="Inspections in the records.")] = 100_000,
    decisions: Annotated[int, typer.Option(min=5, metavar="N", help="Parts labelled, at two speeds each.")] = 100,
    json: Json = None,
    data: Data = BENCH_DIR,
    browser: Browser = None,
) -> None:
    """Reviewing parts in a browser: from the key that labels a part to the next one on the screen."""
    from inspection.bench.review import measure

    def action() -> None:
        with showing_progress() as progress:
            case = measure(data.resolve(), rows, decisions, browser, progress)
        write(json, asdict(case))
        speeds = (("a key each ¼ s", case.paced), ("a key at once", case.at_once))
        keys = [(name, f"{each.median:.0f}", f"{each.p95:.0f}", f"{each.most:.0f}") for name, each in speeds]
        show([("key to next part, ms", "median", "p95", "most"), *keys])
        pages = [(name, f"{each.p50:.1f}", f"{each.p99:.1f}") for name, each in case.pages.items()]
        show([(f"page of the queue, {rows:,} rows, ms", "p50", "p99"), *pages])

    run_or_explain(action)


@app.command()
def pages(
    rows: Annotated[int, typer.Option(min=20_000, metavar="N", help="Inspections in the records.")] = 1_000_000,
    rate: Annotated[float, typer.Option(min=1, metavar="N", help="Parts per second.")] = 50.0,
    seconds: Annotated[float, typer.Option(min=1, help="Of every stretch of parts.")] = 30.0,
    rounds: Annotated[int, typer.Option(min=1, metavar="N", help="Stretches without and with somebody at the pages.")] = 3,
    json: Json = None,
    data: Data = BENCH_DIR,
    browser: Browser = None,
) -> None:
    """The line with and without somebody who looks at pages, and how long each page takes meanwhile."""
    from inspection.bench.line import SENSORS
    from inspection.bench.pages import figures, measure

    def action() -> None:
        with showing_progress() as progress:
            case = measure(data.resolve(), SENSORS[1], rows, rate, seconds, rounds, browser, progress)
        write(json, asdict(case))
        stretches = (("alone", case.alone), ("beside somebody at the pages", case.beside))
        line_rows = [
            (name, *(f"{value:.1f}" for value in (p50, p99)), str(lost))
            for name, runs in stretches
            for p50, p99, lost in [figures(runs)]
        ]
        show([(f"the line at {rate:g}/s", "p50 ms", "p99 ms", "lost"), *line_rows])
        visits = [
            (name, *(f"{value:.0f}" for each in (case.pages_alone[name], beside) for value in (each.median, each.most)))
            for name, beside in case.pages.items()
        ]
        show([(f"page, {rows:,} inspections, ms", "median", "most", "beside the line: median", "most"), *visits])

    run_or_explain(action)


def _numbers(option: str, text: str) -> list[float]:
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise StationError(f"{option} {text}: write numbers from 1 on with commas between, such as 2,4")
    return numbers


def _line_rows(cases: list[Any]) -> list[tuple[str, ...]]:
    rows = []
    for case in cases:
        for run in case.runs:
            durable = run.durable
            times = ("–",) * 3 if durable is None else tuple(f"{value:.1f}" for value in (durable.p50, durable.p99, durable.max))
            highest = run.wanted_parts_per_s is None
            ratio = f"{case.ratio:.2f}, all cores {case.ratio_all_cores:.2f}" if highest else ""
            wanted = "highest" if highest else f"{run.wanted_parts_per_s:g}"
            rows.append(
                (
                    str(case.sensor),
                    str(case.cameras),
                    wanted,
                    f"{run.parts_per_s:.1f}",
                    str(sum(run.lost.values())),
                    *times,
                    ratio,
                )
            )
    return rows
