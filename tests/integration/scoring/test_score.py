"""Scoring on the real Postgres: who serves, what is written, what is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pyarrow as pa
import pytest

from include.errors import ConfigError, IntegrityError
from include.handoffs import FeaturesBuilt, Scored, TableVersion
from include.models.baselines import baseline_model
from include.models.model import Model
from include.models.serialise import to_bytes
from include.registry.in_memory import InMemoryRegistry
from include.registry.port import ModelVersion, NewVersion
from include.registry.promotions import Promotion
from include.scoring import stage as scoring
from include.scoring.stage import score
from include.storage.lake import Lake
from include.storage.postgres import tenant_transaction
from include.stores.postgres import in_postgres
from include.stores.postgres.promotions import PostgresPromotions
from include.tenants.namespace import TenantRef
from include.use_cases.details import Alerts, KeptFeature
from tests.unused import unused

pytestmark = pytest.mark.integration

PROMOTIONS: Final = PostgresPromotions()
STORES: Final = in_postgres()

MONDAY = datetime(2017, 1, 2, tzinfo=UTC)
WEEK = timedelta(days=7)
HOSTILE = ["'; DROP TABLE predictions; --", "{{ 7 * 7 }}", "../../etc", "\u202eabc\x01", "ü" * 5000]


@pytest.fixture
def tenant(database: Any) -> TenantRef:
    """A tenant that no other test has used."""
    return TenantRef(unused("dora"), "eu", "pool")


@pytest.fixture
def registry() -> InMemoryRegistry:
    """The twin."""
    return InMemoryRegistry()


def rule(column: str = "visits") -> Model:
    """A model that scores by one column."""
    return baseline_model({"column": column, "descending": False, "then": ""})


def promote(
    registry: InMemoryRegistry, tenant: TenantRef, as_of: datetime = MONDAY, column: str = "visits"
) -> ModelVersion:
    """A version that serves from `as_of` on."""
    new = NewVersion(
        key=as_of.isoformat(),
        rung="baseline",
        name=column,
        model=to_bytes(rule(column)),
        reference=b"PAR1",
        parent_version="",
        as_of=as_of,
        feature_fingerprint="f1",
        parameters={},
        metrics={},
        lineage={},
    )
    version = registry.register(tenant, "churn", new)
    PROMOTIONS.record(
        tenant,
        Promotion(
            tenant.id,
            "churn",
            as_of,
            "scheduled",
            True,
            version.version,
            version.rung,
            version.digest,
            "",
            ("first",),
            {},
        ),
    )
    return version


def built(
    lake: Lake, tenant: TenantRef, table: pa.Table | None = None, as_of: datetime = MONDAY
) -> FeaturesBuilt:
    """Features of three users, or of `table`."""
    if table is None:
        table = pa.table({"user_id": list("abc"), "visits": [1.0, 3.0, 2.0], "spend": [9, 1, 5]})
    stored = lake.put_table(tenant, f"features/{as_of:%Y%m%d}.parquet", table)
    nothing = TableVersion(tenant.id, "events", 4, 10, "s")
    return FeaturesBuilt(
        tenant.id, "churn", as_of, stored, "f1", nothing, nothing, False, "not due"
    )


def run(
    registry: InMemoryRegistry, lake: Lake, tenant: TenantRef, features: FeaturesBuilt, **how: Any
) -> Scored:
    """The stage as the pipeline calls it."""
    how = {"task": "classification", "top_k": 10} | how
    ports = {name: getattr(STORES, name) for name in ("promotions", "experiments", "predictions")}
    return score(tenant, features, registry=registry, lake=lake, **ports, **how)


def stored(tenant: TenantRef) -> list[dict[str, Any]]:
    """All of the tenant's predictions."""
    with tenant_transaction(tenant) as connection:
        return connection.execute(
            "SELECT * FROM predictions ORDER BY use_case, as_of, rank, entity_id"
        ).fetchall()


