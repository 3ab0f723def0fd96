"""Images that retention deleted, what is kept of them by kind and verdict, legal holds, and the members of training sets."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Timestamp = sa.DateTime(timezone=True)
Name = sa.String(length=64)


def upgrade() -> None:
    op.add_column("images", sa.Column("deleted_at", Timestamp))
    op.add_column("images", sa.Column("deleted_for", Name))
    kept = sa.text("deleted_at IS NULL")
    op.create_index("ix_images_kept", "images", ["seq"], sqlite_where=kept, postgresql_where=kept)
    op.create_index("ix_golden_images_sha256", "golden_images", ["sha256"])
    op.create_index("ix_imported_images_sha256", "imported_images", ["sha256"])
    op.create_table(
        "image_totals",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("images", Id, nullable=False),
        sa.Column("nbytes", Id, nullable=False),
        sa.PrimaryKeyConstraint("kind", "verdict", name="pk_image_totals"),
    )
    op.execute(
        "INSERT INTO image_totals (kind, verdict, images, nbytes) "
        "SELECT images.kind, inspections.verdict, count(*), sum(images.nbytes) "
        "FROM images JOIN inspections ON inspections.seq = images.seq GROUP BY images.kind, inspections.verdict"
    )
    op.create_table(
        "legal_holds",
        sa.Column("legal_hold_id", Id, autoincrement=True, nullable=False),
        sa.Column("lot", Name),
        sa.Column("serial", Name),
        sa.Column("seq", Id),
        sa.Column("placed_at", Timestamp, nullable=False),
        sa.Column("placed_by", Name, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("released_at", Timestamp),
        sa.Column("released_by", Name),
        sa.Column("release_reason", sa.Text()),
        sa.ForeignKeyConstraint(["seq"], ["inspections.seq"], name="fk_legal_holds_seq"),
        sa.PrimaryKeyConstraint("legal_hold_id", name="pk_legal_holds"),
    )
    for column in ("lot", "serial", "seq"):
        op.create_index(f"ix_legal_holds_{column}", "legal_holds", [column])
    members = op.create_table(
        "training_set_members",
        sa.Column("sha256", Name, nullable=False),
        sa.Column("training_set", Name, nullable=False),
        sa.ForeignKeyConstraint(["training_set"], ["training_sets.training_set"], name="fk_training_set_members_training_set"),
        sa.PrimaryKeyConstraint("sha256", "training_set", name="pk_training_set_members"),
    )
    sets = sa.table("training_sets", sa.column("training_set"), sa.column("document"))
    connection = op.get_bind()
    for digest in connection.execute(sa.select(sets.c.training_set)).scalars().all():
        document = connection.execute(sa.select(sets.c.document).where(sets.c.training_set == digest)).scalar_one()
        found = {each["sha256"] for each in json.loads(document)["members"]}
        if found:
            op.bulk_insert(members, [{"sha256": sha256, "training_set": digest} for sha256 in sorted(found)])
