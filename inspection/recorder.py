"""The recorder process: the single writer of production records. Commit, then announce.

Everything that waits in the inbox goes into one transaction, so that the cost of durability is shared when the line is fast.
Images are stored by a thread; their rows follow in a later transaction.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import zmq
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from cameras.beat import beat
from cameras.bus import Bus
from cameras.fault_kinds import FaultKind
from cameras.messages import FaultReport, Heartbeat
from cameras.ring import SlotState
from inspection.clock import ClockWatch
from inspection.commands import Command, Refused, execute
from inspection.domain import Image
from inspection.errors import CommitInDoubt, RecordsLost
from inspection.housekeeping import Housekeeper
from inspection.ledger import Effects, Ledger, recorded_messages
from inspection.logs import about
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
from inspection.records.damage import WAY_OUT, OpenFiles, damage, file_of
from inspection.records.noted import Noted, note, read_noted
from inspection.records.retention import mark_deleted
from inspection.records.shadows import shadow_inspected
from inspection.records.starting_check import found_at_start
from inspection.records.unstored_images import unstored_images
from inspection.retention import Deletion
from inspection.rings import Orphans, Rings
from inspection.status import heard, write_status
from inspection.storer import Storer
from inspection.tally import Tally

log = logging.getLogger(__name__)

T = TypeVar("T")

_IDLE_S = 0.05
_STATUS_S = 1.0
_RETRY_S = 0.2
# The line has thousands of open triggers at most, and says them all in this time.
_ASK_S = 1.0
# At the end: the inbox is empty if nothing came for so long, and is not waited for longer.
_LAST_S, _LAST_MOST_S = 0.1, 2.0
_COMMANDS = msgspec.json.Decoder(Command)
# What the database says of a message that contradicts the records, or whose numbers and times no column holds.
_REFUSALS = (SQLAlchemyError, OverflowError, ValueError)


@dataclass
class _Work:
    """What one transaction is to hold."""

    messages: list[Any] = field(default_factory=list)
    faults: list[FaultReport] = field(default_factory=list)
    stored: list[tuple[int, Image]] = field(default_factory=list)
    deletions: list[Deletion] = field(default_factory=list)

    def split(self) -> list[_Work]:
        return [
            *(_Work(messages=[message]) for message in self.messages),
            *(_Work(faults=[fault]) for fault in self.faults),
            *(_Work(stored=[image]) for image in self.stored),
            *(_Work(deletions=[deletion]) for deletion in self.deletions),
        ]


class RecorderProcess:
    """``commands`` is the address where the web process asks; ``status_path`` the file that tells how the processes are. In
    ``data_dir`` is noted how far the numbers came.
    """

    def __init__(
        self,
        engine: Engine,
        bus: Bus,
        storer: Storer,
        housekeeper: Housekeeper,
        rings: Rings,
        commands: str,
        status_path: Path,
        data_dir: Path,
    ) -> None:
        self._engine = engine
        self._bus = bus
        self._storer = storer
        self._housekeeper = housekeeper
        self._rings = rings
        self._status_path = status_path
        self._data_dir = data_dir
        self._noted = Noted()
        self._processes: dict[str, dict[str, Any]] = {}
        self._status_at = 0.0
        self._asked_at = float("-inf")
        try:
            with engine.begin() as connection:
                self._ledger = Ledger(connection, (read_noted(data_dir) or Noted()).decided)
                storer.faults.extend(_fault(kind, detail) for kind, detail in found_at_start(connection, storer.images))
                self._report_unstored(connection)
        except SQLAlchemyError as error:
            found = damage(error)
            if found is None:
                raise
            raise RecordsLost(f"the database is damaged: {found}; {WAY_OUT}") from error
        self._clock = ClockWatch()
        file = file_of(engine)
        self._files = OpenFiles(file) if file is not None else None
        self._commands: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.REP)
        self._commands.bind(commands)
        self._counters = {"rows": 0.0, "commits": 0.0, "failed_commits": 0.0, "shadow_unmatched": 0.0}
        self._tally = Tally()
        self.running = True

    def run(self) -> None:
        """RecordsLost when nothing can be recorded any more; what was not announced by then never will be."""
        orphans = Orphans(self._rings, SlotState.STORING, self._storer.waiting_frames)
        self._bus.send("line", RecorderStarted(at=time.time(), last_trigger_id=self._ledger.last_trigger_id))
        try:
            while self.running:
                # A storer that is stuck holds every frame, and the station with them.
                if not self._storer.stuck:
                    beat()
                # What the storer has done waits for the next messages: a transaction of its own would be one more sync.
                self._bus.wait(_IDLE_S, self._commands)
                batch = list(self._bus.receive(0))
                self._record(batch)
                self._serve_command()
                for orphan in orphans.free():
                    self._storer.faults.append(_fault(FaultKind.IMAGE_LOST, f"no message came for {orphan}"))
                if (stepped := self._clock.stepped()) is not None:
                    self._storer.faults.append(_fault(FaultKind.CLOCK_STEPPED, stepped))
                self._write_status()
            self._record_last()
        finally:
            self._storer.close()
            self._housekeeper.close()
            self._commands.close(linger=200)

    def _record_last(self) -> None:
        """What the others said last, and the images that wait to be stored."""
        until = time.monotonic() + _LAST_MOST_S
        while time.monotonic() < until and (batch := list(self._bus.receive(_LAST_S))):
            self._record(batch)
        self._storer.close()
        self._record([])

    def _report_unstored(self, connection: Connection) -> None:
        """Images that the former recorder was to store when it ended: nobody else knows of them."""
        lost = [seq for seq, verdict in unstored_images(connection) if self._storer.keeps(seq, verdict)]
        if lost:
            numbers = ", ".join(map(str, lost))
            detail = f"the recorder ended before it had recorded the images of inspections {numbers}"
            self._storer.faults.append(
                FaultReport(at=time.time(), source="recorder", kind=FaultKind.IMAGE_LOST, count=len(lost), detail=detail)
            )

    def _record(self, batch: list[Any]) -> None:
        """Commit a batch and announce it; nothing is announced before it is durable."""
        work = _Work()
        for message in batch:
            if isinstance(message, Heartbeat):
                self._processes[message.process] = heard(message)
            elif isinstance(message, FaultReport):
                work.faults.append(message)
            else:
                work.messages.append(message)
        work.stored = _emptied(self._storer.stored)
        work.deletions = _emptied(self._housekeeper.proposed)
        work.faults += _emptied(self._storer.faults) + _emptied(self._housekeeper.faults)
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
            log.exception("refused by the database", extra=_fields(work))
            try:
                self._commit(_Work(faults=[_fault(FaultKind.REFUSED_MESSAGE, f"{work}: {error}")]))
            except _REFUSALS as other:
                raise RecordsLost(f"the database refuses whatever comes: {other}; {WAY_OUT}") from other
            if work.deletions:
                self._housekeeper.recorded([])
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
        if not (work.messages or work.faults or work.stored or work.deletions):
            return
        failed = False
        while True:
            beat()
            memory = self._ledger.remember()
            effects = Effects()
            began_ns = time.monotonic_ns()
            try:
                with self._engine.begin() as connection:
                    self._apply(connection, work, effects)
                self._check_files()
                break
            except _REFUSALS as error:
                self._ledger.restore(memory)
                if (lost := self._lost(error)) is not None:
                    raise lost from error
                if not isinstance(error, OperationalError):
                    if failed:
                        raise CommitInDoubt("a commit that seemed to fail was durable: its answer was lost") from error
                    raise
                failed = True
                self._counters["failed_commits"] += 1
                self._housekeeper.rows_wait = True
                self._housekeeper.reserve.give_up()
                log.error("commit failed, trying again: %s", error)
                self._write_status(f"cannot write: {error.__cause__ or error}")
                time.sleep(_RETRY_S)
        durable_ns = time.monotonic_ns()
        self._counters["commits"] += 1
        self._housekeeper.rows_wait = False
        if work.deletions:
            self._housekeeper.recorded(effects.deleted)
        self._announce(work.messages, effects, durable_ns)
        for part, message in effects.late:
            log.warning(
                "the verdict %s came late, and decides nothing", message.verdict.value, extra=about(part, model=message.model)
            )
        if effects.gap:
            self._ask_again()
        self._tally.committed(effects, durable_ns, (durable_ns - began_ns) / 1e9)
        self._tally.reported(work.faults)
        self._tally.stored(work.stored)

    def _ask_again(self) -> None:
        """Of its own accord the line repeats a part when that is due, never all in the order in which they are taken."""
        now = time.monotonic()
        if now - self._asked_at >= _ASK_S:
            self._asked_at = now
            log.warning("triggers before one that came are missing; the line is asked for all again")
            self._bus.send("line", RecorderStarted(at=time.time(), last_trigger_id=self._ledger.last_trigger_id))

    def _check_files(self) -> None:
        if self._files is not None:
            self._files.check()

    def _lost(self, error: Exception) -> RecordsLost | None:
        """What is to be done, if this error is neither the message's nor one that passes."""
        if (found := damage(error)) is not None:
            return RecordsLost(f"the database is damaged: {found}; {WAY_OUT}")
        try:
            self._check_files()
        except RecordsLost as lost:
            return lost
        return None

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
        for deletion in work.deletions:
            effects.deleted += mark_deleted(connection, deletion.seqs, deletion.rule, datetime.now(UTC))

    def _announce(self, batch: list[Any], effects: Effects, durable_ns: int) -> None:
        for recorded in recorded_messages(effects, durable_ns):
            self._bus.send("line", recorded)
        for message in batch:
            if isinstance(message, LineStarted):
                state = RecorderState(line_epoch=message.line_epoch, last_trigger_id=self._ledger.last_trigger_id)
                self._bus.send("line", state)
        self._counters["rows"] += len(effects.recorded)
        self._counters["shadow_unmatched"] += effects.unmatched
        fields = {made.row.seq: about(made.ticket, serial=made.row.serial) for made in effects.made}
        for seq, verdict, message in effects.to_store:
            self._storer.store(seq, verdict, message, fields[seq])
        for message in effects.to_release:
            self._storer.release(message)

    def _serve_command(self) -> None:
        while self._commands.poll(0):
            # All parts of it: with one left the socket would take no reply.
            reply, refusal = reply_to(b"".join(self._commands.recv_multipart()), self._engine)
            lost: RecordsLost | None = None
            try:
                lost = self._lost(refusal) if refusal is not None else None
                self._check_files()
            except RecordsLost as error:
                lost = error
            if lost is not None:
                reply = Refused(code="unavailable", detail=str(lost))
            self._commands.send(msgspec.json.encode(reply))
            if lost is not None:
                raise lost

    def _note_numbers(self) -> None:
        noted = Noted(self._ledger.seq, self._ledger.last_trigger_id, decided=self._ledger.decided)
        if noted == self._noted:
            return
        try:
            note(self._data_dir, noted)
            self._noted = noted
        except OSError as error:
            log.error("how far the numbers came is not noted: %s", error)

    def _write_status(self, trouble: str | None = None) -> None:
        now = time.monotonic()
        if trouble is None and now - self._status_at < _STATUS_S:
            return
        self._status_at = now
        counters = {
            **self._counters,
            "open_triggers": float(self._ledger.open_triggers),
            "images_waiting": float(self._storer.waiting),
            "images_without_room": float(self._storer.without_room),
            "files_deleted": float(self._housekeeper.deleted),
        }
        state = trouble or "recording"
        beat = Heartbeat(process="recorder", at=time.time(), state=state, ok=trouble is None, counters=counters)
        self._processes["recorder"] = heard(beat)
        write_status(self._status_path, self._processes, self._tally.as_dict())
        if trouble is None:
            self._note_numbers()


