"""Errors of the inspection package: one root, and each message says what to do."""

from __future__ import annotations

from collections.abc import Sequence


class StationError(Exception):
    """Root of all errors of the station."""


class ConfigError(StationError):
    """The configuration file is missing, malformed or contradicts itself. ``errors``: (key, what is wrong) of each."""

    def __init__(self, message: str, errors: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.errors = tuple(errors)


class ModelError(StationError):
    """A model artifact is missing, incomplete, altered or not readable by this station."""


class NotFound(StationError):
    """The named lot, part, inspection, image, product or model is not recorded here."""


class Conflict(StationError):
    """The request contradicts what is recorded: duplicate serial, closed lot, lot already open."""


class Stale(Conflict):
    """Somebody else changed what the request was about after it was looked at."""


class GateNotPassed(Conflict):
    """The model did not show what a gate asks for before it may decide."""


class StaleLabel(Conflict):
    """Somebody labelled the part after the one who labels it now had looked."""


class BadCursor(StationError):
    """The cursor was not issued by this station; start again without one."""


class CommitInDoubt(StationError):
    """The database contradicts what the recorder remembers of it; one that starts anew reads what is recorded."""


class RecordsLost(StationError):
    """The database is damaged, gone, or not the one that this station had. Nothing can be recorded, so nothing is accepted."""


class NewerRecords(StationError):
    """The database was written by a newer version of the station than this one."""


class Unavailable(StationError):
    """A process of the station does not answer; it is being restarted, try again."""
