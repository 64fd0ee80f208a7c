"""Columns of personal data that a file says to hash: only digests get past the reading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from include.errors import ConfigError, IntegrityError
from include.ingestion.personal import FINGERPRINT
from include.ingestion.trial import look_into
from include.storage.places import lake_place

if TYPE_CHECKING:
    from tests.integration.ingestion.conftest import Shops
    from tests.shops import Shop

SECRET = "0123456789abcdef0123456789abcdef"
PEOPLE = {"e_mail": "ann@example.org", "phone": "+43 1 234", "city": "Graz"}
MAPPING = {
    "event_id": ["id", "e_mail"],
    "user_id": "e_mail",
    "group_id": "phone",
    "properties": {"city": "city", "contact": "e_mail"},
}
FACTS = {
    "entity": "user",
    "entity_id": "e_mail",
    "valid_from": "2024-01-01",
    "names": {"phone": "phone", "city": "city"},
}
HASH = {"E-Mail": "hash", "phone": "hash"}


def row(number: int, **changes: Any) -> dict[str, Any]:
    """One line of a source that holds people."""
    return {"id": str(number), "at": "2024-01-09T12:00:00", "quantity": 1, "amount": 1.0} | (
        PEOPLE | changes
    )


def shop_of(shops: Shops, rows: list[dict[str, Any]]) -> Shop:
    """A tenant that reads people twice: as events and as attributes."""
    return shops.jsonl(rows, pii_columns=HASH, attributes=FACTS, **MAPPING)


def everything(shop: Shop) -> str:
    """All that the ingestion left behind: every file of the lake, and every row of Postgres."""
    files = [
        path.read_bytes().decode("utf-8", "replace")
        for path in shop.lake.root.rglob("*")
        if path.is_file()
    ]
    tables = ("landing_events", "landing_attributes")
    rows = [str(shop.lake.dataset(shop.config.ref, t).to_table().to_pylist()) for t in tables]
    return "\n".join([*files, *rows, json.dumps(shop.quarantined()), str(shop.slices())])


def test_no_value_of_a_hashed_column_is_written_anywhere(shops: Shops) -> None:
    """Neither as an id, part of an id, property, group or fact, nor in a row or line set aside."""
    rows = [row(1), row(2, amount="NaN"), row(3, at="never"), row(4, e_mail="a\x00nn@example.org")]
    shop = shop_of(shops, rows)
    path = Path(shop.config.sources[0].connector.path)  # type: ignore[union-attr]
    path.write_text(path.read_text() + '{"e_mail": "ann@example.org", \n')
    shop.ingest(pii_secret=SECRET)
    assert len(shop.events()) == 2
    assert len(shop.quarantined()) >= 3
    found = everything(shop)
    assert "Graz" in found
    for value in ("ann@", "example.org", "+43 1 234", SECRET):
        assert value not in found


def test_the_digests_of_one_tenant_can_be_joined(shops: Shops) -> None:
    """The same value is the same digest in every source, column, format and run."""
    shop = shop_of(shops, [row(1), row(2, e_mail="bob@example.org")])
    shop.ingest(pii_secret=SECRET)
    ann, bob = (event["user_id"] for event in shop.events())
    assert ann != bob
    (event, _) = shop.events()
    assert json.loads(event["properties"])["contact"] == ann
    assert ann in event["event_id"]
    facts = shop.lake.dataset(shop.config.ref, "landing_attributes").to_table().to_pylist()
    assert {fact["entity_id"] for fact in facts} == {ann, bob}


def test_a_rerun_changes_nothing(shops: Shops) -> None:
    """Digests are stable: the same interval again gives the same rows and table version."""
    shop = shop_of(shops, [row(1)])
    first = shop.ingest(pii_secret=SECRET)
    events = shop.events()
    assert shop.ingest(pii_secret=SECRET) == first
    assert shop.events() == events


def test_equal_ids_of_two_tenants_have_nothing_in_common(shops: Shops) -> None:
    """The key is the tenant's own: whoever sees both tables cannot join them."""
    one, other = shop_of(shops, [row(1)]), shop_of(shops, [row(1)])
    for shop in (one, other):
        shop.ingest(pii_secret=SECRET)
    ((a,), (b,)) = (one.events(), other.events())
    for key in ("user_id", "group_id", "event_id", "properties"):
        assert a[key] != b[key]


def test_an_id_is_one_id_whatever_type_it_comes_in(shops: Shops) -> None:
    """1001 and 1001.0 of numeric columns are hashed as the id they are without hashing."""
    shop = shop_of(shops, [row(1, e_mail=1001), row(2, e_mail=1001.0), row(3, e_mail="1001")])
    shop.ingest(pii_secret=SECRET)
    assert len({event["user_id"] for event in shop.events()}) == 1


def test_no_value_is_no_digest(shops: Shops) -> None:
    """A row without its id is set aside as always, not turned into everybody's same customer."""
    shop = shop_of(shops, [row(1, e_mail=""), row(2, e_mail=None)])
    shop.ingest(pii_secret=SECRET)
    assert shop.events() == []


def test_nothing_is_hashed_with_another_key_than_before(shops: Shops) -> None:
    """A lost or exchanged key is an error, not a fleet of new customers; the right one goes on."""
    shop = shop_of(shops, [row(1)])
    shop.ingest(pii_secret=SECRET)
    with pytest.raises(IntegrityError, match="TENANTRY_PII_KEY is not the key"):
        shop.ingest(2, pii_secret=SECRET[::-1])
    shop.ingest(2, pii_secret=SECRET)
    kept = shop.lake.file_path(shop.config.ref, FINGERPRINT).read_text()
    assert SECRET not in kept
    assert lake_place(FINGERPRINT) is not None


@pytest.mark.parametrize(("secret", "why"), [(None, "is not set"), ("short", "is too short")])
def test_without_a_secret_nothing_is_read(shops: Shops, secret: str | None, why: str) -> None:
    """The error says which variable, and how to make its value; it does not quote one."""
    shop = shop_of(shops, [row(1)])
    with pytest.raises(ConfigError, match=f"TENANTRY_PII_KEY {why}") as caught:
        shop.ingest(pii_secret=secret)
    assert "openssl" in str(caught.value)
    assert "short" not in str(caught.value).replace("too short", "")
    assert shop.events() == []


def test_a_look_into_a_source_shows_no_value_of_a_hashed_column(shops: Shops) -> None:
    """`tenants check --sources` needs no key, and tells kinds and reasons only."""
    rows = [row(1), row(2, amount="NaN")]
    shop = shops.jsonl(rows, pii_columns=HASH, **MAPPING | {"event": None, "event_column": "phone"})
    trial = look_into(
        shop.config, shop.config.sources[0], forbidden=shop.lake.root, connect=shop.connect
    )
    assert trial.good == 1
    assert "+43" not in str(trial)
