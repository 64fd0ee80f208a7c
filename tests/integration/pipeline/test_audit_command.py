"""`tenantry audit`, and the daily checkpoint, on a fleet."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import fleet
import psycopg
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from include import use_cases
from include.cli.identity import operator
from include.pipeline.operators import CheckpointOperator
from include.runtime.postgres import Postgres
from include.storage import audit, ownership, rows
from include.storage.chain import LEDGERS
from include.storage.migrate import migrate
from include.storage.postgres import tenant_transaction
from include.tenants.loader import load_fleet
from include.tenants.namespace import GLOBAL

pytestmark = pytest.mark.integration

Command = Callable[..., tuple[int, str]]
#: In the pool; of the four, the first has a database of its own.
POOLED = fleet.tenant_id(1)


@pytest.fixture
def tenants(
    postgres: Postgres, database: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Four tenants and their databases, a lake, and a chain of some length for each."""
    folder = fleet.write_fleet(tmp_path / "tenants", 4)
    monkeypatch.setenv("TENANTRY_TENANTS", str(folder))
    monkeypatch.setenv("TENANTRY_LAKE", str(tmp_path / "lake"))
    monkeypatch.delenv("TENANTRY_AUDIT", raising=False)
    monkeypatch.delenv("TENANTRY_AUDIT_KEY", raising=False)
    monkeypatch.setenv("COLUMNS", "240")
    with psycopg.connect(postgres.dsn("tenantry"), autocommit=True) as connection:
        # What other tests wrote there, not all of it by the ledgers' own functions.
        for table in ("tenant_owners", "audit", *(ledger.table for ledger in LEDGERS)):
            connection.execute(f"DELETE FROM tenantry.{table}")
    for tenant in load_fleet(folder, use_cases.names()).tenants.values():
        migrate(tenant.ref)
        for n in range(2):
            audit.record(tenant.ref, "seen", {"n": n}, "ada")
    audit.record(GLOBAL, "seen", {}, "ada")
    yield folder
    with psycopg.connect(postgres.dsn("tenantry"), autocommit=True) as connection:
        connection.execute("DELETE FROM tenantry.audit")
        connection.execute("DELETE FROM tenantry.tenant_owners")
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE tenantry_silo_tenant_0000 WITH (FORCE)")