def test_predictions_name_what_made_them(
    registry: InMemoryRegistry, lake: Lake, tenant: TenantRef
) -> None:
    """Each row carries score, rank, baseline, model version and feature fingerprint."""
    promote(registry, tenant)
    features = built(lake, tenant)
    found = run(registry, lake, tenant, features, baseline=rule("spend"))
    assert (found.version, found.rows, found.features) == ("1", 3, features.features)
    assert stored(tenant)[0] == {
        "tenant_id": tenant.id,
        "use_case": "churn",
        "as_of": MONDAY,
        "entity_id": "b",
        "item_id": "",
        "rank": 1,
        "score": 3.0,
        "details": None,
        "baseline_score": 1.0,
        "model_version": "1",
        "feature_fingerprint": "f1",
        "experiment": None,
        "arm": None,
    }
    assert [row["entity_id"] for row in stored(tenant)] == ["b", "c", "a"]


def test_a_rerun_replaces_the_interval_and_nothing_else(
    registry: InMemoryRegistry, lake: Lake, tenant: TenantRef
) -> None:
    """Scoring twice is scoring once; rows of gone entities vanish, other intervals stay."""
    promote(registry, tenant)
    for as_of in (MONDAY, MONDAY + WEEK):
        run(registry, lake, tenant, built(lake, tenant, as_of=as_of))
    before = stored(tenant)
    run(registry, lake, tenant, built(lake, tenant))
    assert stored(tenant) == before
    fewer = pa.table({"user_id": ["z"], "visits": [7.0]})
    run(registry, lake, tenant, built(lake, tenant, fewer))
    assert [r["entity_id"] for r in stored(tenant)] == ["z", "b", "c", "a"]
    run(registry, lake, tenant, built(lake, tenant, fewer.slice(0, 0)))
    assert stored(tenant) == [row for row in before if row["as_of"] == MONDAY + WEEK]


def test_an_old_interval_is_scored_by_who_served_then(
    registry: InMemoryRegistry, lake: Lake, tenant: TenantRef
) -> None:
    """A promotion that came later does not change a rerun of the past."""
    promote(registry, tenant)
    promote(registry, tenant, MONDAY + 2 * WEEK, "spend")
    versions = [
        run(registry, lake, tenant, built(lake, tenant, as_of=MONDAY + n * WEEK)).version
        for n in range(4)
    ]
    assert versions == ["1", "1", "2", "2"]


def test_without_a_champion_nothing_is_written(
    registry: InMemoryRegistry, lake: Lake, tenant: TenantRef
) -> None:
    """Before the first promotion there is no version and no row."""
    promote(registry, tenant, MONDAY + WEEK)
    found = run(registry, lake, tenant, built(lake, tenant))
    assert (found.version, found.rows) == ("", 0)
    assert stored(tenant) == []


def test_a_ranking_keeps_the_best_items(
    registry: InMemoryRegistry, lake: Lake, tenant: TenantRef
) -> None:
    """Each user keeps `top_k` items, best first."""
    promote(registry, tenant)
    table = pa.table(
        {"user_id": list("aaabb"), "item_id": list("xyzxy"), "visits": [1.0, 2.0, 3.0, 5.0, 4.0]}
    )
    found = run(registry, lake, tenant, built(lake, tenant, table), task="ranking", top_k=2)
    assert found.rows == 4
    kept = [(r["entity_id"], r["rank"], r["item_id"]) for r in stored(tenant)]
    assert kept == [("a", 1, "z"), ("b", 1, "x"), ("a", 2, "y"), ("b", 2, "y")]


