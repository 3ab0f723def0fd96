"""No change without a trace, as over REST: an entry before a method is worked on, and one that says how it ended."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from inspection.opcua.refusals import Code, Refusal, WrongState
from inspection.opcua.server import address, caller
from inspection.records.audit import ASKED, DONE, FAILED, Trace, Trail

log = logging.getLogger(__name__)

_LONGEST = 64
# Comes at line speed, and what became of it is the inspection; so one entry, unless it was refused.
_AT_LINE_SPEED = "StartSingleJob"
_FAILURES = (SQLAlchemyError, OSError)

Handler = Callable[..., Awaitable[Sequence[Any]]]
"""Gets the input arguments, ids as their text; returns the output arguments without ``Error``."""


def acting() -> str:
    """Who calls, as the records name him in 64 characters: users of OPC UA are not those of the pages."""
    return f"opcua/{caller.get()}"[:_LONGEST]


@dataclass(frozen=True)
class Audited:
    """Where no entry can be written, nothing is done."""

    trail: Trail

    def traced(self, path: str, names: Sequence[str], handler: Handler) -> Handler:
        """The handler of a method, with its entries; ``names`` are those of its arguments."""
        method = path.rpartition(".")[2]

        async def call(*values: Any) -> Sequence[Any]:
            given = {name: value for name, value in zip(names, values, strict=True) if value not in ("", [])}
            detail = json.dumps(given, ensure_ascii=False, separators=(",", ":"), default=str)
            trace = Trace(acting(), "program", address.get(), f"call {method}", path, detail)
            try:
                asked = await asyncio.to_thread(self.trail.write, trace, ASKED)
            except _FAILURES as error:
                log.error("the audit trail cannot be written: %s", error)
                raise Refusal(Code.UNAVAILABLE, "the audit trail cannot be written, so nothing was done; try again") from error
            outcome = FAILED
            try:
                returned = await handler(*values)
                outcome = DONE
            except Refusal as refusal:
                outcome = f"{FAILED} {refusal.code}"
                raise
            except WrongState:
                outcome = f"{FAILED} BadInvalidState"
                raise
            finally:
                if method != _AT_LINE_SPEED or outcome != DONE:
                    await self._tell(replace(trace, detail=json.dumps({ASKED: asked.audit_id})), outcome)
            return returned

        return call

    async def _tell(self, trace: Trace, outcome: str) -> None:
        try:
            await asyncio.to_thread(self.trail.write, trace, outcome)
        except _FAILURES as error:
            log.error("the outcome %s is not in the audit trail: %s; %s", outcome, trace, error)
