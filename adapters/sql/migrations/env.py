"""Alembic environment: revisions run on the connection that `upgrade` passes."""

from alembic import context

from adapters.sql.database.schema import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # SQLite cannot alter a table in place.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
