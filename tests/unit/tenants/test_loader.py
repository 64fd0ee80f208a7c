"""The loader's messages, and that a bad file costs that tenant only."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from include.errors import ConfigError, UnknownNameError
from include.tenants.loader import find_tenant, load_fleet, tenants_folder

KNOWN = frozenset({"churn", "recommendation"})


def test_a_good_file_is_a_tenant(folder: Any) -> None:
    """The file's content comes back under the tenant's id, defaults filled in."""
    folder.write("acme.yaml")
    fleet = folder.load()
    assert list(fleet.tenants) == ["acme"]
    assert fleet["acme"].isolation == "pool"
    assert fleet["acme"].pooling.consent is False
    assert not fleet.problems


def test_every_bad_file_is_reported_and_no_good_one_hidden(folder: Any) -> None:
    """One load tells about all bad files and returns all good tenants."""
    folder.write("acme.yaml")
    folder.write("bad-one.yaml", id="bad-one", schedule="daily")
    folder.write_text("bad-two.yaml", "[")
    folder.write("zebra.yaml", id="zebra")
    fleet = folder.load()
    assert list(fleet.tenants) == ["acme", "zebra"]
    assert list(fleet.problems) == ["bad-one.yaml", "bad-two.yaml"]


def test_every_problem_of_a_file_is_told_at_once(folder: Any) -> None:
    """Nobody has to fix a file one message at a time."""
    folder.write("acme.yaml", region="EU!", schedule="daily", history_from="soon")
    keys = [line.split(": ")[1] for line in folder.problems("acme.yaml").splitlines()]
    assert keys == ["region", "schedule", "history_from"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"id": "Acme Inc"}, "acme.yaml: id: 'Acme Inc': must match [a-z][a-z0-9-]{1,40}"),
        ({"id": "global"}, "acme.yaml: id: 'global': is reserved; reserved: default, global, pla"),
        ({"id": "global-eu"}, "acme.yaml: id: 'global-eu': is reserved; ids that begin with"),
        ({"region": "../eu"}, "acme.yaml: region: '../eu': must match"),
        (
            {"isolation": "shared"},
            "acme.yaml: isolation: 'shared': Input should be 'pool' or 'silo'",
        ),
        *(
            ({"timezone": zone}, f"acme.yaml: timezone: '{zone}': is not an IANA time zone")
            for zone in ("localtime", "posixrules", "Factory", "right/UTC", "posix/Europe/Vienna")
        ),
        ({"timezone": "Mars/Base"}, "acme.yaml: timezone: 'Mars/Base': is not an IANA time zone"),
        (
            {"timezone": "../../etc/passwd"},
            "acme.yaml: timezone: '../../etc/passwd': is not an IANA",
        ),
        (
            {"schedule": "@daily"},
            "acme.yaml: schedule: '@daily': must be a cron expression of five",
        ),
        ({"schedule": "R R * * *"}, "acme.yaml: schedule: 'R R * * *': must be a cron expression"),
        ({"schedule": "0 0 31 2 *"}, "acme.yaml: schedule: '0 0 31 2 *': names a day that no cal"),
        ({"history_from": "0001-01-01"}, "acme.yaml: history_from: '0001-01-01': must be a day of"),
        (
            {"until": "9999-12-31"},
            "acme.yaml: until: '9999-12-31': must be a day of the years 1900",
        ),
        ({"until": "2020-01-01"}, "`until` is before `history_from`"),
        (
            {"quota": {"concurrent_tasks": 0}},
            "acme.yaml: quota.concurrent_tasks: 0: Input should be",
        ),
        ({"retention": {"events": "-P1D"}}, "acme.yaml: retention.events: '-P1D': must be longer"),
        ({"retention": {"events": float("nan")}}, "acme.yaml: retention.events: nan: Input should"),
        ({"sources": []}, "acme.yaml: sources: []: Tuple should have at least 1 item"),
        ({"use_cases": {}}, "acme.yaml: use_cases: {}: Dictionary should have at least 1 item"),
    ],
)
def test_an_impossible_value_names_file_key_value_and_what_is_allowed(
    folder: Any, changes: dict[str, Any], expected: str
) -> None:
    """The line begins with the file's name, the key and the value as it stands there."""
    folder.write("acme.yaml", **changes)
    assert expected in folder.problems("acme.yaml")