def test_what_is_known_beside_a_score_is_stored_with_it(
    registry: InMemoryRegistry, lake: Lake, tenant: TenantRef
) -> None:
    """Payments are rows of their own id; alerts and reasons stand in the details."""
    promote(registry, tenant)
    table = pa.table(
        {
            "user_id": ["u"] * 3,
            "group_id": list("xyz"),
            "visits": [1.0, 3.0, 2.0],
            "spend": [5.0] * 3,
        }
    )
    beside = (Alerts(0.3), KeptFeature("spent", "spend"))
    payments = built(lake, tenant, table)
    run(registry, lake, tenant, payments, entity="group_id", reasons=1, beside=beside)
    kept = [(row["entity_id"], row["details"]) for row in stored(tenant)]
    reason = {"feature": "visits", "value": 3.0, "contribution": 3.0}
    assert kept[0] == ("y", {"alert": True, "spent": 5.0, "reasons": [reason]})
    assert [(entity, told["alert"]) for entity, told in kept[1:]] == [("z", False), ("x", False)]


def test_hostile_entities_are_only_text(
    registry: InMemoryRegistry, lake: Lake, tenant: TenantRef
) -> None:
    """Whatever an entity is called, it is stored as it is, once."""
    promote(registry, tenant)
    table = pa.table({"user_id": HOSTILE, "visits": [float(n) for n in range(len(HOSTILE))]})
    run(registry, lake, tenant, built(lake, tenant, table))
    assert [row["entity_id"] for row in stored(tenant)] == HOSTILE[::-1]


def test_a_missing_feature_is_named(
    registry: InMemoryRegistry, lake: Lake, tenant: TenantRef
) -> None:
    """A model that reads what was not built says so, and leaves the predictions as they are."""
    promote(registry, tenant)
    run(registry, lake, tenant, built(lake, tenant))
    before = stored(tenant)
    without = pa.table({"user_id": ["a"], "spend": [1.0]})
    with pytest.raises(ConfigError, match="not built: visits; built: spend, user_id"):
        run(registry, lake, tenant, built(lake, tenant, without))
    with pytest.raises(ConfigError, match="not built: margin"):
        run(registry, lake, tenant, built(lake, tenant), baseline=rule("margin"))
    assert stored(tenant) == before


