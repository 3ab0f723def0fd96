"""What a rollback took out; inspections by model."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("deployments", sa.Column("taken_out", sa.String(length=64)))
    op.create_index("ix_inspections_model_seq", "inspections", ["model", "seq"])
