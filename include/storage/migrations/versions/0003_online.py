"""The online store: partial aggregates, recent events, facts, and how fresh each view is."""

from alembic import op

revision = "0003"
down_revision = "0002"

#: Keys are compared as bytes: quickly, and alike on every server.
TABLES = {
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
        owner text COLLATE "C" NOT NULL,
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
        PRIMARY KEY (tenant_id, region, owner, source, event_id)
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
}

#: Batches are compacted and rebuilt whole; streamed events are found by their key.
INDEXES = {
    "online_partials_batch": "online_partials (tenant_id, group_key, until) WHERE event_key = ''",
    "online_partials_event": (
        "online_partials (tenant_id, group_key, event_key) WHERE event_key <> ''"
    ),
    "online_events_created": "online_events (tenant_id, region, created_timestamp)",
}

UPGRADE = """
    CREATE TABLE tenantry.{table} (tenant_id text COLLATE "C" NOT NULL, {columns});
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
    for name, place in INDEXES.items():
        op.execute(f"CREATE INDEX {name} ON tenantry.{place}")


def downgrade() -> None:
    """Drop everything this revision created; the lake holds all of it."""
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE tenantry.{table}")
