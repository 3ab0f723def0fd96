"""How a time is cut into hours, days or weeks of the station's clock. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from enum import StrEnum

MOST = 200
"""Buckets in one answer, at most."""


class Bucket(StrEnum):
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"


_ABOUT = {Bucket.HOUR: timedelta(hours=1), Bucket.DAY: timedelta(days=1), Bucket.WEEK: timedelta(weeks=1)}
_FITS = {Bucket.HOUR: timedelta(days=3), Bucket.DAY: timedelta(days=62)}


def fitting(start: datetime, end: datetime) -> Bucket:
    """The size that makes a readable number of buckets."""
    return next((bucket for bucket, span in _FITS.items() if end - start <= span), Bucket.WEEK)


def too_many(start: datetime, end: datetime, bucket: Bucket) -> bool:
    return (end - start) / _ABOUT[bucket] > MOST


def edges(start: datetime, end: datetime, bucket: Bucket) -> tuple[datetime, ...]:
    """``start``, every full hour, midnight or Monday's midnight in between on the station's clock, and ``end``; in UTC."""
    local = start.astimezone()
    found = [start]
    if bucket is Bucket.HOUR:
        full = (local.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)).astimezone(UTC)
        while full < end:
            found.append(full)
            full += timedelta(hours=1)
    else:
        days = 7 if bucket is Bucket.WEEK else 1
        day = local.date() + timedelta(days=days - local.weekday() if bucket is Bucket.WEEK else 1)
        # Days are as long as the clock says: one of 23 or 25 hours when it changes.
        while (midnight := datetime.combine(day, time.min).astimezone(UTC)) < end:
            found.append(midnight)
            day += timedelta(days=days)
    return (*found, end)
