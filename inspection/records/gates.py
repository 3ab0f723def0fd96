"""Gate results: what models showed before they may decide. Every gating is a row of its own. The caller commits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from sqlalchemy import Connection, RowMapping, insert, select

from inspection.domain import Check, Gate
from inspection.records.tables import gates


def store_gate(
    connection: Connection, station: str, product: str, model: str, checks: Sequence[Check], compared_with: str | None, by: str
) -> Gate:
    """Record a gating; it passed if every check did."""
    values = {
        "station": station,
        "product": product,
        "model": model,
        "passed": all(check.passed for check in checks),
        "checks": [asdict(check) for check in checks],
        "compared_with": compared_with,
        "gated_by": by,
        "gated_at": datetime.now(UTC),
    }
    return _gate(connection.execute(insert(gates).values(**values).returning(*gates.c)).mappings().one())


def latest_gate(connection: Connection, station: str, model: str) -> Gate | None:
    """The newest gating of a model on this station, which counts; None if there was none."""
    found = list_gates(connection, station, model)
    return found[0] if found else None


def list_gates(connection: Connection, station: str, model: str) -> tuple[Gate, ...]:
    """All gatings of a model on this station, newest first."""
    rows = connection.execute(
        select(gates).where(gates.c.model == model, gates.c.station == station).order_by(gates.c.gate_id.desc())
    ).mappings()
    return tuple(_gate(row) for row in rows)


def _gate(row: RowMapping) -> Gate:
    return Gate(**{**row, "checks": tuple(Check(**check) for check in row["checks"])})
