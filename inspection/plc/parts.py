"""Parts between their trigger and their result. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import msgspec

from inspection.messages import TriggerRequest

# A request without an answer is said again so long after the deadline for an accept, and then again.
_REPEAT_NS: Final = 1_000_000_000
_LOOK_NS: Final = 50_000_000
# Past this, no trigger is taken; the line leaves as many open.
LIMIT: Final = 4_096


@dataclass
class Part:
    """One trigger of the PLC. After ``deadline_ns`` an accept comes too late. ``passed``: its request was repeated, the part is
    gone; ``void``: never to be accepted; ``resolved``: its result is known.
    """

    request: TriggerRequest
    deadline_ns: int
    asked_ns: int
    trigger_id: int | None = None
    expose_until_ns: int = 0
    given_up: bool = False
    passed: bool = False
    void: bool = False
    resolved: bool = False

    def allow_exposure(self, until_ns: int) -> None:
        if not self.given_up and not self.passed:
            self.expose_until_ns = min(until_ns, self.deadline_ns)

    def exposed(self, now_ns: int) -> bool:
        """No exposure of this part is under way or allowed. How long the station's own trigger takes is not known here."""
        if self.trigger_id is None:
            return False
        return self.resolved or self.given_up or now_ns > (self.expose_until_ns or self.deadline_ns)


@dataclass
class Pending:
    """Parts without a result, by the name of their request, in the order of their triggers."""

    _parts: dict[str, Part] = field(default_factory=dict)
    _look_ns: int = 0

    def __len__(self) -> int:
        return len(self._parts)

    def add(self, part: Part) -> None:
        self._parts[part.request.request_id] = part

    def get(self, request_id: str) -> Part | None:
        return self._parts.get(request_id)

    def pop(self, request_id: str) -> Part | None:
        return self._parts.pop(request_id, None)

    def void(self) -> None:
        for part in self._parts.values():
            part.void = True

    def repeats(self, now_ns: int) -> list[TriggerRequest]:
        """Requests to be said again: their parts are gone and rejected, their rows are asked for."""
        if now_ns < self._look_ns:
            return []
        self._look_ns = now_ns + _LOOK_NS
        found = []
        for part in self._parts.values():
            if now_ns - max(part.asked_ns, part.deadline_ns) >= _REPEAT_NS:
                part.asked_ns, part.passed = now_ns, True
                found.append(msgspec.structs.replace(part.request, passed=True))
        return found
