"""Challengers: scored in the shadow, served in experiments, and what became of their entities.

`experiments` is a history that can only be added to. Outcomes name entities by digests: they stay
when the predictions they are about are forgotten.
"""

from alembic import op

revision = "0008"
down_revision = "0007"

TABLES = {
    "shadow_predictions": """
        use_case text NOT NULL,
        as_of timestamptz NOT NULL,
        entity_id text NOT NULL,
        item_id text NOT NULL DEFAULT '',
        rank integer NOT NULL,
        score double precision NOT NULL,
        baseline_score double precision,
        model_version text NOT NULL,
        feature_fingerprint text NOT NULL,
        PRIMARY KEY (tenant_id, use_case, as_of, entity_id, item_id)
    """,
    "experiments": """
        use_case text NOT NULL,
        number integer NOT NULL,
        event text NOT NULL CHECK (event IN ('started', 'ended')),
        as_of timestamptz NOT NULL,
        champion_version text NOT NULL,
        challenger_version text NOT NULL,
        challenger_digest text NOT NULL,
        policy jsonb NOT NULL,
        verdict text NOT NULL,
        reasons jsonb NOT NULL,
        figures jsonb NOT NULL,
        actor text NOT NULL,
        recorded_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, use_case, number, event)
    """,
    "outcomes_measured": """
        use_case text NOT NULL,
        as_of timestamptz NOT NULL,
        position integer NOT NULL,
        measured_as_of timestamptz NOT NULL,
        PRIMARY KEY (tenant_id, use_case, as_of),
        UNIQUE (tenant_id, use_case, position)
    """,
    "experiment_outcomes": """
        use_case text NOT NULL,
        number integer NOT NULL,
        entity text NOT NULL,
        as_of timestamptz NOT NULL,
        challenger boolean NOT NULL,
        outcome double precision NOT NULL,
        PRIMARY KEY (tenant_id, use_case, number, entity)
    """,
    "shadow_outcomes": """
        use_case text NOT NULL,
        champion_version text NOT NULL,
        challenger_version text NOT NULL,
        entity text NOT NULL,
        as_of timestamptz NOT NULL,
        champion_outcome double precision NOT NULL,
        challenger_outcome double precision NOT NULL,
        PRIMARY KEY (tenant_id, use_case, champion_version, challenger_version, entity)
    """,
}

UPGRADE = """
    CREATE TABLE tenantry.{table} (tenant_id text NOT NULL, {columns});
    ALTER TABLE tenantry.{table} ENABLE ROW LEVEL SECURITY;
    ALTER TABLE tenantry.{table} FORCE ROW LEVEL SECURITY;
    CREATE POLICY own_rows ON tenantry.{table}
        USING (tenant_id = current_setting('tenantry.tenant', true))
        WITH CHECK (tenant_id = current_setting('tenantry.tenant', true));
    GRANT {rights} ON tenantry.{table} TO tenantry_app;
"""


def upgrade() -> None:
    """Create the tables, each confined by a forced row-level security policy."""
    for table, columns in TABLES.items():
        changeable = table == "shadow_predictions"
        rights = "SELECT, INSERT, UPDATE, DELETE" if changeable else "SELECT, INSERT"
        op.execute(UPGRADE.format(table=table, columns=columns, rights=rights))
    op.execute(
        "ALTER TABLE tenantry.predictions ADD COLUMN experiment integer, "
        "ADD COLUMN arm text CHECK (arm IN ('champion', 'challenger')), "
        "ADD CHECK ((experiment IS NULL) = (arm IS NULL))"
    )


def downgrade() -> None:
    """Drop what this revision created."""
    op.execute("ALTER TABLE tenantry.predictions DROP COLUMN arm, DROP COLUMN experiment")
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE tenantry.{table}")
