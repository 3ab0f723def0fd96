"""The report as one page with pictures, which needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from inspection.soak.report import Report, tables

_WIDTH, _HEIGHT = 420.0, 150.0
_Line = tuple[Sequence[float], Sequence[float], str]


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines as (points of an SVG polyline, class); ``top`` and ``right`` are what the ends of the axes say."""

    title: str
    lines: tuple[tuple[str, str], ...]
    top: str
    right: str


def write_page(path: Path, found: Report) -> None:
    """OSError if it cannot be written."""
    environment = Environment(
        loader=PackageLoader("inspection.soak"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    marks = [f"{each.at_s / max(found.seconds, 1e-9) * _WIDTH:.1f}" for each in found.faults]
    page = environment.get_template("soak.html").render(
        found=found, charts=_charts(found), tables=tables(found)[1:], marks=marks, width=_WIDTH, height=_HEIGHT
    )
    path.write_text(page, encoding="utf-8")


def _charts(found: Report) -> list[Chart]:
    stretches = found.stretches
    charts = [
        _chart(
            "parts of each stretch, and those of them that were inspected",
            found.seconds,
            _line([(each.from_s, float(each.parts)) for each in stretches], "bad"),
            _line([(each.from_s, float(each.inspected)) for each in stretches], "good"),
        ),
        _chart(
            "ms from trigger to durable verdict: median, and 99 in 100",
            found.seconds,
            _line([(each.from_s, each.p99_ms) for each in stretches], "bad"),
            _line([(each.from_s, each.p50_ms) for each in stretches], "good"),
        ),
    ]
    for held in found.memory:
        samples = held.growth.samples
        at = [held.followed_s * number / max(len(samples) - 1, 1) for number in range(len(samples))]
        line = _line([(at_s, value / 2**20) for at_s, value in zip(at, samples, strict=True)], "good")
        charts.append(_chart(f"MiB of {held.process} in its longest life", held.followed_s, line))
    return charts


def _line(measured: Sequence[tuple[float, float | None]], kind: str) -> _Line:
    """Where there is a value."""
    known = [(at_s, value) for at_s, value in measured if value is not None]
    return [at_s for at_s, _ in known], [value for _, value in known], kind


def _chart(title: str, seconds: float, *lines: _Line) -> Chart:
    highest = max((value for _, values, _ in lines for value in values), default=0.0) or 1.0

    def points(times: Sequence[float], values: Sequence[float]) -> str:
        return " ".join(
            f"{at_s / max(seconds, 1e-9) * _WIDTH:.1f},{(1 - value / highest) * _HEIGHT:.1f}"
            for at_s, value in zip(times, values, strict=True)
        )

    drawn = tuple((points(times, values), kind) for times, values, kind in lines)
    return Chart(title, drawn, f"{highest:.4g}", f"{seconds / 60:.0f} min")