def test_a_changed_artifact_is_refused_before_it_is_parsed(
    registry: InMemoryRegistry, lake: Lake, tenant: TenantRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that are not the promoted ones reach no parser and write no row."""
    version = promote(registry, tenant)
    registry.files[(tenant.id, "churn", version.version, "model")] += b" "
    parsed: list[bytes] = []
    monkeypatch.setattr(scoring, "from_bytes", parsed.append)
    with pytest.raises(IntegrityError):
        run(registry, lake, tenant, built(lake, tenant))
    assert parsed == []
    assert stored(tenant) == []


def test_a_version_that_was_not_promoted_is_refused(
    registry: InMemoryRegistry, lake: Lake, tenant: TenantRef
) -> None:
    """A registry that answers with other bytes than the ledger promoted is not believed."""
    promote(registry, tenant)
    other = InMemoryRegistry()
    stranger = registry.versions(tenant, "churn")[0]
    other.register(
        tenant,
        "churn",
        NewVersion("k", "own", "n", b"other", b"", "", stranger.as_of, "f1", {}, {}, {}),
    )
    with pytest.raises(IntegrityError, match="not the artifact that was promoted"):
        run(other, lake, tenant, built(lake, tenant))


def test_tenants_score_apart(registry: InMemoryRegistry, lake: Lake, tenant: TenantRef) -> None:
    """One tenant's run neither reads nor writes what is another's."""
    other = TenantRef(f"{tenant.id}-b", "us", "pool")
    promote(registry, tenant)
    run(registry, lake, tenant, built(lake, tenant))
    before = stored(tenant)
    assert run(registry, lake, other, built(lake, other)).version == ""
    promote(registry, other, column="spend")
    run(registry, lake, other, built(lake, other))
    assert stored(tenant) == before
    assert {row["tenant_id"] for row in stored(other)} == {other.id}
    with pytest.raises(IntegrityError, match="were handed to"):
        run(registry, lake, other, built(lake, tenant))
    with pytest.raises(IntegrityError, match="belongs to"):
        run(registry, lake, other, replace(built(lake, tenant), tenant=other.id))


def challenge(
    registry: InMemoryRegistry, tenant: TenantRef, as_of: datetime, column: str, model: bytes = b""
) -> None:
    """A training at that instant whose runner-up scores by a column."""
    new = NewVersion(
        f"{as_of}/{column}",
        "own",
        column,
        model or to_bytes(rule(column)),
        *(b"PAR1", "", as_of, "f1", {}, {}, {}),
    )
    version = registry.register(tenant, "churn", new)
    serving = PROMOTIONS.champion_at(tenant, "churn", as_of)
    assert serving is not None
    PROMOTIONS.record(
        tenant,
        replace(
            serving,
            as_of=as_of,
            trigger=f"scheduled-{column}",
            promoted=False,
            evidence={"challenger": version.version},
        ),
    )


def shadow(tenant: TenantRef) -> list[tuple[datetime, str, str, float]]:
    """When whom the challenger would have answered what."""
    with tenant_transaction(tenant) as connection:
        rows = connection.execute("SELECT * FROM shadow_predictions ORDER BY as_of, rank")
        return [(r["as_of"], r["model_version"], r["entity_id"], r["score"]) for r in rows]


def test_the_challenger_of_then_scores_in_the_shadow(
    registry: InMemoryRegistry, lake: Lake, tenant: TenantRef
) -> None:
    """It answers the same entities, is served to nobody, and a rerun of an old interval takes the
    version that challenged then."""
    promote(registry, tenant)
    challenge(registry, tenant, MONDAY, "spend")
    run(registry, lake, tenant, built(lake, tenant))
    before, served = shadow(tenant), stored(tenant)
    assert before == [(MONDAY, "2", e, s) for e, s in (("a", 9), ("c", 5), ("b", 1))]
    assert {row["model_version"] for row in served} == {"1"}
    challenge(registry, tenant, MONDAY + WEEK, "visits")  # the champion's own bytes, as version 3
    run(registry, lake, tenant, built(lake, tenant, as_of=MONDAY + WEEK))
    run(registry, lake, tenant, built(lake, tenant))
    assert [row for row in shadow(tenant) if row[0] == MONDAY] == before
    assert {row[1] for row in shadow(tenant) if row[0] > MONDAY} == {"3"}
    assert [row for row in stored(tenant) if row["as_of"] == MONDAY] == served
    fewer = pa.table({"user_id": ["z"], "visits": [7.0], "spend": [1.0]})
    run(registry, lake, tenant, built(lake, tenant, fewer))
    assert [row[2] for row in shadow(tenant) if row[0] == MONDAY] == ["z"]


@pytest.mark.parametrize("what", ["spoiled", "no model", "margin"])
def test_a_challenger_never_fails_serving(
    registry: InMemoryRegistry,
    lake: Lake,
    tenant: TenantRef,
    caplog: pytest.LogCaptureFixture,
    what: str,
) -> None:
    """One that is spoiled, is no model, or reads what was not built is left out, and logged."""
    promote(registry, tenant)
    challenge(registry, tenant, MONDAY, "margin", b"{}" if what == "no model" else b"")
    if what == "spoiled":
        registry.files[(tenant.id, "churn", "2", "model")] += b" "
    assert run(registry, lake, tenant, built(lake, tenant)).rows == 3
    assert [row["entity_id"] for row in stored(tenant)] == ["b", "c", "a"]
    assert shadow(tenant) == []
    assert f"{tenant.id}/churn@2 challenges" in caplog.text


def test_a_crash_in_the_middle_leaves_the_old_rows(
    registry: InMemoryRegistry, lake: Lake, tenant: TenantRef
) -> None:
    """Rows replace rows in one transaction: a write that fails changes nothing."""
    promote(registry, tenant)
    run(registry, lake, tenant, built(lake, tenant))
    before = stored(tenant)
    users = [f"u{n:05}" for n in range(10_000)] + ["z\0"]  # which Postgres cannot store
    table = pa.table({"user_id": users, "visits": [1.0] * len(users)})
    with pytest.raises(Exception, match="NUL"):
        run(registry, lake, tenant, built(lake, tenant, table))
    assert stored(tenant) == before
