"""Slices that a run read before its own interval: the history, and holes that no run had loaded."""

from alembic import op

revision = "slices_along_with"
down_revision = "rows_read"


def upgrade() -> None:
    """Add the interval of the run; of slices on record nobody knows it, and nothing needs it."""
    for column in ("along_start", "along_end"):
        op.execute(f"ALTER TABLE tenantry.slices ADD COLUMN {column} timestamptz")


def downgrade() -> None:
    """Forget it."""
    for column in ("along_start", "along_end"):
        op.execute(f"ALTER TABLE tenantry.slices DROP COLUMN {column}")
