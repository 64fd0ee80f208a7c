"""The audit chain on the real Postgres: written with the ledgers, and a superuser's edits found."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from include.errors import ConfigError
from include.registry.promotions import Promotion
from include.runtime.postgres import Postgres
from include.storage import audit, checkpoints, migrate, verification
from include.storage.chain import AuditEntry, canonical, columns, digest_of, following, head_of
from include.storage.checkpoints import SigningKeys
from include.storage.postgres import tenant_transaction
from include.stores.postgres.promotions import PostgresPromotions
from include.stores.postgres.retrains import PostgresRetrains
from include.tenants.namespace import TenantRef, database
from tests.unused import unused

pytestmark = pytest.mark.integration

PROMOTIONS: Final = PostgresPromotions()
RETRAINS: Final = PostgresRetrains()

JANUARY = datetime(2017, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


#: Some tests are done for a tenant with a database of its own, too.
EVERYWHERE = pytest.mark.parametrize("tenant", ["pool", "silo"], indirect=True)


@pytest.fixture
def tenant(request: pytest.FixtureRequest, platform: Postgres) -> TenantRef:
    """A tenant that no other test has used."""
    isolation = getattr(request, "param", "pool")
    found = TenantRef(unused("audited"), "eu", isolation)
    migrate.migrate(found)
    return found


def promote(tenant: TenantRef, version: str, at: datetime = JANUARY, actor: str = "ada") -> None:
    """One promotion."""
    PROMOTIONS.record(
        tenant,
        Promotion(
            tenant=tenant.id,
            use_case="churn",
            as_of=at,
            trigger="scheduled",
            promoted=True,
            version=version,
            rung="own",
            digest="d" * 64,
            incumbent_version="",
            reasons=("It is better by ½ %.",),
            evidence={"metric": "auc", "low": 0.1, "small": 1e-300, "large": 1e22},
            actor=actor,
        ),
    )


def retrain(tenant: TenantRef) -> None:
    """A request with its whole life."""
    RETRAINS.record(
        tenant, "churn", JANUARY, decision="retrain", reason="drift", details={"share": 0.25}
    )
    RETRAINS.mark_triggered(tenant, "churn", JANUARY, "drift__1")
    RETRAINS.finish(tenant, "churn", JANUARY, "kept", before=0.7, after=0.7)


def lived(tenant: TenantRef) -> None:
    """Ledgers of some length, and an operator's action."""
    promote(tenant, "1")
    retrain(tenant)
    audit.record(tenant, "exported", {"to": "auditor"}, "ada")
    promote(tenant, "2", JANUARY + DAY)


def found(
    tenant: TenantRef, where: Path | None = None, key: SigningKeys | None = None
) -> list[str]:
    """What verification finds."""
    if where is None:
        return [str(one) for one in audit.verify(tenant).findings]
    report = verification.verify([tenant], where, key, everybody=False)
    assert not report.unread
    return [str(one) for one in report.findings]


def as_superuser(server: Postgres, tenant: TenantRef, *statements: str) -> None:
    """What the owner of the tables can do: anything."""
    with psycopg.connect(server.dsn(database(tenant)), autocommit=True) as connection:
        for statement in statements:
            done = connection.execute(statement.replace("{id}", tenant.id))  # type: ignore[arg-type]
            assert done.rowcount != 0, statement


@EVERYWHERE
def test_each_change_of_a_ledger_has_its_entry(tenant: TenantRef) -> None:
    """Promotions once, retrains at each step of their life, operators' actions with who it was."""
    lived(tenant)
    chain = audit.entries(tenant)
    assert [(one.number, one.action, one.actor) for one in chain] == [
        (1, "promotion", "ada"),
        (2, "retrain", "system"),
        (3, "retrain", "system"),
        (4, "retrain", "system"),
        (5, "exported", "ada"),
        (6, "promotion", "ada"),
    ]
    assert [one.told["state"] for one in chain[1:4]] == ["requested", "triggered", "finished"]
    report = audit.verify(tenant)
    assert (report.findings, report.entries, report.rows) == ((), 6, 3)
    assert report.head == head_of(chain)


