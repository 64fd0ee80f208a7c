"""Every key of a source as a page of the docs, made from the models that read tenant files.

    python tests/unit/tenants/sources_page.py        write docs/sources.md

What a key is for is its model's own comment, the example is read by the model, and the error is
what it answers. `test_sources_page.py` fails where the page is not what the models say.
"""

from __future__ import annotations

import ast
import copy
import inspect
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

PROJECT: Final = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(PROJECT))

from pydantic import ValidationError  # noqa: E402

from include.tenants import yaml_text  # noqa: E402
from include.tenants.config import Arrival, AttributeMapping, EventMapping, Source  # noqa: E402
from include.tenants.connectors import Connector, FileConnector, PostgresConnector  # noqa: E402

PAGE: Final = PROJECT / "docs" / "sources.md"
_HEAD: Final = """\
# Sources

What a tenant's file may say of a source, key by key: what it is for, an example, and what a wrong
value is answered. The page is printed by `python tests/unit/tenants/sources_page.py` from the
models that read tenant files, and the tests hold it to them. `tenantry tenants check FILE` says all
that is wrong with a file in one go; `--sources` also looks into the sources. New columns by
expressions: [expressions](expressions.md); what becomes of rows:
[operations](operations.md#add-a-tenant); what the canonical events are: [events](events.md).

```yaml
sources:
  - name: till
    connector: {type: file, path: "exports/*.csv.gz", format: csv, separator: ";", decimal: ","}
    columns: {basket: "customer || '|' || day"}
    where: {status: [PAID, SHIPPED]}
    events:
      event: Order Completed
      event_id: [order_id, line]
      event_timestamp: sold_at
      user_id: customer
      item_id: sku
      group_id: basket
      quantity: qty
      amount: total
      properties: {discount: discount, channel: meta.channel}
```

Packed files (`.gz`, `.bz2`, `.xz`, `.zst`, a `.zip` of one member) are told by their first bytes. A
name such as `meta.channel`, or `items.0.price`, leads into the JSON of a column: an object of JSON
lines, a `jsonb` column, a structure of Parquet. A column of that very name comes first. Nested
values that are read whole are JSON. A column that only some files have is null in the others if it
is a property or an attribute; any other has to be in each.
"""
#: Model → heading, and what is said before its keys.
_MODELS: Final[dict[type[Any], tuple[str, str]]] = {
    Source: ("A source", "`events` or `attributes`, one of the two, says what its rows mean."),
    Connector: ("Every connector", "Dialects: how text says numbers, instants and nothing."),
    FileConnector: ("Files", "`type: file`"),
    PostgresConnector: (
        "Tables of Postgres",
        "`type: postgres`. `where` goes by the database's own equality: `PAID` is equal to the "
        "padded value of a `char(8)`. Ids are spelled as Postgres prints them, not padded.",
    ),
    EventMapping: ("Events", "Columns of the source → canonical events."),
    AttributeMapping: ("Attributes", "Columns of the source → facts about users, accounts, items."),
    Arrival: ("Arrival", "When a row became known."),
}
#: Model → key → an example, and a wrong value.
EXAMPLES: Final[dict[type[Any], dict[str, tuple[str, str]]]] = {
    Source: {
        "name": ("till", "Till 1"),
        "formerly": ("[pos]", "[Pos 1]"),
        "connector": ("{type: file, path: a.csv, format: csv}", "{type: ftp}"),
        "columns": ("""{basket: "customer || '|' || day"}""", """{basket: "count(customer)"}"""),
        "where": ("{status: [PAID, SHIPPED]}", "{status: []}"),
        "events": (
            "{event: Order Completed, event_id: [id], event_timestamp: at, user_id: customer}",
            "{event: Order Completed, event_id: [id], event_timestamp: at}",
        ),
        "attributes": (
            "{entity: item, entity_id: sku, names: {brand: brand}, valid_from: 2024-01-01}",
            "{entity: shelf, entity_id: sku, names: {brand: brand}, valid_from: 2024-01-01}",
        ),
        "freshness": ("2d", "2"),
        "absent_means": ("unknown", "none"),
        "corrections": ("apply", "merge"),
    },
    Connector: {
        "null_values": ("""[NA, "NULL", "\\\\N"]""", """[""]"""),
        "timestamp_format": ('"%d.%m.%Y %H:%M"', "DD.MM.YYYY"),
        "decimal": ('","', '";"'),
        "thousands": ('"."', '"/"'),
    },
    FileConnector: {
        "type": ("file", "folder"),
        "path": ('"exports/2024-*.csv"', '""'),
        "format": ("csv", "xlsx"),
        "encoding": ("cp1252", "ansi"),
        "separator": ('";"', '"||"'),
        "escape": ('"\\\\"', '"ab"'),
        "unnamed": ("line", '""'),
    },
    PostgresConnector: {
        "type": ("postgres", "mysql"),
        "connection": ("shop_db", "Shop DB"),
        "table": ("public.orders", "SELECT 1"),
        "cursor": ("updated_at", '""'),
    },
    EventMapping: {
        "event": ("Order Completed", '""'),
        "event_column": ("event_name", "[a, b]"),
        "event_id": ("[order_id, line]", "[]"),
        "event_timestamp": ("sold_at", "[day, hour]"),
        "timezone": ("Europe/Vienna", "Vienna"),
        "arrival": ("{column: loaded_at}", "{column: loaded_at, delay: 2h}"),
        "user_id": ("customer", "[customer, shop]"),
        "account_id": ("company", '""'),
        "item_id": ("sku", "[sku, size]"),
        "group_id": ("basket", "[customer, day]"),
        "quantity": ("qty", "[boxes, pieces]"),
        "amount": ("total", "[net, tax]"),
        "plausible": ("{amount: [0, 5e10]}", "{amount: [5, 0]}"),
        "properties": ("{discount: discount, channel: meta.channel}", "{Discount %: discount}"),
    },
    AttributeMapping: {
        "entity": ("item", "shelf"),
        "entity_id": ("sku", "[sku, size]"),
        "names": ("{brand: brand, size: details.size}", "{}"),
        "valid_from": ("2024-01-01", "01/02/2024"),
        "timezone": ("UTC", "localtime"),
        "arrival": ("{delay: 2h}", "{delay: 2}"),
    },
    Arrival: {"column": ("loaded_at", '""'), "delay": ("2h", "-2h")},
}
_FILE: Final = {"type": "file", "path": "a.csv", "format": "csv"}
_POSTGRES: Final = {
    "type": "postgres",
    "connection": "shop_db",
    "table": "orders",
    "cursor": "updated_at",
}
_EVENTS: Final = {
    "event": "Order Completed",
    "event_id": ["id"],
    "event_timestamp": "at",
    "user_id": "customer",
    "quantity": "qty",
    "amount": "total",
    "arrival": {"column": "loaded"},
}
_FACTS: Final = {
    "entity": "item",
    "entity_id": "sku",
    "names": {"brand": "brand"},
    "valid_from": "2024-01-01",
}
_SOURCE: Final = {"name": "till", "connector": _FILE, "events": _EVENTS}


