"""Simulated tenants as files, and the command that writes them."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from benchmarks.quality.simulated import simulate_tenant
from include import cli, use_cases
from include.errors import ConfigError
from include.simulate.simulation import open_tenant
from include.simulate.sources import write_sources
from include.simulate.world import TenantPlan, World
from include.tenants.loader import load_fleet

WORLD = World(3, "shop", (TenantPlan("one", 50, consent=False),), days=40)


def files(folder: Path) -> dict[str, bytes]:
    """Every file below the folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The command's exit code."""
    monkeypatch.setattr("sys.argv", ["tenantry", "simulate", *arguments])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_writing_again_leaves_the_same_files(tmp_path: Path) -> None:
    """A second writing replaces the first, and what an earlier, larger one left is gone."""
    opened = open_tenant(WORLD, "one")
    write_sources(opened, tmp_path, ("churn",))
    before = files(tmp_path)
    write_sources(opened, tmp_path, ("churn",), users=10)
    assert len(files(tmp_path)) == len(before) + 4
    write_sources(opened, tmp_path, ("churn",))
    assert files(tmp_path) == before


def test_a_tenant_file_stands_only_beside_all_its_data(tmp_path: Path) -> None:
    """When writing ends half-way, no tenant file names what is not there."""
    opened = open_tenant(WORLD, "one")
    write_sources(opened, tmp_path, ("churn",))

    def die(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sources(opened, tmp_path, ("churn",), users=10, progress=die)
    assert load_fleet(tmp_path, use_cases.names()).tenants == {}
    write_sources(opened, tmp_path, ("churn",))
    fleet = load_fleet(tmp_path, use_cases.names())
    assert fleet.problems == {}
    assert not fleet["one"].pooling.consent


def test_truth_is_written_beside_the_data(tmp_path: Path) -> None:
    """Users, items and demand on disk are those of the truth, and no source names them."""
    opened = open_tenant(WORLD, "one")
    written = write_sources(opened, tmp_path, ("churn",))
    truth = simulate_tenant(WORLD, "one").truth
    folder = tmp_path / "truth" / "one"
    assert pq.read_table(folder / "users.parquet").equals(truth.users)
    assert pq.read_table(folder / "items.parquet").equals(truth.items)
    demand = pq.read_table(folder / "demand.parquet")
    assert pc.sum(demand["expected"]).as_py() == pytest.approx(truth.demand().sum())
    assert "truth" not in written.file.read_text().replace(str(tmp_path), "")
    payments = World(3, "payments", WORLD.tenants, days=40)
    write_sources(open_tenant(payments, "one"), tmp_path, ("churn",), users=20)
    parts = [pq.read_table(path) for path in sorted(folder.glob("outcomes-*.parquet"))]
    assert len(parts) == 3
    outcomes = simulate_tenant(payments, "one").truth.outcomes
    assert pa.concat_tables(parts).sort_by("event_id").equals(outcomes)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """Where there is a file instead of a folder, the error names tenant and reason."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigError, match="sources of one cannot be written"):
        write_sources(open_tenant(WORLD, "one"), tmp_path / "taken", ("churn",))


def test_the_command_writes_a_ready_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tenants of the size, business and use cases asked for are there, and are good ones."""
    folder = tmp_path / "new" / "tenants"
    options = ["--tenants", "2", "--users", "20", "--days", "30", "--fault", "late,share=0.5"]
    use = ["--use-case", "churn", "--use-case", "recommendation", "--json"]
    assert run(monkeypatch, str(folder), "--business", "shop", *options, *use) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["tenant"] for row in rows] == ["shop-1", "shop-2"]
    assert all(row["users"] == 20 and row["events"] > 0 for row in rows)
    fleet = load_fleet(folder, use_cases.names())
    assert fleet.problems == {}
    assert [set(one.use_cases) for one in fleet.tenants.values()] == [
        {"churn", "recommendation"}
    ] * 2
    events = pq.read_table(folder / "data" / "shop-1" / "events-0000.parquet")
    late = pc.not_equal(events["received_at"], events["happened_at"])
    assert 0.4 < pc.mean(late.cast(pa.float64())).as_py() < 0.6
    first = files(folder)
    assert run(monkeypatch, str(folder), "--business", "shop", *options, *use, "--force") == 0
    assert files(folder) == first


def test_tenant_files_that_are_there_are_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody may have changed them."""
    ours = tmp_path / "shop-1.yaml"
    ours.write_text("id: mine\n", encoding="utf-8")
    small = ["--tenants", "1", "--users", "20", "--days", "30"]
    assert run(monkeypatch, str(tmp_path), *small) == 1
    assert "--force" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["shop-1.yaml"]
    assert ours.read_text(encoding="utf-8") == "id: mine\n"
    assert run(monkeypatch, str(tmp_path), *small, "--force") == 0
    assert ours.read_text(encoding="utf-8") != "id: mine\n"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--business", "circus"], "known: crm, jobs, learning, media, payments, shop"),
        (["--fault", "storm"], "unknown fault 'storm'"),
        (["--use-case", "divination"], "unknown use case 'divination'"),
        (["--start", "soon"], "'soon' is not a day"),
        (["--tenants", "0"], "at least one tenant"),
        (["--users", "0"], "users, not 0"),
        (["--deviation", "3"], "deviation is a share"),
    ],
)
def test_bad_options_are_told_and_write_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    says: str,
) -> None:
    """A wrong option ends with exit code 1, says what is allowed, and leaves no folder."""
    assert run(monkeypatch, str(tmp_path / "new"), *options) == 1
    assert says in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "new").exists()
