"""Which events of the last days a batch of the online store holds, by digests of their ids."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create the table, confined by a forced row-level security policy."""
    op.execute(
        """
        CREATE TABLE tenantry.online_delivered (
            tenant_id text COLLATE "C" NOT NULL,
            region text COLLATE "C" NOT NULL,
            owner text COLLATE "C" NOT NULL,
            digest bytea NOT NULL,
            event_timestamp timestamptz NOT NULL,
            PRIMARY KEY (tenant_id, region, digest)
        );
        CREATE INDEX online_delivered_happened
            ON tenantry.online_delivered (tenant_id, region, event_timestamp);
        ALTER TABLE tenantry.online_delivered ENABLE ROW LEVEL SECURITY;
        ALTER TABLE tenantry.online_delivered FORCE ROW LEVEL SECURITY;
        CREATE POLICY own_rows ON tenantry.online_delivered
            USING (tenant_id = current_setting('tenantry.tenant', true))
            WITH CHECK (tenant_id = current_setting('tenantry.tenant', true));
        GRANT SELECT, INSERT, UPDATE, DELETE ON tenantry.online_delivered TO tenantry_app;
        """
    )


def downgrade() -> None:
    """Drop the table."""
    op.execute("DROP TABLE tenantry.online_delivered")
