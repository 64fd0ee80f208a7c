"""A simulated tenant as files: what it would export, its tenant file, and the truth beside them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import yaml
from pydantic import ValidationError

from include.errors import ConfigError
from include.simulate.facts import KNOWN_SINCE, facts, leaked_facts
from include.simulate.faults import Leak
from include.simulate.leaks import ON_EVENTS
from include.simulate.rows import EXPORTED, PROPERTY, UID, item_ids
from include.simulate.simulation import PART, Opened, UserBatch
from include.tenants.config import TenantConfig

Format = Literal["parquet", "csv"]

#: What each business exports besides event, user and times; a property's type beside its name.
_COLUMNS: Final[dict[str, tuple[tuple[str, ...], Mapping[str, pa.DataType]]]] = {
    "shop": (("item_id", "group_id", "quantity", "amount"), {"discount": pa.float64()}),
    "media": (("item_id", "group_id"), {"seconds": pa.float64()}),
    "crm": (("account_id", "group_id", "amount"), {"page": pa.string(), "seconds": pa.float64()}),
    "payments": (
        ("account_id", "group_id", "amount"),
        {"country": pa.string(), "device": pa.string()},
    ),
    "learning": (("item_id", "group_id"), {"minutes": pa.float64(), "score": pa.float64()}),
    "jobs": (("item_id", "account_id", "group_id"), {}),
}


@dataclass(frozen=True)
class Written:
    """What stands on disk now."""

    tenant: str
    file: Path  #: the tenant file
    events: int
    facts: int


def write_sources(
    opened: Opened,
    folder: Path,
    use_cases: tuple[str, ...],
    format: Format = "parquet",
    users: int = PART,
    progress: Callable[[int, int], None] | None = None,
) -> Written:
    """Write `{tenant}.yaml`, `data/{tenant}/` and `truth/{tenant}/` into the folder.

    The tenant file comes last, so that it never names files that are not all there; what an earlier
    call left of the tenant is replaced.

    Args:
        use_cases: names for the tenant file, which is not asked whether they exist.
        users: whose events are drawn, and stand in a file, at a time.
        progress: called with the users done and all users.
    Raises:
        ConfigError: the tenant file would not be a good one, or the folder cannot be written to.
    """
    tenant = opened.plan.id
    file, data, truth = folder / f"{tenant}.yaml", folder / "data" / tenant, folder / "truth"
    try:
        config = _config(opened, data.absolute(), use_cases, format)
        for old in (data, truth / tenant):
            file.unlink(missing_ok=True)
            shutil.rmtree(old, ignore_errors=True)
            old.mkdir(parents=True)
        rows = 0
        for number, part in enumerate(opened.parts(users)):
            events = _events(opened, part)
            _write(events, data / f"events-{number:04d}.{format}", format)
            if len(part.outcomes):
                pq.write_table(part.outcomes, truth / tenant / f"outcomes-{number:04d}.parquet")
            rows += len(events)
            if progress is not None:
                done = min((number + 1) * users, opened.population.users)
                progress(done, opened.population.users)
        known = _facts(opened)
        for name, (_, table) in known.items():
            _write(table, data / f"{name}.{format}", format)
        _write_truth(opened, truth / tenant)
        partial = file.with_suffix(".partial")
        partial.write_text(
            yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8"
        )
        os.replace(partial, file)
    except OSError as error:
        raise ConfigError(f"the sources of {tenant} cannot be written: {error}") from error
    return Written(tenant, file, rows, sum(len(table) for _, table in known.values()))


def _config(opened: Opened, data: Path, use_cases: tuple[str, ...], format: Format) -> Any:
    """The tenant file as plain values, checked as the loader would."""
    world, plan = opened.world, opened.plan
    columns, properties = _COLUMNS[world.business]
    names = [*properties, *_leaks(opened)]
    events = {
        "event_column": "event",
        "event_id": ["event_id"],
        "event_timestamp": "happened_at",
        "arrival": {"column": "received_at"},
        "user_id": "user_id",
        **{name: name for name in columns},
        **({"properties": {name: PROPERTY + name for name in names}} if names else {}),
    }
    sources: list[dict[str, Any]] = [
        {"name": "events", "connector": _connector(data / "events-*", format), "events": events}
    ]
    for name, (entity, table) in _facts(opened).items():
        mapping = {
            "entity": entity,
            "entity_id": f"{entity}_id",
            "valid_from": KNOWN_SINCE,
            "names": {name: name for name in table.column_names[2:]},
        }
        connector = _connector(data / name, format)
        sources.append({"name": name, "connector": connector, "attributes": mapping})
    config = {
        "id": plan.id,
        "name": f"Simulated {world.business} {plan.id}, seed {world.seed}",
        "region": plan.region,
        "timezone": "UTC",
        "schedule": "0 0 * * 1",
        "history_from": world.instant(world.opening(plan)).date(),
        "until": (world.instant(world.closing(plan)) - timedelta(days=1)).date(),
        # its time may be long past, and is there to be looked at
        "retention": {"events": "P30000D", "predictions": "P30000D"},
        "pooling": {"consent": plan.consent},
        "sources": sources,
        "use_cases": dict.fromkeys(use_cases),
    }
    try:
        TenantConfig.model_validate(config)
    except ValidationError as error:
        raise ConfigError(f"tenant {plan.id} would not be a good tenant file: {error}") from None
    return config


def _connector(path: Path, format: Format) -> dict[str, str]:
    return {"type": "file", "path": f"{path}.{format}", "format": format}


def _facts(opened: Opened) -> dict[str, tuple[str, pa.Table]]:
    """Name of a source of attributes → its entity, and its table."""
    known = facts(opened.population, opened.items)
    found = {f"{entity}s": (entity, table) for entity, table in known.items()}
    leaks = leaked_facts(opened.population)
    return found | {
        f"{entity}s_{table.column_names[2]}": (entity, table) for entity, table in leaks
    }


def _leaks(opened: Opened) -> list[str]:
    """Properties that leaks add."""
    known = (*EXPORTED.names, *_COLUMNS[opened.world.business][1])
    leaks = (fault for fault in opened.population.faults if isinstance(fault, Leak))
    named = (leak.name for leak in leaks if leak.kind in ON_EVENTS and leak.name not in known)
    return list(dict.fromkeys(named))


def _events(opened: Opened, part: UserBatch) -> pa.Table:
    """The part with the same columns in every part."""
    table = part.exported
    columns, properties = _COLUMNS[opened.world.business]
    kinds = {**properties, **dict.fromkeys(_leaks(opened), pa.float64())}
    for name, kind in kinds.items():
        if PROPERTY + name not in table.column_names:
            table = table.append_column(PROPERTY + name, pa.nulls(len(table), kind))
    always = [n for n in EXPORTED.names if n != UID and n not in _optional()]
    chosen = [n for n in EXPORTED.names if n in always or n in columns]
    return table.select([*chosen, *(PROPERTY + name for name in kinds)])


def _optional() -> set[str]:
    return {name for columns, _ in _COLUMNS.values() for name in columns}


def _write(table: pa.Table, path: Path, format: Format) -> None:
    if format == "csv":
        csv.write_csv(table, path)
    else:
        pq.write_table(table, path)


def _write_truth(opened: Opened, folder: Path) -> None:
    """Users, items and a shop's demand; outcomes of single events are written with their part."""
    truth = opened.truth
    pq.write_table(truth.users, folder / "users.parquet")
    if not len(opened.items):
        return
    pq.write_table(truth.items, folder / "items.parquet")
    if opened.world.business != "shop":
        return
    demand = truth.demand()
    days, items = demand.shape
    table = pa.table(
        {
            "day": pa.array(np.repeat(np.arange(days), items)),
            "item_id": item_ids(np.tile(opened.items.number, days)),
            "expected": pa.array(demand.ravel()),
        }
    )
    pq.write_table(table, folder / "demand.parquet")
