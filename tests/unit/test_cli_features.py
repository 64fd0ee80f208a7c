"""`tenantry features`: what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from include import cli
from include.cli import drawings
from include.cli import features as commands
from include.features import library
from include.features.description.catalogue_page import DATA, PAGE
from include.handoffs import Interval
from include.storage.canonical import EVENTS
from include.storage.lake import Lake
from include.tenants import loader
from include.tenants.namespace import TenantRef

SHIPPED = Path(loader.__file__).parent / "config"
AS_OF = datetime(2017, 10, 23, tzinfo=UTC)
DRAFT = """
from datetime import timedelta
from include.features.declarations import USER, Aggregation
from include.features.library.streams import ORDER_LINES
from include.features.views import FeatureView
DRAFT = FeatureView("draft", USER, ORDER_LINES, (Aggregation("count", windows=(timedelta(7),)),))
"""
Tenantry = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tenantry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Tenantry]:
    """Runs the command beside one tenant and an empty lake: exit code, output, errors."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("TENANTRY_", "MLFLOW_", "AIRFLOW__")):
            del os.environ[name]
    tenants = tmp_path / "tenants"
    tenants.mkdir()
    shutil.copy(SHIPPED / "store-367.yaml", tenants)
    os.environ |= {
        "TENANTRY_TENANTS": str(tenants),
        "TENANTRY_HOME": str(tmp_path / "home"),
        "TENANTRY_LAKE": str(tmp_path / "lake"),
    }
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["tenantry", "features", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    yield run
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def lake(tmp_path: Path, tenantry: Tenantry) -> Lake:
    """A lake in which one customer, of an odd name, bought one item."""
    lake = Lake(tmp_path / "lake")
    row = {
        "tenant_id": "store-367",
        "source": "pos",
        "event_id": "e1",
        "event": "Order Completed",
        "user_id": "ann\x1b[31m",
        "item_id": "tea",
        "quantity": 1.0,
        "amount": 4.0,
        "event_timestamp": AS_OF - timedelta(days=1),
        "created_timestamp": AS_OF - timedelta(days=1),
        "month": "2017-10",
    }
    lake.replace_slice(
        TenantRef("store-367", "us-east", "pool"),
        "events",
        "pos",
        Interval(AS_OF - timedelta(days=7), AS_OF),
        pa.Table.from_pylist([row], EVENTS).to_batches(),
    )
    return lake


@pytest.fixture
def project(tmp_path: Path, tenantry: Tenantry, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own, with a git history in which the catalogue was written once."""
    root = tmp_path / "project"
    (root / "docs").mkdir(parents=True)
    monkeypatch.setattr(commands, "ROOT", root)
    assert tenantry("docs")[0] == 0
    identity = ["-c", "user.name=me", "-c", "user.email=me@example.com"]
    for step in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "written"]):
        subprocess.run(["git", *step], cwd=root, check=True)
    return root


def test_list_says_who_uses_what(tenantry: Tenantry) -> None:
    """One row per view, with the use cases that read it."""
    code, out, _ = tenantry("list", "--json")
    found = json.loads(out)
    assert code == 0
    assert list(found) == list(library.views())
    assert found["recency"]["used_by"] == ["churn", "lead_scoring", "recommendation"]
    code, out, _ = tenantry("list", "--tag", "payments")
    assert code == 0
    assert "payment_velocity" in out
    assert "recency" not in out


def test_show_draws_the_way_to_the_tenants_columns(tenantry: Tenantry) -> None:
    """Meaning of each feature, then a tree down to the source; a stream is drawn once."""
    code, out, _ = tenantry("show", "discount_share", "--tenant", "store-367")
    assert code == 0
    assert "sum_properties_discount_90d / sum_amount_90d" in out
    assert "properties.discount ← store-367/pos: retail_disc" in out
    assert out.count("event column user_id ← store-367/pos: household_id") == 1
    assert out.count("stream Order Completed where it is no return, as above") == 3


def test_show_as_json_has_the_whole_lineage(tenantry: Tenantry) -> None:
    """Nothing is left out where nothing is drawn."""
    code, out, _ = tenantry("show", "spend", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["features"][0]["name"] == "spend__sum_amount_30d"
    streams = [
        part
        for feature in found["lineage"]["made_of"]
        for aggregation in feature["made_of"]
        for part in aggregation["made_of"]
        if part["kind"] == "stream"
    ]
    assert streams
    assert all(stream["made_of"] for stream in streams)


def test_a_draft_in_a_file_is_shown_and_previewed(
    tenantry: Tenantry, lake: Lake, tmp_path: Path
) -> None:
    """By the variable's name or the view's own, before it is in the library."""
    (tmp_path / "mine.py").write_text(DRAFT)
    assert "draft__count_7d" in tenantry("show", "mine.py:DRAFT")[1]
    arguments = ("--tenant", "store-367", "--as-of", "2017-10-23", "--json")
    code, out, _ = tenantry("preview", "mine.py:draft", *arguments)
    assert code == 0
    assert json.loads(out)["sample"][0]["draft__count_7d"] == 1


def test_preview_prints_sample_distribution_and_cost(tenantry: Tenantry, lake: Lake) -> None:
    """And no control character of the tenant's data reaches the terminal."""
    code, out, _ = tenantry("preview", "spend", "--tenant", "store-367", "--as-of", "2017-10-23")
    assert code == 0
    assert "spend of store-367 at 2017-10-23 00:00 UTC" in out
    assert "ann\\x1b[31m" in out
    assert "\x1b" not in out
    assert "Cost: 1 events and 0 attributes read" in out


def test_docs_are_written_once_and_stale_ones_fail_the_check(
    tenantry: Tenantry, project: Path
) -> None:
    """`--check` is 1 exactly while a generated file is not what the declarations say."""
    assert tenantry("docs")[1] == "all current\n"
    assert tenantry("diff", "--check") == (0, f"nothing changed since {DATA}\n", "")
    (project / PAGE).write_text("old")
    code, out, _ = tenantry("diff", "--check")
    assert (code, f"stale: {PAGE}" in out) == (1, True)
    assert json.loads(tenantry("diff", "--check", "--json")[1])["stale"] == [PAGE]
    assert json.loads(tenantry("docs", "--json")[1]) == {"written": [PAGE]}
    assert tenantry("diff", "--check")[0] == 0


def test_diff_reads_a_file_or_a_revision(
    tenantry: Tenantry, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was committed and what lies there are compared with the declarations of now."""
    written = json.loads((project / DATA).read_text())
    del written["views"]["spend"]
    written["views"]["tenure"]["fingerprint"] = "0" * 16
    (project / DATA).write_text(json.dumps(written))
    shutil.copy(project / DATA, project / "other.json")
    spend = library.get("spend").fingerprint
    for arguments in ((), ("--against", str(project / "other.json"))):
        code, out, _ = tenantry("diff", *arguments)
        assert code == 0
        assert f"added spend {spend}\n  spend__sum_amount_30d: sum of amount" in out
        assert "changed tenure 0000000000000000 → " in out
    assert tenantry("diff", "--against", "HEAD") == (0, "nothing changed since HEAD\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "spand"), "did you mean 'spend'?"),
        (("show", "spend", "--tenant", "store-36"), "unknown tenant 'store-36'; known: store-367"),
        (("list", "--tag", "x"), "unknown tag 'x' in the library; known: activity"),
        (("show", "none.py:X"), "no file none.py"),
        (("show", "broken.py:X"), "broken.py does not run: SyntaxError"),
        (("show", "wrong.py:X"), "unknown function 'median' in Aggregation; known: count"),
        (("show", "mine.py:DRAFTS"), "known: DRAFT; did you mean 'DRAFT'?"),
        (("show", "mine.py"), "unknown feature view '' in mine.py; known: DRAFT"),
        (("preview", "spend", "--tenant", "store-367", "--as-of", "soon"), "is not an instant"),
        (("preview", "spend", "--tenant", "store-367"), "its lake has no event known by then"),
        (("diff", "--against", "no-such"), "neither a file nor a git revision"),
        (("diff", "--against", "mine.py"), "mine.py is no feature catalogue"),
        (("freshness", "store-367", "--at", "soon"), "--at 'soon' is not an instant"),
        (("freshness", "--at", "0001-01-01T00:00+14:00"), "is not an instant"),
        (("preview", "spend", "--tenant", "store-367", "--as-of", "0001-01-01"), "1800 to 2199"),
        (("freshness",), "does not answer"),
        (("diff", "--against", "--help"), "neither a file nor a git revision"),
    ],
)
def test_what_cannot_be_done_ends_with_a_message_and_code_1(
    tenantry: Tenantry, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    """One line on stderr that names what there is instead; no traceback."""
    (tmp_path / "mine.py").write_text(DRAFT)
    (tmp_path / "broken.py").write_text("def")
    (tmp_path / "wrong.py").write_text(DRAFT.replace('"count"', '"median"'))
    code, _, err = tenantry(*arguments)
    assert code == 1
    assert message in err
    assert "Traceback" not in err


def test_every_command_explains_itself(tenantry: Tenantry) -> None:
    """`--help` of the group lists its commands with a line each."""
    code, out, _ = tenantry("--help")
    assert code == 0
    for name in ("list", "show", "diff", "docs", "preview", "freshness"):
        assert f"\n  {name} " in out


def test_bars_show_whatever_is_not_empty() -> None:
    """One row among a million is still seen, none is not."""
    assert drawings.histogram((1_000_000, 1, 0)) == "█▁ "
    assert drawings.visible("x" * 100) == "x" * 39 + "…"
    assert len(drawings.visible("\n" * 100)) <= 41
