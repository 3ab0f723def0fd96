"""When the golden parts have to be fed, and what a challenge shows: the rule, pure.

Production of a product is locked unless the newest challenge that was finished was passed, so recently and with such a model
as its recipe asks for. What is not known counts against production.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from inspection.domain import OK, Challenge, ChallengeResult, ChallengeState, Deployment, GoldenPart, Inspection, Verdict

# A clock may be corrected by so much without a question.
_CLOCK = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a recipe asks for: a challenge passed within ``every_hours``, and by the model in service since its deployment."""

    every_hours: float
    after_deployment: bool = True


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a product stands: is production locked, why in words, and when a challenge is due; None if none is asked for."""

    product: str
    locked: bool
    due_at: datetime | None
    why: str


def standing(
    product: str, asked: Asked | None, finished: Challenge | None, in_service: Deployment | None, now: datetime
) -> Standing:
    """``finished`` is the newest challenge of the product that passed or failed; ``in_service`` the deployment that decides."""
    if asked is None:
        return Standing(product, False, None, "the recipe asks for no challenge")
    why = _why_locked(asked, finished, in_service, now)
    if why is not None:
        return Standing(product, True, now, why)
    assert finished is not None
    assert finished.ended_at is not None
    due_at = finished.ended_at + timedelta(hours=asked.every_hours)
    if due_at <= now:
        return Standing(
            product, True, due_at, f"challenge {finished.challenge_id} was passed more than {asked.every_hours:g} h ago"
        )
    return Standing(product, False, due_at, f"challenge {finished.challenge_id} was passed")


def _why_locked(asked: Asked, finished: Challenge | None, in_service: Deployment | None, now: datetime) -> str | None:
    """Why production is locked, whatever the hours; None if it is not."""
    if finished is None or finished.ended_at is None:
        return "no challenge has been finished yet"
    if finished.state is not ChallengeState.PASSED:
        return f"challenge {finished.challenge_id} was not passed"
    if finished.ended_at > now + _CLOCK:
        return f"challenge {finished.challenge_id} ended later than it is now: the clock was set back"
    if not asked.after_deployment:
        return None
    if in_service is None:
        return "no model is in service"
    if any(result.model != in_service.model for result in finished.results):
        return f"challenge {finished.challenge_id} was passed by another model than the one in service"
    if finished.ended_at < in_service.deployed_at:
        return f"the model was put in service after challenge {finished.challenge_id}"
    return None


def judged(
    parts: Iterable[GoldenPart], newest: Mapping[str, Inspection], in_service: Deployment | None
) -> tuple[ChallengeResult, ...]:
    """What the newest attempt of each golden part shows, by serial."""
    return tuple(_judged(part, newest.get(part.serial), in_service) for part in sorted(parts, key=lambda part: part.serial))


def _judged(part: GoldenPart, inspection: Inspection | None, in_service: Deployment | None) -> ChallengeResult:
    if inspection is None:
        return ChallengeResult(part.serial, part.label)
    right = None
    if inspection.verdict is not Verdict.NOT_INSPECTED and in_service is not None and inspection.model == in_service.model:
        right = (inspection.verdict is Verdict.PASS) == (part.label == OK)
    return ChallengeResult(
        serial=part.serial,
        label=part.label,
        seq=inspection.seq,
        attempt=inspection.attempt,
        verdict=inspection.verdict,
        reason=inspection.reason,
        score=inspection.score,
        model=inspection.model,
        right=right,
    )


def why_not_finished(results: Iterable[ChallengeResult]) -> str | None:
    """What is to be done before the challenge can be finished; None if nothing is. One wrong part is enough to fail it."""
    results = tuple(results)
    if any(result.right is False for result in results):
        return None
    missing = [result.serial for result in results if result.right is None]
    if not missing:
        return None
    named = ", ".join(repr(serial) for serial in missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
    return f"golden part {named} was not judged by the model in service yet; feed it, or abandon the challenge"


def why_not_abandoned(results: Iterable[ChallengeResult]) -> str | None:
    """Why the challenge must be finished, and fails: what it has shown already must not be forgotten. None if it need not."""
    wrong = [result.serial for result in results if result.right is False]
    if not wrong:
        return None
    named = ", ".join(repr(serial) for serial in wrong[:5])
    return f"golden part {named} was judged wrong; feed it again, or finish the challenge, which then has failed"


def outcome(results: Iterable[ChallengeResult]) -> ChallengeState:
    """Passed if every golden part was judged right."""
    results = tuple(results)
    return ChallengeState.PASSED if results and all(result.right for result in results) else ChallengeState.FAILED
