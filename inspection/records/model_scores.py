"""What models say of stored images, beside what they said on the line. The caller commits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from inspection.records.tables import model_scores


def store_scores(connection: Connection, model: str, scores: Mapping[str, float]) -> None:
    """Record scores by the images' SHA-256; one that is known stays, for the same model and image give the same score."""
    if not scores:
        return
    # Two may score the same model at once; which of them comes first does not matter.
    dialect: Any = postgresql if connection.dialect.name == "postgresql" else sqlite
    rows = [{"model": model, "sha256": sha256, "score": score} for sha256, score in scores.items()]
    connection.execute(dialect.insert(model_scores).on_conflict_do_nothing(), rows)


def known_scores(connection: Connection, model: str) -> dict[str, float]:
    """All scores of a model on stored images, by SHA-256."""
    rows = connection.execute(select(model_scores.c.sha256, model_scores.c.score).where(model_scores.c.model == model))
    return {row.sha256: row.score for row in rows}