def page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for model, (heading, before) in _MODELS.items():
        parts.append(f"## {heading}\n\n{before}\n")
        parts += [entry(model, key) for key in keys(model)]
    return "\n".join(parts)


def keys(model: type[Any]) -> list[str]:
    """The keys that are a model's own, not those of every connector."""
    inherited = Connector.model_fields if model is not Connector else {"type": None}
    own = [key for key in model.model_fields if key not in inherited or key == "type"]
    return [key for key in own if model is not Connector or key != "type"]


def entry(model: type[Any], key: str) -> str:
    """One key: what it is for, an example, and the error."""
    good, bad = EXAMPLES[model][key]
    field = model.model_fields[key]
    needed = "required" if field.is_required() else "optional"
    told = answer(model, key, bad)
    return (
        f"### {key}\n\n{comment(model, key)} *({needed})*\n\n"
        f"```yaml\n{key}: {good}\n```\n\n`{key}: {bad}` is answered:\n\n"
        f"> {textwrap.fill(told, 106, subsequent_indent='> ', break_long_words=False)}\n"
    )


def comment(model: type[Any], key: str) -> str:
    """What the model says about a key, as a sentence."""
    text = dict(_comments(model))[key]
    return f"{text[0].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def _comments(model: type[Any]) -> Iterator[tuple[str, str]]:
    lines = textwrap.dedent(inspect.getsource(model)).splitlines()
    (declared,) = ast.parse("\n".join(lines)).body
    assert isinstance(declared, ast.ClassDef)
    for node in declared.body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        first, last = node.lineno - 1, node.end_lineno or node.lineno
        above = first
        while lines[above - 1].strip().startswith("#:"):
            above -= 1
        found = [*lines[above:first], *lines[first:last]]
        told = [line.partition("#:")[2].strip() for line in found if "#:" in line]
        yield node.target.id, " ".join(told)


def accepted(model: type[Any], key: str) -> Any:
    """The value that a source with the example has."""
    return Source.model_validate(_with(model, key, EXAMPLES[model][key][0]))


def answer(model: type[Any], key: str, bad: str) -> str:
    """What a source with a wrong value is answered."""
    try:
        Source.model_validate(_with(model, key, bad))
    except ValidationError as error:
        return "; ".join(
            problem["msg"].removeprefix("Value error, ").replace("\n", " ")
            for problem in error.errors(include_url=False)[:1]
        )
    raise AssertionError(f"{key}: {bad} is no error")


def _with(model: type[Any], key: str, text: str) -> dict[str, Any]:
    """A source whose key has the value that the YAML spells."""
    source: dict[str, Any] = copy.deepcopy(_SOURCE)
    value = yaml_text.read(f"key: {text}")["key"]
    if model is Source:
        source[key] = value
        if key == "attributes":
            del source["events"]
        return source
    if model is AttributeMapping:
        source["attributes"] = {**copy.deepcopy(_FACTS), key: value}
        del source["events"]
        return source
    if model is PostgresConnector:
        source["connector"] = {**_POSTGRES, key: value}
    elif model in (Connector, FileConnector):
        source["connector"] = {**_FILE, key: value}
        if key == "thousands":
            source["connector"]["decimal"] = ","
    elif model is Arrival:
        source["events"]["arrival"] = {key: value}
    else:
        source["events"][key] = value
        if key == "event_column":
            source["events"].pop("event")
    return source


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"written: {PAGE.relative_to(PROJECT)}")
