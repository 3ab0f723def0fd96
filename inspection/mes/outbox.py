"""The outbox process: every recorded inspection, label and lot event goes to every configured receiver, in order, at least once.

One thread for each receiver, so that one which is away holds up no other. Positions are kept in a small file for each; a file
that is lost or damaged costs deliveries that are repeated, never one that is left out.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from cameras.beat import beat
from cameras.bus import Bus
from cameras.fault_kinds import FaultKind
from cameras.messages import FaultReport, Heartbeat
from inspection.mes.events import Pending, newest
from inspection.mes.receiver import Event, Receiver, Stream, Undelivered

log = logging.getLogger(__name__)

BATCH = 200
_POLL_S = 0.05
_BEAT_S = 1.0
_IDLE_S = 2.0
_RETRY_S, _RETRY_MOST_S = 0.5, 30.0


class Positions:
    """How far one receiver is: {stream: number}, in a file that is replaced whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.numbers = dict.fromkeys(Stream, 0)
        try:
            kept = msgspec.json.decode(path.read_bytes(), type=dict[Stream, int])
            self.numbers |= {stream: max(0, number) for stream, number in kept.items()}
        except FileNotFoundError:
            pass
        except (OSError, msgspec.DecodeError, RecursionError) as error:
            log.warning("%s cannot be read, everything is delivered again: %s", path, error)

    def replay(self) -> None:
        """Go back where ``station outbox replay`` asked for it."""
        request = replay_path(self._path)
        try:
            wanted = msgspec.json.decode(request.read_bytes(), type=dict[Stream, int])
            request.unlink()
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError, RecursionError) as error:
            log.error("%s cannot be read and is left alone: %s", request, error)
            return
        log.info("delivering again after %s", wanted)
        self.move(wanted)

    def advance(self, events: Sequence[Event]) -> None:
        """These are delivered."""
        self.move({event.stream: event.number for event in events})

    def move(self, numbers: dict[Stream, int]) -> None:
        """Go on after these numbers. A disk that takes nothing costs repeated deliveries after a restart."""
        self.numbers |= numbers
        fresh = self._path.with_suffix(".new")
        try:
            fresh.write_bytes(msgspec.json.encode(self.numbers))
            fresh.replace(self._path)
        except OSError as error:
            log.error("%s cannot be written: %s", self._path, error)


def positions_path(directory: Path, receiver: str) -> Path:
    return directory / f"{receiver}.json"


def replay_path(positions: Path) -> Path:
    return positions.with_suffix(".replay")


def pause_s(failures: int) -> float:
    """Before the next try after so many in a row: twice as long each time up to half a minute, and not all receivers at once."""
    # Past the sixth the pause stays; after a day, two to the power of all failures would be no number any more.
    return random.uniform(0.5, 1) * min(_RETRY_S * 2 ** min(failures, 6), _RETRY_MOST_S)  # noqa: S311


@dataclass
class Delivery:
    """One receiver and its thread."""

    name: str
    open: Callable[[], Receiver]
    engine: Engine
    pending: Pending
    positions: Positions
    stop: threading.Event = field(default_factory=threading.Event)
    failing_since: float | None = None
    trouble: str = ""
    backlog: int = 0
    oldest_at: float | None = None
    delivered: int = 0

    def run(self) -> None:
        """Until ``stop``: deliver what is there, wait for more, and wait longer after each failure."""
        receiver: Receiver | None = None
        failures = 0
        idle_since = time.monotonic() - _IDLE_S
        while not self.stop.is_set():
            self.positions.replay()
            try:
                events = self._read()
                if not events:
                    self.stop.wait(_POLL_S)
                    if time.monotonic() - idle_since < _IDLE_S:
                        continue
                idle_since = time.monotonic()
                receiver = receiver or self.open()
                receiver.deliver(events)
            except Exception as error:
                why = str(error)
                if not isinstance(error, Undelivered | SQLAlchemyError):
                    # A defect must not end deliveries while everything looks well.
                    log.exception("receiver %s", self.name)
                    why = f"{type(error).__name__}: {error}"
                failures += 1
                self._failed(why)
                self.stop.wait(pause_s(failures))
                continue
            failures, self.failing_since, self.trouble = 0, None, ""
            self.delivered += len(events)
            self.positions.advance(events)
        if receiver is not None:
            receiver.close()

    def _read(self) -> list[Event]:
        with self.engine.connect() as connection:
            events = self.pending.after(connection, self.positions.numbers, BATCH)
            ends = newest(connection)
        self.backlog = sum(max(0, ends[stream] - number) for stream, number in self.positions.numbers.items())
        self.oldest_at = events[0].at.timestamp() if events else None
        return events

    def _failed(self, why: str) -> None:
        if self.failing_since is None:
            self.failing_since = time.monotonic()
        if why != self.trouble:
            log.warning("receiver %s: %s", self.name, why)
        self.trouble = why


class OutboxProcess:
    """Starts the deliveries and tells how they are."""

    def __init__(self, bus: Bus, deliveries: Sequence[Delivery]) -> None:
        self._bus = bus
        self._deliveries = deliveries
        self._reported: dict[str, str] = {}
        self.running = True

    def run(self) -> None:
        threads = [threading.Thread(target=each.run, name=each.name, daemon=True) for each in self._deliveries]
        for thread in threads:
            thread.start()
        beat_at = 0.0
        while self.running:
            beat()
            time.sleep(0.05)
            if time.monotonic() - beat_at >= _BEAT_S:
                beat_at = time.monotonic()
                self._beat()
                self._report()
        for each in self._deliveries:
            each.stop.set()
        for thread in threads:
            thread.join(2)

    def _beat(self) -> None:
        """Receivers that are away are no fault of the station, which is ready without them."""
        counters: dict[str, float] = {}
        states = []
        for each in self._deliveries:
            age_s = max(0.0, time.time() - each.oldest_at) if each.oldest_at is not None else 0.0
            counters |= {
                f"{each.name}_backlog": float(each.backlog),
                f"{each.name}_age_s": age_s,
                f"{each.name}_delivered": float(each.delivered),
            }
            waits = f"waiting, {each.backlog} events of up to {age_s:.0f} s: {each.trouble}"
            states.append(f"{each.name}: {waits if each.trouble else 'delivering'}")
        self._bus.send(
            "recorder", Heartbeat(process="outbox", at=time.time(), state="; ".join(states), counters=counters, ok=True)
        )

    def _report(self) -> None:
        """One fault for each outage, with its first reason, once the receiver has been away for some tries."""
        for each in self._deliveries:
            since = each.failing_since
            if since is None:
                self._reported.pop(each.name, None)
            elif each.name not in self._reported and time.monotonic() - since > 5:
                self._reported[each.name] = each.trouble
                detail = f"receiver {each.name} takes nothing: {each.trouble}; what is recorded waits for it"
                self._bus.send(
                    "recorder",
                    FaultReport(at=time.time(), source="outbox", kind=FaultKind.RECEIVER_AWAY, count=1, detail=detail),
                )
