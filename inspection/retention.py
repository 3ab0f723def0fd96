"""The rules by which images are deleted, and by which none are stored where there is no room. Rows always are.

In this order: images of passed parts older than ``keep_pass_days`` and of others older than ``keep_reject_days`` are deleted;
where all images take more than ``max_gb`` or the disk has less than ``min_free_gb`` left, images of passed parts, oldest first;
where that does not help, images of passed parts are not stored any more; then images of no part. What is left is for the rows.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from inspection.config import ImagesConfig
from inspection.domain import Image, Verdict
from inspection.records.retention import Kept

GB = 10**9
# Of the room that is to stay free: below the first share no images of passed parts are stored, below the second none.
_NO_PASSES, _NO_IMAGES = 0.75, 0.5
# Images of passed parts are stored until the quota is exceeded by so much: until then, older ones make room.
_OVER = 1.05
# A clock that was set forward is believed after so long.
_DOUBT = timedelta(days=1)
_NEVER = datetime.min.replace(tzinfo=UTC)
_WHY = {
    "keep_pass_days": "the part passed, and it was older than {} days",
    "keep_reject_days": "it was older than {} days",
    "max_gb": "the part passed, and all images took more than {} GB",
    "min_free_gb": "the part passed, and the disk had less than {} GB left",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """The quotas of the configuration, in days and bytes."""

    pass_days: float = 36_500
    reject_days: float | None = None
    max_bytes: float | None = None
    min_free_bytes: float = 0

    @classmethod
    def of(cls, config: ImagesConfig) -> Limits:
        max_bytes = None if config.max_gb is None else config.max_gb * GB
        return cls(config.keep_pass_days, config.keep_reject_days, max_bytes, config.min_free_gb * GB)


@dataclass(frozen=True, slots=True)
class Deletion:
    """Inspections whose images are to be deleted by one rule."""

    seqs: tuple[int, ...]
    rule: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """``looked_to`` is the last inspection that was looked at, 0 for none; ``newest`` the latest time that was seen up to it.

    ``ended`` says that no later one can be due.
    """

    deletions: tuple[Deletion, ...]
    looked_to: int
    ended: bool
    newest: datetime = _NEVER


def due_by_age(kept: Iterable[Kept], limits: Limits, now: datetime, most: int, newest: datetime = _NEVER) -> Chosen:
    """Which of these, oldest first, are too old: at most ``most``. ``newest`` is that of what was looked at before.

    They are looked at in the order in which they were recorded, up to the first that is younger than anything may be deleted: one
    that was recorded while the clock was wrong is not taken for older than those before it.
    """
    passes = f"keep_pass_days = {limits.pass_days:g}"
    pass_limit = now - timedelta(days=limits.pass_days)
    rejects, reject_limit = "", None
    if limits.reject_days is not None:
        rejects, reject_limit = f"keep_reject_days = {limits.reject_days:g}", now - timedelta(days=limits.reject_days)
    youngest = pass_limit if reject_limit is None else max(pass_limit, reject_limit)
    due: dict[str, list[int]] = {passes: [], rejects: []}
    looked_to, ended = 0, False
    for each in kept:
        if sum(map(len, due.values())) == most:
            break
        if max(newest, each.recorded_at) >= youngest:
            ended = True
            break
        looked_to, newest = each.seq, max(newest, each.recorded_at)
        if each.verdict is Verdict.PASS:
            if newest < pass_limit:
                due[passes].append(each.seq)
        elif reject_limit is not None and newest < reject_limit:
            due[rejects].append(each.seq)
    return Chosen(tuple(Deletion(tuple(seqs), rule) for rule, seqs in due.items() if seqs), looked_to, ended, newest)


def due_for_room(kept: Iterable[Kept], wanted_bytes: float, rule: str, most: int) -> Chosen:
    """Passed parts among these, oldest first, until their images make so much room: at most ``most``."""
    seqs: list[int] = []
    looked_to, left = 0, wanted_bytes
    for each in kept:
        if left <= 0 or len(seqs) == most:
            break
        looked_to = each.seq
        if each.verdict is Verdict.PASS:
            seqs.append(each.seq)
            left -= each.nbytes
    return Chosen((Deletion(tuple(seqs), rule),) if seqs else (), looked_to, left <= 0)


class Room:
    """Is there room for the images of a part? ``kept_bytes``: what all images take, told by the housekeeper."""

    def __init__(self, image_dir: Path, limits: Limits) -> None:
        self.limits = limits
        self.kept_bytes = 0
        self._place = image_dir

    def free_bytes(self) -> int:
        """OSError if the disk cannot be asked."""
        return shutil.disk_usage(self._place if self._place.exists() else self._place.parent).free

    def lacking(self) -> tuple[float, str]:
        """How many bytes of images should be deleted, and by which rule; 0 or less for none."""
        limits = self.limits
        free = limits.min_free_bytes - self.free_bytes()
        over = float("-inf") if limits.max_bytes is None else self.kept_bytes - limits.max_bytes
        if limits.max_bytes is not None and over > free:
            return over, f"max_gb = {limits.max_bytes / GB:g}"
        return free, f"min_free_gb = {limits.min_free_bytes / GB:g}"

    def refusal(self, verdict: Verdict) -> str | None:
        """Why the images of a part with this verdict are not stored; None if they are. OSError as ``free_bytes``."""
        limits, free = self.limits, self.free_bytes()
        passed = verdict is Verdict.PASS
        if free < limits.min_free_bytes * (_NO_PASSES if passed else _NO_IMAGES):
            return f"the disk has {free / GB:.3g} GB left, of the {limits.min_free_bytes / GB:g} GB that images must leave free"
        if passed and limits.max_bytes is not None and self.kept_bytes > limits.max_bytes * _OVER:
            return f"images take {self.kept_bytes / GB:.3g} GB of the {limits.max_bytes / GB:g} GB that they may"
        return None


class DoubtfulClock:
    """The time for retention: never later than the clock, and a clock that jumped forward is believed only after a day.

    ``newest`` is when the newest row was recorded: what was before that is no jump. Otherwise a wrong clock would delete in an
    hour what was to be kept for years.
    """

    def __init__(
        self,
        newest: datetime | None,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall, self._monotonic = wall, monotonic
        offset = wall() - timedelta(seconds=monotonic())
        self._believed = offset if newest is None else min(offset, newest - timedelta(seconds=monotonic()))
        # Since when the clock is ahead, and how far it was at least.
        self._ahead: tuple[float, datetime] | None = None

    def now(self) -> datetime:
        moment = self._monotonic()
        offset = self._wall() - timedelta(seconds=moment)
        if offset <= self._believed:
            self._believed, self._ahead = offset, None
        else:
            since, least = self._ahead or (moment, offset)
            self._ahead = since, min(least, offset)
            if moment - since >= _DOUBT.total_seconds():
                self._believed, self._ahead = min(least, offset), None
        return self._believed + timedelta(seconds=moment)


def in_words(image: Image) -> str:
    """When and why retention deleted an image."""
    setting, _, value = (image.deleted_for or "").partition(" = ")
    why = _WHY.get(setting, "of the rules of that time").format(value)
    return f"deleted by retention on {image.deleted_at:%Y-%m-%d %H:%M} UTC: {why}"
