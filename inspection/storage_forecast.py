"""What becomes of the disk if everything goes on as now: simulated day by day by the rules of retention. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from inspection.retention import Limits

MOST_DAYS = 3_650
_POINTS = 60


@dataclass(frozen=True, slots=True)
class Use:
    """Bytes that images of passed parts, images of all others and the database take, and how many of each come in a day."""

    passes: float
    rejects: float
    database: float
    passes_a_day: float
    rejects_a_day: float
    database_a_day: float


@dataclass(frozen=True, slots=True)
class Point:
    """Bytes on one day from now."""

    day: int
    passes: float
    rejects: float
    database: float
    free: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """Days from now at the present rate; None for what does not happen within ten years.

    ``short``: from then on images of passed parts are deleted before their time, for want of room. ``pass_days``: for how many
    days they are kept then, or in a steady state; None without any. ``no_passes``: from then on none are stored. ``full``: rows
    can be written no more. ``course`` is what to draw.
    """

    short: float | None
    pass_days: float | None
    no_passes: float | None
    full: float | None
    course: tuple[Point, ...]

    def in_words(self) -> list[str]:
        """What is to be expected, each in a sentence, the soonest first."""
        said = []
        if self.short is not None:
            said.append(f"In {_days(self.short)} images of passed parts begin to be deleted before their time, for want of room.")
        if self.pass_days is not None:
            said.append(f"Images of passed parts are kept for {_days(self.pass_days)}.")
        if self.no_passes is not None:
            said.append(f"In {_days(self.no_passes)} there is no room for images of passed parts any more.")
        if self.full is not None:
            said.append(f"In {_days(self.full)} the disk is full, and every part is rejected.")
        return said or ["No end is in sight."]


def forecast(use: Use, free: float, limits: Limits) -> Forecast:
    """From what the disk holds and has ``free`` bytes left now."""
    pass_cap = max(use.passes_a_day * limits.pass_days, use.passes_a_day)
    reject_cap = float("inf") if limits.reject_days is None else use.rejects_a_day * limits.reject_days
    passes, rejects, database = use.passes, use.rejects, use.database
    whole = free + passes + rejects + database
    short = no_passes = full = None
    course = [Point(0, passes, rejects, database, free)]
    for day in range(1, MOST_DAYS + 1):
        # What is older than it may be goes at once.
        passes = min(passes + use.passes_a_day, pass_cap)
        rejects = min(rejects + use.rejects_a_day, reject_cap)
        database += use.database_a_day
        left = whole - passes - rejects - database
        over = 0.0 if limits.max_bytes is None else passes + rejects - limits.max_bytes
        lacking = max(limits.min_free_bytes - left, over)
        if lacking > 0:
            gone = min(lacking, passes)
            if use.passes_a_day and short is None:
                short = _moment(day, lacking, use.passes_a_day + use.rejects_a_day + use.database_a_day)
            if gone < lacking and no_passes is None and use.passes_a_day:
                no_passes = float(day)
            passes -= gone
            # Images of other parts stop at half of what is to stay free.
            missing = limits.min_free_bytes / 2 - (whole - passes - rejects - database)
            rejects -= max(0.0, min(use.rejects_a_day, missing))
        left = whole - passes - rejects - database
        course.append(Point(day, passes, rejects, database, max(0.0, left)))
        if left <= 0:
            full = float(day)
            break
    end = _horizon(short, no_passes, full, limits)
    return Forecast(short, _pass_days(use, course, short), no_passes, full, _thinned(course[: end + 1]))


def _days(days: float) -> str:
    if days < 2:
        return f"{round(24 * days)} hours"
    return f"{round(days)} days" if days < 1_000 else f"{days / 365:.1f} years"


def _moment(day: int, lacking: float, a_day: float) -> float:
    """When in the course of a day room ran out."""
    return round(max(0.0, day - lacking / a_day), 2)


def _pass_days(use: Use, course: list[Point], short: float | None) -> float | None:
    if not use.passes_a_day:
        return None
    at = course[min(len(course) - 1, int(short) + 1)] if short is not None else course[-1]
    return round(at.passes / use.passes_a_day, 1)


def _horizon(short: float | None, no_passes: float | None, full: float | None, limits: Limits) -> int:
    """Days to draw: until the last thing that happens, and a little beyond; else until images have become as old as they may."""
    happens = [day for day in (short, no_passes, full) if day is not None]
    return min(MOST_DAYS, max(30, int(1.2 * max(happens)) if happens else int(1.2 * min(limits.pass_days, 365))))


def _thinned(course: list[Point]) -> tuple[Point, ...]:
    step = max(1, len(course) // _POINTS)
    thin = course[::step]
    return tuple(thin if thin[-1] is course[-1] else [*thin, course[-1]])
