"""Names of versions, and who came from whom."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import ConfigError
from include.registry.ancestry import ModelName


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("global.churn@7", ModelName("global", "churn", "7")),
        ("global/churn@7", ModelName("global", "churn", "7")),
        ("store-367.bought_together@12", ModelName("store-367", "bought_together", "12")),
        ("store-367.churn", ModelName("store-367", "churn")),
        ("global-us-east.churn@7", ModelName("global-us-east", "churn", "7")),
        (f"global-{'r' * 41}.churn@7", ModelName(f"global-{'r' * 41}", "churn", "7")),
    ],
)
def test_a_name_is_read_as_people_and_as_ledgers_write_it(text: str, name: ModelName) -> None:
    """With a dot or a slash, with a version or without; it is written with a slash."""
    assert ModelName.parse(text) == name
    assert str(name) == text.replace(".", "/")


@pytest.mark.parametrize(
    "text", ["", "churn", "global.churn@", "global.churn@0", "global.churn@7 ", "../x@1", "a.b@1"]
)
def test_what_is_no_name_is_refused(text: str) -> None:
    """The message says how one is written."""
    with pytest.raises(ConfigError, match=r"write TENANT\.USE_CASE@VERSION"):
        ModelName.parse(text)


@given(st.from_regex(r"[a-z][a-z0-9-]{1,40}", fullmatch=True), st.integers(1, 10**6))
def test_a_name_comes_back_from_its_text(tenant: str, version: int) -> None:
    """Whatever tenant and number."""
    name = ModelName(tenant, "churn", str(version))
    assert ModelName.parse(str(name)) == name
