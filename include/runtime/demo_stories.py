"""What the demo plays: a grocery chain's stores, or simulated tenants with every template."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from include.errors import ConfigError
from include.runtime import control, demo_sources, state
from include.runtime.demo import Story
from include.simulate.simulation import open_tenant
from include.simulate.sources import write_sources
from include.simulate.templates import TEMPLATES
from include.simulate.world import TenantPlan, World
from include.storage.postgres import database_url

_SEED: Final = 7
_FIRST_DAY: Final = date(2024, 1, 1)
_DAYS: Final = 210
_USERS: Final = 400


def stores() -> Story:
    """Seven stores of Complete Journey, whose tenant files come with the project."""
    return Story(
        cut=datetime(2017, 10, 16, tzinfo=UTC),
        weeks=6,
        prepare=_prepare_stores,
        ask=".venv/bin/tenantry why store-367 churn",
    )


def templates() -> Story:
    """Three simulated tenants per kind of business; their folder becomes the fleet.

    Raises:
        ConfigError: `TENANTRY_TENANTS` names another fleet.
    """
    folder = state.locate(dict(os.environ)).home / "templates"
    named = os.environ.get("TENANTRY_TENANTS")
    if named and Path(named).resolve() != folder.resolve():
        raise ConfigError(
            f"TENANTRY_TENANTS is {named}, and the templates have tenants of their own in "
            f"{folder}; unset it for this demo"
        )
    _write_templates(folder)
    os.environ["TENANTRY_TENANTS"] = str(folder)
    return Story(
        cut=datetime(2024, 7, 1, tzinfo=UTC),
        weeks=2,
        prepare=lambda: None,
        ask=f"export TENANTRY_TENANTS={folder}; .venv/bin/tenantry why crm-1 lead_scoring",
    )


def _prepare_stores() -> None:
    demo_sources.prepare_postgres(database_url("TENANTRY_ADMIN_DATABASE_URL", "postgres"))
    demo_sources.prepare_files(control.status().home / "demo" / "store-356")


def _write_templates(folder: Path) -> None:
    """Once; what a killed demo left unfinished is written anew."""
    finished = folder / ".finished"
    if finished.exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    for business, cases in TEMPLATES.items():
        world = World(
            seed=_SEED,
            business=business,
            tenants=tuple(TenantPlan(f"{business}-{n}", _USERS, 0.2) for n in (1, 2, 3)),
            start=_FIRST_DAY,
            days=_DAYS,
        )
        for plan in world.tenants:
            write_sources(open_tenant(world, plan.id), folder, cases, "parquet")
    finished.touch()
