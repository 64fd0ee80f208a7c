"""Looks for single tenants' data in the bytes of a model that all tenants get.

A model for all tenants should hold nothing that fewer than three tenants have: no item, no id, no
text. This module does not trust the training code for that. The finished bytes are taken apart
(`unpacking`), and every text of every tenant that gave rows is looked up in them:

- as a whole, among the texts of the model: items, words, categories, values;
- anywhere in the bytes, for texts that bytes do not hold by chance: eight bytes or more with
  letters and something else among them, or sixteen bytes.

A text that enough tenants have, in whichever column, is nobody's, and neither is a part of such a
text. The words of declarations (names of features, events, settings) look the same as a tenant's
text of the same letters and are left out. Numbers are looked up as texts only: nobody can tell
whose number a tree's threshold is.

All texts are read once, a tenant and column at a time. Sorted windows of eight bytes tell at once
that most texts cannot be in the bytes: the first and the last eight bytes of a text have to be
among the windows. Only the few texts that pass are searched for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import IntegrityError
from include.models.serialise import WORDS
from include.registry.unpacking import Unpacked, unpacked

_WINDOW: Final = 8
_PIECE: Final = 4 * 1024 * 1024
#: Three letters at least, and a digit, a space or a sign beside them; or sixteen bytes.
_LETTERS: Final = r"\p{L}.*\p{L}.*\p{L}"
_MORE: Final = r"[^\p{L}_]"
_LONG: Final = 16
_INSTANT: Final = r"^\d{4}-\d{2}-\d{2}([T ][\d:.]+(Z|[+-]\d{2}:?\d{2})?)?$"
_SHOWN: Final = 5  #: columns that a reason names
_REFERENCE: Final = {"prediction", "as_of"}  #: columns of every reference window


@dataclass(frozen=True)
class Told:
    """The distinct texts of one column of a tenant's tables."""

    tenant: str
    column: str
    texts: pa.Array


@dataclass(frozen=True)
class Look:
    """The texts that a model for all tenants is searched for, and those that are no leak."""

    #: From the evaluation of the training to all texts of all tenants that it read.
    told: Callable[[Mapping[str, Any]], Iterable[Told]]
    ordinary: Collection[str]  #: what any model of the use case says, whoever's it is
    coded: Collection[str]  #: columns of the reference window that hold numbers for ids
    fewest: int  #: tenants that must have a text

    def find(
        self, contents: Sequence[Sequence[bytes]], document: Mapping[str, Any]
    ) -> list[tuple[str, ...]]:
        """Per model, the columns whose texts the model holds though too few tenants have them.

        A model that cannot be taken apart gets an entry that says so in place of a column.

        Args:
            contents: the files of each model.
            document: the evaluation of the training.
        """
        haystacks = [_Haystack.of(files, self.ordinary, self.coded) for files in contents]
        for column_texts in self.told(document):
            for haystack in haystacks:
                haystack.look_for(column_texts)
        return [haystack.leaks(self.fewest) for haystack in haystacks]


