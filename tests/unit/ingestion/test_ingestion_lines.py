"""Lines: a bad one is taken out, its neighbours stay, wherever a block happens to end."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.ingestion import lines
from include.ingestion.lines import Dialect, Lines, blocks

PLAIN = st.text("ab,", max_size=6).map(str.encode)
QUOTED = st.text('a,\n"', max_size=6).map(lambda s: ('x,"' + s.replace('"', '""') + '"').encode())
BAD = st.sampled_from([b"\xff", b"a,\xed\xa0\x80", b"\xc3"])
SIZES = st.integers(1, 40)


def read(content: bytes, *, quoted: bool = True, size: int = 7) -> tuple[bytes, list[str]]:
    """All records together, and the lines taken out."""
    kind = Dialect() if quoted else Lines()
    found = list(blocks(io.BytesIO(content), kind, block_bytes=size))
    return b"".join(block.content for block in found), [r for b in found for _, r in b.bad]


@given(st.lists(st.one_of(PLAIN, QUOTED), max_size=12), SIZES)
def test_good_content_comes_out_as_it_went_in(records: list[bytes], size: int) -> None:
    """No block border changes a record, in quotes or not."""
    content = b"".join(record + b"\n" for record in records)
    assert read(content, size=size) == (content if content.strip(b"\n") else read(content)[0], [])


@given(st.lists(st.one_of(PLAIN, QUOTED), max_size=12), SIZES)
def test_a_record_is_never_cut_in_two(records: list[bytes], size: int) -> None:
    """Every block can be parsed on its own."""
    content = b"".join(record + b"\n" for record in records)
    for block in blocks(io.BytesIO(content), Dialect(), block_bytes=size):
        list(csv.reader(io.StringIO(block.content.decode(), newline=""), strict=True))


@given(st.lists(st.one_of(PLAIN, BAD), max_size=12), SIZES)
def test_lines_that_are_no_text_are_taken_out_alone(records: list[bytes], size: int) -> None:
    """Exactly the lines that do not decode are missing, each with its reason."""
    bad = [record for record in records if record.strip(b"ab,")]
    good = b"".join(record + b"\n" for record in records if record not in bad)
    content, reasons = read(b"".join(r + b"\n" for r in records), size=size)
    assert content.replace(b"\n", b"") == good.replace(b"\n", b"")
    assert reasons == [lines.undecodable("utf-8")] * len(bad)


@given(st.lists(PLAIN.filter(bool), min_size=60, max_size=120), st.integers(0, 59), SIZES)
def test_a_stray_quote_costs_its_line(records: list[bytes], place: int, size: int) -> None:
    """A quote that nothing closes within fifty lines does not swallow what follows."""
    given_ = [*records[:place], b'a,"b', *records[place:]]
    content, reasons = read(b"".join(r + b"\n" for r in given_), size=size)
    assert content == b"".join(r + b"\n" for r in records)
    assert reasons == [lines.OPEN_QUOTE]


@pytest.mark.parametrize("size", [1_000, 100_000, 10_000_000])
def test_a_line_without_end_is_cut_off(size: int) -> None:
    """However long it is, it is neither held nor does it take its neighbours along."""
    content = b"a\n" + b"x" * 3_000_000 + b"\nb\n"
    assert read(content, size=size) == (b"a\nb\n", [lines.TOO_LONG])
    assert read(b"a\n" + b"x" * 3_000_000, size=size) == (b"a\n", [lines.TOO_LONG])


def test_quotes_mean_nothing_in_json_lines() -> None:
    """Every line stands for itself there."""
    assert read(b'{"a": "\n"}\n', quoted=False) == (b'{"a": "\n"}\n', [])
