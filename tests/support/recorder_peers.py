"""A recorder process in a thread on its own database, with the other processes and the MES played by the test."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import zmq
from numpy.typing import NDArray
from peers import Peer, in_thread
from sqlalchemy import Connection, Table, event, func, select

from cameras.bus import Bus
from cameras.messages import FrameRef
from cameras.ring import Ring, SlotState
from inspection.commands import Command, Reply
from inspection.domain import Reason, Verdict
from inspection.errors import CommitInDoubt, RecordsLost
from inspection.housekeeping import Housekeeper
from inspection.images import ImageStore
from inspection.messages import Inspected, LineMessage, Recorded, RecorderMessage, Ticket
from inspection.recorder import RecorderProcess
from inspection.records.database import migrate, open_engine, wal_of
from inspection.records.tables import inspections
from inspection.reserve import Reserve
from inspection.retention import Limits, Room
from inspection.rings import Rings
from inspection.storer import Storer

T = TypeVar("T")
UNLIMITED = Limits()
WIDTH, HEIGHT, SLOTS = 32, 24, 8


class _UntilLost:
    """A recorder that may find its records lost or in doubt, which is kept in ``lost``; any other failure fails the test."""

    def __init__(self, process: RecorderProcess, lost: list[RecordsLost | CommitInDoubt]) -> None:
        self._process = process
        self._lost = lost

    @property
    def running(self) -> bool:
        return self._process.running

    @running.setter
    def running(self, on: bool) -> None:
        self._process.running = on

    def run(self) -> None:
        try:
            self._process.run()
        except (RecordsLost, CommitInDoubt) as lost:
            self._lost.append(lost)


class RecorderPeers:
    """``lost`` holds why a recorder ended by itself."""

    def __init__(self, run_dir: Path, data_dir: Path) -> None:
        self.run_dir = run_dir
        self.data_dir = data_dir
        self.image_dir = data_dir / "images"
        self.status_path = run_dir / "status.json"
        self.line = Peer(run_dir, "line", LineMessage)
        # Only sends; the inspector's verdicts travel on a socket of their own.
        self.inspector = Peer(run_dir, "inspector", LineMessage)
        self.ring = Ring.create(run_dir, "top", SLOTS, WIDTH * HEIGHT)
        self.engine = open_engine(f"sqlite:///{data_dir / 'station.db'}")
        migrate(self.engine)
        self.reader = open_engine(f"sqlite:///{data_dir / 'station.db'}", read_only=True)
        self.lost: list[RecordsLost | CommitInDoubt] = []
        self._full = False
        self._epoch = time.monotonic_ns()
        self._numbers = itertools.count(1)
        event.listen(self.engine, "begin", self._limit)

    def _limit(self, connection: Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {1 if self._full else 1_000_000}")

    def fill_disk(self, full: bool) -> None:
        """From the next transaction on, the database takes no more pages than it has; or does again."""
        self._full = full

    @contextmanager
    def recorder(self, *, keep_pass_share: float = 1.0, limits: Limits = UNLIMITED) -> Iterator[None]:
        rings = Rings(self.run_dir)
        bus = Bus(self.run_dir, "recorder", RecorderMessage)
        images, room = ImageStore(self.image_dir), Room(self.image_dir, limits)
        storer = Storer(images, rings, keep_pass_share, room)
        housekeeper = Housekeeper(self.reader, images, room, Reserve(self.image_dir.parent, 1_000_000), wal_of(self.engine))
        addresses = f"ipc://{self.run_dir}/commands", self.status_path, self.data_dir
        self.process = RecorderProcess(self.engine, bus, storer, housekeeper, rings, *addresses)
        with in_thread(_UntilLost(self.process, self.lost), bus):
            yield

    # --- messages ---

    def ticket(self, *, request_id: str | None = None, deadline_ms: float = 60_000, send: bool = True) -> Ticket:
        """The line's next trigger, sent unless the test does that."""
        number = next(self._numbers)
        now_ns = time.monotonic_ns()
        ticket = Ticket(
            trigger_id=number,
            line_epoch=self._epoch,
            request_id=request_id or f"R{number}",
            lot="L",
            serial=f"S{number}",
            camera="top",
            product="plate",
            camera_epoch=1,
            trigger_count=number,
            triggered_at=time.time(),
            requested_ns=now_ns,
            issued_ns=now_ns,
            expose_until_ns=now_ns,
            deadline_ms=deadline_ms,
        )
        if send:
            self.line.send("recorder", ticket)
        return ticket

    def judge(
        self,
        ticket: Ticket,
        pixels: NDArray[np.uint8],
        verdict: Verdict = Verdict.PASS,
        *,
        frame_id: int | None = None,
        proposed_class: str | None = None,
    ) -> Inspected:
        """The inspector's verdict, sent, with the frame in the ring."""
        slot = self.ring.acquire()
        assert slot is not None
        self.ring.write(slot, pixels)
        slot_seq = self.ring.publish(slot)
        self.ring.hand_over(slot, slot_seq)
        now_ns = time.monotonic_ns()
        frame = FrameRef(
            camera="top",
            camera_epoch=1,
            ring=self.ring.path.name,
            slot=slot,
            slot_seq=slot_seq,
            pixel_format="Mono8",
            width=WIDTH,
            height=HEIGHT,
            frame_id=ticket.trigger_id if frame_id is None else frame_id,
            trigger_count=ticket.trigger_id,
            timestamp_ns=now_ns,
            exposed_ns=now_ns,
            clock_error_ns=0,
            received_ns=now_ns,
            exposure_us=100.0,
        )
        message = Inspected(
            trigger_id=ticket.trigger_id,
            verdict=verdict,
            score=1.0,
            p_value=0.5,
            review_threshold=2.0,
            fail_threshold=3.0,
            model="ab" * 32,
            proposed_class=proposed_class,
            regions=(),
            frame=frame,
            map_width=2,
            map_height=2,
            map_f16=np.ones((2, 2), "<f2").tobytes(),
            acquired_at=time.time(),
            decided_at=time.time(),
            timings_ms={"total": 1.0},
        )
        self.inspector.send("recorder", message)
        return message

    def recorded(self, ticket: Ticket, verdict: Verdict, reason: Reason | None = None) -> Recorded:
        """The announcement of this trigger's row, which a reader sees by then."""
        message = self.line.expect(Recorded)
        assert (message.trigger_id, message.verdict, message.reason) == (ticket.trigger_id, verdict, reason)
        with self.reader.connect() as connection:
            row = connection.execute(select(inspections).where(inspections.c.seq == message.seq)).one()
        assert (row.trigger_id, row.verdict, row.reason, row.serial) == (ticket.trigger_id, verdict, reason, ticket.serial)
        return message

    def command(self, command: Command | bytes) -> Reply:
        """What the web process does for the MES."""
        with zmq.Context.instance().socket(zmq.REQ) as socket:
            socket.linger = 0
            socket.connect(f"ipc://{self.run_dir}/commands")
            socket.send(command if isinstance(command, bytes) else msgspec.json.encode(command))
            assert socket.poll(5_000), "the recorder does not answer"
            return msgspec.json.decode(socket.recv(), type=Reply)  # type: ignore[arg-type]

    # --- what it did ---

    def count(self, table: Table) -> int:
        with self.reader.connect() as connection:
            return connection.execute(select(func.count()).select_from(table)).scalar_one()

    def rows(self, table: Table) -> list[Any]:
        with self.reader.connect() as connection:
            return list(connection.execute(select(table)))

    def status(self) -> dict[str, Any]:
        try:
            return msgspec.json.decode(self.status_path.read_bytes())["processes"]
        except FileNotFoundError:
            return {}

    def reported(self, state: str) -> bool:
        """Does the recorder say so of itself?"""
        return state in self.status().get("recorder", {}).get("state", "")

    def counter(self, name: str) -> float:
        """A counter of the recorder's own, 0 before its first report."""
        return self.status().get("recorder", {}).get("counters", {}).get(name, 0)

    def until(self, look: Callable[[], T], timeout_s: float = 20) -> T:
        """What ``look`` returns once it is true."""
        until = time.monotonic() + timeout_s
        while not (found := look()):
            assert time.monotonic() < until, f"did not come about in {timeout_s} s; status {self.status()}"
            time.sleep(0.005)
        return found

    def all_slots_free(self) -> bool:
        return self.ring.states() == [SlotState.FREE] * SLOTS

    def close(self) -> None:
        self.line.close()
        self.inspector.close()
        self.engine.dispose()
        self.reader.dispose()


@contextmanager
def recorder_peers(data_dir: Path) -> Iterator[RecorderPeers]:
    # Socket paths are short; pytest's are not.
    with tempfile.TemporaryDirectory(prefix="recorder-") as run_dir:
        peers = RecorderPeers(Path(run_dir), data_dir)
        yield peers
        peers.close()
