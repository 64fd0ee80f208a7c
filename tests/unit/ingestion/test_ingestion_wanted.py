"""Columns that a file lacks: one rule, in every format."""

from __future__ import annotations

import pytest

from include.errors import SourceError
from include.ingestion.wanted import Presence, Wanted

WANTED = Wanted(("id", "at"), ("discount", "note"))


def test_an_optional_column_may_be_lacking_in_some_files() -> None:
    """One that was added later is read where it is."""
    presence = Presence(WANTED)
    assert presence.note(["at", "id", "note"], "2024-01.csv") == ("id", "at", "note")
    assert presence.note(["discount", "at", "id"], "2024-02.csv") == ("id", "at", "discount")
    presence.finish()


def test_an_optional_column_that_no_file_has_is_a_mistake() -> None:
    """A typing error in the tenant's file is told, with the columns that there are."""
    presence = Presence(WANTED)
    presence.note(["id", "at", "discount"], "2024-01.csv")
    with pytest.raises(SourceError, match=r"2024-01\.csv: no column 'note'; there are: id, at, d"):
        presence.finish()


def test_a_required_column_has_to_be_in_every_file() -> None:
    """The message names the file that lacks it."""
    presence = Presence(WANTED)
    presence.note(["id", "at", "discount", "note"], "2024-01.csv")
    with pytest.raises(SourceError, match=r"^2024-02\.csv: no column 'at'; there are: id, note$"):
        presence.note(["id", "note"], "2024-02.csv")


def test_a_first_line_without_a_wanted_name_is_not_quoted() -> None:
    """What stands there instead may be a customer."""
    with pytest.raises(SourceError, match="is the first line the header") as caught:
        Presence(WANTED).note(["7", "Ann Secret"], "bare.csv")
    assert "Ann" not in str(caught.value)


def test_no_file_at_all_lacks_nothing() -> None:
    """Files without a row say nothing about columns."""
    Presence(WANTED).finish()
