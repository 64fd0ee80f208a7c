"""The library: views are found by themselves, and the written catalogue says what they say."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest

from include import use_cases
from include.cli import features as commands
from include.errors import ConfigError, UnknownNameError
from include.features import library
from include.features.declarations import USER, USER_ITEM, Aggregation, EventStream
from include.features.description import catalogue_page
from include.features.library.users import SPEND
from include.features.services import CHURN_FEATURES, RECOMMENDATION_FEATURES
from include.features.views import FeatureView

ROOT = Path(__file__).parents[3]


def view(name: str, days: int = 1) -> FeatureView:
    """A view of that name."""
    window = (timedelta(days=days),)
    return FeatureView(name, USER, EventStream(("x",)), (Aggregation("count", windows=window),))


def module(name: str, **members: object) -> ModuleType:
    """A module with these members."""
    made = ModuleType(name)
    vars(made).update(members)
    return made


def test_every_module_level_view_is_found_once() -> None:
    """A view that a second module imports is still one, and belongs to the first."""
    one, two = view("one"), view("two")
    found = library.collect([module("a", ONE=one, other=3), module("b", ONE=one, _two=two)])
    assert {name: entry.module for name, entry in found.items()} == {"one": "a", "two": "b"}
    assert found["two"].view is two


def test_two_views_of_one_name_are_refused() -> None:
    """The message names both modules."""
    with pytest.raises(ConfigError, match=r"called 'one': one in a, one in b"):
        library.collect([module("a", ONE=view("one")), module("b", ONE=view("one", days=2))])


def test_every_file_of_the_folder_is_looked_into() -> None:
    """Each module that declares a view is the home of one, without being named anywhere."""
    folder = Path(library.__file__).parent
    declaring = {p.stem for p in folder.glob("*.py") if "FeatureView(" in p.read_text()}
    homes = {entry.module.rpartition(".")[2] for entry in library.entries().values()}
    assert homes == declaring - {"__init__"}


def test_an_unknown_view_is_answered_with_the_closest() -> None:
    """All known ones, and the one that was probably meant."""
    with pytest.raises(UnknownNameError, match=r"'spand'.*known: .*tenure.*did you mean 'spend'"):
        library.get("spand")
    with pytest.raises(UnknownNameError, match=r"known: [^;]*$"):
        library.get("zzzzzzz")


def test_every_view_is_owned_described_and_tagged() -> None:
    """Nothing is in the library that nobody answers for."""
    for found in library.views().values():
        assert found.owner
        assert found.description.endswith(".")
        assert found.tags


def test_services_read_views_of_the_library() -> None:
    """Whatever a use case reads can be listed, shown and previewed."""
    for name in use_cases.names():
        for read in use_cases.get(name).features.views:
            assert library.get(read.name) is read


def test_there_are_thirty_features_in_use() -> None:
    """Reusable ones over canonical events, read by the use cases that exist."""
    used = set(CHURN_FEATURES.columns) | set(RECOMMENDATION_FEATURES.columns)
    assert len(used) >= 30
    assert CHURN_FEATURES.views[2] is SPEND


def test_pairs_are_not_served_online() -> None:
    """Views of a user with an item have no TTL; the users' own views of the services do."""
    for found in library.views().values():
        assert found.entity != USER_ITEM or found.ttl is None
    for read in CHURN_FEATURES.views:
        assert read.ttl is not None


@pytest.mark.parametrize("path", [catalogue_page.PAGE, catalogue_page.DATA])
def test_the_written_catalogue_is_current(path: str) -> None:
    """`tenantry features docs` would write what is there."""
    found = catalogue_page.catalogue(library.entries().values(), commands.used_by())
    assert path not in catalogue_page.stale(found, ROOT)


def test_the_page_has_every_feature_and_who_uses_it() -> None:
    """One section per view, one line per feature, in cells that a condition cannot break."""
    odd = FeatureView(
        "odd",
        USER,
        EventStream(("a|b",)),
        (Aggregation("count"),),
        owner="me",
        description="Two\nlines | and <b>.",
        tags=("t",),
    )
    page = catalogue_page.as_page(
        catalogue_page.catalogue([library.LibraryEntry(odd, "somewhere")], {"odd": ["churn"]})
    )
    assert "## odd" in page
    assert "| `odd__count_all` | integer | number of events in all history |" in page
    assert "used by: churn" in page
    assert "Two lines \\| and &lt;b>." in page
