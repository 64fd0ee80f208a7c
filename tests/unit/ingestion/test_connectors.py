"""Kinds of connector: what holds for each of them, whatever its own module does."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pytest

from include.errors import ConfigError, IsolationError, SourceError
from include.handoffs import Interval
from include.ingestion import connectors
from include.ingestion.connectors import file
from include.ingestion.grants import grants_of
from include.ingestion.opening import Opener
from include.ingestion.reading import read_source, reader_of
from include.ingestion.rows import Rows
from include.tenants.config import Source
from include.tenants.connectors import AnyConnector, Connector
from include.tenants.loader import load_tenant
from tests.unit.ingestion.sources import EVENTS, SECRETS, World, no_database

KINDS: tuple[type[Connector], ...] = get_args(get_args(AnyConnector)[0])
INTERVAL = Interval(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC))
FOLDER = Path(connectors.__file__).parent
#: Calls that open, load or run something.
OPENING = {
    *("open", "eval", "exec", "compile", "__import__", "import_module", "connect", "urlopen"),
    *("OSFile", "memory_map", "ParquetFile", "read_table", "from_uri", "read_csv_auto"),
}
TENANT = """\
id: alder
name: A shop
region: eu
schedule: "0 0 * * 1"
history_from: 2024-01-01
sources:
  - name: pos
    connector: {{type: {type}, nonsense: 1}}
    events: {{event: x, event_id: [id], event_timestamp: at, user_id: user}}
use_cases: {{churn: }}
"""
Read = Callable[..., Iterator[pa.Table]]


def type_of(kind: type[Connector]) -> str:
    """How a tenant's file names the kind."""
    return str(get_args(kind.model_fields["type"].annotation)[0])


@pytest.fixture
def reading(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[Read], Callable[[], Any]]:
    """Looks into a source whose connector reads in another way."""

    def replaced(read: Read) -> Callable[[], Any]:
        monkeypatch.setattr(file, "read", read)
        return lambda: world.look(world.own / "sales.csv")

    return replaced


def rows(*ids: str) -> pa.Table:
    """Rows of the source, one per id."""
    count = len(ids)
    return pa.table({"id": list(ids), "at": ["2024-01-09"] * count, "user": ["u"] * count})


def test_every_kind_has_a_reader_and_every_reader_a_kind() -> None:
    """What a file may name can be read, and no module is left behind."""
    modules = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    assert {type_of(kind) for kind in KINDS} == modules
    for kind in KINDS:
        connector = kind.model_construct(type=type_of(kind))
        assert callable(reader_of(connector).read)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_a_reader_opens_nothing_by_itself(path: Path) -> None:
    """It calls nothing that opens a file, a connection or code; its opener does, and asks first."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            assert name not in OPENING, f"{path.name}:{node.lineno}: {name}"


@pytest.mark.parametrize("kind", KINDS, ids=type_of)
def test_an_unknown_key_is_answered_with_those_of_its_kind(
    tmp_path: Path, kind: type[Connector]
) -> None:
    """The message follows from the registration."""
    path = tmp_path / "alder.yaml"
    path.write_text(TENANT.format(type=type_of(kind)))
    known = ", ".join(sorted(kind.model_fields))
    with pytest.raises(ConfigError, match=f"nonsense: unknown key; known here: {known} "):
        load_tenant(path, frozenset({"churn"}))


def test_what_a_reader_raises_is_told_without_its_words(
    world: World, reading: Callable[[Read], Callable[[], Any]]
) -> None:
    """An error nobody foresaw is a source's error, and quotes no row."""

    def read(*_: Any) -> Iterator[pa.Table]:
        yield rows("1")
        raise ValueError(f"line 7: {SECRETS[3]}")

    with pytest.raises(SourceError, match="it is no csv as far as can be told") as caught:
        reading(read)()
    world.require_silence(caught.value)


def test_what_a_reader_says_is_shown_without_secrets(
    world: World, reading: Callable[[Read], Callable[[], Any]]
) -> None:
    """Its own message is redacted, and names the place."""

    def read(*_: Any) -> Iterator[pa.Table]:
        raise SourceError(f"https://u:{SECRETS[2]}@host/next?token={SECRETS[0]} answered 500")
        yield

    with pytest.raises(SourceError, match=r"sales\.csv' cannot be read: .*next.* 500") as caught:
        reading(read)()
    world.require_silence(caught.value)


def test_rows_are_counted_whoever_reads_them(
    world: World, reading: Callable[[Read], Callable[[], Any]]
) -> None:
    """A source gives no more rows than the operator allows."""

    def read(*_: Any) -> Iterator[pa.Table]:
        while True:
            yield rows("1", "2", "3")

    world.grant({}, limits={"rows": 10})
    with pytest.raises(SourceError, match="holds more rows than `rows` allows"):
        reading(read)()


def test_only_what_is_meant_is_kept_whoever_reads_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader need not know what `where` says."""
    monkeypatch.setattr(file, "read", lambda *_: iter([rows("1", "2"), rows("2", "3")]))
    connector = {"type": "file", "path": str(world.own / "sales.csv"), "format": "csv"}
    told = {"name": "pos", "connector": connector, "events": EVENTS, "where": {"id": ["2", "3"]}}
    source = Source.model_validate(told)
    parts = [
        part
        for part in read_source(source, INTERVAL, grants_of("alder"), no_database)
        if isinstance(part, Rows)
    ]
    assert [text for part in parts for text in part.table["id"].to_pylist()] == ["2", "2", "3"]
    assert [number for part in parts for number in part.numbers.to_pylist()] == [1, 2, 3]


def test_an_opener_opens_what_is_granted(world: World) -> None:
    """Neither a neighbour's file nor a connection of another's name, and nothing is asked first."""
    opener = Opener(grants_of("alder"), no_database)
    with pytest.raises(IsolationError, match="lies in no folder"):
        next(opener.files(str(world.home / "sources/birch/sales.csv"), "csv"))
    with pytest.raises(IsolationError, match="not granted"), opener.database("birch"):
        pytest.fail("it was opened")
    assert [name for name, _ in opener.files(str(world.own / "sales.csv"), "csv")] == ["sales.csv"]
