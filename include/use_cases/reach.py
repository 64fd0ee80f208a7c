"""How far back the rows of a use case look: their features, and who and what is a row at all."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from include.features.declarations import ALL_HISTORY
from include.features.reach import Reach, furthest, of_request, reaches
from include.features.views import FeatureView
from include.use_cases.declaration import UseCase

#: Where every event is a row, the rows of less than a week are those of some weekdays.
_WEEK_OF_EVENTS: Final = Reach(timedelta(days=7))


def column_reaches(use_case: UseCase) -> dict[str, Reach]:
    """Of every column of a scored row, what of the past its distribution depends on.

    That is what the feature reads, and what decides who is scored: a window of a week is not what
    it was as long as only the busiest have been seen at all.
    """
    features = reaches(use_case.features)
    found: dict[str, Reach] = {}
    if use_case.request:
        own = of_request(use_case.request, features)
        found = {name: one.also(_WEEK_OF_EVENTS) for name, one in own.items()}
    for view in use_case.features.views:
        rows = _rows(use_case, view)
        found |= {name: features[name].also(rows) for name in view.columns}
    return found


def furthest_of(columns: dict[str, Reach], names: tuple[str, ...]) -> Reach:
    """What a model of these columns depends on; of all of them where it names none."""
    return furthest(columns[name] for name in names or columns if name in columns)


def _rows(use_case: UseCase, view: FeatureView) -> Reach:
    """What decides whether there is a row of whom the view is about."""
    if use_case.request:
        return _WEEK_OF_EVENTS
    active = Reach(use_case.active_window, use_case.events)
    if use_case.label.final:  # whoever had it, however long ago, is not scored any more
        active = active.also(Reach(ALL_HISTORY, use_case.label.final))
    listed = use_case.items is not None or (use_case.history and use_case.task == "ranking")
    if listed and not set(view.entity.join_keys) <= {use_case.entity}:
        return active.also(Reach(ALL_HISTORY, use_case.events))  # items that anybody ever had
    return active
