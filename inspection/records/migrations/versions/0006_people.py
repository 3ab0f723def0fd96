"""Users, their sessions and the audit trail; classes of defects; scores of models on stored images; challenges of a line."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Timestamp = sa.DateTime(timezone=True)
Name = sa.String(length=64)


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("user", Name, nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.Column("created_by", Name, nullable=False),
        sa.Column("disabled_at", Timestamp),
        sa.Column("failed_logins", sa.Integer(), nullable=False),
        sa.Column("locked_until", Timestamp),
        sa.PrimaryKeyConstraint("user", name="pk_users"),
    )
    op.create_table(
        "sessions",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("user", Name, nullable=False),
        sa.Column("client", sa.String(length=64), nullable=False),
        sa.Column("started_at", Timestamp, nullable=False),
        sa.Column("used_at", Timestamp, nullable=False),
        sa.Column("authenticated_at", Timestamp, nullable=False),
        sa.ForeignKeyConstraint(["user"], ["users.user"], name="fk_sessions_user"),
        sa.PrimaryKeyConstraint("digest", name="pk_sessions"),
    )
    op.create_index("ix_sessions_user", "sessions", ["user"])
    op.create_table(
        "audit_entries",
        sa.Column("audit_id", Id, autoincrement=False, nullable=False),
        sa.Column("at", Timestamp, nullable=False),
        sa.Column("by", Name, nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("client", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("outcome", sa.String(length=64), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("audit_id", name="pk_audit_entries"),
    )
    op.create_index("ix_audit_entries_by_audit_id", "audit_entries", ["by", "audit_id"])
    op.create_table(
        "defect_classes",
        sa.Column("product", Name, nullable=False),
        sa.Column("defect_class", Name, nullable=False),
        sa.Column("colour", sa.String(length=7), nullable=False),
        sa.Column("key", sa.String(length=1)),
        sa.Column("created_by", Name, nullable=False),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.Column("retired_at", Timestamp),
        sa.PrimaryKeyConstraint("product", "defect_class", name="pk_defect_classes"),
    )
    op.create_table(
        "model_scores",
        sa.Column("model", Name, nullable=False),
        sa.Column("sha256", Name, nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["model"], ["models.model"], name="fk_model_scores_model"),
        sa.PrimaryKeyConstraint("model", "sha256", name="pk_model_scores"),
    )
    op.create_table(
        "golden_parts",
        sa.Column("product", Name, nullable=False),
        sa.Column("serial", Name, nullable=False),
        sa.Column("label", Name, nullable=False),
        sa.Column("added_by", Name, nullable=False),
        sa.Column("added_at", Timestamp, nullable=False),
        sa.PrimaryKeyConstraint("product", "serial", name="pk_golden_parts"),
    )
    op.create_table(
        "challenges",
        sa.Column("challenge_id", Id, autoincrement=True, nullable=False),
        sa.Column("product", Name, nullable=False),
        sa.Column("lot", Name, nullable=False),
        sa.Column("started_at", Timestamp, nullable=False),
        sa.Column("started_by", Name, nullable=False),
        sa.Column("ended_at", Timestamp),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("results", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("challenge_id", name="pk_challenges"),
        sa.UniqueConstraint("lot", name="uq_challenges_lot"),
    )
    op.create_index("ix_challenges_product_challenge_id", "challenges", ["product", "challenge_id"])
    # Parts of one verdict, in all lots: the queue of a reviewer.
    op.create_index("ix_inspections_verdict_seq", "inspections", ["verdict", "seq"])
    # A label that was taken back says nothing.
    with op.batch_alter_table("labels") as labels:
        labels.alter_column("label", existing_type=Name, nullable=True)
