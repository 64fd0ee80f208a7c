"""How far a source reaches on this machine: into the folders that are granted, and no further."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest

from include.errors import ConfigError, IsolationError, SourceError
from include.ingestion.grants import grants_of
from include.ingestion.places import opened_files
from tests.unit.ingestion.sources import HEADER, ROW, SECRETS, World

#: Paths to the lake and the platform's folders, in every spelling that led there once.
HOSTILE = [
    "{home}/lake/eu/birch/landing_events/sales.csv",
    "lake/eu/birch/landing_events/sales.csv",
    "file://{home}/lake/eu/birch/landing_events/sales.csv",
    "local://{home}/lake/eu/birch/landing_events/sales.csv",
    "simplecache::file://{home}/lake/eu/birch/landing_events/sales.csv",
    "blockcache::file://{home}/lake/eu/birch/landing_events/sales.csv",
    "filecache::file://{home}/lake/eu/birch/landing_events/sales.csv",
    "cached::file://{home}/lake/eu/birch/landing_events/sales.csv",
    "dir://sales.csv::file://{home}/lake/eu/birch/landing_events",
    "dirfs://sales.csv::file://{home}/lake",
    "reference://x::file://{own}/reference.json",
    "tar://sales.csv::file://{home}/lake/x.tar",
    "libarchive://sales.csv::file://{home}/lake/x.zip",
    "zip://x::zip://y::file://{home}/lake/x.zip",
    "zip://sales.csv::simplecache::file://{home}/lake/x.zip",
    "zip://sales.csv::{home}/lake/eu/birch/landing_events/sales.csv",
    "zip://{home}/lake/eu/birch/landing_events/sales.csv",
    "{home}/la?e/eu/birch/landing_events/sales.csv",
    "{home}/[l]ake/eu/birch/landing_events/sales.csv",
    "{home}/la*/eu/birch/**/sales.csv",
    "{home}/**/sales.csv",
    "**/birch/*.csv",
    "sources/**/sales.csv",
    "sources/*/sales.csv",
    "sources/birch/sales.csv",
    "sources/alder/../birch/sales.csv",
    "sources/alder/../../lake/eu/birch/landing_events/sales.csv",
    "{own}/../birch/*.csv",
    "{own}/*/../../birch/sales.csv",
    "{own}/./../../secrets/secrets.json",
    "sources/alder//../../secrets/sales.csv",
    "{home}//sources//birch//sales.csv",
    "tenants/data/birch/sales.csv",
    "tenants/birch.yaml",
    "demo/birch/sales.csv",
    "secrets/secrets.json",
    "postgres/sales.csv",
    "airflow/sales.csv",
    "mlflow/sales.csv",
    "logs/sales.csv",
    "run/sales.csv",
    "spool/birch/sales.csv",
    "/proc/self/environ",
    "/proc/self/root{home}/secrets/secrets.json",
    "/proc/self/cwd/sales.csv",
    "/proc/1/environ",
    "/dev/stdin",
    "/dev/fd/0",
    "/sys/kernel/notes",
    "/etc/passwd",
    "~/.ssh/id_rsa",
    "memory://sales.csv",
    "data:text/csv,id",
    "data://text/csv,id",
    "github://owner:repo@/x.csv",
    "git://x.csv",
    "jupyter://host/x.csv",
    "smb://host/share/x.csv",
    "sftp://host/x.csv",
    "ssh://host/x.csv",
    "ftp://host/x.csv",
    "hdfs://host/x.csv",
    "arrow_hdfs://host/x.csv",
    "webhdfs://host/x.csv",
    "dask://host/x.csv",
    "hf://datasets/x/y.csv",
    "root://host/x.csv",
    "generic://x",
    "asynclocal://{home}/secrets/sales.csv",
    "FILE://{home}/secrets/sales.csv",
    "file:{home}/secrets/sales.csv",
    "file://localhost{home}/secrets/sales.csv",
    "file:///..{home}/secrets/sales.csv",
    "zip://a.csv",
    "::",
    "://",
    "zip://::{own}/x.zip",
]


def spelled(world: World, path: str) -> str:
    """The path in this installation."""
    return path.replace("{home}", str(world.home)).replace("{own}", str(world.own))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("path", HOSTILE)
def test_no_spelling_leads_out_of_the_granted_folders(world: World, path: str, kind: str) -> None:
    """Chains, caches, globs, `..`, other protocols and the kernel's files: refused, in silence."""
    world.refused(spelled(world, path), kind)


