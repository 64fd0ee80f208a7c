"""What commands and pages show of tenants in three time zones, one of them across a DST change."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

import generated
import pytest
from generated import Shop
from installation import Installation, installed

from include import cli, use_cases
from include.monitoring import skew
from include.runtime import tables
from include.tenants.loader import find_tenant

pytestmark = pytest.mark.integration

#: Shop → its zone; the beginning and the end of its week until 2024-03-11, in UTC and as told.
ZONES: Final = {
    "kiritimati": (
        "Pacific/Kiritimati",
        ("2024-03-03T10:00+00:00", "2024-03-10T10:00+00:00"),
        ("2024-03-04 00:00 UTC+14", "2024-03-11 00:00 UTC+14"),
    ),
    "kolkata": (
        "Asia/Kolkata",
        ("2024-03-03T18:30+00:00", "2024-03-10T18:30+00:00"),
        ("2024-03-04 00:00 IST", "2024-03-11 00:00 IST"),
    ),
    "new-york": (
        "America/New_York",
        ("2024-03-04T05:00+00:00", "2024-03-11T04:00+00:00"),
        ("2024-03-04 00:00 EST", "2024-03-11 00:00 EDT"),
    ),
}
Command = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def here() -> Iterator[Installation]:
    """Three shops; each ran the week whose end is a day in its own zone."""
    with installed() as found, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "_WIDE", 1000)
        patch.setattr(skew, "ONE_IN", 1)
        for name, (zone, _, _) in ZONES.items():
            file = generated.write(
                Shop(name, customers=80, consent=False), found.data, found.tenants
            )
            text = file.read_text().replace("timezone: UTC", f"timezone: {zone}")
            file.write_text(text.replace("  recommendation:\n", ""))
        found.open()
        for name in ZONES:
            patch.setattr("sys.argv", ["tenantry", "run", name, "--as-of", "2024-03-11", "--json"])
            with pytest.raises(SystemExit) as ended:
                cli.main()
            assert not ended.value.code
        yield found


@pytest.mark.parametrize("name", ZONES)
def test_the_day_that_is_asked_for_is_the_tenants(name: str, here: Installation) -> None:
    """`--as-of` with a day runs the interval that ends at the tenant's midnight."""
    from include.stores.postgres.stage_runs import PostgresStageRuns

    tenant = find_tenant(here.tenants, name, use_cases.names())
    done = PostgresStageRuns().newest(tenant.ref, "", "quality")
    assert done is not None
    start, end = (datetime.fromisoformat(at) for at in ZONES[name][1])
    assert (done.handoff.interval.start, done.end) == (start, end)


@pytest.mark.parametrize("name", ZONES)
@pytest.mark.parametrize(
    "command",
    [
        ("why", "{}", "churn"),
        ("history", "{}"),
        ("card", "{}", "churn"),
        ("features", "freshness", "{}"),
        ("features", "preview", "user_activity", "--tenant", "{}", "--as-of", "2024-03-11"),
        ("features", "skew", "{}"),
        ("audit", "show", "{}"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_commands_tell_the_tenants_time(
    command: tuple[str, ...], name: str, here: Installation, tenantry: Command
) -> None:
    """Instants as the tenant's clocks show them, with the zone, and nothing in UTC."""
    code, said = tenantry(*(word.format(name) for word in command))
    assert code == 0
    zones = {told.rpartition(" ")[2] for told in ZONES[name][2]}
    assert any(zone in said for zone in zones)
    if command[0] != "audit":
        assert "2024-03-11" in said
        assert ZONES[name][2][1] in said or command[0] == "card"
    assert "UTC" not in said.replace("UTC+14", "")
    assert "+00:00" not in said or command[0] == "audit"  # an entry's details are as written


@pytest.mark.parametrize("name", ZONES)
def test_json_stays_in_utc(name: str, here: Installation, tenantry: Command) -> None:
    """An instant is ISO 8601 there, or what it was, whatever the zone."""
    code, said = tenantry("why", name, "churn", "--json")
    assert code == 0
    (decided,) = json.loads(said)["promotions"]
    at = datetime.fromisoformat(decided["as_of"])
    assert at == datetime.fromisoformat(ZONES[name][1][1])
    assert at.utcoffset() == UTC.utcoffset(None)
    code, said = tenantry("card", name, "churn", "--json")
    assert code == 0
    assert json.loads(said)["as_of"].endswith("+00:00")


@pytest.mark.parametrize("name", ZONES)
def test_a_day_of_the_history_is_the_tenants(
    name: str, here: Installation, tenantry: Command
) -> None:
    """The version serves from the tenant's midnight on: on that day, and not on the one before."""
    code, said = tenantry("history", name, "--on", "2024-03-11", "--json")
    assert code == 0
    assert [row["version"] for row in json.loads(said)] == ["1"]
    code, said = tenantry("history", name, "--on", "2024-03-10", "--json")
    assert (code, json.loads(said)) == (0, [])


def test_a_table_of_several_has_each_row_in_its_tenants_zone(
    here: Installation, tenantry: Command
) -> None:
    """Every instant names its zone, so that rows can be told apart."""
    code, said = tenantry("features", "freshness")
    assert code == 0
    for name, (_, _, (_, end)) in ZONES.items():
        rows = [line for line in said.splitlines() if f" {name} " in line]
        assert rows
        assert all(end in row for row in rows if "2024" in row)
    code, said = tenantry("status")
    assert code == 0
    assert said.count(" to 2024-03-11") == len(ZONES)


@pytest.mark.parametrize("name", ZONES)
def test_pages_tell_the_tenants_time(name: str, here: Installation, tenantry: Command) -> None:
    """The quality report's interval, and the card's page."""
    tenant = find_tenant(here.tenants, name, use_cases.names())
    start, end = ZONES[name][2]
    (report,) = (here.state.lake / "eu" / name / "reports" / "quality").rglob("*.html")
    assert f"{start} to {end}" in report.read_text()
    page = here.state.home / f"{name}.html"
    assert tenantry("card", name, "churn", "--html", str(page))[0] == 0
    assert "trained as of 2024-03-11" in page.read_text()
    assert end in page.read_text()  # since when it served
    (kept,) = (here.state.lake / "eu" / tenant.id / "models").rglob("*.html")
    assert "trained as of 2024-03-11" in kept.read_text()


@pytest.mark.parametrize("name", ZONES)
def test_errors_tell_the_tenants_time(name: str, here: Installation, tenantry: Command) -> None:
    """A week that cannot be run, and a preview of nothing."""
    code, said = tenantry("run", name, "--as-of", "2025-01-06")
    assert code == 1
    zone = ZONES[name][2][0].rpartition(" ")[2]
    assert f"the interval 2024-12-30 00:00 {zone} to 2025-01-06 00:00 {zone}" in said
    preview = ("features", "preview", "user_activity", "--tenant", name)
    code, said = tenantry(*preview, "--as-of", "2023-06-01")
    assert code == 1
    assert "before 2023-06-01 00:00" in said
