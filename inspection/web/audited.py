"""No write without a trace: an entry before the request is worked on, and one that says how it ended.

The first is durable before anything is done. If it cannot be written, nothing is done. So an action whose process died in the
middle has left "asked" without an outcome, and the records tell what became of it.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from http import HTTPStatus

from anyio import to_thread
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Send

from inspection.records.audit import ASKED, Trace, Trail
from inspection.records.users import Login
from inspection.web.context import Context
from inspection.web.identity import Caller
from inspection.web.limits import Limit
from inspection.web.permissions import PREFIX, READS
from inspection.web.problems import MEDIA_TYPE, Problem, problem_response
from inspection.web.trail import Templates, read_body, trace_of

log = logging.getLogger(__name__)

_FAILURES = (DBAPIError, PoolTimeout, OSError)
# Reads by which records leave the station.
_EXPORTS = (".csv", ".parquet", ".xml", ".pdf")
# Comes at line speed, and what became of it is the inspection; so one entry, unless it was refused.
_TRIGGERS = PREFIX + "triggers"
# Whoever may do nothing could fill the disk with what he was refused: these are listed, the others counted.
_STRANGERS_PER_S, _STRANGERS_AT_ONCE = 1.0, 60.0
# All of them together, since addresses cost nothing.
_ALL_STRANGERS_PER_S, _ALL_STRANGERS_AT_ONCE = 2.0, 240.0
# Logins that fail so lock their user, which ends them: always listed.
_LOCKING = (f"401 {Login.WRONG}", f"401 {Login.LOCKED_NOW}")


@dataclass(frozen=True, slots=True)
class Known:
    """What a route knows better, put into ``request.scope["state"]["traced"]``: who it was, and how it ended."""

    by: str | None = None
    role: str | None = None
    outcome: str | None = None


class Audited:
    """Sends requests on to ``app``. Traces are what ``trail`` makes of them."""

    def __init__(self, app: ASGIApp, context: Context, templates: Templates) -> None:
        self._app = app
        self._trail = Trail(context.writer, context.settings.data_dir)
        self._templates = templates
        self._strangers = Limit(_STRANGERS_PER_S, _STRANGERS_AT_ONCE)
        self._all_strangers = Limit(_ALL_STRANGERS_PER_S, _ALL_STRANGERS_AT_ONCE)
        self._unlisted = 0

    async def __call__(self, request: Request, caller: Caller, receive: Receive, send: Send, is_login: bool = False) -> None:
        """Work on a request that is allowed. A login has one entry alone, since nothing is done before its answer is sent."""
        template, parameters = self._templates.match(request.scope["path"])
        if request.method in READS and not template.endswith(_EXPORTS):
            await self._app(request.scope, receive, send)
            return
        body, receive = await read_body(receive)
        trace = trace_of(caller, request.method, template, parameters, body)
        if request.method in READS:
            await self._export(request, trace, receive, send)
            return
        if not is_login:
            try:
                asked = await to_thread.run_sync(self._trail.write, trace, ASKED)
            except _FAILURES as error:
                await self._unwritable(request, error)(request.scope, receive, send)
                return
            trace = replace(trace, detail=json.dumps({ASKED: asked.audit_id}))
        await self._work(request, caller, trace, receive, send, is_login)

    async def refuse(
        self, request: Request, caller: Caller, problem: Problem, answer: Response, receive: Receive, send: Send
    ) -> None:
        """Answer a request that is not allowed."""
        limited = not _known(caller) or problem.status is HTTPStatus.TOO_MANY_REQUESTS
        if request.method not in READS and not (limited and self._is_too_much(caller)):
            template, parameters = self._templates.match(request.scope["path"])
            body, receive = await read_body(receive)
            trace = self._with_unlisted(trace_of(caller, request.method, template, parameters, body))
            try:
                await to_thread.run_sync(self._trail.write, trace, f"{problem.status:d} {problem.code}")
            except _FAILURES as error:
                # It is refused all the same.
                log.error("a refusal is not in the audit trail: %s; %s", trace, error)
        await answer(request.scope, receive, send)

    def _is_too_much(self, caller: Caller) -> bool:
        """Is the trail to list nothing more of this caller for now? It is counted then."""
        if self._strangers.take(caller.account) or (not _known(caller) and self._all_strangers.take("all")):
            self._unlisted += 1
            return True
        return False

    def _with_unlisted(self, trace: Trace) -> Trace:
        """The trace, with the number of those that were not listed before it."""
        if not self._unlisted:
            return trace
        unlisted, self._unlisted = self._unlisted, 0
        return replace(trace, detail=json.dumps({"not_listed_before": unlisted}))

    async def _export(self, request: Request, trace: Trace, receive: Receive, send: Send) -> None:
        try:
            await to_thread.run_sync(self._trail.write, trace, ASKED)
        except _FAILURES as error:
            # Nothing is changed; and where the disk is full, records must be taken away.
            log.error("an export is not in the audit trail: %s; %s", trace, error)
        await self._app(request.scope, receive, send)

    async def _work(self, request: Request, caller: Caller, trace: Trace, receive: Receive, send: Send, is_login: bool) -> None:
        held: Message | None = None
        told = dropped = False

        async def tell(outcome: str) -> None:
            nonlocal told
            told = True
            # What the route knows better: who tried to log in, and why that failed.
            known: Known = request.scope["state"].get("traced", Known())
            outcome = known.outcome or outcome
            if request.scope["path"] == _TRIGGERS and outcome < "4":
                return
            entry = replace(trace, by=known.by or trace.by, role=known.role or trace.role)
            if is_login and outcome.startswith("4") and outcome not in _LOCKING:
                if self._is_too_much(caller):
                    return
                entry = self._with_unlisted(entry)
            await to_thread.run_sync(self._trail.write, entry, outcome)

        async def traced(message: Message) -> None:
            nonlocal held, dropped
            if dropped:
                return
            if message["type"] == "http.response.start":
                held = message
                return
            if held is not None:
                outcome = _outcome(held, message)
                try:
                    await tell(outcome)
                except _FAILURES as error:
                    if is_login:
                        dropped = True
                        await self._unwritable(request, error)(request.scope, receive, send)
                        return
                    log.error("the outcome %s is not in the audit trail: %s; %s", outcome, trace, error)
                start, held = held, None
                await send(start)
            await send(message)

        try:
            await self._app(request.scope, receive, traced)
        except Exception:
            if not told:
                try:
                    await tell("500 internal_error")
                except _FAILURES as error:
                    log.error("a failure is not in the audit trail: %s; %s", trace, error)
            raise

    def _unwritable(self, request: Request, error: Exception) -> Response:
        log.error("the audit trail cannot be written: %s", error)
        detail = "the audit trail cannot be written, so nothing was done; try again, and look at database and disk if it stays so"
        return problem_response(request, HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", detail)


def _known(caller: Caller) -> bool:
    return caller.session is not None or caller.token is not None


def _outcome(start: Message, first: Message) -> str:
    """The status, and the code of a problem."""
    status = str(start["status"])
    if dict(start["headers"]).get(b"content-type") == MEDIA_TYPE.encode():
        try:
            return f"{status} {json.loads(first.get('body', b''))['code']}"
        except (ValueError, KeyError):
            return status
    return status
