"""How many rows without a usable instant a slice counted: they belong to no interval."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Slices recorded before counted none apart."""
    op.execute("ALTER TABLE tenantry.slices ADD COLUMN undated bigint NOT NULL DEFAULT 0")


def downgrade() -> None:
    """Forget the count."""
    op.execute("ALTER TABLE tenantry.slices DROP COLUMN undated")
