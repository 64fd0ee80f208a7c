"""One table of values, in every connector, format, dialect and compression: the same rows."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, Final

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from include.ingestion.plain import as_text
from include.stores.memory.slices import InMemorySlices
from tests.integration.ingestion.conftest import Shops
from tests.shops import Shop

#: The mapping reads them so; `loaded` is when a row became known.
MAPPING: Final[dict[str, Any]] = {
    "event_timestamp": "at",
    "user_id": "customer",
    "item_id": "item",
    "quantity": "qty",
    "amount": "price",
    "properties": {"gift": "gift", "note": "note", "cart": "cart"},
}
SCHEMA: Final = pa.schema(
    {
        "id": pa.int64(),
        "at": pa.timestamp("us", "UTC"),
        "loaded": pa.timestamp("us", "UTC"),
        "customer": pa.float64(),
        "item": pa.string(),
        "qty": pa.int32(),
        "price": pa.decimal128(12, 2),
        "gift": pa.bool_(),
        "note": pa.string(),
        "cart": pa.string(),
    }
)
PACKED: Final[dict[str, Callable[[bytes], bytes]]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: pa.compress(content, codec="zstd", asbytes=True),
}
INSTANTS: Final = st.datetimes(datetime(2024, 1, 1), datetime(2024, 1, 20)).map(  # noqa: DTZ001
    lambda value: value.replace(tzinfo=UTC)
)
#: Texts as people and attackers write them, and what a mapping sets aside.
TEXTS: Final = st.one_of(
    st.none(),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6),
    st.sampled_from(['say "5"', "a,b;c|d", "line\nbreak", "back\\slash", "7", "0.5", "NULL", "ä"]),
    st.sampled_from(["\u202eturned", "x" * 300, "x" * 9_000]),
)
CARTS: Final = st.one_of(
    st.none(),
    st.dictionaries(
        st.sampled_from(["sku", "n", "more"]),
        st.one_of(st.integers(0, 9), st.text("ab", max_size=2), st.lists(st.integers(0, 3))),
        min_size=1,
    ),
)
ROWS: Final = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.one_of(st.none(), st.integers(0, 12)),
            "at": st.one_of(st.none(), INSTANTS, st.just(datetime(1701, 1, 1, tzinfo=UTC))),
            "loaded": INSTANTS,
            "customer": st.one_of(st.none(), st.integers(1, 2**53).map(float), st.floats(0.5, 9)),
            "item": TEXTS,
            "qty": st.one_of(st.none(), st.integers(-5, 1000)),
            "price": st.one_of(st.none(), st.decimals(-9999, 10**9, places=2)),
            "gift": st.one_of(st.none(), st.booleans()),
            "note": TEXTS,
            "cart": CARTS,
        }
    ),
    min_size=1,
    max_size=12,
)


Outcome = tuple[list[dict[str, Any]], list[str]]  #: events, and reasons of what is set aside


@dataclass(frozen=True)
class Dialect:
    """How a file spells what it holds."""

    packed: str  #: suffix of the compression
    decimal: str
    thousands: str | None
    null: str  #: text that stands for no value
    form: str  #: of instants

    @property
    def keys(self) -> dict[str, Any]:
        """As a tenant's file declares it."""
        told: dict[str, Any] = {"timestamp_format": self.form, "decimal": self.decimal}
        if self.thousands:
            told["thousands"] = self.thousands
        return told | ({"null_values": [self.null]} if self.null else {})

    def instant(self, value: datetime) -> str:
        """As the format says it."""
        if self.form == "iso":
            return value.isoformat()
        if self.form == "epoch_us":
            return str((value - datetime(1970, 1, 1, tzinfo=UTC)) // (datetime.resolution))
        return value.strftime(self.form)

    def text(self, name: str, value: Any) -> str:
        """A value as it stands in a file of text."""
        if value is None:
            return self.null
        if isinstance(value, datetime):
            return self.instant(value)
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, dict):
            return as_text(value) or ""
        if name in ("qty", "price"):
            mark = self.thousands or ""
            return f"{value:,}".replace(",", "\0").replace(".", self.decimal).replace("\0", mark)
        return repr(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


PLAIN: Final = Dialect("", ".", None, "", "iso")
DIALECTS: Final = st.builds(
    Dialect,
    packed=st.sampled_from(list(PACKED)),
    decimal=st.just("."),
    thousands=st.sampled_from([None, ",", "'", "_"]),
    null=st.sampled_from(["", "\\N", "(none)"]),
    form=st.sampled_from(["iso", "epoch_us", "%d.%m.%Y %H:%M:%S.%f%z"]),
) | st.builds(
    Dialect,
    packed=st.sampled_from(list(PACKED)),
    decimal=st.just(","),
    thousands=st.sampled_from([None, ".", " "]),
    null=st.just("n/a"),
    form=st.just("iso"),
)


def csv_bytes(rows: list[dict[str, Any]], dialect: Dialect) -> bytes:
    """The rows as CSV."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(SCHEMA.names)
    writer.writerows([dialect.text(name, row[name]) for name in SCHEMA.names] for row in rows)
    return text.getvalue().encode()


def jsonl_bytes(rows: list[dict[str, Any]], dialect: Dialect) -> bytes:
    """The rows as JSON lines: numbers as numbers, what is nothing left out."""

    def member(value: Any) -> Any:
        if isinstance(value, datetime):
            return dialect.instant(value)
        return float(value) if hasattr(value, "as_tuple") else value

    lines = ({k: member(v) for k, v in row.items() if v is not None} for row in rows)
    every = dict.fromkeys(SCHEMA.names, "")  # a line that has every key, and is set aside
    return "".join(json.dumps(line) + "\n" for line in [*lines, every]).encode()


def require_same(source: str, outcome: Outcome, expected: Outcome) -> None:
    """The first event or reason that differs is told, shortened."""
    for mine, other in zip_longest(*(chain(*one) for one in (outcome, expected))):
        assert mine == other, f"{source}: {str(mine)[:600]}\ninstead of {str(other)[:600]}"


def outcome(shop: Shop) -> Outcome:
    """Events, and why what was set aside was, of two weeks; the numbers add up."""
    for number in (1, 2):
        shop.ingest(number)
    events = [
        {k: v for k, v in row.items() if k not in ("tenant_id", "source", "month")}
        for row in shop.events()
    ]
    for recorded in shop.store.recorded(shop.config.ref):
        assert recorded.rows + recorded.duplicates == recorded.taken
        assert min(recorded.outside, recorded.taken) >= 0
    return events, sorted(reason for _, reason in shop.quarantined())


@settings(
    max_examples=25,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # an example takes a second
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(ROWS, DIALECTS, st.sampled_from(["snappy", "zstd", "gzip", "none"]))
def test_the_same_rows_come_from_everywhere(
    shops: Shops, rows: list[dict[str, Any]], dialect: Dialect, codec: str
) -> None:
    """Ids, nulls, instants, numbers, nested values and what is set aside, of every format."""
    made = Shops(shops.folder, InMemorySlices(), shops.connect, postgres=shops.postgres)
    files = {"arrival": {"column": "loaded"}, **MAPPING}
    packed = PACKED[dialect.packed]

    def of_text(content: bytes, kind: str, keys: dict[str, Any]) -> Outcome:
        path = shops.folder / f"rows.{kind}{dialect.packed}"
        path.write_bytes(packed(content))
        connector = {"type": "file", "path": str(path), "format": kind, **keys}
        return outcome(made.source(connector, **files))

    expected = of_text(csv_bytes(rows, PLAIN), "csv", {})
    found = of_text(csv_bytes(rows, dialect), "csv", dialect.keys)
    require_same("csv", found, _spelled(expected, dialect))
    archive = shops.folder / "rows.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("in/rows.csv", csv_bytes(rows, PLAIN))
    inside = {"type": "file", "path": f"zip://in/rows.csv::file://{archive}", "format": "csv"}
    require_same("zip", outcome(made.source(inside, **files)), expected)
    keys = {"timestamp_format": dialect.form}
    events, reasons = of_text(jsonl_bytes(rows, dialect), "jsonl", keys)
    reasons.remove(f"at: no instant between 1800 and 2199 by `timestamp_format: {dialect.form}`")
    require_same("jsonl", (events, reasons), _spelled(expected, dialect))
    require_same("parquet", outcome(_parquet(made, rows, codec, files)), expected)
    require_same("postgres", outcome(_postgres(made, rows)), expected)


def _spelled(expected: Outcome, dialect: Dialect) -> Outcome:
    """The reasons name the format."""
    events, reasons = expected
    return events, sorted(
        reason.replace("format: iso", f"format: {dialect.form}") for reason in reasons
    )


def _cart(row: dict[str, Any]) -> str | None:
    return as_text(row["cart"])


def _parquet(shops: Shops, rows: list[dict[str, Any]], codec: str, mapping: dict[str, Any]) -> Shop:
    path = shops.folder / "rows.parquet"
    carts = pa.array([_cart(row) for row in rows], pa.string())
    table = pa.Table.from_pylist([{**row, "cart": None} for row in rows], SCHEMA)
    table = table.set_column(SCHEMA.get_field_index("cart"), "cart", carts)
    pq.write_table(table, path, compression=codec, row_group_size=5)
    return shops.file(Path(path), "parquet", **mapping)


def _postgres(shops: Shops, rows: list[dict[str, Any]]) -> Shop:
    with psycopg.connect(shops.postgres.dsn("postgres")) as connection:
        connection.execute("DROP TABLE IF EXISTS every")
        connection.execute(
            "CREATE TABLE every (id bigint, at timestamptz, loaded timestamptz, customer float8, "
            "item text, qty int, price numeric(12, 2), gift bool, note text, cart jsonb)"
        )
        connection.cursor().executemany(
            "INSERT INTO every VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [[*(row[name] for name in SCHEMA.names[:-1]), _cart(row)] for row in rows],
        )
    connector = {"type": "postgres", "connection": "postgres", "table": "every", "cursor": "loaded"}
    return shops.source(connector, **MAPPING)