@pytest.mark.parametrize(
    ("formerly", "expected"),
    [
        ({"pos": ["till"]}, None),
        ({"pos": ["till", "desk"], "web": ["shop"]}, None),
        ({"pos": ["web"]}, "`formerly` names what a source of the file is called now: web"),
        ({"pos": ["pos"]}, "`formerly` names what a source of the file is called now: pos"),
        ({"pos": ["till"], "web": ["till"]}, "a former name is one source's, once; `formerly` tw"),
        ({"pos": ["till", "till"]}, "a former name is one source's, once; `formerly` twice: till"),
        ({"pos": ["Till 1"]}, "sources.0.formerly.0: 'Till 1': "),
    ],
)
def test_a_former_name_is_one_sources_and_no_name_of_now(
    folder: Any, good: Any, formerly: dict[str, list[str]], expected: str | None
) -> None:
    """Whose rows are whose is never in doubt."""
    (source,) = good()["sources"]
    sources = [
        source | {"name": name, "formerly": formerly.get(name, [])} for name in ("pos", "web")
    ]
    folder.write("acme.yaml", sources=sources)
    problems = folder.problems("acme.yaml")
    assert expected in problems if expected else not problems


def test_a_missing_key_is_named_without_repeating_the_file(folder: Any, good: Any) -> None:
    """The message tells which key is required."""
    folder.write_text("acme.yaml", "id: acme")
    assert "acme.yaml: region: (nothing): this key is required" in folder.problems("acme.yaml")


def _at(*keys: str | int) -> Callable[[dict[str, Any]], None]:
    """Plants an unknown key at some level of a tenant file."""

    def plant(data: dict[str, Any]) -> None:
        node: Any = data
        for key in keys:
            node = node[key]
        node["colour"] = "red"

    return plant


@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (
            _at(),
            "colour: unknown key; known here: closures, history_from, id, isolation, name, pii",
        ),
        (
            _at("sources", 0),
            "sources.0.colour: unknown key; known here: absent_means, attributes, con",
        ),
        (_at("sources", 0, "connector"), "colour: unknown key; known here: format, path, type"),
        (
            _at("sources", 0, "events"),
            "sources.0.events.colour: unknown key; known here: account_id",
        ),
        (
            _at("use_cases", "churn"),
            "use_cases.churn.colour: unknown key; known here: cooldown, dri",
        ),
        (_at("pooling"), "pooling.colour: unknown key; known here: across_regions, consent"),
        (
            _at("quota"),
            "quota.colour: unknown key; known here: concurrent_tasks, trainings_per_day",
        ),
    ],
)
def test_an_unknown_key_lists_the_known_ones_of_its_level(
    folder: Any, good: Any, plant: Callable[[dict[str, Any]], None], expected: str
) -> None:
    """Each level of the file knows other keys; the message lists that level's."""
    data = good(use_cases={"churn": {}}, pooling={}, quota={})
    plant(data)
    folder.write("acme.yaml", **data)
    assert expected in folder.problems("acme.yaml")


def test_an_unknown_use_case_lists_the_known_ones(folder: Any) -> None:
    """A typo in a use case is answered with the use cases there are."""
    folder.write("acme.yaml", use_cases={"churm": None})
    assert folder.problems("acme.yaml") == (
        "acme.yaml: use_cases: unknown use case 'churm'; known: churn, recommendation"
    )


def test_everything_that_is_wrong_is_told_at_once(folder: Any) -> None:
    """An unknown use case beside a bad cron; of a source that is no good, not also that none is."""
    source = {"name": "orders", "connector": {"type": "ftp", "path": "x"}}
    folder.write("acme.yaml", use_cases={"churm": None}, schedule="never", sources=[source])
    told = folder.problems("acme.yaml")
    assert "schedule" in told
    assert "unknown use case 'churm'" in told
    assert "'ftp'" in told
    assert "at least 1 item" not in told


