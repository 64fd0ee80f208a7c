"""Whatever becomes of a source's files, a reading that passes over known blocks leaves the same."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.ingestion import lines
from include.stores.memory import in_memory
from tests.shops import Shops, grant
from tests.unit.ingestion.rereading import HEADER, csv_rows, json_rows, rereading
from tests.unit.ingestion.sources import no_database

_DAYS: Final = [f"2024-01-{day:02}" for day in range(2, 30)]
ROWS: Final = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.sampled_from("abcdefgh"),
            "at": st.sampled_from(_DAYS[:20]),
            "user": st.sampled_from(["u", "u", "v", "ä", ""]),
            "quantity": st.sampled_from(["1", "2", "2", "x"]),
            "amount": st.sampled_from(["5", "5", "6", "two\nlines", "5" + 300 * " "]),
            "arrived": st.one_of(
                st.sampled_from(_DAYS), st.sampled_from(_DAYS), st.sampled_from(["", "soon"])
            ),
        }
    ),
    min_size=1,
    max_size=8,
)
FILES: Final = st.sampled_from(["1", "2", "3"])
#: Lines that no format has, a value that nothing closes, a row without its end.
ODD: Final = st.sampled_from(
    [b"a,b\n", b"\xff\xfe\n", b'"open\n', b"\n\n", b'i,2024-01-09,u,1,"5', b"\r", b'{"id": 1}\n']
)
EVENTS: Final = st.one_of(
    st.tuples(st.just("append"), FILES, ROWS),
    st.tuples(st.just("replace"), FILES, ROWS),
    st.tuples(st.just("append odd"), FILES, ODD),
    st.tuples(st.just("change"), FILES, st.integers(0, 600), st.sampled_from(b'1u",\n-')),
    st.tuples(st.just("truncate"), FILES, st.integers(0, 600)),
    st.tuples(st.just("insert"), FILES, st.integers(0, 600), ODD),
    st.tuples(st.just("rename"), FILES, FILES),
    st.tuples(st.just("remove"), FILES),
    *[st.tuples(st.just("ingest"), st.integers(1, 3))] * 4,
)


def changed(files: dict[str, bytes], event: tuple[Any, ...], kind: str) -> dict[str, bytes]:
    """The files after an event."""
    what, name, *more = event
    head, rows = (HEADER.encode(), csv_rows) if kind == "csv" else (b"", json_rows)
    content = files.get(name, head)
    if what == "append":
        return files | {name: content + rows(more[0])}
    if what == "replace":
        return files | {name: head + rows(more[0])}
    if what == "append odd":
        return files | {name: content + more[0]}
    if what == "change":
        at = len(head) + more[0]
        return files | {name: content[:at] + bytes([more[1]]) + content[at + 1 :]}
    if what == "truncate":
        return files | {name: content[: len(head) + more[0]]}
    if what == "insert":
        at = len(head) + more[0]
        return files | {name: content[:at] + more[1] + content[at:]}
    if what == "rename":
        return {more[0] if one == name else one: text for one, text in files.items()}
    return {one: text for one, text in files.items() if one != name}


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@settings(max_examples=40, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    first=ROWS,
    events=st.lists(EVENTS, min_size=2, max_size=10),
    mapping=st.sampled_from(
        [{}, {"where": {"user": ["u", "ä"]}}, {"corrections": "apply"}, {"where": "quantity = '2'"}]
    ),
    packed=st.booleans(),
    block_bytes=st.sampled_from([40, 150, 400]),
)
def test_files_are_reread_as_if_they_were_read_whole(
    kind: str,
    first: list[dict[str, str]],
    events: list[tuple[Any, ...]],
    mapping: dict[str, Any],
    packed: bool,
    block_bytes: int,
) -> None:
    """Tables, quarantine, counts and errors equal those of whole readings, in any order of weeks,
    of files that grow, change, are cut, replaced, renamed and removed."""
    with tempfile.TemporaryDirectory() as made, pytest.MonkeyPatch.context() as patch:
        folder = Path(made)
        patch.setattr(lines, "LONGEST_RECORD", 250)
        grant(patch, roots=[made])
        shops = Shops(folder, in_memory().slices, no_database)

        def make() -> Any:
            path = f"{made}/*.{kind}"
            shop = shops.file(path, kind, arrival={"column": "arrived"})
            source = shop.config.sources[0]
            document = source.model_dump(exclude_unset=True) | mapping
            source = type(source).model_validate(document)
            shop.config = shop.config.model_copy(update={"sources": (source,)})
            return shop

        files = changed({}, ("append", "1", first), kind)
        with rereading(folder, make, block_bytes) as tenant:
            for event in [*events, ("ingest", 2), ("ingest", 3)]:
                if event[0] != "ingest":
                    files = changed(files, event, kind)
                    continue
                for path in folder.glob(f"*.{kind}"):
                    path.unlink()
                for name, content in files.items():
                    text = gzip.compress(content, mtime=0) if packed else content
                    (folder / f"{name}.{kind}").write_bytes(text)
                tenant.ingest(event[1])
