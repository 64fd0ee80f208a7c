"""Alembic's entry point; `include.storage.migrate` hands it the DSN."""

from alembic import context
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

engine = create_engine(context.config.attributes["dsn"], poolclass=NullPool)
with engine.begin() as connection:
    connection.execute(text("CREATE SCHEMA IF NOT EXISTS tenantry"))
    context.configure(connection=connection, version_table_schema="tenantry")
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
