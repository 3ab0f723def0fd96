"""Templates to HTML. Everything that is put into one is escaped: serials and lots come from outside."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from inspection.domain import Inspection, LotSummary
from inspection.retention import in_words
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


def _score(value: float) -> str:
    """A score with three digits that tell something, as the charts show it."""
    digits = 2 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{min(6, max(0, digits))}f}"


def _count(value: int) -> str:
    # A thin space groups digits in every language.
    return f"{value:,}".replace(",", "\u2009")


def _size(nbytes: float) -> str:
    """Bytes as people read them on a disk's box."""
    for unit in ("MB", "GB"):
        nbytes /= 1000 if unit == "GB" else 1_000_000
        if nbytes < 1000:
            return f"{nbytes:.3g} {unit}"
    return f"{nbytes / 1000:.3g} TB"


def _duration(seconds: float) -> str:
    """How long something takes, roughly: as a person on the floor would say it."""
    for unit, length, most in (("s", 1, 90), ("min", 60, 90), ("h", 3600, 48)):
        if seconds < most * length:
            return f"{max(1, round(seconds / length))} {unit}"
    return f"{round(seconds / 86400):,} days".replace(",", "\u2009")


def _roughly(value: int) -> str:
    """A number to two digits: 1 234 567 as 1.2 million."""
    for word, size in (("billion", 10**9), ("million", 10**6), ("thousand", 10**3)):
        if value >= size:
            return f"{float(f'{value / size:.2g}'):g} {word}"
    return str(value)


def score_position(score: float, fail_threshold: float) -> float:
    """Where a score stands on the bar, in percent: the fail threshold in the middle, as on the maps."""
    return round(100 * min(max(score / (2 * fail_threshold), 0), 1), 2) if fail_threshold > 0 else 100.0


def percent(part: int, whole: int) -> str:
    if whole == 0:
        return "–"
    # Rounded down: 99.996 % is not 100 %.
    return f"{int(1000 * part / whole) / 10:.1f}"


def _has_image(inspection: Inspection, kind: str) -> bool:
    return any(image.kind == kind and image.deleted_at is None for image in inspection.images)


def _why_no_picture(inspection: Inspection) -> str | None:
    """When and why retention deleted the frame; None if it did not."""
    return next((in_words(image) for image in inspection.images if image.kind == "frame" and image.deleted_at is not None), None)


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
    score=_score,
    count=_count,
    path=name_to_path,
    fault_words=words.fault_words,
    advice=words.advice,
    size=_size,
    duration=_duration,
    roughly=_roughly,
    looks_like=words.looks_like,
)
_ENVIRONMENT.globals.update(
    verdict_words=words.VERDICTS,
    reason_words=words.REASONS,
    output_words=words.OUTPUTS,
    gate_words=words.GATE_CHECKS,
    stage_words=words.STAGES,
    score_position=score_position,
    percent=percent,
    has_image=_has_image,
    why_no_picture=_why_no_picture,
    decided=_decided,
)


def render(template: str, **values: Any) -> str:
    """The HTML of a template with these values, escaped."""
    return _ENVIRONMENT.get_template(template).render(values)
