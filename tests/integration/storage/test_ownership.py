"""Whose an id is: data of one owner is never another one's, whatever the folder of files says."""

from __future__ import annotations

import hashlib
from pathlib import Path

import psycopg
import pytest

from include.errors import ConfigError, IsolationError, TenantryError, UnavailableError
from include.runtime.postgres import Postgres
from include.storage import ownership
from include.storage.lake import Lake
from include.storage.migrate import migrate
from include.storage.postgres import tenant_transaction
from include.tenants.config import TenantConfig
from include.tenants.namespace import GLOBAL, TenantRef

pytestmark = pytest.mark.integration
KEY, OTHER = "k" * 32, "o" * 32


def tenant(name: str, key: str | None = None, **more: object) -> TenantConfig:
    """A tenant's file. Its key is the tenant's alone, and begins with the given one."""
    key = None if key is None else key + hashlib.sha256(name.encode()).hexdigest()[:16]
    return with_key(name, key, **more)


def with_key(name: str, key: str | None, **more: object) -> TenantConfig:
    """A tenant's file with exactly this key."""
    return TenantConfig.model_validate(
        {
            "id": name,
            "key": key,
            "name": name,
            "region": "eu",
            "schedule": "0 0 * * *",
            "history_from": "2023-01-01",
            "use_cases": {"churn": None},
            "sources": [
                {
                    "name": "orders",
                    "connector": {"type": "file", "path": "x.csv", "format": "csv"},
                    "events": {
                        "event": "Order Completed",
                        "event_id": ["id"],
                        "event_timestamp": "at",
                        "user_id": "user",
                    },
                }
            ],
            **more,
        }
    )


