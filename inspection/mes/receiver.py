"""What the outbox delivers, and to whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol


class Stream(StrEnum):
    """Numbered on its own each, without gaps that matter: numbers of one stream only grow."""

    LOT_EVENTS = "lot_events"
    INSPECTIONS = "inspections"
    LABELS = "labels"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened on a station: ``station/stream/number`` names it for ever, so that it can be delivered twice.

    ``at`` is when it was recorded; ``data`` is what the REST interface shows of it, ready for JSON.
    """

    station: str
    stream: Stream
    number: int
    at: datetime
    data: dict[str, Any]

    @property
    def event_id(self) -> str:
        return f"{self.station}/{self.stream}/{self.number}"


class Undelivered(Exception):
    """The receiver does not have these events for sure; the outbox tries again. The text says why."""


class Receiver(Protocol):
    """Used by one thread. Everything may be delivered twice, in the same order."""

    def deliver(self, events: Sequence[Event]) -> None:
        """Return when the receiver has all of them durably (as far as its protocol can tell); Undelivered otherwise.

        With no events, which happens every few seconds while nothing is new, it sees to its connection if it keeps one.
        """
        ...

    def close(self) -> None: ...
