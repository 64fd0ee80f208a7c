"""Expressions from file to lake: the same rows from every format, nothing lost, nothing told."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.errors import SourceError
from include.ingestion.expressions import computing, expression_problems
from include.ingestion.trial import look_into
from include.stores.memory import in_memory
from include.tenants.config import Source, TenantConfig
from include.tenants.functions import FUNCTIONS
from tests.shops import Shop, Shops, grant

PAGE = Path(__file__).parents[3] / "docs" / "expressions.md"
COLUMNS = {
    "qty": "exp(log_units)",
    "basket": "customer || '|' || day",
    "expensive": "price > 100",
    "net": "case when kind = 'r' then -price else price end",
    "weekday": "isodow(day)",
}
MAPPING = {"user_id": "customer", "group_id": "basket", "quantity": "qty", "amount": "net"}
MAPPING |= {"event_timestamp": "day"}
PROPERTIES = {"expensive": "expensive", "weekday": "weekday"}
_numbers = count()


def no_database(connection_id: str) -> AbstractContextManager[psycopg.Connection[Any]]:
    """These shops have files only."""
    raise AssertionError(connection_id)


@pytest.fixture
def shops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shops:
    """The maker of tenants."""
    grant(monkeypatch, roots=[str(tmp_path)])
    return Shops(tmp_path, in_memory().slices, no_database)


def with_expressions(shop: Shop, where: Any = None, **columns: str) -> Shop:
    """The shop, its source with expressions."""
    told = shop.config.model_dump(mode="json", by_alias=True, exclude_none=True)
    told["sources"][0] |= {"columns": columns, "where": where or {}}
    shop.config = TenantConfig.model_validate(told)
    return shop


def written(folder: Path, kind: str, rows: list[dict[str, Any]]) -> Path:
    """A table as a file of some format: text, or Parquet with types."""
    path = folder / f"{next(_numbers)}.{kind}"
    if kind == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows({k: "" if v is None else v for k, v in row.items()} for row in rows)
        path.write_text(text.getvalue())
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row, default=str) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    return path


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "log_units": st.none() | st.floats(-20, 5).map(lambda value: round(value, 3)),
            "customer": st.sampled_from(["ann", "bob", "über|x", "4711"]),
            "day": st.dates(date(2024, 1, 8), date(2024, 1, 14)),
            "price": st.integers(0, 200) | st.just(None),
            "kind": st.sampled_from(["s", "r", None]),
        }
    ),
    min_size=1,
    max_size=8,
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=ROWS, where=st.sampled_from([None, "price > 50", "qty < 1 or expensive", "kind is null"])
)
def test_the_same_table_gives_the_same_events_in_every_format(
    shops: Shops, rows: list[dict[str, Any]], where: str | None
) -> None:
    """Whether numbers and days come as text or typed; whatever is set aside, is so everywhere."""
    landed = []
    typed = [{"id": str(number)} | row for number, row in enumerate(rows)]
    # Columns in which nothing is known keep a type.
    typed.append(
        {"id": "last", "log_units": 0.5, "customer": "z", "day": date(2024, 1, 9), "price": 60}
        | {"kind": "s"}
    )
    for kind in ("csv", "jsonl", "parquet"):
        path = written(shops.folder, kind, typed)
        shop = shops.file(path, kind, **MAPPING, properties=PROPERTIES)
        shop = with_expressions(shop, where, **COLUMNS)
        done = shop.ingest(1)
        assert done.read == done.rows + done.quarantined + done.outside + done.duplicates
        columns = ("event_id", "group_id", "quantity", "amount", "properties", "event_timestamp")
        landed.append(
            (
                [tuple(event[name] for name in columns) for event in shop.events()],
                [reason for _, reason in shop.quarantined()],
            )
        )
    assert landed[0] == landed[1] == landed[2]


def test_rows_that_fail_are_set_aside_by_the_expressions_name(shops: Shops) -> None:
    """Read is taken in and set aside; the row belongs to the week in which it arrived."""
    rows = ["a,2024-01-09,u,1,10", "b,2024-01-10,u,many,20", "c,2024-01-17,u,x,30"]
    shop = with_expressions(shops.csv(rows, quantity="double"), double="quantity * 2")
    done = shop.ingest(1)
    assert (done.read, done.rows, done.quarantined, done.outside) == (6, 1, 1, 4)  # history, too
    assert shop.events()[0]["quantity"] == 2.0
    (row, reason) = shop.quarantined()[0]
    assert reason == "columns.double: quantity is no number"
    assert row["id"] == "b"
    later = shop.ingest(2)
    assert (later.read, later.rows, later.quarantined, later.outside) == (3, 0, 1, 2)


def test_an_unknown_column_names_the_expression(shops: Shops) -> None:
    """The tenant, the source, the expression, and the columns that there are."""
    shop = with_expressions(shops.csv(["a,2024-01-09,u,1,10"]), new="exp(log_unitz)")
    with pytest.raises(SourceError) as caught:
        shop.ingest(1)
    told = str(caught.value)
    assert f"tenant {shop.config.id}, source pos" in told
    assert "no column 'log_unitz' (read by columns.new)" in told
    assert "there are: id, at, user, quantity, amount" in told


def test_a_bad_expression_names_tenant_and_source(shops: Shops) -> None:
    """Both where the file is checked and where the source is read."""
    shop = with_expressions(shops.csv(["a,2024-01-09,u,1,10"]), new="upper(quantity * day::date)")
    (problem,) = expression_problems(shop.config)
    assert problem.startswith(f"tenant {shop.config.id}, source pos: columns.new: ")
    with pytest.raises(SourceError, match=r"source pos.*columns\.new: "):
        shop.ingest(1)


def test_new_columns_are_not_asked_of_the_source(shops: Shops) -> None:
    """Not even where the source happens to have a column of that name."""
    shop = with_expressions(shops.csv(["a,2024-01-09,u,1,10"]), user="quantity || 'x'")
    shop.ingest(1)
    assert shop.events()[0]["user_id"] == "1x"


def test_personal_data_within_a_column_is_gone_before_an_expression(shops: Shops) -> None:
    """What an object holds under a personal name reaches neither lake nor quarantine nor error."""
    rows = [
        {"id": 1, "at": "2024-01-09", "user": "u", "more": {"email": "ann@shop.example", "a": 1}},
        {"id": 2, "at": "2024-01-09", "user": "u", "more": {"email": "ann@shop.example", "a": "x"}},
    ]
    mapping: dict[str, Any] = {"quantity": "number", "amount": None, "properties": {"all": "told"}}
    shop = shops.jsonl(rows, pii_columns=["email"], **mapping)
    told = "'<' || more || '>' || coalesce(json_extract_string(more, '$.email'), '')"
    shop = with_expressions(shop, told=told, number="json_extract_string(more, '$.a')::double")
    shop.ingest(1)
    everything = repr(shop.events()) + repr(shop.quarantined())
    assert "<{" in everything
    assert len(shop.quarantined()) == 1
    assert "ann@shop" not in everything


def test_a_look_into_a_source_counts_what_fails(shops: Shops) -> None:
    """The check of a tenant's file says how many rows would be set aside, and why."""
    shop = with_expressions(
        shops.csv(["a,2024-01-09,u,1,10", "b,2024-01-09,u,x,10"], quantity="new"),
        new="quantity * 2",
    )
    source = shop.config.sources[0]
    trial = look_into(shop.config, source, forbidden=shop.lake.root, connect=no_database)
    assert trial.set_aside == {"columns.new: quantity is no number": 1}
    assert (trial.rows, trial.good) == (2, 1)


def test_rows_keep_their_order_over_many_batches(shops: Shops) -> None:
    """Evaluated in parts, and filtered, they come in the order of the file."""
    rows = [f"{number:06},2024-01-09,u,{number},1" for number in range(150_000)]
    shop = with_expressions(
        shops.csv(rows, quantity="new"), where="quantity % 3 = 0", new="quantity + 0.5"
    )
    done = shop.ingest(1)
    assert (done.rows, done.read) == (50_000, 100_000)  # the history before it, too
    events = shop.events()
    assert [row["quantity"] for row in events[:3]] == [0.5, 3.5, 6.5]
    assert all(row["quantity"] == int(row["event_id"]) + 0.5 for row in events)


def _examples() -> list[Mapping[str, Any]]:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [source for block in blocks for source in yaml.safe_load(block)["sources"]]


def test_the_page_is_true() -> None:
    """Its source is one, its expressions fit, and its list of functions is the list."""
    for told in _examples():
        source = Source.model_validate(told)
        with computing(source) as expressions:
            assert expressions is not None
    listed = re.findall(
        r"`(\w+)`", PAGE.read_text().partition("| of | functions |")[2].split("\n\n")[0]
    )
    assert sorted(listed) == sorted(FUNCTIONS)
