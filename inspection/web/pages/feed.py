"""What the live page shows: read from the records at most twice a second, however many look at it."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from statistics import quantiles

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from inspection.domain import Deployment, Fault, Inspection, Lot, LotState, LotSummary
from inspection.errors import NotFound
from inspection.records import deployments, queries
from inspection.web.context import Context
from inspection.web.health import Health, read_health

PARTS = 12
FAULTS = 4
LATENCIES = 500
_FRESH_S = 0.4
# Counting a lot takes time with its size: at most every fiftieth of it is spent on that.
_COUNTING_SHARE = 0.02
_RATE_WINDOW_S = 5.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Trigger to decision over the newest inspections, in milliseconds."""

    p50_ms: float
    p99_ms: float
    inspections: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """``parts`` newest first; ``summary`` and ``lot`` of the lot that runs; ``rate`` in triggers per second.

    Without readable records there are no parts and ``health`` says why.
    """

    health: Health
    parts: tuple[Inspection, ...] = ()
    summary: LotSummary | None = None
    lot: Lot | None = None
    deployment: Deployment | None = None
    latency: Latency | None = None
    faults: tuple[Fault, ...] = ()
    rate: float = 0.0


class Feed:
    """One for the whole web process; thread-safe."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._snapshot = Snapshot(read_health(context))
        self._triggers: deque[tuple[float, int]] = deque()
        self._summary: LotSummary | None = None
        self._count_at = float("-inf")

    def current(self) -> Snapshot:
        """The newest snapshot. Never raises for unreadable records."""
        with self._lock:
            if time.monotonic() - self._read_at >= _FRESH_S:
                health = read_health(self._context)
                try:
                    with self._context.reader.connect() as records:
                        self._snapshot = self._read(records, health)
                except DBAPIError:
                    self._snapshot = Snapshot(health)
                self._read_at = time.monotonic()
            return self._snapshot

    def _read(self, records: Connection, health: Health) -> Snapshot:
        parts = queries.latest(records, PARTS)
        lot_name = _running_lot(records, parts)
        summary = lot = deployment = None
        if lot_name is not None:
            summary = self._counted(records, lot_name)
            try:
                lot = queries.get_lot(records, lot_name)
            except NotFound:
                lot = None  # triggered, never opened
        if lot is not None:
            deployment = deployments.model_in_service(records, self._context.settings.station, lot.product)
        return Snapshot(
            health=health,
            parts=parts,
            summary=summary,
            lot=lot,
            deployment=deployment,
            latency=_latency(queries.latest_timings_ms(records, LATENCIES)),
            faults=queries.latest_faults(records, FAULTS),
            rate=self._rate(queries.counters(records).last_trigger_id),
        )

    def _counted(self, records: Connection, lot: str) -> LotSummary:
        """The counts of the lot; those of a lot with hundreds of thousands of parts are some seconds old."""
        began = time.monotonic()
        if self._summary is None or self._summary.lot != lot or began >= self._count_at:
            self._summary = queries.lot_summary(records, lot)
            self._count_at = time.monotonic() + (time.monotonic() - began) / _COUNTING_SHARE - _FRESH_S
        return self._summary

    def _rate(self, last_trigger_id: int) -> float:
        now = time.monotonic()
        self._triggers.append((now, last_trigger_id))
        while now - self._triggers[0][0] > _RATE_WINDOW_S and len(self._triggers) > 2:
            self._triggers.popleft()
        since, first = self._triggers[0]
        return (last_trigger_id - first) / (now - since) if now > since else 0.0


def _running_lot(records: Connection, parts: tuple[Inspection, ...]) -> str | None:
    """The lot of the newest part, or the lot opened since."""
    newest = queries.list_lots(records, None, 1).items
    if newest and newest[0].state is LotState.OPEN and (not parts or newest[0].opened_at > parts[0].recorded_at):
        return newest[0].lot
    return parts[0].lot if parts else None


def _latency(timings: tuple[dict[str, float], ...]) -> Latency | None:
    totals = [timing["total"] for timing in timings if "total" in timing]
    if len(totals) < 2:
        return None
    cuts = quantiles(totals, n=100, method="inclusive")
    return Latency(p50_ms=cuts[49], p99_ms=cuts[98], inspections=len(totals))