@pytest.fixture
def lake(platform: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """An empty lake, the databases migrated."""
    monkeypatch.setenv("TENANTRY_LAKE", str(tmp_path))
    return Lake(tmp_path)


@pytest.mark.parametrize(
    ("name", "first", "then"),
    [
        ("other-key", KEY, OTHER),
        ("key-lost", KEY, None),
        ("key-put-in", None, KEY),
        ("key-longer", KEY, KEY + "k"),
        ("key-case", "abcdefgh" * 4, "ABCDEFGH" * 4),
    ],
)
def test_an_id_with_another_key_is_refused(
    lake: Lake, name: str, first: str | None, then: str | None
) -> None:
    """Whoever comes with another key, or with one fewer, does not get the id, and is told why."""
    ownership.claim(tenant(name, first))
    ownership.claim(tenant(name, first))
    with pytest.raises(IsolationError, match="choose another id, or erase") as told:
        ownership.claim(tenant(name, then))
    assert KEY not in str(told.value)
    with pytest.raises(IsolationError):
        ownership.check(tenant(name, then))
    assert ownership.admitted([tenant(name, then)]) == []
    assert len(ownership.admitted([tenant(name, first)])) == 1


def test_a_copied_file_does_not_share_its_key(lake: Lake) -> None:
    """A second id with the key of the first is refused, and not told whose that is, until the
    first one's data is erased."""
    first, copy = with_key("copied-from", "c" * 32), with_key("copied-to", "c" * 32)
    ownership.claim(first)
    for refused in (ownership.claim, ownership.check):
        with pytest.raises(IsolationError, match="has the `key` of another tenant's file") as told:
            refused(copy)
        assert first.id not in str(told.value)
    assert ownership.owner_of(copy.id) is None
    ownership.claim(first)
    owner = ownership.owner_of(first.id)
    assert owner is not None
    ownership.change(owner, "erased", actor="an-operator")
    ownership.claim(copy)


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize(
    "elsewhere",
    [
        {"region": "us"},
        {"isolation": "silo"},
        {"region": "us", "isolation": "silo"},
        {"region": "eu-west"},
    ],
)
def test_a_changed_place_is_refused_until_the_data_was_moved(
    lake: Lake, key: str | None, elsewhere: dict[str, str]
) -> None:
    """Region or isolation changed in the file: the message names both places and the command."""
    name = f"moves-{'-'.join(elsewhere.values())}-{'k' if key else 'n'}"
    ownership.claim(tenant(name, key))
    with pytest.raises(ConfigError, match=rf"'eu'.*'pool'.*tenantry tenants move {name}"):
        ownership.claim(tenant(name, key, **elsewhere))
    ownership.claim(tenant(name, key))


@pytest.mark.parametrize("key", [None, KEY])
def test_sealed_data_is_nobodys(lake: Lake, key: str | None) -> None:
    """After a removal even the same file is refused, and told what to do."""
    name = f"sealed-{'k' if key else 'n'}"
    one = tenant(name, key)
    ownership.claim(one)
    owner = ownership.owner_of(name)
    assert owner is not None
    ownership.change(owner, "sealed", actor="an-operator")
    with pytest.raises(IsolationError, match=r"an-operator.*sealed.*--erase.*unseal"):
        ownership.claim(one)
    assert ownership.admitted([one]) == []


@pytest.mark.parametrize("state", ["moving", "erasing"])
def test_a_step_under_way_is_waited_for(lake: Lake, state: str) -> None:
    """While data is moved or erased, nobody gets the id."""
    one = tenant(f"under-way-{state}", KEY)
    ownership.claim(one)
    owner = ownership.owner_of(one.id)
    assert owner is not None
    ownership.change(owner, state, actor="an-operator", target=TenantRef(one.id, "us", "pool"))
    with pytest.raises(UnavailableError, match="again to finish that"):
        ownership.claim(one)
    assert ownership.admitted([one]) == []


def test_after_an_erasure_the_id_is_free_and_the_old_owner_stays_on_record(lake: Lake) -> None:
    """The next owner is number two; the row of the first says that it was erased, and by whom."""
    ownership.claim(tenant("comes-again", KEY))
    owner = ownership.owner_of("comes-again")
    assert owner is not None
    ownership.change(owner, "erased", actor="an-operator", details={"rows": 3})
    ownership.claim(tenant("comes-again", OTHER, region="us"), actor="another")
    now = ownership.owner_of("comes-again")
    assert now is not None
    assert (now.number, now.state, now.region, now.actor) == (2, "active", "us", "another")
    with tenant_transaction(GLOBAL) as connection:
        rows = connection.execute(
            "SELECT number, state, actor FROM tenant_owners WHERE member = 'comes-again' "
            "ORDER BY number"
        ).fetchall()
    assert [tuple(row.values()) for row in rows] == [
        (1, "erased", "an-operator"),
        (2, "active", "another"),
    ]
    with pytest.raises(IsolationError, match="another owner by now"):
        ownership.change(owner, "active", actor="late")


def test_data_without_an_owner_goes_to_a_file_without_a_key_only(lake: Lake) -> None:
    """As an earlier release left it: who goes on keeps it, a newcomer does not inherit it."""
    old = TenantRef("from-before", "eu", "pool")
    lake.put(old, "events/x", b"x")
    with pytest.raises(IsolationError, match="must not inherit"):
        ownership.claim(tenant(old.id, KEY))
    with pytest.raises(ConfigError, match="tenants move"):
        ownership.claim(tenant(old.id, region="us"))
    ownership.claim(tenant(old.id))


@pytest.mark.parametrize("isolation", ["pool", "silo"])
def test_rows_alone_are_data_too(lake: Lake, isolation: str) -> None:
    """Rows in Postgres are enough to be somebody's: the lake may have been cleared by hand."""
    old = TenantRef(f"only-rows-{isolation}", "eu", isolation)
    migrate(old)
    if isolation == "silo":  # a database that is empty is nobody's
        ownership.check(tenant(old.id, KEY, isolation="silo"))
    with tenant_transaction(old) as connection:
        connection.execute(
            "INSERT INTO slices (tenant_id, source, interval_start, interval_end, rows, late, "
            "duplicates, quarantined, table_version) "
            "VALUES (%s, 'x', now() - interval '1 day', now(), 0, 0, 0, 0, 0)",
            [old.id],
        )
    with pytest.raises(IsolationError, match="must not inherit"):
        ownership.claim(tenant(old.id, KEY, isolation=isolation))


def test_the_record_is_the_platforms_and_stays(lake: Lake) -> None:
    """A tenant's transaction sees no record, not even its own; the role can delete none."""
    ownership.claim(tenant("on-record"))
    with tenant_transaction(TenantRef("on-record", "eu", "pool")) as connection:
        assert connection.execute("SELECT * FROM tenant_owners").fetchall() == []
        assert connection.execute("UPDATE tenant_owners SET state = 'sealed'").rowcount == 0
    assert ownership.owners()["on-record"].state == "active"
    with (
        pytest.raises(psycopg.errors.RaiseException, match="is kept"),
        tenant_transaction(GLOBAL) as connection,
    ):
        connection.execute("DELETE FROM tenant_owners WHERE member = 'on-record'")
    assert ownership.owners()["on-record"].state == "active"


def test_nobody_moves_what_a_stage_works_on(lake: Lake) -> None:
    """Stages go on side by side; a move or an erasure has the data for itself, or is refused."""
    with ownership.at_work("busy", "busy-too"), ownership.at_work("busy"):
        with pytest.raises(UnavailableError, match="at work"), ownership.alone("busy"):
            pass
        with ownership.alone("idle"):
            pass
    with (
        ownership.alone("busy"),
        pytest.raises(UnavailableError, match="moved or erased"),
        ownership.at_work("idle", "busy"),
    ):
        pass
    with ownership.alone("busy"):
        pass


def test_two_who_come_at_once_do_not_both_get_it(lake: Lake) -> None:
    """The first claim decides; the other one learns of it."""
    from concurrent.futures import ThreadPoolExecutor

    def attempt(key: str) -> bool:
        try:
            ownership.claim(tenant("wanted-by-many", key))
        except TenantryError:
            return False
        return True

    keys = [f"{number:032}" for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(attempt, keys)) == 1