def test_what_is_written_again_is_not_entered_again(tenant: TenantRef) -> None:
    """A rerun finds its promotion and its retrain, and leaves the chain as it is."""
    lived(tenant)
    before = audit.entries(tenant)
    promote(tenant, "7", actor="bob")
    retrain(tenant)
    audit.record(tenant, "exported", {"to": "auditor"}, "ada", once=True)
    assert audit.entries(tenant) == before
    audit.record(tenant, "exported", {"to": "auditor"}, "ada")
    audit.record(tenant, "exported", {"to": "auditor"}, "bob", once=True)
    assert len(audit.entries(tenant)) == len(before) + 2


def test_a_writer_killed_between_row_and_entry_leaves_neither(
    tenant: TenantRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are one transaction."""

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(audit, "enter", killed)
        with pytest.raises(KeyboardInterrupt):
            promote(tenant, "1")
        with pytest.raises(KeyboardInterrupt):
            retrain(tenant)
    assert PROMOTIONS.history(tenant, "churn") == []
    assert RETRAINS.history(tenant) == []
    assert audit.entries(tenant) == []


def test_writers_at_once_make_one_chain(tenant: TenantRef) -> None:
    """No two entries get the same number or the same predecessor, and none is lost."""
    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(promote, tenant, str(n), JANUARY + n * DAY) for n in range(24)]
        done += [pool.submit(audit.record, tenant, "seen", {"n": n}, "ada") for n in range(24)]
        for one in done:
            one.result()
    report = audit.verify(tenant)
    assert (report.entries, report.rows, report.findings) == (48, 24, ())


def test_an_operators_action_cannot_pass_for_a_ledgers(tenant: TenantRef) -> None:
    """What ledgers and erasures enter has names of its own."""
    for action in ("promotion", "retrain", "experiment", "erased"):
        with pytest.raises(ConfigError, match="another name"):
            audit.record(tenant, action, {}, "ada")
    assert audit.entries(tenant) == []


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE promotions SET version = '9' WHERE version = '1'", "version of the promotion"),
        ("UPDATE promotions SET actor = 'bob' WHERE version = '1'", "actor of the promotion"),
        ("UPDATE promotions SET reasons = '[]' WHERE version = '1'", "reasons of the promotion"),
        ("UPDATE promotions SET decided_at = now() + interval '1 d'", "decided_at of the promot"),
        (
            "UPDATE promotions SET evidence = jsonb_set(evidence, '{low}', '0.2')",
            "evidence of the promotion",
        ),
        ("UPDATE promotions SET as_of = as_of - interval '1 d'", "was never entered"),
        ("DELETE FROM promotions WHERE version = '1'", "the promotion churn/2017-01-01"),
        (
            "INSERT INTO promotions SELECT tenant_id, use_case, as_of, 'drift', promoted, version, "
            "rung, incumbent_version, digest, reasons, evidence, decided_at, actor, withdrawn "
            "FROM promotions WHERE version = '1' AND tenant_id = '{id}'",
            "/drift was never entered",
        ),
        ("UPDATE retrain_ledger SET outcome = 'promoted'", "outcome of the retrain"),
        ("UPDATE retrain_ledger SET state = 'triggered'", "state of the retrain"),
        ("DELETE FROM retrain_ledger", "the retrain churn/2017-01-01"),
        ("DELETE FROM audit WHERE number = 3", "entries are missing before it"),
        ("DELETE FROM audit WHERE number = 1", "entries are missing before it"),
        ("DELETE FROM audit WHERE number = 6", "was never entered"),
        ("DELETE FROM audit", "was never entered"),
        ("UPDATE audit SET actor = 'bob' WHERE number = 5", "entry 5: it was changed"),
        ("UPDATE audit SET details = '{}' WHERE number = 5", "entry 5: it was changed"),
        ("UPDATE audit SET recorded_at = now() WHERE number = 2", "entry 2: it was changed"),
        ("UPDATE audit SET number = 5 - number WHERE number IN (2, 3)", "entry 2:"),
        ("UPDATE audit SET number = number + 1 WHERE number = 6", "entries are missing"),
        ("UPDATE audit SET previous = '' WHERE number = 4", "it does not follow"),
        (
            "INSERT INTO audit SELECT tenant_id, 7, recorded_at, actor, action, details, previous, "
            "digest FROM audit WHERE number = 6 AND tenant_id = '{id}'",
            "entry 7: it does not follow",
        ),
    ],
)
def test_a_superusers_edit_is_found(
    platform: Postgres, tenant: TenantRef, statement: str, told: str
) -> None:
    """Of rows and of entries: edited, moved, deleted or put between, without any checkpoint."""
    lived(tenant)
    assert found(tenant) == []
    statement = statement.replace("FROM promotions", "FROM tenantry.promotions")
    for table in ("promotions", "retrain_ledger", "audit"):
        for verb in ("UPDATE", "INSERT INTO", "DELETE FROM", "FROM"):
            statement = statement.replace(f"{verb} {table}", f"{verb} tenantry.{table}")
    if not statement.startswith("INSERT"):
        statement += " AND" if "WHERE" in statement else " WHERE"
        statement += " tenant_id = '{id}'"
    # moving an entry to the number of another takes two steps, as the key is unique
    if "5 - number" in statement:
        as_superuser(
            platform,
            tenant,
            "UPDATE tenantry.audit SET number = -2 WHERE number = 2 AND tenant_id = '{id}'",
            "UPDATE tenantry.audit SET number = 2 WHERE number = 3 AND tenant_id = '{id}'",
            "UPDATE tenantry.audit SET number = 3 WHERE number = -2 AND tenant_id = '{id}'",
        )
    else:
        as_superuser(platform, tenant, statement)
    assert any(told in one for one in found(tenant)), found(tenant)


def rewrite(
    server: Postgres, tenant: TenantRef, change: Callable[[list[AuditEntry]], list[AuditEntry]]
) -> None:
    """Compute the whole chain anew, as somebody can who has read the code and owns the table."""
    chain = change(audit.entries(tenant))
    anew: list[AuditEntry] = []
    for one in chain:
        anew.append(
            following(
                head_of(anew),
                tenant.id,
                recorded_at=one.recorded_at,
                actor=one.actor,
                action=one.action,
                details=one.details,
            )
        )
    with psycopg.connect(server.dsn(database(tenant))) as connection:
        connection.execute("DELETE FROM tenantry.audit WHERE tenant_id = %s", [tenant.id])
        for one in anew:
            assert one.digest == digest_of(one)
            connection.execute(
                "INSERT INTO tenantry.audit VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                [
                    *(one.owner, one.number, one.recorded_at, one.actor, one.action),
                    *(one.details, one.previous, one.digest),
                ],
            )


def keys() -> SigningKeys:
    """A fresh key."""
    private = Ed25519PrivateKey.generate()
    return SigningKeys(private.public_key(), private)


@EVERYWHERE
@pytest.mark.parametrize("signed", [False, True])
def test_a_chain_computed_anew_is_found_beside_a_checkpoint(
    platform: Postgres, tenant: TenantRef, tmp_path: Path, signed: bool
) -> None:
    """A row edited with its entry, and every digest after it made right, and a chain cut short."""
    lived(tenant)
    key = keys() if signed else None
    checkpoints.write({tenant.id: (tenant, audit.head(tenant))}, JANUARY, tmp_path, key)
    promote(tenant, "3", JANUARY + 2 * DAY)
    assert found(tenant, tmp_path, key) == []

    def forged(chain: list[AuditEntry]) -> list[AuditEntry]:
        with psycopg.connect(platform.dsn(database(tenant))) as connection:
            connection.execute(
                "UPDATE tenantry.promotions SET version = '9' "
                "WHERE version = '1' AND tenant_id = %s",
                [tenant.id],
            )
        details = canonical({**chain[0].told, "version": "9"})
        return [AuditEntry(*(*_fields(chain[0])[:5], details, "")), *chain[1:]]

    rewrite(platform, tenant, forged)
    assert found(tenant) == [], "by itself, the chain is right again"
    (told,) = found(tenant, tmp_path, key)
    assert "entry 6: the chain was written anew since checkpoint 1" in told

    as_superuser(
        platform,
        tenant,
        "DELETE FROM tenantry.audit WHERE number >= 5 AND tenant_id = '{id}'",
        "DELETE FROM tenantry.promotions WHERE version IN ('2', '3') AND tenant_id = '{id}'",
    )
    assert found(tenant) == [], "cut at the end, it is a shorter chain"
    (told,) = found(tenant, tmp_path, key)
    assert "the chain was cut since checkpoint 1" in told
    assert "expected at least 6 entries, found 4" in told


def _fields(entry: AuditEntry) -> list[Any]:
    return [entry.owner, entry.number, entry.recorded_at, entry.actor, entry.action]


def test_with_a_key_a_forged_checkpoint_is_found(tenant: TenantRef, tmp_path: Path) -> None:
    """Unsigned, signed by another, or with the file of one between gone."""
    lived(tenant)
    key, heads = keys(), {tenant.id: (tenant, audit.head(tenant))}
    checkpoints.write(heads, JANUARY, tmp_path, None)
    assert "none is signed" in " ".join(found(tenant, tmp_path, key))
    for _ in range(2):
        checkpoints.write(heads, JANUARY, tmp_path, key)
    assert found(tenant, tmp_path, key) == [], "the first was made before there was a key"
    checkpoints.write(heads, JANUARY, tmp_path, None)
    checkpoints.write(heads, JANUARY, tmp_path, keys())
    told = found(tenant, tmp_path, key)
    assert [one.split(";")[0].rpartition(" of ")[0] for one in told] == [
        "checkpoints: checkpoint 4",
        "checkpoints: checkpoint 5",
    ]
    assert ["no signature" in one or "another signature" in one for one in told] == [True, True]
    (tmp_path / "00000002.json").unlink()
    (tmp_path / "00000003.json").write_text("{}")
    told = found(tenant, tmp_path, key)
    assert "one is missing; expected number 2, found number 3" in told[0]
    assert "00000003.json is no checkpoint any more" in told[1]


def test_chains_that_only_checkpoints_know_are_looked_at_too(
    platform: Postgres, tenant: TenantRef, tmp_path: Path
) -> None:
    """A tenant whose file is gone cannot be forgotten with it; one out of reach is named."""
    lived(tenant)
    lost = TenantRef("never-made", "eu", "silo")
    heads = {one.id: (one, audit.head(tenant)) for one in (tenant, lost)}
    checkpoints.write(heads, JANUARY, tmp_path, None)
    report = verification.verify([], tmp_path, None)
    assert [one.owner for one in report.chains] == [tenant.id]
    assert "tenantry_silo_never_made" in report.unread["never-made"]
    assert not report.good
    as_superuser(
        platform,
        tenant,
        *(
            f"DELETE FROM tenantry.{table} WHERE tenant_id = '{{id}}'"
            for table in ("audit", "promotions", "retrain_ledger")
        ),
    )
    (told,) = verification.verify([], tmp_path, None).findings
    assert "expected at least 6 entries, found 0" in str(told)


@EVERYWHERE
def test_an_erasure_stands_in_the_chain_and_is_no_finding(tenant: TenantRef) -> None:
    """Rows go, the chain says who erased what, and new rows are watched as before."""
    lived(tenant)
    with psycopg.connect(_admin(tenant)) as connection:
        for table in ("promotions", "retrain_ledger"):
            connection.execute(
                f"DELETE FROM tenantry.{table} WHERE tenant_id = %s",  # type: ignore[arg-type]
                [tenant.id],
            )
    assert len(found(tenant)) == 3
    with tenant_transaction(tenant) as connection:
        audit.record_erasure(connection, tenant, ["promotions", "retrain_ledger", "runs"], "ada")
    assert found(tenant) == []
    assert audit.entries(tenant)[-1].told == {"tables": ["promotions", "retrain_ledger"]}
    promote(tenant, "1")
    assert found(tenant) == []


def _admin(tenant: TenantRef) -> str:
    from include.storage.postgres import database_url

    return database_url("TENANTRY_ADMIN_DATABASE_URL", database(tenant))


def test_columns_of_a_row_are_texts_that_nothing_rounds(tenant: TenantRef) -> None:
    """A figure that differs in its twentieth digit is another figure."""
    promote(tenant, "1")
    with psycopg.connect(_admin(tenant)) as connection:
        connection.execute(
            "UPDATE tenantry.promotions SET evidence = jsonb_set(evidence, '{low}', "
            "'0.10000000000000000001') WHERE tenant_id = %s",
            [tenant.id],
        )
    assert "evidence of the promotion" in found(tenant)[0]
    assert columns({"a": "x" * 64, "b": None})["a"] == "x" * 64