def _emptied(waiting: deque[T]) -> list[T]:
    """What waits now; what is added meanwhile waits for the next time."""
    return [waiting.popleft() for _ in range(len(waiting))]


def _fields(work: _Work) -> dict[str, object]:
    """What log lines about a single message tell of its part."""
    (message,) = work.messages or (None,)
    if isinstance(message, Ticket):
        return about(message)
    trigger_id = getattr(message, "trigger_id", None)
    return {} if trigger_id is None else {"trigger_id": trigger_id}


def reply_to(raw: bytes, engine: Engine) -> tuple[msgspec.Struct, SQLAlchemyError | None]:
    """Execute one command in a transaction of its own; the reply to it, whatever came, and what the database had against it."""
    try:
        command = _COMMANDS.decode(raw)
        with engine.begin() as connection:
            return execute(connection, command), None
    except (msgspec.DecodeError, RecursionError) as error:
        return Refused(code="invalid_request", detail=f"the command is not understood: {error}"), None
    except SQLAlchemyError as error:
        log.exception("command failed")
        detail = f"the database cannot be written: {error.__cause__ or error}; try again"
        return Refused(code="unavailable", detail=detail), error


def _fault(kind: FaultKind, detail: str) -> FaultReport:
    log.warning("%s: %s", kind, detail, extra={"kind": kind})
    return FaultReport(at=time.time(), source="recorder", kind=kind, count=1, detail=detail)
