"""How each frame was taken, and what more there is to say about the reason of a part that was not inspected."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("inspections", sa.Column("optics", sa.JSON()))
    op.add_column("inspections", sa.Column("detail", sa.Text()))
