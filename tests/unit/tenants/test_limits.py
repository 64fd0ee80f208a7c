"""What one tenant may use of the platform is the operator's to say, and no tenant's to raise."""

from __future__ import annotations

import re
from copy import deepcopy
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from include.errors import ConfigError
from include.tenants import limits
from include.tenants.limits import Limits, OperatorLimits
from include.tenants.loader import find_tenant, load_tenant

STRICT = OperatorLimits.model_validate({"default": {"longest_retention": "P3650D"}})
KNOWN = frozenset({"churn", "recommendation", *(f"case_{i}" for i in range(30))})


def beyond(good: Any, name: str) -> dict[str, Any]:
    """A tenant file that asks for more than the default of one limit."""
    match name:
        case "shortest_interval":
            return dict(good(schedule="*/5 * * * *"))
        case "concurrent_tasks":
            return dict(good(quota={"concurrent_tasks": 64}))
        case "trainings_per_day":
            return dict(good(quota={"trainings_per_day": 1000}))
        case "shortest_between_trainings":
            return dict(good(use_cases={"churn": {"retrain_every": "PT1M"}}))
        case "earliest_history":
            return dict(good(history_from="1900-01-01"))
        case "longest_retention":
            return dict(good(retention={"events": "P36500D"}))
        case "sources":
            data = good()
            (one,) = data["sources"]
            return {**data, "sources": [{**deepcopy(one), "name": f"s{i}"} for i in range(21)]}
        case _:
            return dict(good(use_cases={f"case_{i}": None for i in range(21)}))


RAISED = {
    "shortest_interval": "PT1M",
    "concurrent_tasks": 64,
    "trainings_per_day": 1000,
    "shortest_between_trainings": "PT1M",
    "earliest_history": "1900-01-01",
    "longest_retention": "P36500D",
    "sources": 50,
    "use_cases": 50,
}


def test_every_limit_is_tried() -> None:
    """The table above knows them all."""
    assert set(RAISED) == set(Limits.model_fields)


@pytest.mark.parametrize("name", sorted(RAISED))
def test_what_is_beyond_a_limit_is_refused_and_the_operator_named(
    folder: Any, good: Any, name: str
) -> None:
    """File, key, value, what is allowed, the limit's name, and who may change it where."""
    path = folder.write("acme.yaml", **beyond(good, name))
    with pytest.raises(ConfigError) as caught:
        load_tenant(path, KNOWN, STRICT if name == "longest_retention" else None)
    told = str(caught.value)
    assert re.match(r"acme\.yaml: [a-z_.]+: .+: .* allowed", told)
    assert f"({name}); only the platform's operator may change that limit" in told
    assert "TENANTRY_LIMITS" in told
    assert re.search(r"\(line \d+\)$", told)


@pytest.mark.parametrize("name", sorted(RAISED))
@pytest.mark.parametrize("whose", ["default", "tenants"])
def test_the_operator_may_raise_a_limit_for_all_or_for_one(
    folder: Any, good: Any, name: str, whose: str, tmp_path: Path
) -> None:
    """A tenant's own line counts before everybody's; the neighbours keep theirs."""
    own = {name: RAISED[name]}
    strict = {"longest_retention": "P3650D"}
    allowed = OperatorLimits.model_validate(
        {"default": strict | own}
        if whose == "default"
        else {"default": strict, "tenants": {"acme": own}}
    )
    assert load_tenant(folder.write("acme.yaml", **beyond(good, name)), KNOWN, allowed)
    other = folder.write("other.yaml", **beyond(good, name) | {"id": "other"})
    if whose == "default":
        assert load_tenant(other, KNOWN, allowed)
    else:
        with pytest.raises(ConfigError, match=name):
            load_tenant(other, KNOWN, allowed)


@pytest.mark.parametrize(
    "schedule",
    ["* * * * *", "*/5 * * * *", "0,59 * * * *", "0,1 3 * * *", "58,59 23 31 12 *", "*/59 * * * *"],
)
def test_no_two_ticks_are_closer_than_the_operator_allows(folder: Any, schedule: str) -> None:
    """However the minutes are written, and however rare the days are."""
    folder.write("acme.yaml", schedule=schedule)
    assert "at least 1 hour are allowed (shortest_interval)" in folder.problems("acme.yaml")


@pytest.mark.parametrize("schedule", ["0 * * * *", "5 4 * * *", "0 0 * * 1", "0 */6 * * MON-FRI"])
def test_an_ordinary_schedule_is_within_the_limits(folder: Any, schedule: str) -> None:
    """Hourly, daily, weekly."""
    folder.write("acme.yaml", schedule=schedule)
    assert folder.load()["acme"].schedule == schedule


def test_a_tenants_file_cannot_raise_its_limits(folder: Any) -> None:
    """`limits` is no key of a tenant's file."""
    folder.write("acme.yaml", limits={"concurrent_tasks": 64})
    assert "limits: unknown key" in folder.problems("acme.yaml")


def test_several_limits_are_told_at_once(folder: Any) -> None:
    """Nobody has to fix a file one limit at a time."""
    folder.write("acme.yaml", schedule="* * * * *", quota={"concurrent_tasks": 64})
    assert len(folder.load().problems["acme.yaml"]) == 2


def test_the_operators_file_is_found_by_its_variable(
    folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Set, it counts for the fleet and for the one tenant of a task; empty counts as unset."""
    folder.write("acme.yaml", schedule="*/5 * * * *")
    file = tmp_path / "limits"
    file.write_text("tenants: {acme: {shortest_interval: 5m}}\n")
    monkeypatch.setenv(limits.VARIABLE, str(file))
    assert list(folder.load().tenants) == ["acme"]
    assert find_tenant(folder.path, "acme", KNOWN).schedule == "*/5 * * * *"
    monkeypatch.setenv(limits.VARIABLE, file.read_text())
    assert list(folder.load().tenants) == ["acme"]
    monkeypatch.setenv(limits.VARIABLE, "")
    assert not folder.load().tenants


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("default: {colour: red}", "default.colour: unknown key; known here: concurrent_tasks, "),
        ("acme: {}", "acme: unknown key; known here: default, tenants"),
        ("default: {concurrent_tasks: many}", "default.concurrent_tasks: "),
        ("default: {sources: 51}", "default.sources: "),
        ("default: {shortest_interval: 0d}", "default.shortest_interval: must be longer than zero"),
        ("tenants: {'../x': {}}", "must match"),
        ("[", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_bad_operators_file_stops_the_load_and_is_named(
    tmp_path: Path, text: str | None, told: str
) -> None:
    """Without it nobody knows what a tenant may use: nothing is guessed."""
    file = tmp_path / "limits.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match="TENANTRY_LIMITS: ") as caught:
        limits.read(file)
    assert str(file) in str(caught.value)
    assert told in str(caught.value)


def test_an_empty_operators_file_changes_nothing(tmp_path: Path) -> None:
    """What it leaves out is the default."""
    file = tmp_path / "limits.yaml"
    file.write_text("# nothing yet\n")
    assert limits.read(file).of("acme") == Limits()
    file.write_text("default: {sources: 3}\ntenants: {acme: {earliest_history: 2001-02-03}}\n")
    assert limits.read(file).of("acme") == Limits(sources=3, earliest_history=date(2001, 2, 3))
    assert limits.read(file).of("other") == Limits(sources=3)
    assert Limits().shortest_interval == timedelta(hours=1)
