"""How messages become rows: exactly one inspection per trigger, whatever comes twice, late or in the wrong order.

The ledger applies messages inside the recorder's transaction, and ``flush`` writes what they made. What it remembers between
transactions changes only after the commit, so that a batch whose commit failed can be applied again.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from cameras.fault_kinds import FaultKind
from cameras.messages import FaultReport
from inspection.domain import Image, Reason, Verdict
from inspection.messages import Inspected, NotInspected, OutputDone, Recorded, Ticket
from inspection.records.numbers import passed_over
from inspection.records.retention import count_images
from inspection.records.tables import faults, images, inspections, lots, parts, triggers

# Verdicts whose ticket has not come yet: the two travel on different sockets.
_EARLY_LIMIT = 16
# Recorded announcements that can be repeated without asking the database.
_RECENT_LIMIT = 512
# Columns that only a verdict fills.
_OF_VERDICT = (
    *("review_threshold", "fail_threshold", "model", "frame_id", "acquired_at", "late_verdict", "late_score"),
    *("score", "p_value", "proposed_class", "optics", "detail"),
)

_STORED_IMAGES = select(images.c.seq, images.c.kind).where(images.c.seq.in_(bindparam("seqs", expanding=True)))


@dataclass(frozen=True, slots=True)
class Row:
    """What is announced of an inspection."""

    seq: int
    trigger_id: int
    serial: str
    verdict: Verdict
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class Made:
    """An inspection that is new, not announced again, and what it was made from."""

    row: Row
    ticket: Ticket
    message: Inspected | None


@dataclass
class Effects:
    """What a committed batch leads to: rows to announce, and frames to store, with the verdict of their row, or to release.

    ``deleted``: the SHA-256 of images whose files may go. ``late`` are verdicts that came late, with the ticket or trigger of
    their part; ``unmatched`` counts those of challengers that came before the ticket, or on a frame that nobody asked for.
    ``gap``: a ticket came whose predecessors did not.
    """

    recorded: list[Row] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)
    to_store: list[tuple[int, Verdict, Inspected]] = field(default_factory=list)
    to_release: list[Inspected] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    late: list[tuple[Any, Inspected]] = field(default_factory=list)
    unmatched: int = 0
    gap: bool = False


class Ledger:
    """The recorder's memory of open triggers, and the writing of rows."""

    def __init__(self, connection: Connection, decided: int = 0) -> None:
        """Triggers up to ``decided`` are known to have their inspection; looking through all takes minutes after a year."""
        lost = passed_over(connection)
        self.seq = max(lost, connection.execute(select(func.coalesce(func.max(inspections.c.seq), 0))).scalar_one())
        self._fault_id = connection.execute(select(func.coalesce(func.max(faults.c.fault_id), 0))).scalar_one()
        newest_trigger = connection.execute(select(func.coalesce(func.max(triggers.c.trigger_id), 0))).scalar_one()
        self.last_trigger_id = max(lost, newest_trigger)
        self._line_epoch = 0
        self._early: OrderedDict[int, Inspected] = OrderedDict()
        self._recent: OrderedDict[int, Row] = OrderedDict()
        self._open: dict[int, Ticket | None] = {}
        self._new_triggers: list[dict[str, Any]] = []
        self._new_inspections: list[dict[str, Any]] = []
        self._named: dict[int, str] = {}
        undecided = select(triggers.c.trigger_id).where(
            triggers.c.trigger_id > decided,
            ~select(inspections.c.seq).where(inspections.c.trigger_id == triggers.c.trigger_id).exists(),
        )
        # Their tickets come again from the line, or the next line process closes them.
        self._open = dict.fromkeys(connection.execute(undecided).scalars())

    @property
    def open_triggers(self) -> int:
        return len(self._open)

    @property
    def decided(self) -> int:
        """Every trigger up to this one has its inspection."""
        return min(self._open, default=self.last_trigger_id + 1) - 1

    # --- messages ---

    def ticket(self, connection: Connection, ticket: Ticket, effects: Effects) -> None:
        """A trigger becomes a row; the same ticket again changes nothing.

        A ticket that skips numbers is left aside: those before it were lost, with a former recorder or because this one took no
        messages for long, and the line sends them all again, in order.
        """
        if ticket.line_epoch < self._line_epoch:
            return  # sent by a line process that is dead; its trigger number is the present one's to give
        if ticket.trigger_id > self.last_trigger_id + 1:
            effects.gap = True
            return
        if ticket.trigger_id == self.last_trigger_id + 1:
            self._add_trigger(ticket)
            self.last_trigger_id = ticket.trigger_id
            self._open[ticket.trigger_id] = ticket
        elif ticket.trigger_id in self._open:
            self._open[ticket.trigger_id] = ticket
        else:
            self._announce_again(connection, ticket.trigger_id, effects)
            return
        early = self._early.pop(ticket.trigger_id, None)
        if early is not None:
            self.inspected(connection, early, effects)

    def inspected(self, connection: Connection, message: Inspected, effects: Effects) -> None:
        """A verdict; past its deadline, or for a part that was closed already, it is recorded as late and decides nothing."""
        if message.trigger_id in self._open:
            ticket = self._open[message.trigger_id]
            if ticket is None:
                self._hold(message, effects)
            elif not _decides(message, ticket.camera, ticket.camera_epoch, ticket.trigger_count):
                # Judged for a line process that is dead: its trigger numbers were given anew.
                effects.to_release.append(message)
            elif time.monotonic_ns() - ticket.requested_ns > ticket.deadline_ms * 1e6:
                self._add_inspection(ticket, message, Reason.DEADLINE, message.decided_at, effects)
            else:
                self._add_inspection(ticket, message, message.refused, message.decided_at, effects)
        elif message.trigger_id <= self.last_trigger_id:
            self.flush(connection)
            trigger = connection.execute(select(triggers).where(triggers.c.trigger_id == message.trigger_id)).one()
            if _decides(message, trigger.camera, trigger.camera_epoch, trigger.trigger_count):
                closed = connection.execute(
                    update(inspections)
                    .where(inspections.c.trigger_id == message.trigger_id, inspections.c.verdict == Verdict.NOT_INSPECTED)
                    .values(late_verdict=message.verdict, late_score=message.score)
                )
                if closed.rowcount:
                    effects.late.append((trigger, message))
            effects.to_release.append(message)
        else:
            self._hold(message, effects)

    def not_inspected(self, connection: Connection, message: NotInspected, effects: Effects) -> None:
        """The line gave the part up; if a verdict was recorded before, that stands and is announced again."""
        if message.trigger_id not in self._open:
            if message.trigger_id <= self.last_trigger_id:
                self._announce_again(connection, message.trigger_id, effects)
            return
        ticket = self._open[message.trigger_id] or _ticket_from_row(connection, message.trigger_id)
        self._add_inspection(ticket, None, message.reason, message.decided_at, effects)

    def outputs(self, connection: Connection, done: list[OutputDone]) -> None:
        """What was commanded for parts."""
        statement = update(inspections).where(inspections.c.trigger_id == bindparam("key")).values(output=bindparam("command"))
        connection.execute(statement, [{"key": item.trigger_id, "command": item.output} for item in done])

    def line_started(self, connection: Connection, line_epoch: int, at: float, effects: Effects) -> None:
        """A new line process: what the former one left open is closed."""
        if line_epoch <= self._line_epoch:
            return
        self._line_epoch = line_epoch
        effects.to_release += self._early.values()
        self._early.clear()
        for trigger_id, ticket in list(self._open.items()):
            ticket = ticket or _ticket_from_row(connection, trigger_id)
            self._add_inspection(ticket, None, Reason.LINE_DOWN, at, effects)

    def faults(self, connection: Connection, reports: list[FaultReport]) -> None:
        """One row for each source and kind of fault in the batch, so that a flood stays a few rows."""
        merged: dict[tuple[str, FaultKind], FaultReport] = {}
        counts: dict[tuple[str, FaultKind], int] = {}
        for report in reports:
            key = (report.source, report.kind)
            merged[key] = report
            counts[key] = counts.get(key, 0) + report.count
        rows = []
        for key, report in merged.items():
            self._fault_id += 1
            rows.append(
                {
                    "fault_id": self._fault_id,
                    "at": _utc(report.at),
                    "source": report.source[:64],
                    "kind": report.kind[:32],
                    "count": counts[key],
                    "detail": report.detail,
                }
            )
        connection.execute(insert(faults), rows)

    def images(self, connection: Connection, stored: list[tuple[int, Image]]) -> None:
        """Files that are durable; an image stored twice for the same inspection stays one row."""
        rows = {(seq, image.kind): {"seq": seq, **asdict(image)} for seq, image in stored}
        for key in connection.execute(_STORED_IMAGES, {"seqs": [seq for seq, _ in rows]}):
            rows.pop((key.seq, key.kind), None)
        if rows:
            connection.execute(insert(images), list(rows.values()))
            count_images(connection, [(row["seq"], row["kind"], row["nbytes"]) for row in rows.values()], 1)

    # --- rows ---

    def flush(self, connection: Connection) -> None:
        """Write the rows that the messages made, all together: a statement for each would be most of the time."""
        if self._new_triggers:
            self._name_requests_once(connection)
            connection.execute(insert(triggers), self._new_triggers)
        if self._named:
            read = [{"key": trigger_id, "read": serial} for trigger_id, serial in self._named.items()]
            of_trigger = triggers.c.trigger_id == bindparam("key")
            connection.execute(update(triggers).where(of_trigger).values(serial=bindparam("read")), read)
        if self._new_inspections:
            self._count_attempts(connection)
            connection.execute(insert(inspections), self._new_inspections)
        self._new_triggers, self._new_inspections, self._named = [], [], {}

    def _name_requests_once(self, connection: Connection) -> None:
        """A requester may give one name twice. Refused, its trigger would leave a gap, and all after it would wait for ever."""
        names = [row["request_id"] for row in self._new_triggers]
        taken = set(connection.execute(select(triggers.c.request_id).where(triggers.c.request_id.in_(names))).scalars())
        for row in self._new_triggers:
            if row["request_id"] in taken:
                row["request_id"] = f"{row['request_id'][:40]}#{row['trigger_id']}"
            taken.add(row["request_id"])

    def _count_attempts(self, connection: Connection) -> None:
        """Number the attempts of each part, and remember them with the part."""
        keys = {(row["lot"], row["serial"]) for row in self._new_inspections}
        # Not as pairs, for which SQLite would read the whole table.
        of_any = parts.c.lot.in_({lot for lot, _ in keys}), parts.c.serial.in_({serial for _, serial in keys})
        known = connection.execute(select(parts.c.lot, parts.c.serial, parts.c.attempts).where(*of_any)).all()
        before = {(row.lot, row.serial): row.attempts for row in known if (row.lot, row.serial) in keys}
        attempts = dict(before)
        for row in self._new_inspections:
            key = row["lot"], row["serial"]
            row["attempt"] = attempts[key] = attempts.get(key, 0) + 1
        fresh = [{"lot": key[0], "serial": key[1], "attempts": count} for key, count in attempts.items() if key not in before]
        if fresh:
            connection.execute(insert(parts), fresh)
        again = [{"of_lot": key[0], "of_serial": key[1], "count": attempts[key]} for key in before]
        if again:
            of_part = parts.c.lot == bindparam("of_lot"), parts.c.serial == bindparam("of_serial")
            connection.execute(update(parts).where(*of_part).values(attempts=bindparam("count")), again)

    def _add_trigger(self, ticket: Ticket) -> None:
        self._new_triggers.append(
            {
                "trigger_id": ticket.trigger_id,
                "request_id": ticket.request_id,
                "lot": ticket.lot,
                "serial": ticket.serial,
                "camera": ticket.camera,
                "camera_epoch": ticket.camera_epoch,
                "trigger_count": ticket.trigger_count,
                "triggered_at": _utc(ticket.triggered_at),
                "deadline_ms": ticket.deadline_ms,
            }
        )

    def _add_inspection(
        self,
        ticket: Ticket,
        message: Inspected | None,
        reason: Reason | None,
        decided_at: float,
        effects: Effects,
    ) -> None:
        """The one row of a trigger. ``reason`` makes it not_inspected; a message beside it is a verdict that came late or is
        refused.
        """
        self.seq += 1
        seq = self.seq
        verdict = Verdict.NOT_INSPECTED if reason is not None or message is None else message.verdict
        late = message is not None and reason is not None
        serial = ticket.serial
        if ticket.unnamed and message is not None and message.serial is not None:
            serial = self._named[ticket.trigger_id] = message.serial
        row: dict[str, Any] = {
            "seq": seq,
            "trigger_id": ticket.trigger_id,
            "lot": ticket.lot,
            "serial": serial,
            "product": ticket.product,
            "camera": ticket.camera,
            "verdict": verdict,
            "reason": reason,
            "regions": [],
            "triggered_at": _utc(ticket.triggered_at),
            "decided_at": _utc(decided_at),
            "recorded_at": datetime.now(UTC),
            "timings_ms": {},
            # All rows name all columns, so that one statement inserts them.
            **dict.fromkeys(_OF_VERDICT),
        }
        if message is not None:
            row |= {
                "review_threshold": message.review_threshold,
                "fail_threshold": message.fail_threshold,
                "model": message.model,
                "frame_id": message.frame.frame_id,
                "acquired_at": _utc(message.acquired_at),
                "timings_ms": message.timings_ms,
                "optics": message.optics,
                "detail": message.detail,
                "late_verdict": message.verdict if late else None,
                "late_score": message.score if late else None,
                "score": None if late else message.score,
                "p_value": None if late else message.p_value,
                "proposed_class": None if late else message.proposed_class,
                "regions": [
                    {"x": box.x, "y": box.y, "width": box.width, "height": box.height, "score": box.score, "area": box.area}
                    for box in message.regions
                ],
            }
        self._new_inspections.append(row)
        self._open.pop(ticket.trigger_id, None)
        if message is not None:
            effects.to_store.append((seq, verdict, message))
        announced = Row(seq, ticket.trigger_id, serial, verdict, reason)
        effects.made.append(Made(announced, ticket, message))
        if message is not None and reason is Reason.DEADLINE:
            effects.late.append((ticket, message))
        self._announce(announced, effects)

    def _announce(self, row: Row, effects: Effects) -> None:
        self._recent[row.trigger_id] = row
        while len(self._recent) > _RECENT_LIMIT:
            self._recent.popitem(last=False)
        effects.recorded.append(row)

    def _announce_again(self, connection: Connection, trigger_id: int, effects: Effects) -> None:
        known = self._recent.get(trigger_id)
        if known is None:
            self.flush(connection)
            row = connection.execute(
                select(inspections.c.seq, inspections.c.serial, inspections.c.verdict, inspections.c.reason).where(
                    inspections.c.trigger_id == trigger_id
                )
            ).one()
            known = Row(row.seq, trigger_id, row.serial, Verdict(row.verdict), Reason(row.reason) if row.reason else None)
        effects.recorded.append(known)

    def _hold(self, message: Inspected, effects: Effects) -> None:
        self._early[message.trigger_id] = message
        while len(self._early) > _EARLY_LIMIT:
            effects.to_release.append(self._early.popitem(last=False)[1])

    def forget_early(self, trigger_id: int) -> Inspected | None:
        """Take back a verdict that came before its ticket."""
        return self._early.pop(trigger_id, None)

    # --- what a failed commit must undo ---

    def remember(self) -> dict[str, Any]:
        return {
            "seq": self.seq,
            "_fault_id": self._fault_id,
            "last_trigger_id": self.last_trigger_id,
            "_line_epoch": self._line_epoch,
            "_early": self._early.copy(),
            "_recent": self._recent.copy(),
            "_open": self._open.copy(),
            "_new_triggers": [],
            "_new_inspections": [],
            "_named": {},
        }

    def restore(self, memory: dict[str, Any]) -> None:
        vars(self).update(memory)


