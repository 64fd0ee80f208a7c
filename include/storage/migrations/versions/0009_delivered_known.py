"""What the lake delivered is remembered by when it became known, not by when it happened."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Rename the column; what is on the list happened, and so became known, within the week."""
    op.execute(
        """
        ALTER TABLE tenantry.online_delivered RENAME COLUMN event_timestamp TO known_at;
        ALTER INDEX tenantry.online_delivered_happened RENAME TO online_delivered_known;
        """
    )


def downgrade() -> None:
    """Rename it back."""
    op.execute(
        """
        ALTER INDEX tenantry.online_delivered_known RENAME TO online_delivered_happened;
        ALTER TABLE tenantry.online_delivered RENAME COLUMN known_at TO event_timestamp;
        """
    )
