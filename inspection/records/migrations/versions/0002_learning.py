"""Labels, training sets, training runs, gates and shadows; why a deployment overrode its gate."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Timestamp = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("deployments", sa.Column("override", sa.Text()))

    op.create_table(
        "labels",
        sa.Column("label_id", Id, autoincrement=True, nullable=False),
        sa.Column("seq", Id, nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("regions", sa.JSON(), nullable=False),
        sa.Column("labelled_by", sa.String(length=64), nullable=False),
        sa.Column("labelled_at", Timestamp, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["seq"], ["inspections.seq"], name="fk_labels_seq"),
        sa.PrimaryKeyConstraint("label_id", name="pk_labels"),
    )
    op.create_index("ix_labels_seq_label_id", "labels", ["seq", "label_id"])

    op.create_table(
        "imported_images",
        sa.Column("product", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("pixel_format", sa.String(length=16), nullable=False),
        sa.Column("imported_by", sa.String(length=64), nullable=False),
        sa.Column("imported_at", Timestamp, nullable=False),
        sa.PrimaryKeyConstraint("product", "sha256", name="pk_imported_images"),
    )
    op.create_table(
        "golden_images",
        sa.Column("product", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("pixel_format", sa.String(length=16), nullable=False),
        sa.Column("added_by", sa.String(length=64), nullable=False),
        sa.Column("added_at", Timestamp, nullable=False),
        sa.PrimaryKeyConstraint("product", "sha256", name="pk_golden_images"),
    )
    op.create_table(
        "training_sets",
        sa.Column("training_set", sa.String(length=64), nullable=False),
        sa.Column("product", sa.String(length=64), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("sizes", sa.JSON(), nullable=False),
        sa.Column("warnings", sa.JSON(), nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.PrimaryKeyConstraint("training_set", name="pk_training_sets"),
    )

    op.create_table(
        "training_runs",
        sa.Column("training_run_id", Id, autoincrement=True, nullable=False),
        sa.Column("station", sa.String(length=64), nullable=False),
        sa.Column("product", sa.String(length=64), nullable=False),
        sa.Column("training_set", sa.String(length=64), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("stage", sa.String(length=32), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("requested_by", sa.String(length=64), nullable=False),
        sa.Column("requested_at", Timestamp, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("started_at", Timestamp),
        sa.Column("heartbeat_at", Timestamp),
        sa.Column("ended_at", Timestamp),
        sa.Column("cancelled_by", sa.String(length=64)),
        sa.Column("model", sa.String(length=64)),
        sa.Column("error", sa.Text()),
        sa.Column("log", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["training_set"], ["training_sets.training_set"], name="fk_training_runs_training_set"),
        sa.ForeignKeyConstraint(["model"], ["models.model"], name="fk_training_runs_model"),
        sa.PrimaryKeyConstraint("training_run_id", name="pk_training_runs"),
    )
    op.create_index("ix_training_runs_station_state_training_run_id", "training_runs", ["station", "state", "training_run_id"])

    op.create_table(
        "gates",
        sa.Column("gate_id", Id, autoincrement=True, nullable=False),
        sa.Column("station", sa.String(length=64), nullable=False),
        sa.Column("product", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("passed", sa.Boolean()),
        sa.Column("gated_at", Timestamp),
        sa.Column("checks", sa.JSON(), nullable=False),
        sa.Column("compared_with", sa.String(length=64)),
        sa.Column("gated_by", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["model"], ["models.model"], name="fk_gates_model"),
        sa.PrimaryKeyConstraint("gate_id", name="pk_gates"),
    )
    op.create_index("ix_gates_model_station_gate_id", "gates", ["model", "station", "gate_id"])

    op.create_table(
        "shadows",
        sa.Column("shadow_id", Id, autoincrement=True, nullable=False),
        sa.Column("station", sa.String(length=64), nullable=False),
        sa.Column("product", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("started_at", Timestamp, nullable=False),
        sa.Column("ended_at", Timestamp),
        sa.Column("started_by", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["model"], ["models.model"], name="fk_shadows_model"),
        sa.PrimaryKeyConstraint("shadow_id", name="pk_shadows"),
    )
    op.create_index(
        "uq_shadows_running",
        "shadows",
        ["station", "product"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )

    op.create_table(
        "shadow_inspections",
        sa.Column("trigger_id", Id, autoincrement=False, nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("review_threshold", sa.Float(), nullable=False),
        sa.Column("fail_threshold", sa.Float(), nullable=False),
        sa.Column("inspect_ms", sa.Float(), nullable=False),
        sa.Column("decided_at", Timestamp, nullable=False),
        sa.ForeignKeyConstraint(["trigger_id"], ["triggers.trigger_id"], name="fk_shadow_inspections_trigger_id"),
        sa.PrimaryKeyConstraint("trigger_id", "model", name="pk_shadow_inspections"),
    )
    op.create_index("ix_shadow_inspections_model_trigger_id", "shadow_inspections", ["model", "trigger_id"])
