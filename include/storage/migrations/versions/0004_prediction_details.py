"""What is known of a prediction besides its score: bounds, and the features that moved it."""

from alembic import op

revision = "0004_details"
down_revision = "0004"


def upgrade() -> None:
    """Add a JSON object per prediction, null where there is nothing more."""
    op.execute("ALTER TABLE tenantry.predictions ADD COLUMN details jsonb")


def downgrade() -> None:
    """Forget the details."""
    op.execute("ALTER TABLE tenantry.predictions DROP COLUMN details")
