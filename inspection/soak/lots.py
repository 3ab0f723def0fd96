"""Lots one after another: the next is opened before the one before is full, each is closed when its last part has its result."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from inspection.cell import CellPart, Outcome
from inspection.commands import CloseLot, Command, OpenLot
from inspection.config import Config
from inspection.domain import LotState
from inspection.errors import Unavailable
from inspection.recorder_client import ZmqRecorderClient
from inspection.records.tables import lots
from inspection.soak.scenes import Scenes
from inspection.soak.station import PRODUCT

_LOOK_S = 0.1
# Images are stored behind the verdicts.
_SETTLED_S = 1.0


@dataclass
class Lot:
    name: str
    conveyed: int = 0
    full: bool = False
    outcomes: list[Outcome] = field(default_factory=list)
    last_at: float = 0.0

    @property
    def over(self) -> bool:
        results = self.full and len(self.outcomes) == self.conveyed
        return results and time.monotonic() - self.last_at > _SETTLED_S


class Lots:
    """``parts`` is run through by the cell's thread, which also calls ``result``; ``keep`` is a thread of its own.

    ``check`` gets each lot that is over and closed. A lot that cannot be opened now is tried again; meanwhile the former goes on.
    """

    def __init__(
        self, config: Config, engine: Engine, scenes: Scenes, prefix: str, size: int, first: int, check: Callable[[Lot], None]
    ) -> None:
        self._config = config
        self._engine = engine
        self._scenes = scenes
        self._prefix = prefix
        self._size = size
        self._check = check
        self._opened = 0
        self._next: Lot | None = None
        self._running: dict[str, Lot] = {}
        self._ended = threading.Event()
        self.number = first
        """Of the next part."""

    def open_first(self) -> None:
        """Before any part comes. Unavailable if the recorder does not answer."""
        self._open_next()

    def parts(self, going_on: Callable[[], bool], spoilt: Callable[[], str | None]) -> Iterator[CellPart]:
        """Parts as long as ``going_on``."""
        present = self._take_next()
        assert present is not None
        while going_on():
            if present.conveyed >= self._size and (following := self._take_next()) is not None:
                present.full = True
                present = following
            present.conveyed += 1
            self.number += 1
            yield self._scenes.part(present.name, self.number - 1, spoilt())
        present.full = True

    def result(self, outcome: Outcome) -> None:
        lot = self._running[outcome.lot]
        lot.outcomes.append(outcome)
        lot.last_at = time.monotonic()

    def keep(self) -> None:
        """Until ``finish``: open what is needed next, close and check what is over."""
        while not self._ended.wait(_LOOK_S):
            try:
                self._step()
            except (Unavailable, SQLAlchemyError):
                continue  # the recorder or the database is away

    def finish(self) -> list[str]:
        """Ends ``keep``; the lots that were not over and checked by then."""
        self._ended.set()
        return sorted(self._running)

    @property
    def waiting(self) -> int:
        """Lots that have parts and are not checked yet."""
        return len(self._running)

    def _take_next(self) -> Lot | None:
        taken, self._next = self._next, None
        if taken is not None:
            self._running[taken.name] = taken
        return taken

    def _step(self) -> None:
        if self._next is None:
            self._open_next()
        for lot in [lot for lot in list(self._running.values()) if lot.over]:
            if self._state(lot.name) is LotState.OPEN:
                self._execute(CloseLot(lot=lot.name))
            if self._state(lot.name) is LotState.CLOSED:
                self._check(lot)
                del self._running[lot.name]

    def _open_next(self) -> None:
        name = f"{self._prefix}{self._opened + 1}"
        # A command whose answer did not come in time may have taken effect.
        if self._state(name) is None:
            self._execute(OpenLot(lot=name, product=PRODUCT))
        if self._state(name) is LotState.OPEN:
            self._opened += 1
            self._next = Lot(name)

    def _state(self, lot: str) -> LotState | None:
        with self._engine.connect() as connection:
            state = connection.execute(select(lots.c.state).where(lots.c.lot == lot)).scalar_one_or_none()
        return None if state is None else LotState(state)

    def _execute(self, command: Command) -> None:
        with closing(ZmqRecorderClient(self._config.commands_address)) as client:
            client.execute(command)
