"""The tables, one per noun of the domain. Timestamps are aware UTC; JSON columns hold only what is never filtered on.

Writers: the recorder writes ``lots, parts, triggers, inspections, images, faults``; deployment commands write
``models`` and ``deployments``. One writer per table, so it assigns sequence numbers and commit order is their order.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)

# Names given here, so that migrations can name what they change on every database.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite counts rows only in a column declared INTEGER.
Id = BigInteger().with_variant(Integer, "sqlite")


class Timestamp(TypeDecorator[datetime]):
    """Aware UTC datetime; SQLite stores it without a zone, so the zone is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"timestamp {value!r} has no time zone; pass an aware UTC datetime")
        return value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


lots = Table(
    "lots",
    metadata,
    Column("lot", String(64), primary_key=True),
    Column("product", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("opened_at", Timestamp, nullable=False),
    Column("closed_at", Timestamp),
    Column("expected_quantity", Integer),
    Index(None, "opened_at", "lot"),
)

# Serials announced by the MES or seen by the line. A trigger may name a lot that was never opened: no foreign key.
parts = Table(
    "parts",
    metadata,
    Column("lot", String(64), primary_key=True),
    Column("serial", String(64), primary_key=True),
    Column("announced_at", Timestamp),
    Column("attempts", Integer, nullable=False, default=0),
    Index(None, "serial"),
)

triggers = Table(
    "triggers",
    metadata,
    Column("trigger_id", Id, primary_key=True, autoincrement=False),
    Column("request_id", String(64), nullable=False, unique=True),
    Column("lot", String(64), nullable=False),
    Column("serial", String(64), nullable=False),
    Column("camera", String(64), nullable=False),
    Column("camera_epoch", Id),
    Column("trigger_count", Id),
    Column("triggered_at", Timestamp, nullable=False),
    Column("deadline_ms", Float, nullable=False),
    Index(None, "lot", "trigger_id"),
)

inspections = Table(
    "inspections",
    metadata,
    Column("seq", Id, primary_key=True, autoincrement=False),
    Column("trigger_id", Id, ForeignKey("triggers.trigger_id"), nullable=False, unique=True),
    Column("lot", String(64), nullable=False),
    Column("serial", String(64), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("product", String(64)),
    Column("camera", String(64), nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("reason", String(32)),
    Column("score", Float),
    Column("p_value", Float),
    Column("review_threshold", Float),
    Column("fail_threshold", Float),
    Column("model", String(64)),
    Column("regions", JSON, nullable=False),
    Column("frame_id", Id),
    Column("triggered_at", Timestamp, nullable=False),
    Column("acquired_at", Timestamp),
    Column("decided_at", Timestamp, nullable=False),
    Column("recorded_at", Timestamp, nullable=False),
    Column("timings_ms", JSON, nullable=False),
    # Reject is the line's default output: NULL means that no output was confirmed, and counts as rejected.
    Column("output", String(16)),
    Column("late_verdict", String(16)),
    Column("late_score", Float),
    Index(None, "lot", "seq"),
    Index(None, "lot", "verdict", "output", "reason"),
    Index(None, "lot", "verdict", "seq"),
    Index(None, "serial", "seq"),
)

images = Table(
    "images",
    metadata,
    Column("seq", Id, ForeignKey("inspections.seq"), primary_key=True),
    Column("kind", String(16), primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("media_type", String(32), nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("pixel_format", String(16), nullable=False),
    Column("nbytes", Id, nullable=False),
    Index(None, "sha256"),
)

faults = Table(
    "faults",
    metadata,
    Column("fault_id", Id, primary_key=True, autoincrement=False),
    Column("at", Timestamp, nullable=False),
    Column("source", String(64), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("count", Integer, nullable=False),
    Column("detail", Text, nullable=False),
    Index(None, "kind", "fault_id"),
)

models = Table(
    "models",
    metadata,
    Column("model", String(64), primary_key=True),
    Column("product", String(64), nullable=False),
    Column("path", Text, nullable=False),
    Column("algorithm", String(64), nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("metrics", JSON, nullable=False),
)

deployments = Table(
    "deployments",
    metadata,
    Column("deployment_id", Id, primary_key=True, autoincrement=True),
    Column("station", String(64), nullable=False),
    Column("product", String(64), nullable=False),
    Column("model", String(64), ForeignKey("models.model"), nullable=False),
    Column("deployed_at", Timestamp, nullable=False),
    Column("ended_at", Timestamp),
    Column("deployed_by", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    UniqueConstraint("station", "product", "deployed_at"),
    # One model in service per station and product, whoever deploys at the same time.
    Index(
        "uq_deployments_in_service",
        "station",
        "product",
        unique=True,
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
)