class _Haystack:
    """A model's texts, its bytes, and which tenants' texts were found in it."""

    def __init__(self, parts: Unpacked, ordinary: Collection[str]) -> None:
        whole = pa.array(sorted(parts.texts - set(ordinary)), pa.string())
        self._whole = whole.filter(pc.invert(pc.match_substring_regex(whole, _INSTANT)))
        self._bytes = b"\0".join(parts.contents)
        self._windows = list(_windows(self._bytes))
        self._ordinary = "\n".join(sorted(ordinary)).casefold()
        self._inside: dict[str, bool] = {}
        #: Text → tenants that have it, and columns in which they do.
        self._tenants: dict[str, set[str]] = {}
        self._columns: dict[str, set[str]] = {}
        self._exact: set[str] = set()
        self.unread = parts.unread

    @classmethod
    def of(
        cls, files: Sequence[bytes], ordinary: Collection[str], coded: Collection[str]
    ) -> _Haystack:
        """Take a model's files apart."""
        return cls(unpacked(files, coded), ordinary)

    def look_for(self, column_texts: Told) -> None:
        """Note which of the texts the model holds."""
        texts = column_texts.texts.cast(pa.string()).drop_null()
        whole = texts.filter(pc.is_in(texts, value_set=self._whole)).to_pylist()
        self._exact.update(whole)
        for text in {*whole, *self._substrings(texts)}:
            self._tenants.setdefault(text, set()).add(column_texts.tenant)
            self._columns.setdefault(text, set()).add(column_texts.column)

    def leaks(self, fewest: int) -> tuple[str, ...]:
        """The columns of texts that the model holds and that fewer than `fewest` tenants have."""
        wide = [text for text in self._exact if len(self._tenants[text]) >= fewest]
        nobodys = "\0".join(wide)
        rare = [
            text
            for text, tenants in self._tenants.items()
            if len(tenants) < fewest and (text in self._exact or text not in nobodys)
        ]
        columns = sorted({column for text in rare for column in self._columns[text]})
        return (*columns, *([f"what cannot be read ({self.unread})"] if self.unread else ()))

    def _substrings(self, texts: pa.Array) -> Iterator[str]:
        candidates = _unmistakable(texts)
        if not len(candidates) or not self._windows:
            return
        raw = candidates.cast(pa.binary())
        ends = [_codes(pc.binary_slice(raw, *span)) for span in ((0, _WINDOW), (-_WINDOW, None))]
        matched = [np.zeros(len(raw), dtype=bool) for _ in ends]
        for piece in self._windows:
            for matches, codes in zip(matched, ends, strict=True):
                matches |= _among(codes, piece)
        possible = matched[0] & matched[1]
        for text in candidates.filter(pa.array(possible)).to_pylist():
            if text not in self._inside:
                contained = text.encode() in self._bytes
                self._inside[text] = contained and text.casefold() not in self._ordinary
            if self._inside[text]:
                yield text


def reason(name: str, columns: Sequence[str], fewest: int) -> str:
    """Why a model is refused, naming columns and no text."""
    shown = ", ".join(columns[:_SHOWN]) + (", …" if len(columns) > _SHOWN else "")
    return (
        f"{name} is refused, since the look at its bytes found what fewer than {fewest} tenants "
        f"have: {shown}."
    )


def _unmistakable(texts: pa.Array) -> pa.Array:
    """The texts that bytes do not hold by chance."""
    size = pc.binary_length(texts)
    long = pc.greater_equal(size, _WINDOW)
    texts, size = texts.filter(long), size.filter(long)
    distinctive = pc.or_(pc.match_substring_regex(texts, _MORE), pc.greater_equal(size, _LONG))
    kept = pc.and_(pc.match_substring_regex(texts, _LETTERS), distinctive)
    kept = pc.and_not(kept, pc.match_substring_regex(texts, _INSTANT))
    return texts.filter(kept)


def _windows(content: bytes) -> Iterator[npt.NDArray[np.uint64]]:
    """All windows of eight bytes as sorted numbers, a few million at a time."""
    whole = np.frombuffer(content, dtype=np.uint8)
    for start in range(0, max(len(whole) - _WINDOW + 1, 0), _PIECE):
        piece = whole[start : start + _PIECE + _WINDOW - 1]
        views = np.lib.stride_tricks.sliding_window_view(piece, _WINDOW)
        yield np.unique(np.ascontiguousarray(views).view(np.uint64)[:, 0])


def _codes(texts: pa.Array) -> npt.NDArray[np.uint64]:
    """Texts of eight bytes as numbers."""
    return np.frombuffer(b"".join(texts.to_pylist()), dtype=np.uint64)


def _among(codes: npt.NDArray[np.uint64], ordered: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    place = np.minimum(np.searchsorted(ordered, codes), len(ordered) - 1)
    return np.asarray(ordered[place] == codes)


def ordinary(*declared: object) -> frozenset[str]:
    """Every text in declarations, however deep, and those that formats of models are made of."""
    return frozenset(_texts(declared)) | WORDS | _REFERENCE


def _texts(part: object) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, Mapping):
        for key, value in part.items():
            yield from _texts(key)
            yield from _texts(value)
    elif isinstance(part, tuple | list | set | frozenset):
        for element in part:
            yield from _texts(element)
    elif hasattr(part, "__dataclass_fields__"):
        for name in part.__dataclass_fields__:
            yield from _texts(getattr(part, name))


def check_read(tenants: Iterable[str], known: Collection[str]) -> None:
    """Refuse to search a model where the texts of one of its tenants are out of reach.

    Raises:
        IntegrityError: the training read tables of somebody who is not among the known tenants.
    """
    missing = len(set(tenants) - set(known))
    if missing:
        raise IntegrityError(
            f"{missing} of the tenants that the training read cannot be asked what is theirs alone "
            "any more; train the global model again"
        )
