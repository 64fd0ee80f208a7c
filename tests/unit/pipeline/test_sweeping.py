"""What killed tasks left behind goes at the next stage, and with retention."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from include.pipeline import retention, steps
from include.pipeline.stages import stage_named
from include.tenants.loader import Fleet


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A killed task's folders, of two tenants: their locks are nobody's."""
    monkeypatch.setenv("TENANTRY_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setenv("TENANTRY_LAKE", str(tmp_path / "lake"))
    folders = [tmp_path / "spool" / owner / "1-abc" for owner in ("alder", "birch")]
    for folder in folders:
        folder.mkdir(parents=True)
        folder.with_name("1-abc.lock").touch()
        (folder / "spool.parquet").write_text("ann@x.org")
    return folders


def test_a_stage_sweeps_its_tenants_folder_first(
    left: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only its own: others may be about to look."""
    seen: list[list[bool]] = []
    quiet: Any = SimpleNamespace(at_work=lambda *_: nullcontext(), check_again=lambda *_: None)
    monkeypatch.setattr(steps, "ownership", quiet)
    monkeypatch.setattr(steps, "_record", lambda *_: None)
    look = lambda _: seen.append([folder.exists() for folder in left])  # noqa: E731
    monkeypatch.setattr(steps, "ingestion", look)
    tenant = SimpleNamespace(id="alder", timezone="UTC")
    as_of = datetime(2024, 1, 8, tzinfo=UTC)
    run: Any = SimpleNamespace(tenant=tenant, use_case_name="", as_of=as_of)
    steps.execute(stage_named("ingestion"), run, {})
    assert seen == [[False, True]]


def test_retention_sweeps_everybodys(left: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of tenants that no longer run."""
    monkeypatch.setattr(retention, "load_fleet", lambda *_: Fleet({}))
    monkeypatch.setattr(retention, "ownership", SimpleNamespace(owners=dict))
    for name in ("seal_removed", "_remember", "_expire_platform"):
        monkeypatch.setattr(retention, name, lambda *_: None)
    for name in ("refs", "platforms"):
        monkeypatch.setattr(retention, name, lambda *_: [])
    retention.expire_all(None)  # type: ignore[arg-type]
    assert [folder.exists() for folder in left] == [False, False]
