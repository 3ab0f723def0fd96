"""Templates to HTML. Everything that is put into one is escaped: serials and lots come from outside."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from inspection.domain import Inspection, LotSummary
from inspection.web.names import name_to_path
from inspection.web.pages import words


def _local(at: datetime | None, style: str = "%Y-%m-%d %H:%M:%S") -> str:
    """A time on the station's clock, for people."""
    return "–" if at is None else at.astimezone().strftime(style)


def _moment(at: datetime) -> str:
    """A time on the station's clock, to the millisecond."""
    return at.astimezone().isoformat(" ", "milliseconds")[:23]


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _count(value: int) -> str:
    # A thin space groups digits in every language.
    return f"{value:,}".replace(",", "\u2009")


def score_position(score: float, fail_threshold: float) -> float:
    """Where a score stands on the bar, in percent: the fail threshold in the middle, as on the maps."""
    return round(100 * min(max(score / (2 * fail_threshold), 0), 1), 2) if fail_threshold > 0 else 100.0


def percent(part: int, whole: int) -> str:
    if whole == 0:
        return "–"
    # Rounded down: 99.996 % is not 100 %.
    return f"{int(1000 * part / whole) / 10:.1f}"


def _has_image(inspection: Inspection, kind: str) -> bool:
    return any(image.kind == kind for image in inspection.images)


def _decided(summary: LotSummary) -> int:
    return summary.passed + summary.failed + summary.review + summary.not_inspected


_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters.update(
    local=_local,
    moment=_moment,
    number=_number,
    count=_count,
    path=name_to_path,
    fault_words=words.fault_words,
    looks_like=words.looks_like,
)
_ENVIRONMENT.globals.update(
    verdict_words=words.VERDICTS,
    reason_words=words.REASONS,
    output_words=words.OUTPUTS,
    score_position=score_position,
    percent=percent,
    has_image=_has_image,
    decided=_decided,
)


def render(template: str, **values: Any) -> str:
    """The HTML of a template with these values, escaped."""
    return _ENVIRONMENT.get_template(template).render(values)
