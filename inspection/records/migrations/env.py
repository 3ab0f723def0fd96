"""Alembic's entry: runs the revisions on the connection, and in the transaction, that ``migrate`` opened."""

from alembic import context

from inspection.records.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite can alter tables in a transaction; Alembic assumes that it cannot.
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
