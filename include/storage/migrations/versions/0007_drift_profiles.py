"""Profiles that drift is judged by, breaches of the fleet, and what a retrain did to live metrics.

Breaches and platform incidents are rows of the platform itself (`tenant_id` is `global`): a tenant
shows in them as a digest and as a number in a count.
"""

from alembic import op

revision = "0007"
down_revision = "0006"

TABLES = {
    "drift_profiles": """
        use_case text NOT NULL,
        kind text NOT NULL CHECK (kind IN ('window', 'reference')),
        as_of timestamptz NOT NULL,
        model_version text NOT NULL,
        drifted boolean NOT NULL,
        profile jsonb NOT NULL,
        recorded_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, use_case, kind, as_of, model_version)
    """,
    "drift_breaches": """
        use_case text NOT NULL,
        as_of timestamptz NOT NULL,
        member text NOT NULL,
        breached boolean NOT NULL,
        recorded_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, use_case, as_of, member)
    """,
}

UPGRADE = """
    CREATE TABLE tenantry.{table} (tenant_id text NOT NULL, {columns});
    ALTER TABLE tenantry.{table} ENABLE ROW LEVEL SECURITY;
    ALTER TABLE tenantry.{table} FORCE ROW LEVEL SECURITY;
    CREATE POLICY own_rows ON tenantry.{table}
        USING (tenant_id = current_setting('tenantry.tenant', true))
        WITH CHECK (tenant_id = current_setting('tenantry.tenant', true));
    GRANT SELECT, INSERT, UPDATE, DELETE ON tenantry.{table} TO tenantry_app;
"""


def upgrade() -> None:
    """Create the tables, each confined by a forced row-level security policy."""
    for table, columns in TABLES.items():
        op.execute(UPGRADE.format(table=table, columns=columns))
    op.execute(
        "ALTER TABLE tenantry.retrain_ledger "
        "ADD COLUMN effect text NOT NULL DEFAULT '' "
        "CHECK (effect IN ('', 'helped', 'hurt', 'no difference')), "
        "ADD COLUMN effect_details jsonb NOT NULL DEFAULT '{}'"
    )
    op.execute(
        "ALTER TABLE tenantry.live_metrics ADD COLUMN effective_labels double precision, "
        "ADD COLUMN outcome_rate double precision, "
        "ADD COLUMN expected_rate double precision, ADD COLUMN rate_error double precision"
    )


def downgrade() -> None:
    """Drop what this revision created."""
    op.execute("ALTER TABLE tenantry.retrain_ledger DROP COLUMN effect_details, DROP COLUMN effect")
    op.execute(
        "ALTER TABLE tenantry.live_metrics DROP COLUMN rate_error, DROP COLUMN expected_rate, "
        "DROP COLUMN outcome_rate, DROP COLUMN effective_labels"
    )
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE tenantry.{table}")
