"""Arrays as bytes: they come back the same, and nothing else comes in."""

from __future__ import annotations

import io
import zipfile
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.errors import ConfigError, IntegrityError
from include.models import arrays
from include.models.ease import EaseSettings

SOME = {
    "effects": np.arange(6, dtype="<f2").reshape(2, 3),
    "counts": np.array([3, 1], dtype="<i8"),
    "nothing": np.empty(0, dtype="|u1"),
}
CONTENT = arrays.to_bytes(SOME)


def test_arrays_come_back_with_their_types_shapes_and_bytes() -> None:
    """What was written is read, read-only, and writes the same bytes again."""
    found = arrays.from_bytes(CONTENT)
    assert set(found) == set(SOME)
    for name, values in SOME.items():
        assert found[name].dtype == values.dtype
        assert (found[name] == values).all()
        assert not found[name].flags.writeable
    assert arrays.to_bytes(found) == CONTENT


def test_bytes_do_not_depend_on_order_memory_layout_or_time() -> None:
    """Equal arrays give equal bytes, and no clock is in them."""
    turned = {name: np.asfortranarray(SOME[name]) for name in reversed(SOME)}
    assert arrays.to_bytes(turned) == CONTENT
    with zipfile.ZipFile(io.BytesIO(CONTENT)) as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize(
    "wrong",
    [
        {"effects": np.array([object()])},
        {"effects": np.array(["text"])},
        {"effects": np.zeros((1, 1, 1))},
        {"../effects": np.zeros(1)},
        {"Effects": np.zeros(1)},
        {f"a{n}": np.zeros(1) for n in range(65)},
    ],
)
def test_what_could_not_be_read_is_not_written(wrong: Any) -> None:
    """Objects, texts, odd names and too many arrays are refused before anything is stored."""
    with pytest.raises(ConfigError):
        arrays.to_bytes(wrong)


def test_a_matrix_that_is_too_large_is_refused_with_advice(monkeypatch: Any) -> None:
    """The message says how many bytes, how many are kept and what to do."""
    monkeypatch.setattr(arrays, "LARGEST", 100)
    with pytest.raises(ConfigError, match=r"160 bytes.*Fit with fewer items"):
        arrays.to_bytes({"effects": np.zeros(20)})
    with pytest.raises(IntegrityError, match="the most is 100"):
        arrays.from_bytes(b"x" * 100_000)


def repacked(members: dict[str, bytes], **options: Any) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", **options) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
    return packed.getvalue()


def npy(values: Any, *, pickled: bool = False) -> bytes:
    content = io.BytesIO()
    np.save(content, values, allow_pickle=pickled)
    return content.getvalue()


def hostile() -> list[bytes]:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("effects.npy", b"\0" * 10_000_000)
    huge = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        huge, {"descr": "<f8", "fortran_order": False, "shape": (2**60,)}
    )
    return [
        b"",
        CONTENT[:-1],
        CONTENT + b"x",
        b"x" + CONTENT,
        bomb.getvalue(),
        repacked({"effects.npy": npy([{"a": 1}], pickled=True)}),
        repacked({"effects.npy": npy(np.array(["text"]))}),
        repacked({"effects.npy": npy(np.asfortranarray(np.zeros((2, 2))))}),
        repacked({"effects.npy": huge.getvalue()}),
        repacked({"../effects.npy": npy(np.zeros(1))}),
        repacked({"effects": npy(np.zeros(1))}),
        repacked({"effects.npy": npy(np.zeros(1)) + b"tail"}),
        repacked({"b.npy": npy(np.zeros(1)), "a.npy": npy(np.zeros(1))}),
    ]


@pytest.mark.parametrize("number", range(13))
def test_hostile_bytes_are_refused(number: int) -> None:
    """Pickles, bombs, odd names, claims of size and bytes before or after are no arrays of ours."""
    with pytest.raises(IntegrityError):
        arrays.from_bytes(hostile()[number])


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(CONTENT) - 1), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_changes_a_value(place: int, by: int) -> None:
    """Nothing but IntegrityError ever comes out of bytes that were tampered with."""
    changed = bytearray(CONTENT)
    changed[place] ^= by
    with pytest.raises(IntegrityError):  # the archive's checksums cover the values as well
        arrays.from_bytes(bytes(changed))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=8), max_size=8))
def test_texts_come_back(texts: list[str]) -> None:
    """Any texts, empty ones and ones beyond ASCII too, survive."""
    valid = [text.encode("utf-8", "ignore").decode() for text in texts]
    kept = arrays.from_texts(valid, "items")
    assert arrays.to_texts(kept["items_utf8"], kept["items_ends"]) == tuple(valid)


@pytest.mark.parametrize(
    ("utf8", "ends"), [(b"abc", [2, 1, 3]), (b"abc", [2]), (b"\xff", [1]), (b"ab", [-1, 2])]
)
def test_texts_that_do_not_fit_are_refused(utf8: bytes, ends: list[int]) -> None:
    """Ends that fall or stop early, and bytes that are no UTF-8, raise."""
    with pytest.raises(IntegrityError):
        arrays.to_texts(np.frombuffer(utf8, dtype=np.uint8), np.array(ends, dtype=np.int64))


def test_take_checks_names_types_and_numbers() -> None:
    """A missing array, another type and a NaN are refused; the rest comes in order."""
    wanted = {"counts": ("<i8", 1), "effects": ("<f2", 2), "nothing": ("|u1", 1)}
    assert [values.dtype.str for values in arrays.take(SOME, wanted)] == ["<i8", "<f2", "|u1"]
    for wrong in (
        {"counts": SOME["counts"]},
        {**SOME, "counts": SOME["counts"].astype("<i4")},
        {**SOME, "effects": SOME["effects"][0]},
        {**SOME, "effects": np.full((2, 3), np.nan, dtype="<f2")},
    ):
        with pytest.raises(IntegrityError):
            arrays.take(wrong, wanted)


def test_settings_come_back_from_a_header_and_only_as_they_are() -> None:
    """Missing fields, other types and impossible values are refused."""
    header = asdict(EaseSettings(ridge=7.0, weight="stars"))
    assert arrays.settings_from(EaseSettings, header) == EaseSettings(ridge=7.0, weight="stars")
    for wrong in ({}, header | {"more": 1}, header | {"ridge": 7}, header | {"dropout": 2.0}):
        with pytest.raises(IntegrityError):
            arrays.settings_from(EaseSettings, wrong)
