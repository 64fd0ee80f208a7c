"""Every table: what ran, what was predicted and decided, the online store, owners, the audit chain.

Rows of the platform itself have the owner `global`: its models, breaches of the fleet, and the
owners of tenant ids. A tenant shows in a breach as a digest and as a number in a count.
"""

from alembic import op

revision = "baseline"
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
        undated bigint NOT NULL DEFAULT 0,
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
        details jsonb,
        experiment integer,
        arm text CHECK (arm IN ('champion', 'challenger')),
        CHECK ((experiment IS NULL) = (arm IS NULL)),
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
        actor text NOT NULL DEFAULT 'system',
        withdrawn jsonb NOT NULL DEFAULT '[]',
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
        standard_error double precision,
        baseline double precision,
        labels bigint NOT NULL,
        measured_as_of timestamptz NOT NULL,
        effective_labels double precision,
        outcome_rate double precision,
        expected_rate double precision,
        rate_error double precision,
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
        effect text NOT NULL DEFAULT ''
            CHECK (effect IN ('', 'helped', 'hurt', 'no difference')),
        effect_details jsonb NOT NULL DEFAULT '{}',
        PRIMARY KEY (tenant_id, use_case, as_of)
    """,
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
    "feature_skew": """
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
    """,
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
    "tenant_owners": """
        member text NOT NULL,
        number integer NOT NULL CHECK (number > 0),
        region text NOT NULL,
        isolation text NOT NULL CHECK (isolation IN ('pool', 'silo')),
        key_digest text NOT NULL,
        state text NOT NULL
            CHECK (state IN ('active', 'sealed', 'moving', 'erasing', 'erased')),
        target_region text NOT NULL DEFAULT '',
        target_isolation text NOT NULL DEFAULT '',
        actor text NOT NULL,
        details jsonb NOT NULL DEFAULT '{}',
        opened_at timestamptz NOT NULL DEFAULT now(),
        recorded_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, member, number)
    """,
    "audit": """
        number bigint NOT NULL,
        recorded_at timestamptz NOT NULL,
        actor text NOT NULL,
        action text NOT NULL,
        details text NOT NULL,
        previous text NOT NULL,
        digest text NOT NULL,
        PRIMARY KEY (tenant_id, number)
    """,
}

#: The online store's. Keys are compared as bytes: quickly, and alike on every server.
ONLINE_TABLES = {
    "online_groups": """
        group_key text COLLATE "C" NOT NULL,
        region text NOT NULL,
        layout jsonb NOT NULL,
        watermark timestamptz NOT NULL,
        batches jsonb NOT NULL,
        PRIMARY KEY (tenant_id, group_key)
    """,
    "online_views": """
        region text NOT NULL,
        view_name text NOT NULL,
        fingerprint text NOT NULL,
        group_key text COLLATE "C" NOT NULL,
        watermark timestamptz NOT NULL,
        ttl_seconds double precision,
        source text NOT NULL DEFAULT '',
        materialized_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, region, view_name, fingerprint)
    """,
    "online_partials": """
        group_key text COLLATE "C" NOT NULL,
        entity_key text COLLATE "C" NOT NULL,
        until timestamptz NOT NULL,
        event_key text COLLATE "C" NOT NULL DEFAULT '',
        fields bytea NOT NULL,
        words bytea NOT NULL,
        ends bytea NOT NULL,
        PRIMARY KEY (tenant_id, group_key, entity_key, until, event_key)
    """,
    "online_events": """
        region text NOT NULL,
        source text COLLATE "C" NOT NULL,
        event_id text COLLATE "C" NOT NULL,
        event text NOT NULL,
        user_id text,
        account_id text,
        item_id text,
        group_id text,
        quantity double precision,
        amount double precision,
        properties text,
        event_timestamp timestamptz NOT NULL,
        created_timestamp timestamptz NOT NULL,
        PRIMARY KEY (tenant_id, region, source, event_id)
    """,
    "online_facts": """
        entity text COLLATE "C" NOT NULL,
        entity_id text COLLATE "C" NOT NULL,
        name text COLLATE "C" NOT NULL,
        source text COLLATE "C" NOT NULL,
        event_id text COLLATE "C" NOT NULL,
        value text,
        valid_from timestamptz NOT NULL,
        created_timestamp timestamptz NOT NULL,
        PRIMARY KEY (tenant_id, entity, entity_id, name, source, event_id)
    """,
    "online_delivered": """
        region text COLLATE "C" NOT NULL,
        digest bytea NOT NULL,
        known_at timestamptz NOT NULL,
        PRIMARY KEY (tenant_id, region, digest)
    """,
}

#: Batches are compacted and rebuilt whole; streamed events are found by their key.
INDEXES = {
    "online_partials_batch": "online_partials (tenant_id, group_key, until) WHERE event_key = ''",
    "online_partials_event": (
        "online_partials (tenant_id, group_key, event_key) WHERE event_key <> ''"
    ),
    "online_events_created": "online_events (tenant_id, region, created_timestamp)",
    "online_delivered_known": "online_delivered (tenant_id, region, known_at)",
}

#: Rows of these are added and never changed.
APPEND_ONLY = (
    "promotions",
    "experiments",
    "outcomes_measured",
    "experiment_outcomes",
    "shadow_outcomes",
    "audit",
)

CREATE = """
    CREATE TABLE tenantry.{table} (tenant_id text {collation} NOT NULL, {columns});
    ALTER TABLE tenantry.{table} ENABLE ROW LEVEL SECURITY;
    ALTER TABLE tenantry.{table} FORCE ROW LEVEL SECURITY;
    CREATE POLICY own_rows ON tenantry.{table}
        USING (tenant_id = current_setting('tenantry.tenant', true))
        WITH CHECK (tenant_id = current_setting('tenantry.tenant', true));
    GRANT {rights} ON tenantry.{table} TO tenantry_app;
"""

#: A row that says `erased` is all that is kept of a tenant.
KEEP_OWNERS = """
    CREATE FUNCTION tenantry.keep_owner() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'the record of the owners of tenant ids is kept';
    END $$;
    CREATE TRIGGER owners_are_kept BEFORE DELETE ON tenantry.tenant_owners FOR EACH ROW
        WHEN (OLD.tenant_id = 'global' AND current_user = 'tenantry_app')
        EXECUTE FUNCTION tenantry.keep_owner();
"""


def upgrade() -> None:
    """Create the tables, each confined by a forced row-level security policy."""
    op.execute(
        "DO $$ BEGIN EXECUTE format('GRANT CONNECT ON DATABASE %I TO tenantry_app', "
        "current_database()); END $$"
    )
    op.execute("GRANT USAGE ON SCHEMA tenantry TO tenantry_app")
    for tables, collation in ((TABLES, ""), (ONLINE_TABLES, 'COLLATE "C"')):
        for table, columns in tables.items():
            rights = "SELECT, INSERT" + ("" if table in APPEND_ONLY else ", UPDATE, DELETE")
            op.execute(
                CREATE.format(table=table, collation=collation, columns=columns, rights=rights)
            )
    for name, place in INDEXES.items():
        op.execute(f"CREATE INDEX {name} ON tenantry.{place}")
    op.execute(KEEP_OWNERS)


def downgrade() -> None:
    """Drop everything this revision created."""
    for table in (*TABLES, *ONLINE_TABLES):
        op.execute(f"DROP TABLE tenantry.{table}")
    op.execute("DROP FUNCTION tenantry.keep_owner()")
