"""What the line reads from the records: is the lot open, and was this request numbered before?"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from inspection.domain import LotState, Output, Reason, Verdict
from inspection.errors import Unavailable
from inspection.records.tables import inspections, lots, triggers

log = logging.getLogger(__name__)

_PAUSE_S = 2.0


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """What the records know of a request that was numbered before."""

    trigger_id: int
    serial: str
    verdict: Verdict | None
    reason: Reason | None
    output: Output | None


@dataclass
class Lookups:
    """What the line reads from the records: (state, product) of a lot, and a request that was numbered already (Unavailable
    while the records cannot be read). ``challenge_due``: does a part of this lot and product have to wait for a challenge?"""

    lot: Callable[[str], tuple[LotState, str] | None]
    request: Callable[[str], RecordedRequest | None]
    challenge_due: Callable[[str, str], bool]


class Pause:
    """A database that is out of reach costs each try seconds, in which the line does nothing else: not for every part."""

    def __init__(self) -> None:
        self._until = 0.0

    def begin(self) -> None:
        self._until = time.monotonic() + _PAUSE_S

    def lasts(self) -> bool:
        return time.monotonic() < self._until


def lookups(engine: Engine, challenge_due: Callable[[str, str], bool], pause: Pause) -> Lookups:
    """What the line reads: lots and requests. While the database cannot be read, lots are answered from memory."""
    remembered: dict[str, tuple[LotState, str]] = {}

    def lot(name: str) -> tuple[LotState, str] | None:
        if pause.lasts():
            return remembered.get(name)
        try:
            with engine.connect() as connection:
                row = connection.execute(select(lots.c.state, lots.c.product).where(lots.c.lot == name)).one_or_none()
        except SQLAlchemyError as error:
            pause.begin()
            log.error("the lot %s cannot be read: %s", name, error)
            return remembered.get(name)
        if row is None:
            return None
        if len(remembered) > 1_000:
            remembered.clear()
        remembered[name] = (LotState(row.state), row.product)
        return remembered[name]

    def request(request_id: str) -> RecordedRequest | None:
        columns = (triggers.c.trigger_id, triggers.c.serial, inspections.c.verdict, inspections.c.reason, inspections.c.output)
        statement = (
            select(*columns)
            .outerjoin(inspections, inspections.c.trigger_id == triggers.c.trigger_id)
            .where(triggers.c.request_id == request_id)
        )
        if pause.lasts():
            raise Unavailable("the records could not be read a moment ago")
        try:
            with engine.connect() as connection:
                row = connection.execute(statement).one_or_none()
        except SQLAlchemyError as error:
            pause.begin()
            raise Unavailable(f"the records cannot be read: {error}") from error
        if row is None:
            return None
        return RecordedRequest(
            trigger_id=row.trigger_id,
            serial=row.serial,
            verdict=Verdict(row.verdict) if row.verdict else None,
            reason=Reason(row.reason) if row.reason else None,
            output=Output(row.output) if row.output else None,
        )

    return Lookups(lot=lot, request=request, challenge_due=challenge_due)
