"""The recorder process: the single writer of production records. Commit, then announce.

Everything that waits in the inbox goes into one transaction, so that the cost of durability is shared when the line is fast.
Images are stored by a thread; their rows follow in a later transaction.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import zmq
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from cameras.bus import Bus
from cameras.messages import FaultReport, Heartbeat
from cameras.ring import SlotState
from inspection.commands import Command, Refused, execute
from inspection.domain import Image
from inspection.ledger import Effects, Ledger, recorded_messages
from inspection.messages import (
    Inspected,
    LineStarted,
    NotInspected,
    OutputDone,
    RecorderStarted,
    RecorderState,
    ShadowInspected,
    Ticket,
)
from inspection.records.shadows import shadow_inspected
from inspection.rings import Orphans, Rings
from inspection.storer import Storer

log = logging.getLogger(__name__)

_IDLE_S = 0.05
_STATUS_S = 1.0
_RETRY_S = 0.2
# What the database says of a message that contradicts the records, or whose numbers and times no column holds.
_REFUSALS = (SQLAlchemyError, OverflowError, ValueError)


@dataclass
class _Work:
    """What one transaction is to hold."""

    messages: list[Any] = field(default_factory=list)
    faults: list[FaultReport] = field(default_factory=list)
    stored: list[tuple[int, Image]] = field(default_factory=list)

    def split(self) -> list[_Work]:
        return [
            *(_Work(messages=[message]) for message in self.messages),
            *(_Work(faults=[fault]) for fault in self.faults),
            *(_Work(stored=[image]) for image in self.stored),
        ]


class RecorderProcess:
    """``commands`` is the address where the web process asks; ``status_path`` the file that tells how the processes are."""

    def __init__(self, engine: Engine, bus: Bus, storer: Storer, rings: Rings, commands: str, status_path: Path) -> None:
        self._engine = engine
        self._bus = bus
        self._storer = storer
        self._rings = rings
        self._status_path = status_path
        self._processes: dict[str, dict[str, Any]] = {}
        self._status_at = 0.0
        self._command_decoder = msgspec.json.Decoder(Command)
        self._commands: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.REP)
        self._commands.bind(commands)
        with engine.begin() as connection:
            self._ledger = Ledger(connection)
        self._counters = {"rows": 0.0, "commits": 0.0, "failed_commits": 0.0, "shadow_unmatched": 0.0}
        self.running = True

    def run(self) -> None:
        orphans = Orphans(self._rings, SlotState.STORING)
        self._bus.send("line", RecorderStarted(at=time.time()))
        while self.running:
            # What the storer has done waits for the next messages: a transaction of its own would be one more sync.
            self._bus.wait(_IDLE_S, self._commands)
            batch = list(self._bus.receive(0))
            self._record(batch)
            self._serve_command()
            for orphan in orphans.free():
                self._storer.faults.append(_fault("image_lost", f"no message came for {orphan}"))
            self._write_status()
        self._storer.close()
        self._record([])
        self._commands.close(linger=200)

    def _record(self, batch: list[Any]) -> None:
        """Commit a batch and announce it; nothing is announced before it is durable."""
        work = _Work()
        for message in batch:
            if isinstance(message, Heartbeat):
                self._processes[message.process] = {
                    "at": message.at,
                    "state": message.state,
                    "ok": message.ok,
                    "counters": message.counters,
                }
            elif isinstance(message, FaultReport):
                work.faults.append(message)
            else:
                work.messages.append(message)
        work.stored = [self._storer.stored.popleft() for _ in range(len(self._storer.stored))]
        work.faults += [self._storer.faults.popleft() for _ in range(len(self._storer.faults))]
        try:
            self._commit(work)
        except _REFUSALS:
            # One of them contradicts the records: each gets its own transaction, so that only that one is refused.
            for single in work.split():
                self._commit_or_refuse(single)

    def _commit_or_refuse(self, work: _Work) -> None:
        try:
            self._commit(work)
        except _REFUSALS as error:
            log.exception("refused by the database: %r", work)
            self._commit(_Work(faults=[_fault("refused_message", f"{work}: {error}")]))
            for message in work.messages:
                verdict = message if isinstance(message, Inspected) else None
                if isinstance(message, Ticket):
                    # Refused may be the verdict that waited for it; the numbering needs the ticket.
                    verdict = self._ledger.forget_early(message.trigger_id)
                    if verdict is not None:
                        self._commit_or_refuse(work)
                if verdict is not None:
                    self._storer.release(verdict)

    def _commit(self, work: _Work) -> None:
        """One transaction, tried again until the disk takes it; any other error means that it contradicts what is recorded."""
        if not (work.messages or work.faults or work.stored):
            return
        while True:
            memory = self._ledger.remember()
            effects = Effects()
            try:
                with self._engine.begin() as connection:
                    self._apply(connection, work, effects)
                break
            except _REFUSALS as error:
                self._ledger.restore(memory)
                if not isinstance(error, OperationalError):
                    raise
                self._counters["failed_commits"] += 1
                log.error("commit failed, trying again: %s", error)
                self._write_status(f"cannot write: {error.__cause__ or error}")
                time.sleep(_RETRY_S)
        self._counters["commits"] += 1
        self._announce(work.messages, effects)

    def _apply(self, connection: Connection, work: _Work, effects: Effects) -> None:
        for message in work.messages:
            match message:
                case Ticket():
                    self._ledger.ticket(connection, message, effects)
                case Inspected():
                    self._ledger.inspected(connection, message, effects)
                case NotInspected():
                    self._ledger.not_inspected(connection, message, effects)
                case ShadowInspected():
                    self._ledger.flush(connection)
                    effects.unmatched += not shadow_inspected(connection, message)
                case LineStarted():
                    self._ledger.line_started(connection, message.line_epoch, message.at, effects)
        self._ledger.flush(connection)
        outputs = [message for message in work.messages if isinstance(message, OutputDone)]
        if outputs:
            self._ledger.outputs(connection, outputs)
        if work.faults:
            self._ledger.faults(connection, work.faults)
        if work.stored:
            self._ledger.images(connection, work.stored)

    def _announce(self, batch: list[Any], effects: Effects) -> None:
        durable_ns = time.monotonic_ns()
        for recorded in recorded_messages(effects, durable_ns):
            self._bus.send("line", recorded)
        for message in batch:
            if isinstance(message, LineStarted):
                state = RecorderState(line_epoch=message.line_epoch, last_trigger_id=self._ledger.last_trigger_id)
                self._bus.send("line", state)
        self._counters["rows"] += len(effects.recorded)
        self._counters["shadow_unmatched"] += effects.unmatched
        for seq, message in effects.to_store:
            self._storer.store(seq, message)
        for message in effects.to_release:
            self._storer.release(message)

    def _serve_command(self) -> None:
        while self._commands.poll(0):
            raw = self._commands.recv()
            try:
                with self._engine.begin() as connection:
                    reply: msgspec.Struct = execute(connection, self._command_decoder.decode(raw))
            except msgspec.DecodeError as error:
                reply = Refused(code="invalid_request", detail=f"the command is not understood: {error}")
            except SQLAlchemyError as error:
                log.exception("command failed")
                reply = Refused(
                    code="unavailable", detail=f"the database cannot be written: {error.__cause__ or error}; try again"
                )
            self._commands.send(msgspec.json.encode(reply))

    def _write_status(self, trouble: str | None = None) -> None:
        now = time.monotonic()
        if trouble is None and now - self._status_at < _STATUS_S:
            return
        self._status_at = now
        counters = {
            **self._counters,
            "open_triggers": float(self._ledger.open_triggers),
            "images_waiting": float(self._storer.waiting),
        }
        self._processes["recorder"] = {
            "at": time.time(),
            "state": trouble or "recording",
            "ok": trouble is None,
            "counters": counters,
        }
        fresh = self._status_path.with_suffix(".new")
        try:
            fresh.write_bytes(msgspec.json.encode({"processes": self._processes}))
            fresh.replace(self._status_path)
        except OSError as error:
            log.error("status not written: %s", error)


def _fault(kind: str, detail: str) -> FaultReport:
    return FaultReport(at=time.time(), source="recorder", kind=kind, count=1, detail=detail)
