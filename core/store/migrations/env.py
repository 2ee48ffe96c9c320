"""Alembic's entry. The caller (core.store.database) hands over an open connection in `config.attributes`."""

from __future__ import annotations

from alembic import context

from core.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
