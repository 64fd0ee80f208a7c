"""What executing the DAG files costs and touches."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fleet import tenant_id, tenant_yaml, write_fleet

if TYPE_CHECKING:
    from tests.dags.conftest import Parse

KINDS = ("pipeline", "retrain", "drift_watch")
PLATFORM = 2 + 2  # one global model per use case, consent and retention


def test_a_thousand_tenants_import_nothing_heavy_and_reach_no_network(
    parse: Parse, large_fleet: Path
) -> None:
    """Three DAGs per tenant and the platform's own, from YAML and nothing else."""
    parsed = parse(large_fleet)
    assert len(parsed.dags) == 3 * 1000 + PLATFORM
    assert parsed.modules == []
    assert parsed.connections == []
    assert parsed.warnings == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_loads_its_own_tenant_only(parse: Parse, large_fleet: Path, kind: str) -> None:
    """With a parsing context one DAG is built and one tenant file is read, whatever the fleet."""
    wanted = f"{tenant_id(500)}.{kind}"
    parsed = parse(large_fleet, wanted=wanted)
    assert list(parsed.dags) == [wanted]
    assert parsed.opened == [f"{tenant_id(500)}.yaml"]
    assert parsed.modules == []


def test_a_global_task_loads_its_own_dag_only(parse: Parse, fleet: Path) -> None:
    """A global DAG's task builds no tenant DAG."""
    assert list(parse(fleet, wanted="global.churn").dags) == ["global.churn"]


@pytest.mark.parametrize("wanted", ["example.pipeline", "stranger", "tenant-0001.other", "a.b.c"])
def test_a_context_of_a_dag_that_is_not_ours_builds_nothing(
    parse: Parse, fleet: Path, wanted: str
) -> None:
    """Other people's DAGs in the same folder cost nothing."""
    assert parse(fleet, wanted=wanted).dags == {}


def test_two_parses_serialise_identically(parse: Parse, fleet: Path) -> None:
    """No set order, clock or random draw reaches a DAG: its version never changes by itself."""
    first = parse(fleet, serialise=True, hash_seed="1")
    second = parse(fleet, serialise=True, hash_seed="2")
    assert first.dags == second.dags
    assert len(set(first.dags.values())) == len(first.dags)


def test_a_dag_alone_serialises_as_it_does_among_all(parse: Parse, fleet: Path) -> None:
    """What a task runs is what the scheduler scheduled."""
    everything = parse(fleet, serialise=True).dags
    wanted = f"{tenant_id(4)}.pipeline"
    assert parse(fleet, wanted=wanted, serialise=True).dags == {wanted: everything[wanted]}


def test_adding_a_tenant_changes_no_other_tenants_dags(
    parse: Parse, fleet: Path, tmp_path: Path
) -> None:
    """Neighbours keep their DAG versions when somebody joins or leaves."""
    joined = tmp_path / "joined"
    shutil.copytree(fleet, joined)
    (joined / f"{tenant_id(90)}.yaml").write_text(tenant_yaml(90))
    before = parse(fleet, serialise=True).dags
    after = parse(joined, serialise=True).dags
    assert set(after) - set(before) == {f"{tenant_id(90)}.{kind}" for kind in KINDS}
    for dag_id, digest in before.items():
        assert after[dag_id] == digest or dag_id.startswith("global.")


def test_one_broken_tenant_among_a_thousand_costs_that_tenant_only(
    parse: Parse, large_fleet: Path, tmp_path: Path
) -> None:
    """999 tenants keep their DAGs, and the log names the file, the key and the value."""
    broken = tmp_path / "broken"
    shutil.copytree(large_fleet, broken)
    file = broken / f"{tenant_id(123)}.yaml"
    file.write_text(file.read_text().replace("region: us", "region: U S"))
    parsed = parse(broken)
    assert len(parsed.dags) == 3 * 999 + PLATFORM
    assert not [dag_id for dag_id in parsed.dags if dag_id.startswith(tenant_id(123))]
    told = {line for line in parsed.warnings if "tenant-0123.yaml: region: 'U S'" in line}
    assert len(told) == 1


def test_a_tenant_that_airflow_dislikes_costs_that_tenant_only(
    monkeypatch: pytest.MonkeyPatch, fleet: Path
) -> None:
    """Even where building a DAG fails for a reason nobody foresaw, the others are built."""
    from include.pipeline import dags

    def build(tenant: dags.TenantConfig) -> dags.DAG:
        if tenant.id == tenant_id(3):
            raise RuntimeError("unforeseen")
        return original(tenant)

    original = dags._BUILDERS["retrain"]
    monkeypatch.setitem(dags._BUILDERS, "retrain", build)
    monkeypatch.setenv("TENANTRY_TENANTS", str(fleet))
    built = {dag.dag_id for dag in dags.tenant_dags(None)}
    assert len(built) == 3 * 11
    assert dags.tenant_dags(f"{tenant_id(3)}.retrain") == []


HOSTILE = [
    "../../etc/passwd", "/etc/passwd", "..", "a/b", "a\\b", "'; DROP TABLE predictions; --", '"',
    "{{ conn.store.password }}", "{% for x in range(9999999999) %}", "{{", "${HOME}", "%(x)s",
    "\x00", "a\nb", "\u202e", "\ufeff", "\ud7ff", "\U0010ffff", "x" * 10_000, "", " ", ".", "~",
    "null",
    "[", "{", "&a", "*a", "!!python/object:os.system", "---", "- - -", "<script>", "NaN", ".inf",
    "-1e999", "9999-12-31", "0001-01-01", "true", "é", "аcme",
]  # fmt: skip
FIELDS = ("id", "name", "region", "schedule", "timezone")


def test_two_hundred_hostile_files_cause_no_import_error(parse: Parse, tmp_path: Path) -> None:
    """Each hostile text stands in each of five fields; the good tenants' DAGs all come out."""
    folder = write_fleet(tmp_path / "tenants", 3)
    good = {f"{tenant_id(n)}.{kind}" for n in range(3) for kind in KINDS}
    number = 0
    for text in HOSTILE:
        for field in FIELDS:
            number += 1
            lines = tenant_yaml(100 + number).splitlines()
            at = next(i for i, line in enumerate(lines) if line.startswith(f"{field}:"))
            # Half of them quoted, so that the text itself arrives; half as raw YAML.
            lines[at] = f"{field}: {text!r}" if number % 2 else f"{field}: {text}"
            (folder / f"hostile-{number}.yaml").write_bytes("\n".join(lines).encode())
    assert number >= 200
    parsed = parse(folder, serialise=True)
    assert good <= set(parsed.dags)
    allowed = {".", "-", "_"}
    for dag_id in parsed.dags:
        assert all(c.isascii() and (c.isalnum() or c in allowed) for c in dag_id)
    assert parsed.connections == []
