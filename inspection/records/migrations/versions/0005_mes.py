"""What happened to a lot, by whom and why; tokens of machines; answers to requests that may come twice."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Timestamp = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "lot_events",
        sa.Column("lot_event_id", Id, autoincrement=False, nullable=False),
        sa.Column("lot", sa.String(length=64), nullable=False),
        sa.Column("change", sa.String(length=16), nullable=False),
        sa.Column("at", Timestamp, nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["lot"], ["lots.lot"], name="fk_lot_events_lot"),
        sa.PrimaryKeyConstraint("lot_event_id", name="pk_lot_events"),
    )
    op.create_index("ix_lot_events_lot_lot_event_id", "lot_events", ["lot", "lot_event_id"])

    op.create_table(
        "tokens",
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", Timestamp, nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("expires_at", Timestamp),
        sa.Column("revoked_at", Timestamp),
        sa.PrimaryKeyConstraint("account", name="pk_tokens"),
        sa.UniqueConstraint("digest", name="uq_tokens_digest"),
    )

    op.create_table(
        "idempotency_keys",
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("idempotency_key", sa.String(length=255), nullable=False),
        sa.Column("request_digest", sa.String(length=64), nullable=False),
        sa.Column("at", Timestamp, nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("media_type", sa.String(length=64)),
        sa.Column("body", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("account", "idempotency_key", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_at", "idempotency_keys", ["at"])
