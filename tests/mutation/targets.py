"""Which code keeps tenants apart or decides what serves, and which tests hold it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Target:
    """A module, or some functions of it, and the tests that its mutants have to fail."""

    module: str
    path: str
    tests: tuple[str, ...]
    functions: tuple[str, ...] = ()  #: all where empty


def _ours(module: str, *tests: str, only: tuple[str, ...] = ()) -> Target:
    return Target(module, f"{module.replace('.', '/')}.py", tests, only)


#: The quick tests of a module first: a mutant is done with at its first failure.
TARGETS: Final = (
    _ours(
        "include.storage.postgres",
        "tests/unit/storage/test_unavailable.py",
        "tests/integration/storage/test_confinement.py",
        "tests/integration/storage/test_isolation.py",
        "tests/integration/storage/test_snapshot.py",
    ),
    _ours(
        "include.storage.lake_files",
        "tests/unit/storage/test_lake_files.py",
        "tests/unit/storage/test_lake.py",
        only=("_file", "get", "put", "file_path", "LakeFiles"),
    ),
    _ours(
        "include.storage.lake",
        "tests/unit/storage/test_lake_files.py",
        "tests/unit/storage/test_lake.py",
        "tests/unit/storage/test_lake_reads.py",
        only=("_table", "get_table", "put_table", "Lake"),
    ),
    _ours(
        "include.tenants.namespace",
        "tests/unit/tenants/test_namespace.py",
        "tests/unit/tenants/test_loader.py",
    ),
    _ours(
        "include.features.inputs",
        "tests/unit/features/test_inputs.py",
        only=("read_pinned",),
    ),
    _ours(
        "include.registry.withdrawal",
        "tests/unit/registry/test_withdrawn.py",
        "tests/integration/registry/test_withdrawn_consent.py",
        "tests/integration/registry/test_rollback.py",
        "tests/integration/registry/test_blast_radius.py",
    ),
    _ours(
        "include.storage.claims",
        "tests/unit/storage/test_claims.py",
        "tests/integration/storage/test_ownership.py",
        only=("decide_claim", "key_digest"),
    ),
    _ours(
        "include.storage.ownership",
        "tests/integration/storage/test_ownership.py",
        only=("admitted", "_is_admitted", "check", "claim"),
    ),
    Target(
        "tenantry_pages.routes",
        "plugins/tenantry_pages/routes.py",
        ("tests/unit/plugins",),
        ("readable_tenant", "of_dag", "file", "fleet"),
    ),
)

#: What serves and what is drift, mutated where a module is named: no tenant's data depends on it.
DECISIONS: Final = (
    _ours(
        "include.registry.decision",
        "tests/unit/registry/test_decision.py",
    ),
    _ours(
        "include.monitoring.decisions",
        "tests/unit/monitoring/test_drift_decisions.py",
        "tests/unit/monitoring/test_monitoring_decisions.py",
    ),
)
