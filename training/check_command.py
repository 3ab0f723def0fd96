"""The check of a folder as people see it: a table of findings, and whether a run may start."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from training.checking import check_folder
from training.errors import TrainingError
from training.findings import Kind, Report, Severity

ROWS = 10
"""Findings of one kind in the table; the others are counted, and all are in the JSON."""
_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow"}


def check(dataset: Path, deep: bool, console: Console) -> Report:
    """Check a folder and show the progress; with ``deep``, train on it and add the images that may be mislabelled.

    Raises TrainingError if there is no such folder.
    """
    with progress_bar(console) as bar:
        task = bar.add_task("check")
        report = check_folder(
            dataset, lambda stage, done, steps: bar.update(task, description=stage, completed=done, total=steps)
        )
        if deep and report.refusal is None:
            bar.update(task, description="loading torch and anomalib", completed=0, total=None)
            from training.deep_check import suspect_findings

            suspected = suspect_findings(
                dataset, report, lambda stage, done, steps: bar.update(task, description=stage, completed=done, total=steps)
            )
            report = replace(report, findings=(*report.findings, *suspected))
    return report


def checked(dataset: Path, console: Console, trains: bool = True) -> Report:
    """Check a folder before a run and print what was found. Raises TrainingError if the run would be pointless."""
    report = check(dataset, deep=False, console=console)
    if report.findings:
        console.print(table(report))
    if trains and report.refusal is not None:
        raise TrainingError(report.refusal)
    return report


def table(report: Report) -> Table:
    """The findings, at most ``ROWS`` of one kind."""
    shown = Table("", "Where", "What", "What to do", show_lines=False)
    for column in shown.columns[1:]:
        column.overflow = "fold"
    counts: Counter[Kind] = Counter()
    for finding in report.findings:
        counts[finding.kind] += 1
        if counts[finding.kind] <= ROWS:
            # As text: names of files may hold what looks like markup.
            severity = Text(finding.severity.value, style=_STYLES[finding.severity])
            shown.add_row(severity, Text(finding.image), Text(finding.what), Text(finding.todo))
    for kind, count in counts.items():
        if count > ROWS:
            shown.add_row("", Text("…"), Text(f"{count - ROWS} more: {kind.value}"), Text("station check --json lists all"))
    return shown


def summary(report: Report) -> str:
    """One line: how many images, errors and warnings."""
    images = ", ".join(f"{count} in {folder}" for folder, count in sorted(report.images.items())) or "no images"
    return f"errors: {report.errors}, warnings: {report.warnings}; readable: {images}"


def progress_bar(console: Console) -> Progress:
    """A bar for one task of which the steps are counted."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console, transient=True
    )
