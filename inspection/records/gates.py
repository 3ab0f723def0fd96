"""Gate results: what models showed before they may decide. Every gating is a row of its own. The caller commits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, insert, select, update

from inspection.domain import Check, Gate
from inspection.records.tables import gates

LATENCY = "latency"
"""The check that a model is fast enough."""
GOLDEN = "golden"
"""The check that a model judges the golden images right."""


def request_gate(connection: Connection, station: str, product: str, model: str, by: str) -> Gate:
    """Have the trainer gate a model; one that waits already is not asked for twice."""
    waiting = connection.execute(_waiting(station).where(gates.c.model == model)).mappings().first()
    if waiting is not None:
        return _gate(waiting)
    values = {"station": station, "product": product, "model": model, "checks": [], "gated_by": by}
    return _gate(connection.execute(insert(gates).values(**values).returning(*gates.c)).mappings().one())


def waiting_gate(connection: Connection, station: str) -> Gate | None:
    """The gate of this station that waits longest; None if none does."""
    row = connection.execute(_waiting(station)).mappings().first()
    return None if row is None else _gate(row)


def store_gate(
    connection: Connection, station: str, product: str, model: str, checks: Sequence[Check], compared_with: str | None, by: str
) -> Gate:
    """Record a gating, as the answer to the one that waits if there is one; it passed if every check did."""
    values: dict[str, Any] = {
        "passed": all(check.passed for check in checks),
        "checks": [asdict(check) for check in checks],
        "compared_with": compared_with,
        "gated_at": datetime.now(UTC),
    }
    waiting = connection.execute(_waiting(station).where(gates.c.model == model)).first()
    if waiting is not None:
        answer = update(gates).where(gates.c.gate_id == waiting.gate_id).values(**values).returning(*gates.c)
        return _gate(connection.execute(answer).mappings().one())
    values |= {"station": station, "product": product, "model": model, "gated_by": by}
    return _gate(connection.execute(insert(gates).values(**values).returning(*gates.c)).mappings().one())


def latest_gate(connection: Connection, station: str, model: str) -> Gate | None:
    """The newest gating of a model on this station that is done, which counts; None if there was none."""
    return next((gate for gate in list_gates(connection, station, model) if gate.passed is not None), None)


def list_gates(connection: Connection, station: str, model: str) -> tuple[Gate, ...]:
    """All gatings of a model on this station, newest first."""
    rows = connection.execute(
        select(gates).where(gates.c.model == model, gates.c.station == station).order_by(gates.c.gate_id.desc())
    ).mappings()
    return tuple(_gate(row) for row in rows)


def _waiting(station: str) -> Select[Any]:
    return select(gates).where(gates.c.station == station, gates.c.passed.is_(None)).order_by(gates.c.gate_id).limit(1)


def _gate(row: RowMapping) -> Gate:
    return Gate(**{**row, "checks": tuple(Check(**check) for check in row["checks"])})
