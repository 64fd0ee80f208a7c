"""A tenant's file after its consent was taken back."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from include.errors import ConfigError
from include.tenants.withdrawing import file_of, withdraw_consent

KNOWN = frozenset({"churn", "recommendation"})


@pytest.mark.parametrize(
    "pooling",
    [
        "pooling: {consent: true}",
        "pooling: {consent: true, across_regions: true}  # as agreed",
        "pooling: {across_regions: true, 'consent': true}",
        "pooling:\n  # agreed on 1 May\n  consent: true   # until we hear otherwise\n",
        'pooling: {"consent": true}',
        "pooling:\n  across_regions: false\n  consent:   true",
        "pooling: {\n  consent:\n    true\n}",
    ],
)
def test_one_value_changes_and_the_rest_stays(folder: Any, good: Any, pooling: str) -> None:
    """Comments, order and every other byte of the file are as they were, in any way of writing."""
    head = "# Ünïcode, before it\n" + yaml.safe_dump(good(name="Ämter & Söhne"))
    tail = "pii_columns: [consent]  # true\n"
    path = folder.write_text("acme.yaml", f"{head}{pooling}\n{tail}")
    path.chmod(0o640)
    assert folder.load()["acme"].pooling.consent
    assert withdraw_consent(path, KNOWN)
    now = path.read_text(encoding="utf-8")
    place = pooling.rindex("true") if "across_regions: true, 'c" in pooling else None
    at = pooling.index("true", pooling.index("consent")) if place is None else place
    changed = f"{pooling[:at]}false{pooling[at + 4 :]}"
    assert now == f"{head}{changed}\n{tail}"
    assert path.stat().st_mode & 0o777 == 0o640
    before = yaml.safe_load(f"{head}{pooling}\n{tail}")
    before["pooling"]["consent"] = False
    assert yaml.safe_load(now) == before
    assert not withdraw_consent(path, KNOWN)
    assert [one.name for one in folder.path.iterdir()] == ["acme.yaml"]


def test_a_file_that_says_nothing_of_pooling_is_left_alone(folder: Any) -> None:
    """Silence is a no already."""
    path = folder.write("acme.yaml")
    before = path.stat().st_mtime_ns
    assert not withdraw_consent(path, KNOWN)
    assert path.stat().st_mtime_ns == before


def test_a_file_that_cannot_be_changed_says_what_to_change(
    folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the files come from elsewhere and are mounted for reading."""
    path = folder.write("acme.yaml", pooling={"consent": True})
    before = path.read_bytes()
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(ConfigError, match="set `consent` under `pooling` to false where the"):
        withdraw_consent(path, KNOWN)
    assert path.read_bytes() == before
    assert [one.name for one in folder.path.iterdir()] == ["acme.yaml"]


def test_a_tenants_file_is_found_by_its_id(folder: Any) -> None:
    """Under whatever name; a broken file is nobody's."""
    folder.write("zebra.yml", id="acme")
    folder.write("other.yaml", id="other")
    folder.write_text("broken.yaml", "id: broken")
    assert file_of(folder.path, "acme", KNOWN) == folder.path / "zebra.yml"
    assert file_of(folder.path, "broken", KNOWN) is None
    assert file_of(folder.path, "nobody", KNOWN) is None
