"""Every spec runs on every engine: `check` compares a text table with what an engine computes."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
from feature_tables import Check, attribute_table, event_table, expectations
from spec_views import spec_view

from include.features.declarations import Aggregation
from include.features.spine import Spine
from include.features.views import FeatureService


@pytest.fixture(
    params=[
        "in_memory",
        "vectorized",
        pytest.param("spark", marks=pytest.mark.integration),
        pytest.param("online", marks=pytest.mark.integration),
    ]
)
def engine(request: pytest.FixtureRequest) -> ModuleType:
    """Each feature engine in turn."""
    if request.param == "online":
        request.getfixturevalue("database")
        return import_module("online_engine")
    return import_module(f"include.features.{request.param}")


@pytest.fixture
def check(engine: ModuleType) -> Check:
    """Assert that a one-view service over the events gives the expected table.

    The expected table's columns are the spine's (`user`, `item`, `as_of`) and then features,
    named without their view. The rest says what the view is like, see `spec_view`.
    """

    def assert_table(
        *aggregations: Aggregation,
        events: str,
        expect: str,
        attributes: str = "",
        timezone: str = "UTC",
        **view_of: Any,
    ) -> None:
        view = spec_view(aggregations, **view_of)
        spine, columns = expectations(expect)
        result = engine.compute(
            FeatureService("spec", (view,)),
            Spine(spine),
            event_table(events),
            attribute_table(attributes),
            timezone,
        )
        assert result.select(spine.column_names).equals(spine)
        assert list(columns) == [n.removeprefix("v__") for n in view.columns]
        for name, texts in columns.items():
            column = result[f"v__{name}"]
            kind = {"int64": int, "double": float, "string": str}[str(column.type)]
            wanted = [None if text == "-" else kind(text) for text in texts]
            if kind is float:
                wanted = [None if w is None else pytest.approx(w, rel=1e-9) for w in wanted]
            assert column.to_pylist() == wanted, name

    return assert_table
