"""A look into a table of Postgres accounts for every row of it, without reading them all."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from include.errors import SourceError
from include.ingestion import trial as trials
from include.ingestion.trial import AFTER, BEFORE, LATER, look_into
from tests.integration.ingestion.conftest import Shops

pytestmark = pytest.mark.integration

#: Far before, just before, in, in, without arrival, just after the contract, long after, future.
ARRIVALS: list[str | None] = [
    "1999-01-01",
    "2023-12-31 12:00",
    "2024-01-09",
    "2024-01-10",
    None,
    "2024-01-22 01:00",
    "2024-06-01",
    "2042-01-01",
]


@pytest.mark.parametrize("kind", ["timestamptz", "text", "bigint"])
@pytest.mark.parametrize(
    ("changes", "good", "outside"),
    [
        ({}, 4, {BEFORE: 2, LATER: 1}),
        ({"until": "2024-01-21"}, 2, {BEFORE: 2, AFTER: 3}),
        ({"until": "2030-01-01"}, 4, {BEFORE: 2, AFTER: 1}),
        ({"until": "2060-01-01"}, 4, {BEFORE: 2, LATER: 1}),
        ({"history_from": "2050-01-01"}, 0, {BEFORE: 7}),
    ],
)
def test_every_row_of_the_table_is_accounted_for(
    kind: str, changes: dict[str, Any], good: int, outside: dict[str, int], shops: Shops
) -> None:
    """Rows that the database leaves out are counted there, by why no run reads them."""
    form = {"bigint": "epoch_s"}.get(kind, "iso")
    with psycopg.connect(shops.postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute("SET timezone = 'UTC'")
        connection.execute("DROP TABLE IF EXISTS public.looked")
        connection.execute(f"CREATE TABLE public.looked (id text, loaded {kind})")
        value = "extract(epoch FROM %s::timestamptz)::bigint" if kind == "bigint" else f"%s::{kind}"
        for number, arrived in enumerate(ARRIVALS):
            connection.execute(
                f"INSERT INTO public.looked VALUES (%s, {value})", [str(number), arrived]
            )
    connector = {"type": "postgres", "connection": "postgres", "table": "public.looked"}
    shop = shops.source(
        connector | {"cursor": "loaded", "timestamp_format": form},
        event_timestamp="loaded",
        user_id="id",
        quantity=None,
        amount=None,
    )
    tenant = type(shop.config).model_validate(
        shop.config.model_dump(mode="json", by_alias=True) | changes
    )
    seen = look_into(tenant, tenant.sources[0], forbidden=shop.lake.root, connect=shop.connect)
    assert (seen.complete, seen.rows) == (True, len(ARRIVALS))
    assert (seen.good, dict(seen.outside)) == (good, outside)
    assert sum(seen.set_aside.values()) == 1


def test_a_table_too_large_to_be_counted_is_looked_into_in_part(
    shops: Shops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows that were read are told of, and that there may be more."""

    def late(*_: object) -> int:
        raise SourceError("the database did not answer within 300 s")

    with psycopg.connect(shops.postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS public.looked")
        connection.execute("CREATE TABLE public.looked (id text, loaded timestamptz)")
        connection.execute(
            "INSERT INTO public.looked VALUES ('1', '2024-01-09'), ('2', '1999-1-1')"
        )
    connector = {"type": "postgres", "connection": "postgres", "table": "public.looked"}
    mapping = {"event_timestamp": "loaded", "user_id": "id", "quantity": None, "amount": None}
    shop = shops.source(connector | {"cursor": "loaded"}, **mapping)
    monkeypatch.setattr(trials, "count_outside", late)
    source = shop.config.sources[0]
    seen = look_into(shop.config, source, forbidden=shop.lake.root, connect=shop.connect)
    assert (seen.complete, seen.rows, seen.good) == (False, 1, 1)
