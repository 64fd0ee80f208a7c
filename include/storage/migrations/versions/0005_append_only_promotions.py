"""Promotions say who decided and what was withdrawn, and can only be added to."""

from alembic import op

revision = "0005"
down_revision = "0004_details"


def upgrade() -> None:
    """Decisions made before were the system's; nobody but the owner can change one from now on."""
    op.execute(
        """
        ALTER TABLE tenantry.promotions
            ADD COLUMN actor text NOT NULL DEFAULT 'system',
            ADD COLUMN withdrawn jsonb NOT NULL DEFAULT '[]';
        REVOKE UPDATE, DELETE ON tenantry.promotions FROM tenantry_app;
        """
    )


def downgrade() -> None:
    """Forget actors and withdrawals, and let rows be changed."""
    op.execute(
        """
        GRANT UPDATE, DELETE ON tenantry.promotions TO tenantry_app;
        ALTER TABLE tenantry.promotions DROP COLUMN actor, DROP COLUMN withdrawn;
        """
    )