@pytest.fixture
def audited(tenantry: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `tenantry audit`; its exit code and what it printed."""
    monkeypatch.setattr("include.runtime.control.activate", lambda: None)
    return lambda *words: tenantry("audit", *words)


def edit(postgres: Postgres, statement: str) -> None:
    """As a superuser."""
    with psycopg.connect(postgres.dsn("tenantry"), autocommit=True) as connection:
        assert connection.execute(statement).rowcount > 0  # type: ignore[arg-type]


def test_a_good_fleet_verifies_and_says_what_could_have_been_missed(
    tenants: Path, audited: Command
) -> None:
    """Exit code 0; without checkpoint and key it says what nobody could find."""
    code, printed = audited("verify")
    assert code == 0, printed
    assert "9 entries are newer than any checkpoint" in printed
    assert "TENANTRY_AUDIT_KEY names no key" in printed
    assert audited("checkpoint")[0] == 0
    code, printed = audited("verify")
    assert code == 0
    assert "newer than any checkpoint" not in printed


def test_a_finding_is_exit_code_1_with_entry_and_both_values(
    postgres: Postgres, tenants: Path, audited: Command
) -> None:
    """For the fleet and for the one tenant; the others are good by themselves."""
    where = f"WHERE tenant_id = '{POOLED}' AND number = 2"
    edit(postgres, f"UPDATE tenantry.audit SET actor = 'bob' {where}")
    code, printed = audited("verify")
    assert code == 1
    assert f"{POOLED}: entry 2: it was changed; expected digest" in printed
    code, printed = audited("verify", POOLED, "--json")
    assert code == 1
    (chain,) = json.loads(printed)["chains"]
    (finding,) = chain["findings"]
    assert (finding["entry"], finding["what"]) == (2, "it was changed")
    assert {len(finding[name].split()[-1]) for name in ("expected", "found")} == {64}
    assert audited("verify", fleet.tenant_id(2))[0] == 0
    assert audited("verify", GLOBAL.id)[0] == 0


def test_a_cut_tail_is_found_beside_the_daily_checkpoint(
    postgres: Postgres, tenants: Path, audited: Command
) -> None:
    """The platform's daily DAG writes one, and its XCom has the same line."""
    line = CheckpointOperator(task_id="checkpoint").execute({})  # type: ignore[arg-type]
    head = audit.entries(load_fleet(tenants, use_cases.names()).tenants[POOLED].ref)[-1].digest
    assert f" {POOLED}=2:{head}" in line
    edit(
        postgres,
        f"DELETE FROM tenantry.audit WHERE tenant_id = '{POOLED}' AND number = 2",
    )
    code, printed = audited("verify")
    assert code == 1
    assert f"{POOLED}: the chain was cut since checkpoint 1" in printed


def test_a_tenant_whose_file_is_gone_is_still_looked_at(
    postgres: Postgres, tenants: Path, audited: Command
) -> None:
    """Deleting the file with the rows does not delete the checkpoint."""
    assert audited("checkpoint")[0] == 0
    (tenants / f"{POOLED}.yaml").unlink()
    assert audited("verify")[0] == 0
    edit(postgres, f"DELETE FROM tenantry.audit WHERE tenant_id = '{POOLED}'")
    code, printed = audited("verify")
    assert code == 1
    assert f"{POOLED}: the chain was cut" in printed


def test_a_removed_tenant_that_no_checkpoint_knows_is_looked_at_and_covered(
    postgres: Postgres, tenants: Path, audited: Command
) -> None:
    """The record of owners knows it once its file is gone."""
    ownership.claim(load_fleet(tenants, use_cases.names()).tenants[POOLED])
    (tenants / f"{POOLED}.yaml").unlink()
    code, printed = audited("verify", "--json")
    assert code == 0, printed
    assert POOLED in {one["owner"] for one in json.loads(printed)["chains"]}
    edit(postgres, f"UPDATE tenantry.audit SET actor = 'bob' WHERE tenant_id = '{POOLED}'")
    code, printed = audited("verify")
    assert code == 1
    assert f"{POOLED}: entry 1: it was changed" in printed
    assert POOLED in json.loads(audited("checkpoint", "--json")[1])["heads"]


def test_a_chain_is_looked_at_where_the_data_lies(
    postgres: Postgres, tenants: Path, audited: Command
) -> None:
    """Not where the file says, before the tenant was moved there; and of an erased tenant in the
    pool, to which it went from the database that the checkpoint names."""
    silo = load_fleet(tenants, use_cases.names()).tenants[fleet.tenant_id(0)]
    ownership.claim(silo)
    assert audited("checkpoint")[0] == 0
    path = tenants / f"{silo.id}.yaml"
    path.write_text(path.read_text().replace("isolation: silo", "isolation: pool"))
    code, printed = audited("verify")
    assert code == 0, printed
    owner = ownership.owner_of(silo.id)
    assert owner is not None
    audit.record(silo.ref, "seen", {"n": 3}, "ada")
    rows.copy_rows(silo.ref, replace(silo.ref, isolation="pool"), only=(rows.AUDIT,))
    rows.drop_silo(silo.ref)
    ownership.change(owner, "erased", actor="ada")
    path.unlink()
    try:
        code, printed = audited("verify", "--json")
        assert code == 0, printed
        (chain,) = (one for one in json.loads(printed)["chains"] if one["owner"] == silo.id)
        assert chain["entries"] == 3
    finally:
        with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE tenantry_silo_tenant_0000")


def test_an_erasure_that_nobody_did_excuses_no_rows_that_are_gone(
    postgres: Postgres, tenants: Path, audited: Command
) -> None:
    """Whoever deletes a ledger's rows and enters an erasure, as the chain's next good entry, is
    found where no owner of the id was ever erased."""
    config = load_fleet(tenants, use_cases.names()).tenants[POOLED]
    ownership.claim(config)
    with tenant_transaction(config.ref) as connection:
        audit.record_erasure(connection, config.ref, ["promotions"], "ada")
    code, printed = audited("verify")
    assert code == 1
    assert f"{POOLED}: entry 3: it says that the ledgers were erased" in printed
    owner = ownership.owner_of(POOLED)
    assert owner is not None
    ownership.change(owner, "erased", actor="ada")
    assert audited("verify")[0] == 0


def test_who_cannot_be_looked_at_is_named_and_is_exit_code_1(
    postgres: Postgres, tenants: Path, audited: Command
) -> None:
    """A silo that is down, a bad tenant file; the others are verified, and in the checkpoint."""
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE tenantry_silo_tenant_0000 WITH (FORCE)")
    (tenants / "broken.yaml").write_text("id: broken\n")
    try:
        code, printed = audited("verify", "--json")
        told = json.loads(printed)
        assert code == 1
        assert len(told["chains"]) == 4
        assert list(told["unread"]) == [fleet.tenant_id(0)]
        assert any("broken.yaml" in line for line in told["problems"])
        code, printed = audited("checkpoint", "--json")
        told = json.loads(printed)
        assert code == 1
        assert len(told["heads"]) == 4
        assert list(told["unread"]) == [fleet.tenant_id(0)]
    finally:
        with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE tenantry_silo_tenant_0000")


def test_with_a_key_everything_is_covered(
    tenants: Path, audited: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signed where the private part is; verified where only the public one is."""
    private = Ed25519PrivateKey.generate()
    (tmp_path / "audit.pem").write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (tmp_path / "public.pem").write_bytes(
        private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    monkeypatch.setenv("TENANTRY_AUDIT_KEY", str(tmp_path / "audit.pem"))
    monkeypatch.setenv("TENANTRY_AUDIT", str(tmp_path / "elsewhere"))
    assert audited("checkpoint")[0] == 0
    monkeypatch.setenv("TENANTRY_AUDIT_KEY", str(tmp_path / "public.pem"))
    code, printed = audited("verify")
    assert (code, "Everything is covered." in printed) == (0, True), printed
    (path,) = (tmp_path / "elsewhere").iterdir()
    path.write_text(path.read_text().replace('"length": 2', '"length": 1', 1))
    code, printed = audited("verify")
    assert code == 1
    assert "was not signed; expected the key's, found another signature" in printed


def test_show_prints_what_happened_and_who_did_it(tenants: Path, audited: Command) -> None:
    """Every entry of one chain, oldest first."""
    ref = load_fleet(tenants, use_cases.names()).tenants[POOLED].ref
    audit.record(ref, "exported", {"to": "auditor"}, operator())
    code, printed = audited("show", POOLED, "--json")
    rows = json.loads(printed)
    assert code == 0
    assert [(row["number"], row["action"], row["actor"]) for row in rows] == [
        (1, "seen", "ada"),
        (2, "seen", "ada"),
        (3, "exported", operator()),
    ]
    assert rows[-1]["details"] == {"to": "auditor"}
    assert datetime.fromisoformat(rows[-1]["recorded_at"]) <= datetime.now(UTC)
    assert "to: auditor" in audited("show", POOLED)[1]
