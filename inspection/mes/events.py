"""From records to events: what a receiver has not got yet, in order.

The records are the spool: nothing is written for the outbox while the line runs, and a receiver that was away for days is served
from them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from itertools import chain
from typing import Any

import msgspec
from sqlalchemy import Connection, func, select

from inspection.domain import Inspection, Label, LotEvent, Output, Verdict
from inspection.mes.receiver import Event, Stream
from inspection.records.labels import latest_labels
from inspection.records.queries import changes_after, lot_events_after
from inspection.records.tables import inspections, labels, lot_events

Positions = Mapping[Stream, int]
"""The number of the last event of each stream that a receiver has; 0 for none."""

# The output follows its inspection within milliseconds, unless the line dies between the two. Then nobody will tell.
_OUTPUT_WAIT_NS = 30_000_000_000

_NUMBERS = {
    Stream.LOT_EVENTS: lot_events.c.lot_event_id,
    Stream.INSPECTIONS: inspections.c.seq,
    Stream.LABELS: labels.c.label_id,
}


class Pending:
    """Reads what comes after a position. A passed part waits until it is known whether it was accepted, and all that happened
    later waits with it; one that waited for half a minute counts as rejected, as everywhere.

    ``recording`` tells whether the recorder can write: as long as it cannot, the output may be known and wait for it.
    """

    def __init__(
        self, station: str, recording: Callable[[], bool] = lambda: True, clock_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._station = station
        self._recording = recording
        self._clock_ns = clock_ns
        self._seen_ns: dict[int, int] = {}

    def after(self, connection: Connection, positions: Positions, limit: int) -> list[Event]:
        """At most ``limit`` events, oldest first; each stream by its number. One read-only transaction, so that a lot comes
        before its inspections and an inspection before its labels.
        """
        decided, until = self._decided(changes_after(connection, positions[Stream.INSPECTIONS], limit))
        found = chain(
            (
                self._event(Stream.LOT_EVENTS, each.lot_event_id, each.at, each)
                for each in lot_events_after(connection, positions[Stream.LOT_EVENTS], limit)
            ),
            (self._event(Stream.INSPECTIONS, each.seq, each.recorded_at, each) for each in decided),
            (
                self._event(Stream.LABELS, each.label_id, each.labelled_at, each)
                for each in latest_labels(connection, positions[Stream.LABELS], limit)
            ),
        )
        return [event for at, event in _merged(list(found))[:limit] if until is None or at <= until]

    def _decided(self, found: tuple[Inspection, ...]) -> tuple[tuple[Inspection, ...], datetime | None]:
        """Those before the first whose output may still come, and when that was recorded."""
        now_ns = self._clock_ns()
        undecided = [each for each in found if each.verdict is Verdict.PASS and each.output is None]
        before = self._seen_ns if undecided and self._recording() else {}
        self._seen_ns = {each.seq: before.get(each.seq, now_ns) for each in undecided}
        for each in undecided:
            if now_ns - self._seen_ns[each.seq] <= _OUTPUT_WAIT_NS:
                return found[: found.index(each)], each.recorded_at
        return found, None

    def _event(self, stream: Stream, number: int, at: datetime, what: LotEvent | Inspection | Label) -> Event:
        data: dict[str, Any] = msgspec.to_builtins(asdict(what))
        if stream is Stream.INSPECTIONS:
            # What was not accepted is rejected, whether or not the line has told so yet.
            data["output"] = data["output"] or Output.REJECT
        return Event(self._station, stream, number, at, data)


def newest(connection: Connection) -> dict[Stream, int]:
    """The number of the newest event of each stream; 0 where there is none."""
    return {
        stream: connection.execute(select(func.coalesce(func.max(number), 0))).scalar_one() for stream, number in _NUMBERS.items()
    }


def _merged(events: list[Event]) -> list[tuple[datetime, Event]]:
    """By time; where the clock was set back, an event counts as late as those before it in its stream, whose order stands."""
    latest: dict[Stream, datetime] = {}
    timed = []
    for event in events:
        latest[event.stream] = max(event.at, latest.get(event.stream, event.at))
        timed.append((latest[event.stream], event))
    return sorted(timed, key=lambda each: each[0])
