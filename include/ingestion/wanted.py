"""Which columns are read of a source, and what holds where a file of it lacks one.

The rule is the same in every format: a column without which a row means nothing (its id, its
instant, whom and what it is about, what is measured, what chooses it) has to be in every file. A
property, or an attribute, that a file lacks is null there; one that no file has is a mistake.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from include.errors import SourceError
from include.redaction import MOST_NAMES, names_among


@dataclass(frozen=True)
class Wanted:
    """The columns that are read of a source, by the names that its mapping uses."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, in one order."""
        return (*self.required, *self.optional)


@dataclass
class Presence:
    """What of the wanted columns the files of a source have, file after file."""

    wanted: Wanted
    _seen: set[str] = field(default_factory=set)
    _last: tuple[str, tuple[str, ...]] | None = None

    def note(self, there: Iterable[str], file: str = "") -> tuple[str, ...]:
        """The wanted columns that a file has.

        Args:
            there: the file's columns, and the paths in nested ones that were found.
            file: its name, which the message begins with.

        Raises:
            SourceError: it lacks a required one; names it, the file, and what there is.
        """
        listed = tuple(there)
        known = set(listed)
        has = tuple(name for name in self.wanted.names if name in known)
        missing = [name for name in self.wanted.required if name not in known]
        if missing:
            raise _lacking(missing, listed if has else (), file)
        self._seen |= known
        self._last = (file, listed)
        return has

    def finish(self) -> None:
        """Raise SourceError where there were files, and none had some optional column."""
        never = [name for name in self.wanted.optional if name not in self._seen]
        if never and self._last is not None:
            file, listed = self._last
            raise _lacking(never, listed, file)


def _lacking(missing: Sequence[str], there: Sequence[str], file: str) -> SourceError:
    """Of what is there, at most twenty are named, and only what looks like a name.

    Where nothing that is wanted is there, what is may be a customer's data: a first line without
    names. Then nothing of it is told.
    """
    listed = ", ".join(map(repr, missing[:MOST_NAMES]))
    if there:
        told = f"there are: {', '.join(names_among(there))}"
    else:
        told = "none of the columns asked for is there; is the first line the header?"
    return SourceError(f"{file}{': ' if file else ''}no column {listed}; {told}")
