"""Features that a replay found to differ from the vectors a model used."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table, confined by a forced row-level security policy."""
    op.execute(
        """
        CREATE TABLE tenantry.feature_skew (
            tenant_id text NOT NULL,
            use_case text NOT NULL,
            as_of timestamptz NOT NULL,
            path text NOT NULL CHECK (path IN ('offline', 'online')),
            feature text NOT NULL,
            cause text NOT NULL,
            model_version text NOT NULL,
            compared bigint NOT NULL,
            mismatched bigint NOT NULL,
            first_row bigint NOT NULL,
            difference double precision,
            recorded_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (tenant_id, use_case, as_of, path, feature)
        );
        ALTER TABLE tenantry.feature_skew ENABLE ROW LEVEL SECURITY;
        ALTER TABLE tenantry.feature_skew FORCE ROW LEVEL SECURITY;
        CREATE POLICY own_rows ON tenantry.feature_skew
            USING (tenant_id = current_setting('tenantry.tenant', true))
            WITH CHECK (tenant_id = current_setting('tenantry.tenant', true));
        GRANT SELECT, INSERT, UPDATE, DELETE ON tenantry.feature_skew TO tenantry_app;
        """
    )


def downgrade() -> None:
    """Drop the table."""
    op.execute("DROP TABLE tenantry.feature_skew")
