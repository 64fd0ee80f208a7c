"""Sources: files, packages, URLs and Postgres, and what is wrong with them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.registry import _registry

from include.errors import IsolationError, SourceError
from tests.integration.ingestion.conftest import Shops
from tests.shops import Shop, grant

pytestmark = pytest.mark.integration

HEADER = "id,at,user,quantity,amount\n"
SALES = {"type": "postgres", "connection": "postgres", "table": "public.sales", "cursor": "loaded"}


@pytest.fixture
def sales(shops: Shops) -> psycopg.Connection[Any]:
    """A connection to an empty `public.sales`."""
    connection = psycopg.connect(shops.postgres.dsn("postgres"), autocommit=True)
    connection.execute(
        "DROP TABLE IF EXISTS public.sales; CREATE TABLE public.sales (id text, at timestamptz, "
        '"user" text, quantity numeric, amount float8, loaded timestamptz, open boolean, '
        "store numeric(10, 2))"
    )
    return connection


@pytest.fixture
def bucket(
    shops: Shops, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder that stands for a bucket, of which `shop/` is granted."""
    folder = tmp_path_factory.mktemp("buckets") / "bucket"
    folder.mkdir()

    class Bucket(DirFileSystem):
        protocol = "s3"

        def __init__(self, **options: Any) -> None:
            super().__init__(path=str(folder.parent), fs=LocalFileSystem(), **options)

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return path.removeprefix("s3://")

    monkeypatch.setitem(_registry, "s3", Bucket)
    grant(monkeypatch, roots=[str(shops.folder)], urls=["s3://bucket/shop/"])
    return folder


def parquet(folder: Path, **columns: Any) -> Path:
    """A file with one row a week from week 0 on, `columns` replaced."""
    path = folder / "sales.parquet"
    at = pa.array([datetime(2024, 1, 1 + 7 * week) for week in range(4)], pa.timestamp("us"))  # noqa: DTZ001
    table = {"id": [1, 2, 3, 4], "at": at, "user": ["u"] * 4, "quantity": [1.0] * 4}
    pq.write_table(pa.table({**table, "amount": [1.0] * 4, **columns}), path)
    return path


def test_a_glob_is_read_in_the_order_of_its_names(shops: Shops) -> None:
    """Files add up, and an empty one among them costs nothing."""
    for name, content in {"b": "2,2024-01-09,u,1,1\n", "a": "1,2024-01-09,u,1,1\n"}.items():
        (shops.folder / f"{name}.part.csv").write_text(HEADER + content)
    (shops.folder / "c.part.csv").touch()
    shop = shops.file(shops.folder / "*.part.csv", "csv")
    shop.ingest()
    assert shop.ids() == ["1", "2"]


def test_relative_paths_start_at_home(shops: Shops, monkeypatch: pytest.MonkeyPatch) -> None:
    """`$TENANTRY_HOME` is where a relative path begins."""
    (shops.folder / "sales.csv").write_text(HEADER + "1,2024-01-09,u,1,1\n")
    monkeypatch.setenv("TENANTRY_HOME", str(shops.folder))
    assert shops.file("sales.csv", "csv").ingest().rows == 1


def test_a_bucket_is_a_source(shops: Shops, bucket: Path) -> None:
    """Its files are named one by one or by a glob, as far as they are granted."""
    (bucket / "shop").mkdir()
    (bucket / "shop" / "sales.csv").write_text(HEADER + "1,2024-01-09,u,1,1\n")
    (bucket / "other.csv").write_text(HEADER + "1,2024-01-09,u,1,1\n")
    assert shops.file("s3://bucket/shop/sales.csv", "csv").ingest().rows == 1
    assert shops.file("s3://bucket/shop/*.csv", "csv").ingest().rows == 1
    for path in ("s3://bucket/other.csv", "s3://bucket/*.csv", "s3://bucket/shop/../other.csv"):
        with pytest.raises(IsolationError, match="is not granted"):
            shops.file(path, "csv").ingest()


