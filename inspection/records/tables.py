"""The tables, one per noun of the domain. Timestamps are aware UTC; JSON columns hold only what is never filtered on.

Writers: the recorder writes ``lots, lot_events, parts, triggers, inspections, images, image_totals, faults,
shadow_inspections``, and as their one writer assigns sequence numbers, so that commit order is their order. The tables of
learning, from ``labels`` on, and ``legal_holds`` are written by commands of people and by the trainer, in short transactions;
their numbers come from the database.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
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

# Numbered by the recorder; append-only.
lot_events = Table(
    "lot_events",
    metadata,
    Column("lot_event_id", Id, primary_key=True, autoincrement=False),
    Column("lot", String(64), ForeignKey("lots.lot"), nullable=False),
    Column("change", String(16), nullable=False),
    Column("at", Timestamp, nullable=False),
    Column("by", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Index(None, "lot", "lot_event_id"),
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
    Column("proposed_class", String(64)),
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
    Column("optics", JSON(none_as_null=True)),
    Column("detail", Text),
    Index(None, "lot", "seq"),
    Index(None, "lot", "verdict", "output", "reason"),
    Index(None, "lot", "verdict", "seq"),
    Index(None, "serial", "seq"),
    # What a model scored is asked for when it is gated.
    Index(None, "model", "seq"),
    # Parts of one verdict, in all lots: the queue of a reviewer.
    Index(None, "verdict", "seq"),
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
    # Set by retention: the file is gone, or is kept for another row's sake. The row stays.
    Column("deleted_at", Timestamp),
    Column("deleted_for", String(64)),
    Index(None, "sha256"),
    # What retention walks along: images that are kept, oldest first.
    Index("ix_images_kept", "seq", sqlite_where=text("deleted_at IS NULL"), postgresql_where=text("deleted_at IS NULL")),
)

# What is kept now, counted as rows come and images go: summing ten million rows would take a minute.
image_totals = Table(
    "image_totals",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("verdict", String(16), primary_key=True),
    Column("images", Id, nullable=False),
    Column("nbytes", Id, nullable=False),
)

# Written by people. An order to keep images; exactly one of lot, serial and seq says of what.
legal_holds = Table(
    "legal_holds",
    metadata,
    Column("legal_hold_id", Id, primary_key=True, autoincrement=True),
    Column("lot", String(64)),
    Column("serial", String(64)),
    Column("seq", Id, ForeignKey("inspections.seq")),
    Column("placed_at", Timestamp, nullable=False),
    Column("placed_by", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("released_at", Timestamp),
    Column("released_by", String(64)),
    Column("release_reason", Text),
    Index(None, "lot"),
    Index(None, "serial"),
    Index(None, "seq"),
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
    # Why the model decides although its gate did not pass.
    Column("override", Text),
    # The model that a rollback took out for this one.
    Column("taken_out", String(64)),
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

# Append-only: the newest row of an inspection counts, the others are its history. NULL takes back what was said.
labels = Table(
    "labels",
    metadata,
    Column("label_id", Id, primary_key=True, autoincrement=True),
    Column("seq", Id, ForeignKey("inspections.seq"), nullable=False),
    Column("label", String(64)),
    Column("regions", JSON, nullable=False),
    Column("labelled_by", String(64), nullable=False),
    Column("labelled_at", Timestamp, nullable=False),
    Column("reason", Text, nullable=False),
    Index(None, "seq", "label_id"),
)

# Good images from a folder, in the image store: what a first model learns from before the line has seen a part.
imported_images = Table(
    "imported_images",
    metadata,
    Column("product", String(64), primary_key=True),
    Column("sha256", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("folder", Text, nullable=False),
    Column("pixel_format", String(16), nullable=False),
    Column("imported_by", String(64), nullable=False),
    Column("imported_at", Timestamp, nullable=False),
    Index(None, "sha256"),
)

golden_images = Table(
    "golden_images",
    metadata,
    Column("product", String(64), primary_key=True),
    Column("sha256", String(64), primary_key=True),
    Column("label", String(64), nullable=False),
    Column("name", Text, nullable=False),
    Column("pixel_format", String(16), nullable=False),
    Column("added_by", String(64), nullable=False),
    Column("added_at", Timestamp, nullable=False),
    Index(None, "sha256"),
)

# ``document`` is the canonical JSON that the digest is of, as text: what is frozen must not be written anew by a database.
training_sets = Table(
    "training_sets",
    metadata,
    Column("training_set", String(64), primary_key=True),
    Column("product", String(64), nullable=False),
    Column("document", Text, nullable=False),
    Column("sizes", JSON, nullable=False),
    Column("warnings", JSON, nullable=False),
    Column("created_by", String(64), nullable=False),
    Column("created_at", Timestamp, nullable=False),
)

# What the documents say, so that retention finds a member without reading them.
training_set_members = Table(
    "training_set_members",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("training_set", String(64), ForeignKey("training_sets.training_set"), primary_key=True),
)

training_runs = Table(
    "training_runs",
    metadata,
    Column("training_run_id", Id, primary_key=True, autoincrement=True),
    Column("station", String(64), nullable=False),
    Column("product", String(64), nullable=False),
    Column("training_set", String(64), ForeignKey("training_sets.training_set"), nullable=False),
    Column("settings", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("stage", String(32), nullable=False),
    Column("done", Integer, nullable=False),
    Column("steps", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("requested_by", String(64), nullable=False),
    Column("requested_at", Timestamp, nullable=False),
    Column("reason", Text, nullable=False),
    Column("started_at", Timestamp),
    Column("heartbeat_at", Timestamp),
    Column("ended_at", Timestamp),
    Column("cancelled_by", String(64)),
    Column("model", String(64), ForeignKey("models.model")),
    Column("error", Text),
    Column("log", Text, nullable=False),
    Index(None, "station", "state", "training_run_id"),
)

gates = Table(
    "gates",
    metadata,
    Column("gate_id", Id, primary_key=True, autoincrement=True),
    Column("station", String(64), nullable=False),
    Column("product", String(64), nullable=False),
    Column("model", String(64), ForeignKey("models.model"), nullable=False),
    # Both NULL: somebody asked for it, and the trainer has not come to it yet.
    Column("passed", Boolean),
    Column("gated_at", Timestamp),
    Column("checks", JSON, nullable=False),
    # The model in service that it was compared with.
    Column("compared_with", String(64)),
    Column("gated_by", String(64), nullable=False),
    Index(None, "model", "station", "gate_id"),
)

shadows = Table(
    "shadows",
    metadata,
    Column("shadow_id", Id, primary_key=True, autoincrement=True),
    Column("station", String(64), nullable=False),
    Column("product", String(64), nullable=False),
    Column("model", String(64), ForeignKey("models.model"), nullable=False),
    Column("started_at", Timestamp, nullable=False),
    Column("ended_at", Timestamp),
    Column("started_by", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    # One challenger per station and product.
    Index(
        "uq_shadows_running",
        "station",
        "product",
        unique=True,
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
)

shadow_inspections = Table(
    "shadow_inspections",
    metadata,
    Column("trigger_id", Id, ForeignKey("triggers.trigger_id"), primary_key=True, autoincrement=False),
    Column("model", String(64), primary_key=True),
    Column("verdict", String(16), nullable=False),
    Column("score", Float, nullable=False),
    Column("review_threshold", Float, nullable=False),
    Column("fail_threshold", Float, nullable=False),
    Column("inspect_ms", Float, nullable=False),
    Column("decided_at", Timestamp, nullable=False),
    Index(None, "model", "trigger_id"),
)

# What programs show instead of a password. The token itself is nowhere: it is random, so its SHA-256 cannot be guessed back.
tokens = Table(
    "tokens",
    metadata,
    Column("account", String(64), primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("scopes", JSON, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("created_by", String(64), nullable=False),
    Column("expires_at", Timestamp),
    Column("revoked_at", Timestamp),
)

# Written by the web process. ``status`` is NULL while the request is worked on.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("account", String(64), primary_key=True),
    Column("idempotency_key", String(255), primary_key=True),
    Column("request_digest", String(64), nullable=False),
    Column("at", Timestamp, nullable=False),
    Column("status", Integer),
    Column("media_type", String(64)),
    Column("body", LargeBinary),
    Index(None, "at"),
)

# ``password_hash`` is Argon2id's own text, salt and costs included.
users = Table(
    "users",
    metadata,
    Column("user", String(64), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("password_hash", String(255), nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("created_by", String(64), nullable=False),
    Column("disabled_at", Timestamp),
    Column("failed_logins", Integer, nullable=False),
    Column("locked_until", Timestamp),
    Column("must_change_password", Boolean, nullable=False, server_default=false()),
)

# ``digest`` is the SHA-256 of what the browser's cookie holds. ``authenticated_at``: when the password was last shown.
sessions = Table(
    "sessions",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("user", String(64), ForeignKey("users.user"), nullable=False),
    Column("client", String(64), nullable=False),
    Column("started_at", Timestamp, nullable=False),
    Column("used_at", Timestamp, nullable=False),
    Column("authenticated_at", Timestamp, nullable=False),
    Index(None, "user"),
)

# Append-only, numbered without gaps; ``digest`` covers the row and ``previous``, the digest of the row before.
audit_entries = Table(
    "audit_entries",
    metadata,
    Column("audit_id", Id, primary_key=True, autoincrement=False),
    Column("at", Timestamp, nullable=False),
    Column("by", String(64), nullable=False),
    Column("role", String(16), nullable=False),
    Column("client", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", Text, nullable=False),
    Column("outcome", String(64), nullable=False),
    Column("detail", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Index(None, "by", "audit_id"),
)

# What reviewers choose from: ``colour`` as #rrggbb, ``key`` the key that labels with it.
defect_classes = Table(
    "defect_classes",
    metadata,
    Column("product", String(64), primary_key=True),
    Column("defect_class", String(64), primary_key=True),
    Column("colour", String(7), nullable=False),
    Column("key", String(1)),
    Column("created_by", String(64), nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("retired_at", Timestamp),
)

# What a model scored on stored images, beside what it scored on the line.
model_scores = Table(
    "model_scores",
    metadata,
    Column("model", String(64), ForeignKey("models.model"), primary_key=True),
    Column("sha256", String(64), primary_key=True),
    Column("score", Float, nullable=False),
)

# Real parts, kept beside the line, whose verdict is beyond doubt.
golden_parts = Table(
    "golden_parts",
    metadata,
    Column("product", String(64), primary_key=True),
    Column("serial", String(64), primary_key=True),
    Column("label", String(64), nullable=False),
    Column("added_by", String(64), nullable=False),
    Column("added_at", Timestamp, nullable=False),
)

# One feeding of the golden parts through the line, in a lot of its own. ``results`` by serial, once it has ended.
challenges = Table(
    "challenges",
    metadata,
    Column("challenge_id", Id, primary_key=True, autoincrement=True),
    Column("product", String(64), nullable=False),
    Column("lot", String(64), nullable=False, unique=True),
    Column("started_at", Timestamp, nullable=False),
    Column("started_by", String(64), nullable=False),
    Column("ended_at", Timestamp),
    Column("state", String(16), nullable=False),
    Column("results", JSON, nullable=False),
    Index(None, "product", "challenge_id"),
)
