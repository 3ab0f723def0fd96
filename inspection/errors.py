"""Errors of the inspection package: one root, and each message says what to do."""


class StationError(Exception):
    """Root of all errors of the station."""


class ConfigError(StationError):
    """The configuration file is missing, malformed or contradicts itself."""


class ModelError(StationError):
    """A model artifact is missing, incomplete, altered or not readable by this station."""


class NotFound(StationError):
    """The named lot, part, inspection, image, product or model is not recorded here."""


class Conflict(StationError):
    """The request contradicts what is recorded: duplicate serial, closed lot, lot already open."""


class GateNotPassed(Conflict):
    """The model did not show what a gate asks for before it may decide."""


class BadCursor(StationError):
    """The cursor was not issued by this station; start again without one."""


class Unavailable(StationError):
    """A process of the station does not answer; it is being restarted, try again."""
