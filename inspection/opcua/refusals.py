"""Why a method was not carried out. The standard leaves values below 0 of ``Error`` to the application."""

from __future__ import annotations

from enum import IntEnum

from inspection.errors import StationError


class Code(IntEnum):
    UNKNOWN = -1
    """No such result, lot, recipe, configuration or handle."""
    INVALID = -2
    """An argument is missing, malformed, or contradicts another or the records."""
    CLOSED_LOT = -3
    NOT_POSSIBLE = -4
    """This station cannot do that, or not in this way."""
    UNAVAILABLE = -5
    """Recorder or records do not answer; try again."""
    NO_MODEL = -6
    """No model is in service for the product."""


class Refusal(StationError):
    """Becomes the ``Error`` of a method; its text goes to the log and to a VisionInformationEvent."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code


class WrongState(StationError):
    """The state machine has no such transition from where it is; becomes the status BadInvalidState of the call."""