@pytest.mark.parametrize(
    "path",
    [
        "package:pyarrow/../psycopg/__init__.py",
        "package:alembic/../../../bin/alembic",
        "package:pyarrow//etc/passwd",
        "package:../x",
        "package:",
        "package:no-such-package/data.csv",
    ],
)
def test_a_package_path_never_leaves_its_package(shops: Shops, path: str) -> None:
    """Only files that lie within the distribution are sources, listed scripts are not."""
    with pytest.raises(SourceError, match=r"has no file|is not installed"):
        shops.file(path, "csv").ingest()


def test_the_lake_is_no_source(shops: Shops) -> None:
    """Neither a path, a link, a URL nor a chain of URLs leads to another tenant's files."""
    victim = shops.csv(["1,2024-01-09,u,1,1"])
    victim.ingest()
    stolen = sorted(victim.lake.root.rglob("*.parquet"))[0]
    (shops.folder / "link.parquet").symlink_to(stolen)
    paths = [stolen, shops.folder / "link.parquet", f"file://{stolen}"]
    for path in [*map(str, paths), f"simplecache::file://{stolen}", f"dir::file://{stolen.parent}"]:
        thief = shops.file(path, "parquet")
        thief.lake = victim.lake
        with pytest.raises((IsolationError, SourceError)) as error:
            thief.ingest()
        assert isinstance(error.value, IsolationError) or "cannot be read" in str(error.value)
        assert thief.events() == []


@pytest.mark.parametrize("where", [{"id": 2}, {"id": [2]}, {"id": "2"}])
def test_where_and_the_interval_are_pushed_down_to_parquet(
    shops: Shops, where: dict[str, Any]
) -> None:
    """What is filtered while reading is what the mapping would have kept."""
    shop = shops.file(parquet(shops.folder), "parquet", where=where)
    shop.ingest(2)
    assert shop.ids() == ["2"]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Vienna", "Pacific/Kiritimati"])
def test_a_zone_moves_naive_instants_before_the_interval_is_cut(shops: Shops, zone: str) -> None:
    """Pushing the interval down loses no row at its borders, in any time zone."""
    shop = shops.file(parquet(shops.folder), "parquet", timezone=zone)
    for number in (1, 2, 3):
        shop.ingest(number)
    expected = ["1", "2", "3", "4"] if zone == "UTC" else ["2", "3", "4"]
    assert shop.ids() == expected  # east of UTC, January began before the history does


def test_dates_far_out_in_parquet_are_set_aside(shops: Shops) -> None:
    """The reader's filter does not make them vanish unseen, and they are reported once."""
    days = [datetime(1790, 1, 1), None, datetime(2250, 1, 1), datetime(2024, 1, 9)]  # noqa: DTZ001
    shop = shops.file(parquet(shops.folder, at=pa.array(days, pa.timestamp("us"))), "parquet")
    shop.ingest(1)
    shop.ingest(2)
    assert shop.ids() == ["4"]
    assert [row["id"] for row, _ in shop.quarantined()] == [1, 2, 3]


def test_texts_in_parquet_that_are_none_are_set_aside(shops: Shops) -> None:
    """Bytes that are not UTF-8 in a text column cost their row only."""
    users = pa.array([b"u", b"\xff", b"u", b"u"]).view(pa.string())
    shop = shops.file(parquet(shops.folder, user=users), "parquet")
    shop.ingest(3)
    assert shop.ids() == ["1", "3", "4"]
    assert [reason for _, reason in shop.quarantined()] == ["the row is not UTF-8"]


def test_ids_do_not_depend_on_the_type_around_them(shops: Shops) -> None:
    """A whole number stays the same id in a column of floats, with or without fractions in it."""
    shop = shops.file(parquet(shops.folder, id=[1.0, 2.0, 3.5, 4.0]), "parquet")
    shop.ingest(3)
    assert shop.ids() == ["1", "2", "3.5", "4"]


