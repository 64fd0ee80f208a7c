"""The first schema: runs, slices, quarantine, quality, predictions, decisions, drift, retrains."""

from alembic import op

revision = "0001"
down_revision = None

#: Every table starts with the tenant, in the table and in its primary key.
TABLES = {
    "stage_runs": """
        use_case text NOT NULL DEFAULT '',
        stage text NOT NULL,
        interval_start timestamptz NOT NULL,
        interval_end timestamptz NOT NULL,
        handoff jsonb NOT NULL,
        recorded_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, use_case, stage, interval_start, interval_end)
    """,
    "slices": """
        source text NOT NULL,
        interval_start timestamptz NOT NULL,
        interval_end timestamptz NOT NULL,
        rows bigint NOT NULL,
        late bigint NOT NULL,
        duplicates bigint NOT NULL,
        quarantined bigint NOT NULL,
        table_version bigint NOT NULL,
        recorded_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, source, interval_start, interval_end)
    """,
    "quarantine": """
        stage text NOT NULL,
        source text NOT NULL,
        interval_start timestamptz NOT NULL,
        interval_end timestamptz NOT NULL,
        row_number bigint NOT NULL,
        reason text NOT NULL,
        row jsonb NOT NULL,
        recorded_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, stage, source, interval_start, interval_end, row_number)
    """,
    "quality_results": """
        suite text NOT NULL,
        interval_start timestamptz NOT NULL,
        interval_end timestamptz NOT NULL,
        check_name text NOT NULL,
        severity text NOT NULL CHECK (severity IN ('fail', 'quarantine', 'warn')),
        success boolean NOT NULL,
        unexpected_count bigint NOT NULL,
        element_count bigint NOT NULL,
        observed jsonb NOT NULL,
        report_path text NOT NULL,
        recorded_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, suite, interval_start, interval_end, check_name)
    """,
    "incidents": """
        kind text NOT NULL,
        use_case text NOT NULL DEFAULT '',
        as_of timestamptz NOT NULL,
        summary text NOT NULL,
        details jsonb NOT NULL,
        opened_at timestamptz NOT NULL DEFAULT now(),
        closed_at timestamptz,
        PRIMARY KEY (tenant_id, kind, use_case, as_of)
    """,
    "predictions": """
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
    "promotions": """
        use_case text NOT NULL,
        as_of timestamptz NOT NULL,
        trigger text NOT NULL,
        promoted boolean NOT NULL,
        version text NOT NULL,
        rung text NOT NULL,
        incumbent_version text NOT NULL,
        digest text NOT NULL,
        reasons jsonb NOT NULL,
        evidence jsonb NOT NULL,
        decided_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, use_case, as_of, trigger)
    """,
    "drift_verdicts": """
        use_case text NOT NULL,
        as_of timestamptz NOT NULL,
        model_version text NOT NULL,
        verdict text NOT NULL,
        score double precision,
        details jsonb NOT NULL,
        report_path text NOT NULL,
        recorded_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, use_case, as_of, model_version)
    """,
    "live_metrics": """
        use_case text NOT NULL,
        as_of timestamptz NOT NULL,
        metric text NOT NULL,
        model_version text NOT NULL,
        value double precision,
        baseline double precision,
        labels bigint NOT NULL,
        measured_as_of timestamptz NOT NULL,
        PRIMARY KEY (tenant_id, use_case, as_of, metric)
    """,
    "retrain_ledger": """
        use_case text NOT NULL,
        as_of timestamptz NOT NULL,
        decision text NOT NULL CHECK (decision IN ('retrain', 'wait', 'suppress')),
        reason text NOT NULL,
        details jsonb NOT NULL,
        state text NOT NULL CHECK (state IN ('closed', 'requested', 'triggered', 'finished')),
        dag_run_id text NOT NULL DEFAULT '',
        outcome text NOT NULL DEFAULT '',
        outcome_details jsonb NOT NULL DEFAULT '{}',
        decided_at timestamptz NOT NULL DEFAULT now(),
        triggered_at timestamptz,
        finished_at timestamptz,
        PRIMARY KEY (tenant_id, use_case, as_of)
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
    op.execute(
        "DO $$ BEGIN EXECUTE format('GRANT CONNECT ON DATABASE %I TO tenantry_app', "
        "current_database()); END $$"
    )
    op.execute("GRANT USAGE ON SCHEMA tenantry TO tenantry_app")
    for table, columns in TABLES.items():
        op.execute(UPGRADE.format(table=table, columns=columns))


def downgrade() -> None:
    """Drop everything this revision created."""
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE tenantry.{table}")
