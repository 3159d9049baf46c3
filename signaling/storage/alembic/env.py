"""Runs the revisions on the connection that ``signaling/storage/migrations.py`` hands over, in its transaction."""

from alembic import context

from signaling.storage.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # Of both databases: a start that is killed in the middle leaves the tables as they were.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