@pytest.mark.parametrize("path", HOSTILE)
def test_a_root_around_everything_opens_no_forbidden_folder(world: World, path: str) -> None:
    """The lake, secrets, databases and other tenants' folders stay shut within any root."""
    world.grant(default={"roots": ["{home}", "/proc", "/dev", "/sys"], "packages": ["*"]})
    if path != "/etc/passwd":
        world.refused(spelled(world, path))


@pytest.mark.parametrize(
    "path",
    [
        "sources/alder/sales.csv",
        "{own}/sales.csv",
        "file://{own}/sales.csv",
        "sources/alder/*.csv",
        "sources/alder/s[a]les.csv",
        "sources/alder/**/sales.csv",
        "sources/alder/./sales.csv",
        "sources/alder/more/../sales.csv",
        "sources/alder/link.csv",
        "sources/alder/more/up.csv",
        "sources/alder/sales.csv.gz",
        "zip://sales.csv::sources/alder/sales.zip",
        "zip://*.csv::file://{own}/sales.zip",
        "demo/alder/sales.csv",
        "tenants/data/alder/sales.csv",
    ],
)
def test_ones_own_files_are_read(world: World, path: str) -> None:
    """By path, URL and glob, through links that stay inside, compressed, or out of an archive."""
    for folder in ("demo/alder", "tenants/data/alder"):
        (world.home / folder).mkdir(parents=True)
        (world.home / folder / "sales.csv").write_text(HEADER + ROW)
    (world.own / "more").mkdir()
    (world.own / "link.csv").symlink_to("sales.csv")
    (world.own / "more" / "up.csv").symlink_to("../link.csv")
    (world.own / "sales.csv.gz").write_bytes(gzip.compress((HEADER + ROW).encode()))
    with zipfile.ZipFile(world.own / "sales.zip", "w") as archive:
        archive.writestr("sales.csv", HEADER + ROW)
    for name in ("link.csv", "sales.csv.gz", "sales.zip"):
        if name not in path and "*" in path:
            (world.own / name).unlink(missing_ok=name != "sales.zip")
    found = world.look(spelled(world, path))
    assert (found.rows, found.good) == (1, 1)


@pytest.mark.parametrize(
    "link",
    [
        "../birch/sales.csv",
        "../../secrets/secrets.json",
        "../../lake/eu/birch/landing_events/sales.csv",
        "{home}/sources/birch/sales.csv",
        "/proc/self/environ",
        "/dev/zero",
        "more/../../birch/sales.csv",
        "loop.csv",
    ],
)
@pytest.mark.parametrize("path", ["loop.csv", "*.csv", "deep/x/sales.csv", "folder/sales.csv"])
def test_no_link_leads_out(world: World, link: str, path: str) -> None:
    """Named, met by a glob, or as a folder on the way: a link is walked within the root or not."""
    (world.own / "sales.csv").unlink()
    (world.own / "more").mkdir()
    (world.own / "deep").mkdir()
    target = spelled(world, link)
    (world.own / "loop.csv").symlink_to(target)
    (world.own / "deep" / "x").symlink_to("../" + str(Path(target).parent))
    (world.own / "folder").symlink_to(Path(target).parent)
    world.refused(world.own / path)


def test_a_hard_link_is_refused(world: World) -> None:
    """A second name of a neighbour's file in one's own folder is no source."""
    os.link(world.home / "sources/birch/sales.csv", world.own / "mine.csv")
    assert "hard link" in str(world.refused(world.own / "mine.csv"))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_only_regular_files_are_read(world: World, kind: str) -> None:
    """A pipe, which would hang for ever, and a folder are refused at once."""
    os.mkfifo(world.own / "pipe.csv")
    (world.own / "folder.csv").mkdir()
    for name in ("pipe.csv", "folder.csv"):
        assert "regular file" in str(world.refused(world.own / name, kind))


def test_a_path_that_is_swapped_while_it_is_opened_leads_nowhere(world: World) -> None:
    """A folder that becomes a link between a look and its use is not followed."""
    inner, aside = world.own / "inner", world.own / "aside"
    inner.mkdir()
    (inner / "sales.csv").write_text(HEADER + ROW)
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            inner.rename(aside)
            inner.symlink_to(world.home / "sources" / "birch")
            inner.unlink()
            aside.rename(inner)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        users: set[str] = set()
        for _ in range(300):
            try:
                users |= set(world.look(inner / "sales.csv", event=None, event_column="user").kinds)
            except (IsolationError, SourceError) as error:
                world.require_silence(error)
    finally:
        stop.set()
        swapper.join()
    users |= set(world.look(inner / "sales.csv", event=None, event_column="user").kinds)
    assert users == {"u"}


