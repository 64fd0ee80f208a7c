"""Of each slice: how many rows of the source were read, and how many of them are other slices'."""

from alembic import op

revision = "rows_read"
down_revision = "baseline"


def upgrade() -> None:
    """Slices recorded before count none."""
    op.execute(
        "ALTER TABLE tenantry.slices ADD COLUMN read bigint NOT NULL DEFAULT 0, "
        "ADD COLUMN outside bigint NOT NULL DEFAULT 0"
    )


def downgrade() -> None:
    """Slices keep their other counts."""
    op.execute("ALTER TABLE tenantry.slices DROP COLUMN read, DROP COLUMN outside")
