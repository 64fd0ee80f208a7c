"""Hostile values: each bad one costs its row, good ones stay values, siblings go on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.ingestion.conftest import Shops
from tests.shops import Shop

pytestmark = pytest.mark.integration

GOOD: dict[str, Any] = {
    "id": "good",
    "at": "2024-01-09T12:00:00",
    "user": "ann",
    "quantity": 1,
    "amount": 2.5,
    "name": "Order Completed",
}
NAMED = {"event": None, "event_column": "name"}
#: Text that means something to somebody, and must mean nothing here.
HARMLESS = [
    "../../../../etc/passwd",
    "..\\..\\windows",
    "/etc/passwd",
    "'; DROP TABLE tenantry.slices; --",
    '" OR ""="',
    "1; SELECT pg_sleep(10)",
    "{{ ds }}",
    "{% for x in ().__class__.__base__.__subclasses__() %}",
    "${jndi:ldap://x}",
    "$(reboot)",
    "`reboot`",
    "%s%n%d",
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "null",
    "NaN",
    "-1",
    "0",
    "store-406",
    "tenant_id",
    "ünïcödé",
    "日本語",
    "🙂",
    "क्‍ष",
    "a|b",
    "a\\|b",
    "a" * 256,
]
UNPRINTABLE = ["\x00", "\x1b[31m", "\r\n", "\t", "\x7f", "\x85", "\u202e", "\u2066", "\u200b"]
BAD_TEXT = [*UNPRINTABLE, "a" * 257, "a" * 10_000, "", None]
BAD_NUMBER = ["NaN", "Infinity", "-inf", "1e400", "abc", "1_000", "0x10", True, "--1", "１２,５"]
BAD_INSTANT = [
    *("", None, "yesterday", "2024-13-01", "2024-02-30", "1799-12-31", "2200-01-01", "9999-12-31"),
    *("0001-01-01", "-5000-01-01", "99999-01-01", 0, 1e300, "2024-01-09T25:00", "{{ ds }}", True),
]


def cases(key: str, values: list[Any]) -> list[dict[str, Any]]:
    """A row each, bad in one place, between two good ones."""
    return [{**GOOD, "id": f"bad-{n}", key: value} for n, value in enumerate(values)]


def load(shops: Shops, rows: list[dict[str, Any]]) -> Shop:
    """The rows between a good one at either end, ingested."""
    last = {**GOOD, "id": "last"}
    shop = shops.jsonl([GOOD, *rows, last], **NAMED)
    shop.ingest()
    return shop


@pytest.mark.parametrize("key", ["id", "user", "name"])
def test_harmless_text_is_a_value_like_any_other(shops: Shops, key: str) -> None:
    """Whatever it means elsewhere, it comes out as it went in, under the tenant it came from."""
    values = [value for value in HARMLESS if key != "name" or len(value) <= 200]
    rows = [{**GOOD, "id": f"row-{n}", key: value} for n, value in enumerate(values)]
    shop = load(shops, rows)
    landed = shop.events()
    assert len(landed) == len(rows) + 2
    assert {row["tenant_id"] for row in landed} == {shop.config.id}
    assert {row["source"] for row in landed} == {"pos"}
    if key != "id":
        column = {"user": "user_id", "name": "event"}[key]
        assert set(values) <= {row[column] for row in landed}
    assert shop.quarantined() == []
    folders = {path.name for path in (shop.lake.root / "eu" / shop.config.id).iterdir()}
    assert folders == {"landing_events", "zone_maps"}
    assert [path.name for path in (shop.lake.root / "eu").iterdir()] == [shop.config.id]


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("id", ["", None]),
        ("user", BAD_TEXT),
        ("name", [*BAD_TEXT, "a" * 201]),
        ("quantity", BAD_NUMBER),
        ("amount", BAD_NUMBER),
        ("at", BAD_INSTANT),
    ],
    ids=["id", "user", "name", "quantity", "amount", "at"],
)
def test_a_bad_value_costs_its_row(shops: Shops, key: str, values: list[Any]) -> None:
    """Every bad row is set aside with a reason, stored as JSON, and its siblings land."""
    shop = load(shops, cases(key, values))
    assert sorted(shop.ids()) == ["good", "last"]
    found = shop.quarantined()
    assert len(found) == len(values)
    assert all(reason for _, reason in found)
    assert max(len(json.dumps(row)) for row, _ in found) < 8_000
    assert sum(counts[-1] for counts in shop.slices()) == len(values)


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[1, 2]",
        "null",
        "{'id': 1}",
        '{"id": 1',
        "[" * 100_000,
        '{"id": ' + "9" * 5_000 + "}",
        json.dumps({**GOOD, "user": "\ud800"}),
        "id,at\n1,2",
    ],
)
def test_a_line_that_is_no_object_costs_itself(shops: Shops, line: str) -> None:
    """Malformed JSON, JSON of another shape and half characters do not stop the file."""
    lines = [json.dumps(GOOD), line, json.dumps({**GOOD, "id": "last"})]
    shop = shops.text("\n".join(lines), "jsonl", **NAMED)
    shop.ingest()
    assert sorted(shop.ids()) == ["good", "last"]
    assert len(shop.quarantined()) == line.count("\n") + 1


@pytest.mark.parametrize(
    ("line", "bad"),
    [
        (b"x,2024-01-09,u,1", 1),
        (b"x,2024-01-09,u,1,1,1", 1),
        (b'x,2024-01-09,"u,1,1', 1),
        (b'x,2024-01-09,"u"",1,1', 1),
        (b'x,ab"c,"2024-01-09,1,1', 1),
        (b"x,2024-01-09,\xff\xfe,1,1", 1),
        (b"x,2024-01-09,\xed\xa0\x80,1,1", 1),
        (b"x,2024-01-09,u\x00v,1,1", 1),
        (b'x,2024-01-09,"u\nv",1,1', 1),
        (b"x" * 2_000_000, 1),
        (b"", 0),
        (b"\r", 0),
    ],
    ids=range(12),
)
def test_a_broken_csv_line_costs_itself(shops: Shops, line: bytes, bad: int) -> None:
    """Columns missing or too many, open quotes, other encodings: the lines around it land."""
    good = [b"%d,2024-01-09,u,1,1" % n for n in range(200)]
    lines = [b"id,at,user,quantity,amount", *good[:100], line, *good[100:], b""]
    shop = shops.text(b"\n".join(lines))
    shop.ingest()
    assert sorted(map(int, shop.ids())) == list(range(200))
    assert len(shop.quarantined()) == bad


def test_a_row_that_arrived_before_it_happened_is_set_aside(shops: Shops) -> None:
    """Two clocks may differ by five minutes; then the event counts as having just happened."""
    rows = [
        {**GOOD, "id": "skewed", "arrived": "2024-01-09T11:56:00"},
        {**GOOD, "id": "absurd", "arrived": "2024-01-09T11:54:00"},
    ]
    shop = shops.jsonl(rows, arrival={"column": "arrived"}, **NAMED)
    shop.ingest()
    (row,) = shop.events()
    assert row["event_id"] == "skewed"
    assert row["event_timestamp"] == row["created_timestamp"]
    assert [bad["id"] for bad, _ in shop.quarantined()] == ["absurd"]


def test_masked_columns_never_reach_the_quarantine(shops: Shops) -> None:
    """Neither a bad row nor a line that cannot be parsed shows what is declared personal."""
    rows = ["1,2024-01-09,ann@x.org,NaN,1", "2,2024-01-09,bob@x.org,1,1,1"]
    shop = shops.csv(rows, pii_columns={"user": "hash"})
    shop.ingest(pii_secret="a secret of this test, and of no other one")
    found = json.dumps([row for row, _ in shop.quarantined()])
    assert len(shop.quarantined()) == 2
    assert "ann" not in found
    assert "bob" not in found
    assert '"id": "1"' in found


def test_the_quarantine_of_a_slice_is_replaced(shops: Shops) -> None:
    """A rerun leaves the same rows, and nobody else's are touched."""
    other = load(shops, cases("at", ["x"]))
    shop = load(shops, [*cases("quantity", ["x", "y"]), *cases("at", ["z"])])
    before = shop.quarantined()
    shop.ingest()
    assert shop.quarantined() == before
    assert len(before) == 3
    assert len(other.quarantined()) == 1


def test_a_source_cannot_name_its_tenant(shops: Shops) -> None:
    """Columns called `tenant_id`, `source` or `month` are the source's own and change nothing."""
    victim = shops.csv([])
    row = {**GOOD, "tenant_id": victim.config.id, "source": "x", "month": "../x"}
    mapped = {"tenant_id": "tenant_id", "source": "source", "month": "month"}
    shop = shops.jsonl([row], properties=mapped, **NAMED)
    shop.ingest()
    (landed,) = shop.events()
    assert (landed["tenant_id"], landed["source"], landed["month"]) == (
        *(shop.config.id, "pos"),
        "2024-01",
    )
    assert victim.store.recorded(victim.config.ref) == []