def test_a_folder_with_a_bracket_in_its_name_is_a_folder(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands in TENANTRY_HOME is never a glob; what stands in a path is one, or a name."""
    home = tmp_path / "st[a]te *"
    (home / "sources" / "alder").mkdir(parents=True)
    (home / "sources" / "alder" / "sales [1].csv").write_text(HEADER + ROW)
    monkeypatch.setenv("TENANTRY_HOME", str(home))
    for path in ("sales [1].csv", "sales*.csv", "sales [[]1].csv"):
        assert world.look(f"sources/alder/{path}").good == 1
        assert world.look(home / "sources" / "alder" / path).good == 1


def test_the_operators_list_replaces_the_default_and_adds_per_tenant(
    world: World, tmp_path: Path
) -> None:
    """`default` is everybody's, an entry is one tenant's own, and nobody else gets into it."""
    (tmp_path / "exports").mkdir()
    (tmp_path / "exports" / "sales.csv").write_text(HEADER + ROW)
    exports = str(tmp_path / "exports")
    world.grant({"roots": [exports]}, default={})
    assert world.look(f"{exports}/sales.csv").good == 1
    assert "is granted" in str(world.refused(world.own / "sales.csv"))
    world.refused("package:pyarrow/pyarrow/__init__.py")
    world.patch.setenv(
        "TENANTRY_SOURCES", f"tenants:\n  birch: {{roots: [{exports}]}}\n  cedar: {{}}\n"
    )
    assert world.look(world.own / "sales.csv").good == 1
    world.refused(f"{exports}/sales.csv")
    world.patch.setenv(
        "TENANTRY_SOURCES",
        f'{{"default": {{"roots": ["{tmp_path}"]}}, "tenants": {{"birch": {{"roots": ["{exports}"]'
        "}}}",
    )
    assert "another tenant" in str(world.refused(f"{exports}/sales.csv"))


def test_the_list_may_be_a_file(world: World, tmp_path: Path) -> None:
    """Its path is in the variable; what it holds is the same."""
    (tmp_path / "sources.yaml").write_text("default: {roots: ['{home}/shared']}\n")
    world.patch.setenv("TENANTRY_SOURCES", str(tmp_path / "sources.yaml"))
    (world.home / "shared").mkdir()
    (world.home / "shared" / "sales.csv").write_text(HEADER + ROW)
    assert world.look("shared/sales.csv").good == 1


@pytest.mark.parametrize(
    "told",
    [
        "/nowhere/sources.yaml",
        "[1, 2]: x",
        "defaults: {}",
        "default: {roots: [../x]}",
        "default: {urls: ['ftp://x/']}",
        "default: {urls: ['https://user:hunter2-is-a-password@x/']}",
        "default: {urls: ['https://x/*']}",
        "default: {roots: ['{nobody}/x']}",
        "limits: {rows: -1}",
        "limits: {lines: 1}",
        "tenants: {UPPER: {}}",
        "default: [",
    ],
)
def test_a_malformed_list_is_an_error_and_grants_nothing(world: World, told: str) -> None:
    """What cannot be understood is said, without what might be a secret in it."""
    world.patch.setenv("TENANTRY_SOURCES", told)
    with pytest.raises(ConfigError, match="TENANTRY_SOURCES") as caught:
        world.look(world.own / "sales.csv")
    world.require_silence(caught.value)


@pytest.mark.parametrize(
    ("tenant", "connection", "granted"),
    [
        ("store-292", "store_292", True),
        ("store", "store_292", False),
        ("store-29", "store_292", False),
        ("store-292", "store_2921", False),
        ("store-292", "store", False),
        ("store", "store__292", False),
        ("store-292", "postgres_default", False),
        ("store-292", "airflow_db", False),
    ],
)
def test_a_connection_belongs_to_the_tenant_whose_name_it_bears(
    world: World, tenant: str, connection: str, granted: bool
) -> None:
    """Exactly, not by how it begins; others are granted by the operator."""
    assert (connection in grants_of(tenant).connections) is granted
    world.grant({"connections": ["warehouse"]})
    assert "warehouse" in grants_of("alder").connections
    assert "warehouse" not in grants_of("birch").connections


def test_a_connection_that_is_not_granted_is_never_opened(world: World) -> None:
    """The refusal comes before anything is asked of the database."""
    connector = {
        "type": "postgres",
        "connection": "birch",
        "table": "public.sales",
        "cursor": "at",
    }
    with pytest.raises(IsolationError, match="'birch' is not granted to alder"):
        world.read(connector)


def test_packages_are_granted_by_name(world: World) -> None:
    """Spelled as any index spells it; others are refused, installed or not."""
    world.grant(default={"packages": ["PyArrow"]})
    assert "none of the columns" in str(world.refused("package:pyarrow/pyarrow/__init__.py"))
    for path in ("package:numpy/numpy/__init__.py", "package:no-such/x.csv"):
        assert isinstance(world.refused(path), IsolationError)


def zipped(world: World, **changes: Any) -> Path:
    """An archive in the tenant's folder with members of a test's making."""
    path = world.own / "sales.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in changes.items():
            archive.writestr(name.replace("__", "/"), content)
    return path


def test_an_archive_that_unpacks_to_too_much_is_refused(world: World) -> None:
    """Both where its directory says so and where that lies."""
    content = HEADER + ROW + "," * 1_000_000 + "\n"
    path = zipped(world, a=content)
    world.grant({}, limits={"decoded_bytes": 100_000})
    assert "decoded_bytes" in str(world.refused(f"zip://a::{path}"))
    honest = path.read_bytes()
    size = len(content).to_bytes(4, "little")
    assert honest.count(size) == 2
    path.write_bytes(honest.replace(size, (10).to_bytes(4, "little")))
    world.refused(f"zip://a::{path}")


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz", "zst"])
def test_a_compressed_file_that_unpacks_to_too_much_is_refused(world: World, suffix: str) -> None:
    """However it is compressed; a file within the bound is read."""
    import bz2
    import lzma

    import pyarrow as pa

    def zst(content: bytes) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(content)
        return bytes(sink.getvalue())

    pack = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zst}[suffix]
    path = world.own / f"sales.csv.{suffix}"
    content = (HEADER + ROW * 60_000).encode()
    path.write_bytes(pack(content))
    assert path.stat().st_size < len(content) / 100
    assert world.look(path).good == 10_000
    world.grant({}, limits={"decoded_bytes": 500_000})
    assert "decoded_bytes" in str(world.refused(path))
    world.grant({})
    path.write_bytes(pack(content)[: path.stat().st_size // 2])
    world.refused(path)


def test_members_are_names_and_no_paths(world: World) -> None:
    """`..`, absolute names, folders, archives within archives and encrypted members: nothing."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("sales.csv", HEADER + ROW)
    path = zipped(world, **{"a.zip": inner.getvalue(), "b.csv.gz": gzip.compress(b"x"), "c__d": ""})
    for member in ("../../birch/sales.csv", str(world.home / "secrets/sales.csv"), "c", "c/", "*"):
        world.refused(f"zip://{member}::{path}")
    assert "packed once more" in str(world.refused(f"zip://a.zip::{path}"))
    assert "packed once more" in str(world.refused(f"zip://b.csv.gz::{path}"))
    for content in (b"", b"PK", b"no archive at all", path.read_bytes()[:-30]):
        path.write_bytes(content)
        world.refused(f"zip://a.zip::{path}")


@pytest.mark.parametrize(
    "first",
    [
        f"1,2024-01-09,{SECRETS[3]},12.5,DE89370400440532013000",
        f"{SECRETS[2]},{SECRETS[0]}",
        SECRETS[1],
        "ann,bob,hunter2-is-a-password",
        f"id,at,{SECRETS[3]},{SECRETS[4]}",
        f'{{"jwt": "{SECRETS[0]}"}}',
        f"PASSWORD={SECRETS[2]}",
    ],
)
def test_a_first_line_without_names_is_not_shown(world: World, first: str) -> None:
    """Columns that were asked for are named; of what is there, only what looks like a name."""
    (world.own / "bare.csv").write_text(f"{first}\n{ROW}")
    error = world.refused(world.own / "bare.csv")
    assert "'user'" in str(error)


@pytest.mark.parametrize("key", [SECRETS[3], SECRETS[0], SECRETS[4], "a" * 60])
def test_keys_that_are_no_names_are_not_shown(world: World, key: str) -> None:
    """An object keyed by a customer's address does not show the address."""
    (world.own / "keyed.jsonl").write_text(f'{{"id": 1, "at": "2024-01-09", "{key}": 1}}\n')
    error = world.refused(world.own / "keyed.jsonl", "jsonl")
    assert "there are: at, id" in str(error)
    assert key not in str(error)


def test_at_most_twenty_names_are_shown(world: World) -> None:
    """However many columns a file has."""
    names = ["id", *(f"column_{number}" for number in range(500))]
    (world.own / "wide.csv").write_text(",".join(names) + "\n")
    told = str(world.refused(world.own / "wide.csv"))
    assert "column_18" in told
    assert "column_19" not in told


def test_a_file_of_too_many_columns_is_refused(world: World) -> None:
    """Before a reader is made for them."""
    (world.own / "wide.csv").write_text(HEADER.strip() + ",x" * 20_000 + "\n" + ROW)
    assert "columns" in str(world.refused(world.own / "wide.csv"))


def test_what_a_library_says_about_a_file_is_not_repeated(world: World) -> None:
    """Malformed files of every format are refused without a word of what they hold."""
    for kind in ("csv", "jsonl", "parquet"):
        for content in (SECRETS[3], f'"{SECRETS[3]}\x00\n"', f"PAR1{SECRETS[3]}PAR1"):
            path = world.own / f"broken.{kind}"
            path.write_text(content)
            try:
                world.look(path, kind)
            except SourceError as error:
                world.require_silence(error)


@pytest.mark.parametrize("target", ["birch", "{home}/sources/birch", "../sources/./birch"])
def test_the_tenants_folder_is_no_link_to_anothers(world: World, target: str) -> None:
    """A link in its place leads anywhere but to the folders beside it."""
    (world.own / "sales.csv").unlink()
    world.own.rmdir()
    world.own.symlink_to(target.format(home=world.home))
    assert "another tenant" in str(world.refused("sources/alder/sales.csv"))


def test_the_tenants_folder_may_be_a_link_to_a_disk_of_its_own(
    world: World, tmp_path: Path
) -> None:
    """Where the operator keeps the files elsewhere."""
    world.own.rename(tmp_path / "disk")
    world.own.symlink_to(tmp_path / "disk")
    assert world.look("sources/alder/sales.csv").good == 1


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_plain_file_has_a_budget_like_a_packed_one(world: World, kind: str) -> None:
    """A sparse file of any size costs its owner nothing to make."""
    path = world.own / "holes.txt"
    path.write_text(HEADER + ROW)
    os.truncate(path, 1 << 40)
    world.grant(limits={"decoded_bytes": 20_000_000})
    assert "`decoded_bytes`" in str(world.refused("sources/alder/holes.txt", kind))


def test_a_file_that_grows_is_read_as_it_was_when_it_was_opened(world: World) -> None:
    """Or reading would go on for as long as somebody writes."""
    path = world.own / "grows.csv"
    path.write_text(HEADER + ROW * 10)
    grants = grants_of("alder")
    with contextlib.closing(opened_files("sources/alder/grows.csv", "csv", grants)) as files:
        _, file = next(files)
        with path.open("a") as more:
            more.write(ROW * 100_000)
        assert file.read() == (HEADER + ROW * 10).encode()


def test_an_archives_members_share_one_budget(world: World) -> None:
    """However many of them there are, and however little each holds."""
    with zipfile.ZipFile(world.own / "many.zip", "w", zipfile.ZIP_BZIP2) as archive:
        for number in range(30):
            archive.writestr(f"{number}.csv", HEADER + ROW + "\n" * 1_000_000)
    world.grant(limits={"decoded_bytes": 20_000_000})
    assert world.look("zip://7.csv::sources/alder/many.zip").good == 1
    assert "`decoded_bytes`" in str(world.refused("zip://*.csv::sources/alder/many.zip"))


def test_an_archive_does_not_say_how_much_memory_it_takes(world: World) -> None:
    """As one packed by LZMA does: its dictionary has the size that it names."""
    with zipfile.ZipFile(world.own / "lzma.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("sales.csv", HEADER + ROW)
    assert "not packed by" in str(world.refused("zip://sales.csv::sources/alder/lzma.zip"))
