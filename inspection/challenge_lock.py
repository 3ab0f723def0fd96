"""Production waits for a challenge that is due: what the line asks for each part, answered from memory.

What is remembered is what the records say, not the answer: a challenge comes due by the clock alone. A part is refused only on
what was read for it, so that a challenge that was just started or passed counts at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from inspection.challenges import Asked, standing
from inspection.config import ProductConfig
from inspection.domain import Challenge, Deployment
from inspection.lookups import Pause
from inspection.records.challenges import finished_challenge, running_challenge
from inspection.records.deployments import model_in_service

log = logging.getLogger(__name__)

REMEMBER_S = 1.0
"""A challenge that failed, or a deployment that makes one due, locks production after this time."""


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What the records said of a product."""

    finished: Challenge | None
    running_lot: str | None
    in_service: Deployment | None


class ChallengeLock:
    """For one station; products whose recipes ask for no challenge cost nothing."""

    def __init__(self, engine: Engine, station: str, products: Iterable[ProductConfig], pause: Pause) -> None:
        self._engine = engine
        self._station = station
        self._asked = asked_of(products)
        self._evidence: dict[str, _Evidence] = {}
        self._read_at: dict[str, float] = {}
        self._pause = pause

    def is_due(self, lot: str, product: str) -> bool:
        """Must a part of this lot wait for a challenge? While the records cannot be read, what they said last holds; if they
        never said anything, it must.
        """
        if product not in self._asked:
            return False
        if time.monotonic() - self._read_at.get(product, float("-inf")) <= REMEMBER_S and not self._decide(lot, product):
            return False
        if not self._pause.lasts():
            self._read(product)
        return self._decide(lot, product)

    def _decide(self, lot: str, product: str) -> bool:
        evidence = self._evidence.get(product)
        if evidence is None:
            return True
        if lot == evidence.running_lot:
            return False
        asked = self._asked[product]
        return standing(product, asked, evidence.finished, evidence.in_service, datetime.now(UTC)).locked

    def _read(self, product: str) -> None:
        self._read_at[product] = time.monotonic()
        try:
            with self._engine.connect() as connection:
                running = running_challenge(connection, product)
                self._evidence[product] = _Evidence(
                    finished=finished_challenge(connection, product),
                    running_lot=None if running is None else running.lot,
                    in_service=model_in_service(connection, self._station, product),
                )
        except SQLAlchemyError as error:
            self._pause.begin()
            log.error("the challenges of %s cannot be read: %s", product, error)


def asked_of(products: Iterable[ProductConfig]) -> dict[str, Asked]:
    """{product: what its recipe asks for}, of those that ask for challenges."""
    return {
        product.part_number: Asked(product.challenge_every_hours, product.challenge_after_deployment)
        for product in products
        if product.challenge_every_hours is not None
    }
