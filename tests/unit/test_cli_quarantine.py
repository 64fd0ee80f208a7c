"""`tenantry quarantine` counts the rows that were set aside, and shows some where asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include import cli, use_cases
from include.cli import quarantine as command
from include.handoffs import Interval
from include.ingestion.slices import Counted, Rejected, SetAside, Slice
from include.quality.checks import FailedRow, Inspection, UnacceptedRows
from include.stores.memory import in_memory
from include.tenants.loader import find_tenant, tenants_folder

WEEK = Interval(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 8, tzinfo=UTC))
LATER = Interval(WEEK.end, WEEK.end + timedelta(days=7))
Ask = Callable[..., Any]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Runs the command on a shop with rows of both stages; gives its JSON."""
    shop, stores = find_tenant(tenants_folder(), "store-367", use_cases.names()), in_memory()
    kept = [SetAside(n, "amount: no finite number", json.dumps({"id": n})) for n in (3, 4)]
    counted = Counted(kept, size=2)
    counted.reasons.update({"amount: no finite number": 5})
    for name, interval in (("pos", WEEK), ("old_till", LATER)):
        delivered = Slice(name, interval, 9, 0, 0, 1, read=14)
        stores.slices.record(shop.ref, delivered, Rejected(dated=counted))
    row = {"user_id": "***", "created_timestamp": WEEK.start.isoformat()}
    failed = UnacceptedRows("pos", WEEK, [FailedRow(1, "amount.sane", row)])
    stores.checks.record(shop.ref, Inspection(WEEK, (), ""), [], [failed])
    monkeypatch.setattr(command, "readable", lambda tenant: shop)
    monkeypatch.setattr(command, "stores", lambda: stores)

    def asked(*arguments: str) -> Any:
        monkeypatch.setattr("sys.argv", ["tenantry", "quarantine", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0
        told = capsys.readouterr().out
        return json.loads(told) if "--json" in arguments else told

    return asked


def test_rows_are_counted_by_reason_and_none_is_shown_unasked(ask: Ask) -> None:
    """Of both stages, and of a source that the file names no more, those only counted included."""
    told = ask("store-367", "--json")
    counts = [(one["source"], one["stage"], one["rows"]) for one in told["reasons"]]
    assert sorted(counts) == [
        ("old_till", "ingestion", 2),
        ("old_till", "ingestion", 3),
        ("pos", "ingestion", 2),
        ("pos", "ingestion", 3),
        ("pos", "quality", 1),
    ]
    assert [one["rows"] for one in told["reasons"]] == [3, 3, 2, 2, 1]
    assert told["rows"] == []


def test_rows_are_shown_as_they_are_stored(ask: Ask) -> None:
    """As many as asked for, of the source asked for; what was masked stays masked."""
    told = ask("store-367", "--source", "pos", "--limit", "3", "--json")
    assert [(one["stage"], one["number"]) for one in told["rows"]] == [
        ("ingestion", 3),
        ("ingestion", 4),
        ("quality", 1),
    ]
    assert told["rows"][2]["row"]["user_id"] == "***"
    assert len(ask("store-367", "--limit", "1", "--json")["rows"]) == 1
    assert "amount.sane" in ask("store-367", "--limit", "9")


def test_an_unknown_source_is_named(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With those that there are."""
    monkeypatch.setattr("sys.argv", ["tenantry", "quarantine", "store-367", "--source", "poz"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert "pos" in capsys.readouterr().err
