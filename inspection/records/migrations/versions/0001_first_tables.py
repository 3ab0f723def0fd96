"""First tables. There is no way down: records are kept."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Written out here, so that later changes of the tables do not change what this revision made.
Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Timestamp = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "faults",
        sa.Column("fault_id", Id, autoincrement=False, nullable=False),
        sa.Column("at", Timestamp, nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("fault_id", name="pk_faults"),
    )
    op.create_index("ix_faults_kind_fault_id", "faults", ["kind", "fault_id"])

    op.create_table(
        "lots",
        sa.Column("lot", sa.String(length=64), nullable=False),
        sa.Column("product", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("opened_at", Timestamp, nullable=False),
        sa.Column("closed_at", Timestamp),
        sa.Column("expected_quantity", sa.Integer()),
        sa.PrimaryKeyConstraint("lot", name="pk_lots"),
    )
    op.create_index("ix_lots_opened_at_lot", "lots", ["opened_at", "lot"])

    op.create_table(
        "models",
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("product", sa.String(length=64), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.String(length=64), nullable=False),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("model", name="pk_models"),
    )
    op.create_table(
        "parts",
        sa.Column("lot", sa.String(length=64), nullable=False),
        sa.Column("serial", sa.String(length=64), nullable=False),
        sa.Column("announced_at", Timestamp),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("lot", "serial", name="pk_parts"),
    )
    op.create_index("ix_parts_serial", "parts", ["serial"])

    op.create_table(
        "triggers",
        sa.Column("trigger_id", Id, autoincrement=False, nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("lot", sa.String(length=64), nullable=False),
        sa.Column("serial", sa.String(length=64), nullable=False),
        sa.Column("camera", sa.String(length=64), nullable=False),
        sa.Column("camera_epoch", Id),
        sa.Column("trigger_count", Id),
        sa.Column("triggered_at", Timestamp, nullable=False),
        sa.Column("deadline_ms", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("trigger_id", name="pk_triggers"),
        sa.UniqueConstraint("request_id", name="uq_triggers_request_id"),
    )
    op.create_index("ix_triggers_lot_trigger_id", "triggers", ["lot", "trigger_id"])

    op.create_table(
        "deployments",
        sa.Column("deployment_id", Id, autoincrement=True, nullable=False),
        sa.Column("station", sa.String(length=64), nullable=False),
        sa.Column("product", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("deployed_at", Timestamp, nullable=False),
        sa.Column("ended_at", Timestamp),
        sa.Column("deployed_by", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["model"], ["models.model"], name="fk_deployments_model"),
        sa.PrimaryKeyConstraint("deployment_id", name="pk_deployments"),
        sa.UniqueConstraint("station", "product", "deployed_at", name="uq_deployments_station_product_deployed_at"),
    )
    op.create_index(
        "uq_deployments_in_service",
        "deployments",
        ["station", "product"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )

    op.create_table(
        "inspections",
        sa.Column("seq", Id, autoincrement=False, nullable=False),
        sa.Column("trigger_id", Id, nullable=False),
        sa.Column("lot", sa.String(length=64), nullable=False),
        sa.Column("serial", sa.String(length=64), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("product", sa.String(length=64)),
        sa.Column("camera", sa.String(length=64), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=32)),
        sa.Column("score", sa.Float()),
        sa.Column("p_value", sa.Float()),
        sa.Column("review_threshold", sa.Float()),
        sa.Column("fail_threshold", sa.Float()),
        sa.Column("model", sa.String(length=64)),
        sa.Column("regions", sa.JSON(), nullable=False),
        sa.Column("frame_id", Id),
        sa.Column("triggered_at", Timestamp, nullable=False),
        sa.Column("acquired_at", Timestamp),
        sa.Column("decided_at", Timestamp, nullable=False),
        sa.Column("recorded_at", Timestamp, nullable=False),
        sa.Column("timings_ms", sa.JSON(), nullable=False),
        sa.Column("output", sa.String(length=16)),
        sa.Column("late_verdict", sa.String(length=16)),
        sa.Column("late_score", sa.Float()),
        sa.ForeignKeyConstraint(["trigger_id"], ["triggers.trigger_id"], name="fk_inspections_trigger_id"),
        sa.PrimaryKeyConstraint("seq", name="pk_inspections"),
        sa.UniqueConstraint("trigger_id", name="uq_inspections_trigger_id"),
    )
    op.create_index("ix_inspections_lot_seq", "inspections", ["lot", "seq"])
    op.create_index("ix_inspections_lot_verdict_output_reason", "inspections", ["lot", "verdict", "output", "reason"])
    op.create_index("ix_inspections_lot_verdict_seq", "inspections", ["lot", "verdict", "seq"])
    op.create_index("ix_inspections_serial_seq", "inspections", ["serial", "seq"])

    op.create_table(
        "images",
        sa.Column("seq", Id, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("media_type", sa.String(length=32), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("pixel_format", sa.String(length=16), nullable=False),
        sa.Column("nbytes", Id, nullable=False),
        sa.ForeignKeyConstraint(["seq"], ["inspections.seq"], name="fk_images_seq"),
        sa.PrimaryKeyConstraint("seq", "kind", name="pk_images"),
    )
    op.create_index("ix_images_sha256", "images", ["sha256"])
