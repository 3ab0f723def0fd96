"""What the audit trail says of a request: who, what, about what, and how it ended."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.routing import compile_path
from starlette.types import Message, Receive

from inspection.records.audit import MAX_DETAIL, Trace
from inspection.web.identity import Caller
from inspection.web.names import decoded
from inspection.web.permissions import PREFIX

# Of a body that is longer, only its length is kept.
_LARGEST_BODY = 1 << 18
_LONGEST_SUBJECT = 500
_SUBJECTS = ("lot", "serial", "product", "model", "training_set", "user", "role", "defect_class", "label")
_SECRET = re.compile("password|secret|token", re.IGNORECASE)
# People type passwords into the wrong field, and into the wrong half of a login: nothing of what comes here is kept.
_SESSION = PREFIX + "session"


class Templates:
    """The paths of all routes, to tell ``/lots/{lot}/hold`` from ``/lots/L7/hold`` before the router has."""

    def __init__(self) -> None:
        self._known: list[tuple[re.Pattern[str], str]] = []

    def add(self, router: APIRouter) -> None:
        for route in router.routes:
            if isinstance(route, APIRoute):
                self._known.append((compile_path(route.path)[0], route.path))

    def match(self, path: str) -> tuple[str, Mapping[str, str]]:
        """Template and parameters of this path; the path itself if there is no such route."""
        for pattern, template in self._known:
            if found := pattern.match(path):
                return template, {name: decoded(value) for name, value in found.groupdict().items()}
        return path, {}


def trace_of(caller: Caller, method: str, template: str, parameters: Mapping[str, str], body: bytes | None) -> Trace:
    """``body``: None if it is too long to be kept. Who a program says that it acts for is in ``detail`` alone."""
    if template.startswith(_SESSION):
        body = b""
    document: Any = None
    detail = ""
    if body is None:
        detail = json.dumps({"body": f"more than {_LARGEST_BODY} bytes"})
    elif body:
        try:
            document = json.loads(body)
            detail = json.dumps(_without_secrets(document), ensure_ascii=False, separators=(",", ":"))
        except (ValueError, RecursionError):
            detail = json.dumps({"body": f"{len(body)} bytes that are no JSON"})
    fields = document if isinstance(document, dict) else {}
    said = {name: fields[name] for name in _SUBJECTS if isinstance(fields.get(name), str | int)}
    subject = ", ".join(f"{name} {value}" for name, value in {**said, **parameters}.items())
    who = caller.session.user if caller.session else caller.token.account if caller.token else "unnamed"
    action = f"{method} /{template.removeprefix(PREFIX)}"
    return Trace(who, caller.role, caller.client, action, subject[:_LONGEST_SUBJECT], detail[:MAX_DETAIL])


async def read_body(receive: Receive) -> tuple[bytes | None, Receive]:
    """The body, None if it is long; and what gives the same messages again, and then the rest."""
    seen: list[Message] = []
    body, more = b"", True
    while more and len(body) <= _LARGEST_BODY:
        message = await receive()
        seen.append(message)
        more = message["type"] == "http.request" and message.get("more_body", False)
        body += message.get("body", b"")
    waiting = iter(seen)

    async def again() -> Message:
        return next(waiting, None) or await receive()

    return None if more or len(body) > _LARGEST_BODY else body, again


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: "…" if _SECRET.search(name) else _without_secrets(each) for name, each in value.items()}
    return [_without_secrets(each) for each in value] if isinstance(value, list) else value