def recorded_messages(effects: Effects, durable_ns: int) -> Iterator[Recorded]:
    """What is to be announced of a committed batch."""
    judged = {seq: message for seq, _, message in effects.to_store}
    for row in effects.recorded:
        message = judged.get(row.seq) if row.verdict is not Verdict.NOT_INSPECTED else None
        yield Recorded(
            seq=row.seq,
            trigger_id=row.trigger_id,
            serial=row.serial,
            verdict=row.verdict,
            reason=row.reason,
            durable_ns=durable_ns,
            score=message.score if message else None,
            model=message.model if message else None,
        )


def _ticket_from_row(connection: Connection, trigger_id: int) -> Ticket:
    """The ticket of a trigger that a former recorder wrote; its monotonic times are unknown, and long past."""
    row = connection.execute(
        select(triggers, lots.c.product).outerjoin(lots, lots.c.lot == triggers.c.lot).where(triggers.c.trigger_id == trigger_id)
    ).one()
    return Ticket(
        trigger_id=row.trigger_id,
        line_epoch=0,
        request_id=row.request_id,
        lot=row.lot,
        serial=row.serial,
        camera=row.camera,
        product=row.product,
        camera_epoch=row.camera_epoch,
        trigger_count=row.trigger_count,
        triggered_at=row.triggered_at.timestamp(),
        requested_ns=0,
        issued_ns=0,
        expose_until_ns=0,
        deadline_ms=row.deadline_ms,
    )


def _decides(message: Inspected, camera: str, camera_epoch: int | None, trigger_count: int | None) -> bool:
    """Is the frame behind this verdict the one that the ticket named?"""
    frame = message.frame
    return (frame.camera, frame.camera_epoch, frame.trigger_count) == (camera, camera_epoch, trigger_count)


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
