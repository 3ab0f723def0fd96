"""Alembic revisions of the records; run by ``inspection.records.database.migrate``."""
