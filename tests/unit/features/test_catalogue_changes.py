"""What two catalogues differ in, told in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from include.errors import ConfigError
from include.features import fingerprints
from include.features.columns import Reading
from include.features.conditions import at_least, equals
from include.features.declarations import (
    ITEM,
    USER,
    Aggregation,
    AttributeLookup,
    Derived,
    EventStream,
)
from include.features.description.catalogue_page import Catalogue, as_json, catalogue
from include.features.description.changes import ViewChange, compare, parse
from include.features.expressions import Feature, Ratio
from include.features.library import LibraryEntry
from include.features.views import FeatureView

DAY = timedelta(days=1)
STREAM = EventStream(("Order Completed",))
VIEW = FeatureView(
    "v",
    USER,
    STREAM,
    (
        Aggregation("sum", "amount", (30 * DAY, 90 * DAY)),
        Aggregation("count", None, (30 * DAY,), (at_least("amount", 5),), "big"),
    ),
    derived=(Derived("lately", Ratio(Feature("sum_amount_30d"), Feature("sum_amount_90d"))),),
    owner="me",
    ttl=8 * DAY,
)


def written(*views: FeatureView, used_by: dict[str, list[str]] | None = None) -> Catalogue:
    """The views as they would be read back from `docs/features.json`."""
    found = catalogue((LibraryEntry(view, "a_module") for view in views), used_by or {})
    return parse(as_json(found), "here")


def change(after: FeatureView) -> ViewChange:
    """The one change from `VIEW`."""
    (found,) = compare(written(VIEW), written(after))
    return found


def test_the_same_declarations_have_no_change() -> None:
    """Reading back what was written changes nothing."""
    assert compare(written(VIEW), written(VIEW)) == []


def test_views_come_and_go() -> None:
    """An added and a removed view are told with their features and the one fingerprint."""
    other = replace(VIEW, name="w", derived=())
    added, removed = compare(written(VIEW), written(other))[::-1]
    assert (added.view, added.kind, added.before, added.after) == (
        *("w", "added"),
        *(None, other.fingerprint),
    )
    assert "w__sum_amount_30d: sum of amount in the last 30 days" in added.details
    assert (removed.view, removed.kind, removed.before) == ("v", "removed", VIEW.fingerprint)


def test_another_reading_is_told() -> None:
    """And what is read as it would be anyway is no change."""

    def view(read_as: Reading | None) -> FeatureView:
        last = Aggregation("last", "properties.device", (DAY,), read_as=read_as)
        return replace(VIEW, aggregations=(last,), derived=())

    assert compare(written(view(None)), written(view("number"))) == []
    (found,) = compare(written(view(None)), written(view("text")))
    assert found.kind == "changed"
    assert found.details == ("last_properties_device_1d, read_as: none → text",)


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (
            replace(
                VIEW,
                aggregations=(
                    Aggregation("sum", "amount", (7 * DAY, 30 * DAY, 90 * DAY)),
                    VIEW.aggregations[1],
                ),
            ),
            "sum of amount, windows: 30d, 90d → 7d, 30d, 90d",
        ),
        (
            replace(
                VIEW,
                aggregations=(
                    VIEW.aggregations[0],
                    replace(VIEW.aggregations[1], where=(at_least("amount", 10),)),
                ),
            ),
            "big_count_30d, where: amount ≥ 5 → amount ≥ 10",
        ),
        (
            replace(
                VIEW,
                derived=(
                    Derived("lately", Ratio(Feature("sum_amount_90d"), Feature("sum_amount_30d"))),
                ),
            ),
            "derived lately: sum_amount_30d / sum_amount_90d → sum_amount_90d / sum_amount_30d",
        ),
        (replace(VIEW, derived=()), "derived lately: sum_amount_30d / sum_amount_90d → none"),
        (
            replace(VIEW, stream=EventStream(("Order Completed", "Order Refunded"))),
            "stream, events: Order Completed → Order Completed, Order Refunded",
        ),
        (
            replace(VIEW, stream=replace(STREAM, where=(equals("group_id", "a"),))),
            'stream, where: none → group_id is "a"',
        ),
        (replace(VIEW, entity=ITEM), "entity: user → item"),
        (
            replace(
                VIEW,
                inputs=(Aggregation("count"),),
                derived=(Derived("n", Feature("count_all")),),
            ),
            "input count, windows: none → all",
        ),
        (
            replace(VIEW, attributes=(AttributeLookup("user", "segment"),)),
            "attribute segment: none → user.segment as a text, valid and known at as_of",
        ),
        (replace(VIEW, aggregations=VIEW.aggregations[::-1]), "the order of its features"),
    ],
)  # fmt: skip
def test_a_change_of_meaning_is_told_in_words(after: FeatureView, words: str) -> None:
    """Windows, filters, expressions, streams, entity and order; both fingerprints differ."""
    found = change(after)
    assert found.kind == "changed"
    assert words in found.details
    assert (found.before, found.after) == (VIEW.fingerprint, after.fingerprint)
    assert found.before != found.after


def test_what_only_one_catalogue_says_is_no_edit() -> None:
    """One that an older platform wrote had other keys."""
    now = written(VIEW)
    before = {name: {**view, "scope": "tenant"} for name, view in now.items()}
    assert compare(before, now) == []


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (replace(VIEW, owner="you"), "owner: me → you"),
        (replace(VIEW, description="New."), "description: none → New."),
        (replace(VIEW, tags=("a", "b")), "tags: none → a, b"),
        (replace(VIEW, ttl=None), "ttl: 8d → none"),
        (
            replace(VIEW, stream=replace(STREAM, retention=365 * DAY)),
            "stream, retention: none → 365d",
        ),
    ],
)
def test_what_is_said_about_a_view_is_an_edit(after: FeatureView, words: str) -> None:
    """The fingerprint stays, and the change says that the values do."""
    found = change(after)
    assert (found.kind, found.details) == ("edited", (words,))
    assert found.before == found.after


def test_conditions_in_another_order_are_no_change() -> None:
    """The same events in other words are the same declaration."""
    both = (at_least("amount", 1), equals("item_id", "a"))
    one = replace(VIEW, stream=replace(STREAM, where=both))
    other = replace(VIEW, stream=replace(STREAM, where=both[::-1]))
    assert compare(written(one), written(other)) == []


def test_a_new_reader_of_a_view_is_told() -> None:
    """Which use cases read a view is part of the catalogue."""
    (found,) = compare(written(VIEW), written(VIEW, used_by={"v": ["churn"]}))
    assert found.details == ("used_by: none → churn",)


def test_another_meaning_of_the_language_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The declaration is the same, letter by letter, and the fingerprint is not."""
    before = written(VIEW)
    monkeypatch.setattr(fingerprints, "_LANGUAGE", -1)
    (found,) = compare(before, written(replace(VIEW)))
    assert found.kind == "changed"
    assert found.details == ("not a word: the language reads it in another way now",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"views": []}',
        '{"views": {"v": 1}}',
        '{"views": {"v": {}}}',
        "\x00",
        "1e999",
    ],
)
def test_what_is_no_catalogue_is_refused(text: str) -> None:
    """The message names the file and how to make one."""
    with pytest.raises(ConfigError, match=r"odd\.json is no feature catalogue"):
        parse(text, "odd.json")