@pytest.mark.parametrize(
    ("content", "suffix", "message"),
    [
        ("id,at,user,quantity\n1,2024-01-09,u,1\n", "csv", "no column 'amount'; there are: id, at"),
        ("id,id,at,user,quantity,amount\n1,1,2024-01-09,u,1,1\n", "csv", "stands there twice"),
        ('{"id": 1, "at": "2024-01-09"}\n', "jsonl", "no column 'user', .*; there are: at, id"),
        ("no parquet", "parquet", "cannot be read as Parquet"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(
    shops: Shops, content: str, suffix: str, message: str
) -> None:
    """The message names tenant, source, file and what is there instead."""
    shop = shops.text(content, suffix)
    with pytest.raises(SourceError, match=rf"tenant {shop.config.id}, source pos, .*{message}"):
        shop.ingest()


@pytest.mark.parametrize("path", ["nowhere.csv", "[n]o*.csv", "s3://bucket/shop/nowhere.csv"])
def test_a_missing_file_is_said(shops: Shops, bucket: Path, path: str) -> None:
    """No file here and none in a bucket are both the source's error."""
    there = path if "://" in path else f"{shops.folder}/{path}"
    with pytest.raises(SourceError, match=r"no file at"):
        shops.file(there, "csv").ingest()


def test_postgres_is_read_by_its_cursor(shops: Shops, sales: psycopg.Connection[Any]) -> None:
    """An interval brings what was loaded in it; cursors that say nothing are set aside."""
    sales.execute(
        "INSERT INTO public.sales SELECT n, '2024-01-01', 'u', n, n, "
        "timestamptz '2024-01-01 00:00+00' + n * interval '1 day' FROM generate_series(0, 20) n"
    )
    sales.execute(
        "INSERT INTO public.sales VALUES ('x', '2024-01-09', 'u', 1, 1, NULL), "
        "('y', '2024-01-09', 'u', 1, 1, 'infinity'), ('z', '-infinity', 'u', 1, 1, '2024-01-09'), "
        "('n', '2024-01-09', 'u', 'NaN', 1, '2024-01-09')"
    )
    shop = shops.source(SALES)
    assert [shop.ingest(1).rows, shop.ingest(2).rows, shop.ingest(2).rows] == [14, 7, 7]
    assert shop.ids() == [str(n) for n in range(21)]
    assert sorted(row["id"] for row, _ in shop.quarantined()) == ["n", "x", "y", "z"]


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ({"open": True}, ["a"]),
        ({"store": 367}, ["a"]),
        ({"store": [367, 368]}, ["a", "b"]),
        ({"id": "b"}, ["b"]),
        ({"id": "'; DROP TABLE public.sales; --"}, []),
    ],
)
def test_where_takes_the_type_of_its_column(
    shops: Shops, sales: psycopg.Connection[Any], where: dict[str, Any], kept: list[str]
) -> None:
    """Booleans, numerics and texts compare as what they are, and a hostile text as a text."""
    sales.execute(
        "INSERT INTO public.sales VALUES ('a', '2024-01-09', 'u', 1, 1, '2024-01-09', true, 367), "
        "('b', '2024-01-09', 'u', 1, 1, '2024-01-09', false, 368)"
    )
    shop = shops.source(SALES, where=where)
    shop.ingest()
    assert shop.ids() == kept
    assert sales.execute("SELECT count(*) FROM public.sales").fetchone() == (2,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"table": "public.nothing"}, 'relation "public.nothing" does not exist'),
        ({"cursor": "sold"}, "no column 'sold'; there are: id, at, user"),
        ({"connection": "nowhere"}, "connection 'nowhere'.*does not exist"),
    ],
)
def test_what_is_wrong_with_a_database_is_said(
    shops: Shops, sales: psycopg.Connection[Any], change: dict[str, str], message: str
) -> None:
    """The message names the connection, the table and the columns that exist."""
    shop = shops.source({**SALES, **change})
    with pytest.raises(SourceError, match=f"tenant {shop.config.id}, source pos, .*{message}"):
        shop.ingest()


def test_quoted_identifiers_stay_identifiers(shops: Shops, sales: psycopg.Connection[Any]) -> None:
    """A column may be called anything; its name is never read as SQL."""
    name = 'a"; DROP TABLE public.sales; --'
    sales.execute('ALTER TABLE public.sales RENAME id TO "a""; DROP TABLE public.sales; --"')
    sales.execute("INSERT INTO public.sales VALUES ('a', '2024-01-09', 'u', 1, 1, '2024-01-09')")
    shop: Shop = shops.source(SALES, event_id=[name])
    shop.ingest()
    assert shop.ids() == ["a"]
