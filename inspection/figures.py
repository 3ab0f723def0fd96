"""Figures: a table for people and a document for programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

Row = tuple[str, ...]


def show(rows: Sequence[Row]) -> None:
    """Print a table; the first row is its head."""
    table = Table(*rows[0])
    for row in rows[1:]:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def write(path: Path | None, figures: dict[str, Any]) -> None:
    """Write the figures as JSON, with the number of cores that the process had, if there is a path."""
    if path is not None:
        document = {"cores": len(os.sched_getaffinity(0)), **figures}
        path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
