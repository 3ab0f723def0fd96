"""Golden parts and challenges. The caller commits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from sqlalchemy import Connection, RowMapping, delete, insert, select, text, update

from inspection.challenges import judged
from inspection.commands import check_name
from inspection.domain import (
    OK,
    Challenge,
    ChallengeResult,
    ChallengeState,
    Deployment,
    GoldenPart,
    Inspection,
    Reason,
    Verdict,
)
from inspection.errors import Conflict, NotFound
from inspection.records import queries
from inspection.records.labels import check_label
from inspection.records.tables import challenges, golden_parts, inspections

challenge_lots = select(challenges.c.lot)
"""For statements: the lots that are no production; ``inspections.c.lot.not_in(challenge_lots)`` leaves them out."""

# A golden part is fed again until it lies right; no more of its attempts than these are looked at.
_MOST_INSPECTIONS = 10_000


# --- golden parts -----------------------------------------------------------------------------------------------------


def list_golden_parts(connection: Connection, product: str) -> tuple[GoldenPart, ...]:
    """The golden parts of a product, by serial."""
    rows = connection.execute(
        select(golden_parts).where(golden_parts.c.product == product).order_by(golden_parts.c.serial)
    ).mappings()
    return tuple(GoldenPart(**row) for row in rows)


def add_golden_part(connection: Connection, product: str, serial: str, label: str, by: str) -> GoldenPart:
    """Keep a part as golden, or change its label; Conflict for a name or label that is none."""
    try:
        check_name(serial)
        check_label(label)
    except ValueError as error:
        raise Conflict(f"a serial or label {error}") from None
    part = GoldenPart(product, serial, label, by, datetime.now(UTC))
    connection.execute(delete(golden_parts).where(golden_parts.c.product == product, golden_parts.c.serial == serial))
    connection.execute(insert(golden_parts).values(**asdict(part)))
    return part


def remove_golden_part(connection: Connection, product: str, serial: str) -> None:
    """NotFound if it is none."""
    this = (golden_parts.c.product == product) & (golden_parts.c.serial == serial)
    if connection.execute(delete(golden_parts).where(this)).rowcount == 0:
        raise NotFound(f"{serial!r} is no golden part of {product}; list them to find its serial")


# --- challenges -------------------------------------------------------------------------------------------------------


def start_challenge(connection: Connection, product: str, by: str) -> Challenge:
    """Record a challenge that begins now; its lot has to be opened after the commit.

    Conflict if one runs already, or the golden parts would show too little.
    """
    labels = {part.label for part in list_golden_parts(connection, product)}
    if OK not in labels or len(labels) < 2:
        raise Conflict(
            f"a challenge of {product} needs at least one good and one defective golden part, or it would not show that both "
            "are told apart; add what is missing"
        )
    if connection.dialect.name == "postgresql":
        # Two that start at once would both find none running; SQLite has one writer.
        connection.execute(text("LOCK TABLE challenges IN SHARE ROW EXCLUSIVE MODE"))
    running = running_challenge(connection, product)
    if running is not None:
        raise Conflict(f"challenge {running.challenge_id} of {product} is running; finish or abandon it first")
    values = {"product": product, "started_at": datetime.now(UTC), "started_by": by, "state": ChallengeState.RUNNING}
    number = connection.execute(
        insert(challenges).values(**values, lot=f"challenge {product}", results={}).returning(challenges.c.challenge_id)
    ).scalar_one()
    named = update(challenges).where(challenges.c.challenge_id == number).values(lot=f"challenge-{product}-{number}")
    return _challenge(connection.execute(named.returning(*challenges.c)).mappings().one())


def end_challenge(
    connection: Connection, challenge_id: int, state: ChallengeState, results: Sequence[ChallengeResult]
) -> Challenge:
    """Record how a running challenge ended; Conflict if it has ended already."""
    row = (
        connection.execute(
            update(challenges)
            .where(challenges.c.challenge_id == challenge_id, challenges.c.state == ChallengeState.RUNNING)
            .values(state=state, ended_at=datetime.now(UTC), results={each.serial: _stored(each) for each in results})
            .returning(*challenges.c)
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise Conflict(f"challenge {challenge_id} has ended already; start another one")
    return _challenge(row)


def get_challenge(connection: Connection, challenge_id: int) -> Challenge:
    """NotFound if there is none of this number."""
    row = connection.execute(select(challenges).where(challenges.c.challenge_id == challenge_id)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"challenge {challenge_id} is not recorded on this station; list the challenges to find its number")
    return _challenge(row)


def list_challenges(connection: Connection, product: str | None, limit: int) -> tuple[Challenge, ...]:
    """The newest challenges of one product or of all, newest first."""
    statement = select(challenges).order_by(challenges.c.challenge_id.desc()).limit(limit)
    if product is not None:
        statement = statement.where(challenges.c.product == product)
    return tuple(_challenge(row) for row in connection.execute(statement).mappings())


def running_challenge(connection: Connection, product: str) -> Challenge | None:
    return _newest(connection, product, (ChallengeState.RUNNING,))


def finished_challenge(connection: Connection, product: str) -> Challenge | None:
    """The newest challenge that passed or failed: the one that counts."""
    return _newest(connection, product, (ChallengeState.PASSED, ChallengeState.FAILED))


def results_now(
    connection: Connection, challenge: Challenge, in_service: Deployment | None
) -> tuple[tuple[ChallengeResult, ...], tuple[str, ...]]:
    """What a running challenge has shown so far, and the serials in its lot that are no golden parts."""
    parts = list_golden_parts(connection, challenge.product)
    newest: dict[str, Inspection] = {}
    for inspection in queries.search(connection, [inspections.c.lot == challenge.lot], 0, _MOST_INSPECTIONS):
        newest[inspection.serial] = inspection
    golden = {part.serial for part in parts}
    return judged(parts, newest, in_service), tuple(sorted(set(newest) - golden))


def _newest(connection: Connection, product: str, states: tuple[ChallengeState, ...]) -> Challenge | None:
    row = (
        connection.execute(
            select(challenges)
            .where(challenges.c.product == product, challenges.c.state.in_(states))
            .order_by(challenges.c.challenge_id.desc())
            .limit(1)
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else _challenge(row)


def _stored(result: ChallengeResult) -> dict[str, object]:
    values = asdict(result)
    values.pop("serial")
    return values


def _challenge(row: RowMapping) -> Challenge:
    results = tuple(
        ChallengeResult(
            **{
                **each,
                "serial": serial,
                "verdict": Verdict(each["verdict"]) if each["verdict"] else None,
                "reason": Reason(each["reason"]) if each["reason"] else None,
            }
        )
        for serial, each in sorted(row["results"].items())
    )
    return Challenge(**{**row, "state": ChallengeState(row["state"]), "results": results})
