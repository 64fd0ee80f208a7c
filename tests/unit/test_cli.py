"""The `tenantry` command: what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from include import cli
from include.tenants import loader

SHIPPED = Path(loader.__file__).parent / "config"


@pytest.fixture
def alone() -> Iterator[None]:
    """No server is known, and what the command puts into the environment goes with the test."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("TENANTRY_", "MLFLOW_", "AIRFLOW__")):
            del os.environ[name]
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def folder(tmp_path: Path, alone: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two tenants, one of them bad."""
    tenants = tmp_path / "tenants"
    tenants.mkdir()
    shutil.copy(SHIPPED / "store-367.yaml", tenants)
    (tenants / "broken.yaml").write_text("id: broken\nnaem: typo\n")
    monkeypatch.setenv("TENANTRY_TENANTS", str(tenants))
    monkeypatch.setenv("TENANTRY_HOME", str(tmp_path / "home"))
    return tenants


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The command's exit code."""
    monkeypatch.setattr("sys.argv", ["tenantry", *arguments])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_a_bad_file_is_listed_beside_the_good_ones(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The good tenant is there, and what is wrong with the other file."""
    assert run(monkeypatch, "tenants", "list", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["tenant"] for one in found["tenants"]] == ["store-367"]
    assert any("naem" in line for line in found["problems"]["broken.yaml"])


def test_check_fails_and_says_why(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 with the key that is wrong; 0 once the file is gone."""
    assert run(monkeypatch, "tenants", "check") == 1
    assert "broken.yaml: naem: unknown key" in capsys.readouterr().out
    (folder / "broken.yaml").unlink()
    assert run(monkeypatch, "tenants", "check") == 0
    assert capsys.readouterr().out == "all good\n"


SHOP = """
id: shop
name: Shop
region: eu
schedule: "0 4 * * 1"
history_from: 2024-01-01
sources:
  - name: orders
    connector: {type: file, path: sources/shop/orders.csv, format: csv}
    events:
      event: Order Completed
      event_id: [id]
      event_timestamp: at
      user_id: customer
use_cases: {churn: {}}
"""


@pytest.mark.parametrize(
    ("content", "problem", "look"),
    [
        (
            "id,at,customer\n1,2024-01-02,ann\n2,soon,bob\n3,2024-03-04,\n",
            None,
            {"rows": 3, "good": 1, "kinds": {"Order Completed": 1}},
        ),
        (
            "id,at,customer\n1,2024-01-02,ann\n2,2024-01-03,bob,too much\n",
            None,
            {"rows": 2, "good": 1, "kinds": {"Order Completed": 1}},
        ),
        ("id,when,customer\n1,2024-01-02,ann\n", "no column 'at'; there are: id, when", None),
        ("id,at,customer\n1,soon,ann\n2,later,bob\n", "all of the first 2 rows", {"good": 0}),
        (
            "id,at,customer\n1,1999-01-02,ann\n2,2142-01-01,bob\n",
            "all 2 rows are outside: 1 before history_from, 1 later than now",
            {"rows": 2, "good": 0, "outside": {"before history_from": 1, "later than now": 1}},
        ),
        ("id,at,customer\n", "no row that `where` lets through", {"rows": 0}),
        (None, "no file at 'sources/shop/orders.csv'", None),
    ],
)
def test_check_looks_into_the_sources(
    content: str | None,
    problem: str | None,
    look: dict[str, object] | None,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """What the first rows would become, and a source that gives nothing is a problem."""
    file = tmp_path / "shop.yaml"
    file.write_text(SHOP)
    sources = tmp_path / "home" / "sources" / "shop"
    sources.mkdir(parents=True)
    if content is not None:
        (sources / "orders.csv").write_text(content)
    asked = ("tenants", "check", str(file), "--sources")
    assert run(monkeypatch, *asked, "--json") == (1 if problem else 0)
    told = json.loads(capsys.readouterr().out)
    if problem:
        (line,) = told["problems"][str(file)]
        assert line.startswith("tenant shop, source orders: ")
        assert problem in line
    else:
        assert told["problems"] == {}
        assert any("needs 20 different user_id" in line for line in told["warnings"][str(file)])
    assert [one["source"] for one in told["sources"]] == (["orders"] if look else [])
    for one in told["sources"]:
        assert look is not None
        assert {name: one[name] for name in look} == look
    assert run(monkeypatch, *asked) == (1 if problem else 0)
    assert (problem or "1 Order Completed") in " ".join(capsys.readouterr().out.split())


def test_an_expression_is_checked_before_a_row_is_read(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """What only DuckDB sees is said by check, once, and refused by add; the others are good."""
    (folder / "broken.yaml").unlink()
    columns = "columns: {new: price * 2}\n    where: price > cost and new > 1\n    events:"
    text = SHOP.replace("events:", columns)
    sources = tmp_path / "home" / "sources" / "shop"
    sources.mkdir(parents=True)
    (sources / "orders.csv").write_text("id,at,customer,price,day,cost\n1,2024-01-02,ann,1,x,1\n")
    (folder / "shop.yaml").write_text(text)
    assert run(monkeypatch, "tenants", "check", "--sources", "--json") == 1
    told = json.loads(capsys.readouterr().out)["problems"]
    ((name, (line,)),) = told.items()
    assert name == "shop"
    assert line.startswith("tenant shop, source orders: where: compares columns without saying")
    (folder / "shop.yaml").rename(tmp_path / "shop.yaml")
    assert run(monkeypatch, "tenants", "add", str(tmp_path / "shop.yaml")) == 1
    assert "tenant shop, source orders: where: compares columns" in capsys.readouterr().err
    assert not (folder / "shop.yaml").exists()


def test_a_source_in_the_lake_is_one_problem_of_several(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """What one tenant may not read does not keep the others from being looked at."""
    lake = tmp_path / "home" / "lake"
    lake.mkdir(parents=True)
    (lake / "orders.csv").write_text("id,at,customer\n1,2024-01-02,ann\n")
    (folder / "broken.yaml").unlink()
    monkeypatch.setenv("TENANTRY_SOURCES", "{default: {roots: ['{home}'], packages: ['*']}}")
    (folder / "shop.yaml").write_text(SHOP.replace("sources/shop", "lake"))
    assert run(monkeypatch, "tenants", "check", "--sources", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    ((_, (line,)),) = told["problems"].items()
    assert line.startswith("tenant shop, source orders: ")
    assert "leads into the lake" in line
    assert {one["tenant"] for one in told["sources"]} == {"store-367"}


def test_check_finds_windows_beyond_the_tenants_retention(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tenant that keeps its events for a week cannot have features of three months."""
    file = folder / "store-367.yaml"
    lines = [one for one in file.read_text().splitlines() if not one.startswith("retention:")]
    file.write_text("\n".join([*lines, "retention: {events: P7D}"]))
    (folder / "broken.yaml").unlink()
    for arguments in ((), (str(file),)):
        assert run(monkeypatch, "tenants", "check", *arguments) == 1
        told = capsys.readouterr().out
        assert "tenant store-367: view 'spend' of service 'churn' looks back 90d" in told
        assert "`retention.events` keeps events for 7d" in told


@pytest.mark.parametrize(("kept", "found"), [("P30D", True), ("P31D", False)])
def test_check_finds_labels_that_outlive_their_predictions(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kept: str,
    found: bool,
) -> None:
    """Who forgets predictions before it is known what became of them never measures one."""
    file = folder / "store-367.yaml"
    lines = [one for one in file.read_text().splitlines() if not one.startswith("retention:")]
    file.write_text("\n".join([*lines, f"retention: {{predictions: {kept}}}"]))
    (folder / "broken.yaml").unlink()
    assert run(monkeypatch, "tenants", "check", str(file)) == int(found)
    told = capsys.readouterr().out
    assert ("labels of churn are known after 30 days" in told) is found


def test_show_is_yaml_that_means_the_same_tenant(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """What is shown, defaults included, can be read back as a tenant file."""
    assert run(monkeypatch, "tenants", "show", "store-367") == 0
    again = tmp_path / "again.yaml"
    again.write_text(capsys.readouterr().out)
    known = frozenset({"churn", "recommendation"})
    assert loader.load_tenant(again, known) == loader.load_tenant(folder / "store-367.yaml", known)


def test_show_quotes_what_would_read_as_something_else(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Conditions and PII columns come back as they are; a login in a URL is not shown."""
    where = "where: {status: NO, '010': ['1e3', '0x1F', '12', 'TRUE', '1.10', 'null', 12]}"
    text = SHOP.replace("name: orders", f"name: orders\n    {where}").replace(
        "path: orders.csv", "path: 'https://ann:hunter2@example.org/x.csv?key=hunter2'"
    )
    (folder / "shop.yaml").write_text(f"{text}pii_columns: {{customer: hash, phone: refuse}}\n")
    assert run(monkeypatch, "tenants", "show", "shop") == 0
    shown = capsys.readouterr().out
    assert "hunter2" not in shown
    again = tmp_path / "again.yaml"
    again.write_text(shown)
    known = frozenset({"churn"})
    found = loader.load_tenant(again, known)
    meant = loader.load_tenant(folder / "shop.yaml", known)
    assert found.sources[0].where == meant.sources[0].where
    assert found.sources[0].where["010"] == ("1e3", "0x1F", "12", "TRUE", "1.10", "null", 12)
    assert found.pii_columns == meant.pii_columns == {"customer": "hash", "phone": "refuse"}


def test_what_is_beyond_the_operators_limits_is_shown_by_every_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`check` fails, `list` names it beside the good tenants, `show` and `add` refuse."""
    (folder / "broken.yaml").unlink()
    file = folder / "shop.yaml"
    file.write_text(SHOP.replace("0 4 * * 1", "* * * * *"))
    told = "shop.yaml: schedule: '* * * * *': ticks 1 minute apart; at least 1 hour are allowed"
    for command in (("check",), ("check", str(file)), ("list",), ("show", "shop")):
        assert run(monkeypatch, "tenants", *command) == (0 if command == ("list",) else 1)
        answer = capsys.readouterr()
        assert told in " ".join((answer.out + answer.err).split())
    assert run(monkeypatch, "tenants", "list", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["tenant"] for one in found["tenants"]] == ["store-367"]
    assert list(found["problems"]) == ["shop.yaml"]


def test_add_copies_a_good_file_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It gets a key. The second time the tenant exists, and nothing is overwritten."""
    file = SHIPPED / "store-406.yaml"
    assert run(monkeypatch, "tenants", "add", str(file)) == 0
    added = (folder / "store-406.yaml").read_text()
    assert added.startswith(file.read_text())
    assert re.fullmatch("key: [0-9a-f]{32}  # .*\n", added.removeprefix(file.read_text()))
    assert run(monkeypatch, "tenants", "add", str(file)) == 1
    assert "'store-406' exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("why", "nobody", "churn"), "unknown tenant 'nobody'; known: store-367"),
        (("run", "store-367", "--as-of", "soon"), "'soon' is not an instant such as 2017-10-23"),
        (("rollback", "store-367", "demand"), "known: churn, recommendation"),
        (("status",), "does not answer"),
    ],
)
def test_what_cannot_be_done_ends_with_a_message_and_code_1(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    """One line on stderr that names what there is instead; no traceback."""
    assert run(monkeypatch, *arguments) == 1
    printed = capsys.readouterr()
    assert message in printed.err
    assert "Traceback" not in printed.err