def test_a_use_case_with_nothing_after_it_means_its_defaults(folder: Any) -> None:
    """`churn:` alone is not an error."""
    folder.write("acme.yaml", use_cases={"churn": None})
    assert folder.load()["acme"].use_cases["churn"].minimum_rows is None


def test_an_id_that_is_taken_names_both_files(folder: Any) -> None:
    """Of two files with one id the first serves and the second is reported."""
    folder.write("one.yaml", id="twin")
    folder.write("two.yaml", id="twin")
    fleet = folder.load()
    assert list(fleet.tenants) == ["twin"]
    assert fleet.problems["two.yaml"] == (
        "two.yaml: id: 'twin' is taken by one.yaml; ids must differ",
    )


def test_the_file_named_after_its_tenant_wins_a_quarrel(folder: Any) -> None:
    """Loading the fleet and finding the one tenant agree on which of two files it is."""
    folder.write("a.yaml", id="twin", name="Impostor")
    folder.write("twin.yaml", id="twin", name="Twin")
    assert folder.load()["twin"].name == "Twin"
    assert find_tenant(folder.path, "twin", KNOWN).name == "Twin"
    assert "is taken by twin.yaml" in folder.problems("a.yaml")


def test_finding_one_tenant_reads_no_other_file(folder: Any) -> None:
    """A task's own load does not depend on the neighbours, however broken."""
    folder.write("acme.yaml")
    folder.write_text("bad.yaml", "[")
    os.mkfifo(folder.path / "pipe.yaml")  # reading it would block for ever
    assert find_tenant(folder.path, "acme", KNOWN).id == "acme"


def test_a_tenant_is_found_in_a_file_of_another_name(folder: Any) -> None:
    """The id inside the file is what counts, even where the file of that name is bad."""
    folder.write("whatever.yaml", id="acme")
    assert find_tenant(folder.path, "acme", KNOWN).id == "acme"
    folder.write_text("acme.yaml", "[")
    assert find_tenant(folder.path, "acme", KNOWN).id == "acme"


def test_finding_a_tenant_whose_file_is_bad_tells_why(folder: Any) -> None:
    """The message is the file's, not that the tenant is unknown."""
    folder.write("acme.yaml", schedule="daily")
    with pytest.raises(ConfigError, match=r"acme\.yaml: schedule: 'daily'"):
        find_tenant(folder.path, "acme", KNOWN)


@pytest.mark.parametrize("asked", ["nobody", "../acme", "", "acme\n", "a/b"])
def test_an_unknown_tenant_lists_the_known_ones(folder: Any, asked: str) -> None:
    """Whatever is asked for, the answer is the tenants there are, and no other path is opened."""
    folder.write("acme.yaml")
    with pytest.raises(UnknownNameError, match=r"known: acme$"):
        find_tenant(folder.path, asked, KNOWN)


def test_a_missing_folder_says_which_variable_to_set(tmp_path: Path) -> None:
    """The message names the folder and TENANTRY_TENANTS."""
    with pytest.raises(ConfigError, match=r"absent; set TENANTRY_TENANTS"):
        load_fleet(tmp_path / "absent", KNOWN)


def test_the_folder_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TENANTRY_TENANTS points somewhere else than the shipped tenants; empty counts as unset."""
    monkeypatch.setenv("TENANTRY_TENANTS", str(tmp_path))
    assert tenants_folder() == tmp_path
    monkeypatch.setenv("TENANTRY_TENANTS", "")
    assert tenants_folder().parts[-3:] == ("include", "tenants", "config")


def test_pii_columns_never_become_properties(folder: Any, good: Any) -> None:
    """A source that maps a declared PII column to a property is refused by name."""
    data = good(pii_columns=["email"])
    data["sources"][0]["events"]["properties"] = {"contact": "email"}
    folder.write("acme.yaml", **data)
    assert "maps PII columns to properties: email" in folder.problems("acme.yaml")
