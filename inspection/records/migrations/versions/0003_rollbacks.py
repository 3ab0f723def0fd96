"""What a rollback took out; inspections by model."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("deployments", sa.Column("taken_out", sa.String(length=64)))
    # Former rollbacks say so in their reason alone.
    op.execute(
        "UPDATE deployments SET taken_out = ("
        "SELECT former.model FROM deployments AS former WHERE former.station = deployments.station "
        "AND former.product = deployments.product AND former.deployment_id < deployments.deployment_id "
        "ORDER BY former.deployment_id DESC LIMIT 1) WHERE reason LIKE 'rolled back: %'"
    )
    op.create_index("ix_inspections_model_seq", "inspections", ["model", "seq"])
