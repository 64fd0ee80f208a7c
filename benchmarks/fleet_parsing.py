"""What one tenant's file can cost all the others: the worst accepted file among 1,000 good ones.

Run alone: `python benchmarks/fleet_parsing.py [--tenants 1000] [--rounds 7] [--tries 200]`. It
makes files that use every part of a tenant file to its bounds, and random mixtures of them;
measures each one's load, DAGs and serialised DAGs; and takes the worst that is accepted, and the
worst that is refused. Then all DAG files are executed and serialised as Airflow does, in a fresh
process pinned to one core, in alternating rounds: the good tenants alone, with the worst accepted
file, with the worst refused one. A parse of so many varies by more than one file costs, so that
`--copies` of the file are added at once, each under an id of its own. It prints the CPU time that a
file adds, with its spread.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import runpy
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
DAG_FILES = tuple(sorted((PROJECT / "dags").glob("*.py")))
KINDS = ("good alone", "worst accepted", "worst refused")


@dataclass(frozen=True)
class Shape:
    """How much a file makes of each part; 0 leaves it out."""

    use_cases: int = 1
    overrides: bool = False
    sources: int = 1
    key_columns: int = 1
    properties: int = 0
    facts: bool = False  #: whether half of the sources map attributes
    conditions: int = 0
    values: int = 1  #: of each condition
    personal: int = 0
    levels: int = 1  #: of a column's name
    length: int = 4  #: of a column's name, at least
    letter: str = "c"
    expressions: int = 0  #: of each source
    names: int = 1  #: in each expression, twenty times
    comment: int = 0  #: characters
    unknown: int = 0  #: keys that there are not


def text(shape: Shape, use_cases: list[str], tenant: str = "worst") -> str:
    """A tenant file of that shape; beyond a bound it is refused."""

    def column(number: int) -> str:
        parts = [f"{shape.letter}{number}"] + ["a"] * (shape.levels - 1)
        name = ".".join(parts)
        return json.dumps(name + shape.letter * max(0, shape.length - len(name)))

    def many(count: int, prefix: str) -> str:
        return "{" + ", ".join(f"{prefix}{n}: {column(n)}" for n in range(count)) + "}"

    values = "[" + ", ".join(str(n) for n in range(shape.values)) + "]"
    where = "{" + ", ".join(f"w{n}: {values}" for n in range(shape.conditions)) + "}"
    overrides = (
        "{retrain_every: P7D, minimum_rows: 10, drift_threshold: 0.25, cooldown: P7D, "
        "exposure_parity: true, fairness: {attribute: region, largest_gap: 0.5}}"
    )
    lines = [f"id: {tenant}", "name: Worst", "region: eu", 'schedule: "7 * * * *"']
    lines += ["timezone: America/St_Johns", "history_from: 2024-01-01", "pooling: {consent: true}"]
    lines += ["use_cases:"]
    lines += [
        f"  {n}: {overrides if shape.overrides else ''}" for n in use_cases[: shape.use_cases]
    ]
    if shape.personal:
        names = ", ".join(f"x{column(n)[1:-1]}" for n in range(shape.personal))
        lines.append(f"pii_columns: [{names}]")
    lines.append("sources:")
    for number in range(shape.sources):
        lines += [
            f"- name: s{number}",
            "  connector: {type: file, path: x.csv, format: csv}",
            f"  where: {where}",
        ]
        if shape.expressions:
            words = "+".join(f"{shape.letter}{n}" for n in range(shape.names) for _ in range(20))
            given = ", ".join(f"e{n}: {words}" for n in range(shape.expressions))
            lines.append(f"  columns: {{{given}}}")
        if shape.facts and number % 2:
            names = many(max(1, shape.properties), "n")
            entity = f"entity: user, entity_id: {column(0)}, valid_from: 2024-01-01"
            lines.append(f"  attributes: {{{entity}, names: {names}}}")
            continue
        ids = ", ".join(column(n) for n in range(shape.key_columns))
        known = f"event: e, event_id: [{ids}], event_timestamp: {column(1)}, user_id: {column(2)}"
        lines.append(f"  events: {{{known}, properties: {many(shape.properties, 'p')}}}")
    lines += [f"unknown_{n}: {n}" for n in range(shape.unknown)]
    return "\n".join([*lines, "#" * shape.comment, ""])


def shapes(tries: int, use_cases: int, seed: int = 1) -> Iterator[Shape]:
    """Each part to its bound, and random mixtures."""
    yield Shape()
    yield Shape(use_cases=use_cases)
    yield Shape(use_cases=use_cases, overrides=True)
    yield Shape(sources=20, properties=24)
    yield Shape(sources=20, properties=24, facts=True)
    yield Shape(sources=20, conditions=1, values=150)
    yield Shape(sources=1, conditions=14, values=256)
    yield Shape(sources=20, key_columns=16, properties=64, length=20)
    yield Shape(sources=20, properties=12, length=180)
    yield Shape(sources=20, properties=6, length=180, letter="é")
    yield Shape(sources=18, properties=30, personal=256, levels=5, length=20)
    yield Shape(sources=4, properties=60, personal=250, levels=60, length=120)
    yield Shape(sources=1, expressions=30, names=25)
    yield Shape(sources=4, expressions=60, names=4, personal=250)
    yield Shape(sources=1, expressions=29, names=25, personal=250)
    yield Shape(sources=1, expressions=64, names=12, length=1)
    yield Shape(comment=60_000)
    yield Shape(unknown=1_900)
    yield Shape(sources=50, properties=64)
    draw = random.Random(seed)
    for _ in range(tries):
        yield Shape(
            use_cases=draw.randint(1, use_cases),
            overrides=draw.random() < 0.5,
            sources=draw.randint(1, 20),
            key_columns=draw.randint(1, 16),
            properties=draw.randint(0, 64),
            facts=draw.random() < 0.5,
            conditions=draw.choice((0, 0, 1, 4, 16, 32)),
            values=draw.choice((1, 4, 16, 64, 256)),
            personal=draw.choice((0, 0, 16, 256)),
            levels=draw.choice((1, 2, 5, 20)),
            length=draw.choice((1, 8, 40, 150)),
            letter=draw.choice("cé"),
            unknown=draw.choice((0, 0, 0, 50, 1_000)),
        )


def worst(folder: Path, tries: int) -> dict[str, tuple[float, Shape]]:
    """CPU seconds and shape of the worst accepted and the worst refused file of those tried."""
    from airflow.serialization.serialized_objects import DagSerialization

    from include import use_cases
    from include.errors import ConfigError
    from include.pipeline.dags import _build
    from include.tenants.loader import load_tenant

    known = sorted(use_cases.names())
    found: dict[str, tuple[float, Shape]] = {}
    path = folder / "worst.yaml"

    def attempt() -> str:
        try:
            tenant = load_tenant(path, use_cases.names())
        except ConfigError:
            return "worst refused"
        for dag in _build(tenant):
            DagSerialization.to_dict(dag)
        return "worst accepted"

    for shape in shapes(tries, len(known)):
        path.write_text(text(shape, known), encoding="utf-8")
        kind = attempt()
        cost = min(_cpu(attempt) for _ in range(3))
        if cost > found.get(kind, (0.0, shape))[0]:
            found[kind] = (cost, shape)
    return found


def _cpu(work: Callable[[], Any]) -> float:
    started = time.thread_time()
    work()
    return time.thread_time() - started


def measure() -> float:
    """CPU seconds of one round in this process: every DAG file executed, every DAG serialised."""
    from airflow.serialization.serialized_objects import DagSerialization

    import include.pipeline.dags  # noqa: F401

    started = time.process_time()
    for file in DAG_FILES:
        for dag in runpy.run_path(str(file)).values():
            if hasattr(dag, "dag_id") and hasattr(dag, "tasks"):
                DagSerialization.to_dict(dag)
    return time.process_time() - started


def main() -> None:
    """Search, then measure among the others."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--tenants", type=int, default=1000)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--tries", type=int, default=200)
    arguments.add_argument("--copies", type=int, default=20, help="of the worst file, at once")
    arguments.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    wanted = arguments.parse_args()
    sys.path.insert(0, str(PROJECT))
    if wanted.measure:
        print(measure())
        return
    with tempfile.TemporaryDirectory() as scratch:
        os.environ.setdefault("AIRFLOW_HOME", str(Path(scratch) / "airflow"))
        _compare(Path(scratch), wanted.tenants, wanted.rounds, wanted.tries, wanted.copies)


def _compare(scratch: Path, tenants: int, rounds: int, tries: int, copies: int) -> None:
    from include import use_cases
    from tests.fleet import write_fleet

    found = worst(scratch, tries)
    known = sorted(use_cases.names())
    folders = {KINDS[0]: write_fleet(scratch / "good", tenants)}
    for kind in KINDS[1:]:
        folders[kind] = scratch / kind.replace(" ", "-")
        shutil.copytree(folders[KINDS[0]], folders[kind])
        for number in range(copies):
            content = text(found[kind][1], known, f"worst-{number}")
            (folders[kind] / f"worst-{number}.yaml").write_text(content, encoding="utf-8")
    spent: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(rounds):
        for kind in KINDS if number % 2 else reversed(KINDS):
            spent[kind].append(_round(folders[kind], scratch / "airflow"))
    print(
        f"{tenants:,} good tenants, {copies} copies of the worst of {tries} random shapes, "
        f"{rounds} alternating rounds, one core"
    )
    print(f"good alone: {statistics.median(spent[KINDS[0]]):.2f} s of CPU time")
    for kind in KINDS[1:]:
        cost, shape = found[kind]
        changed = {k: v for k, v in asdict(shape).items() if v != asdict(Shape())[k]}
        added = sorted(
            1000 * (one - other) / copies
            for one, other in zip(spent[kind], spent[KINDS[0]], strict=True)
        )
        low, _, high = statistics.quantiles(added, n=4) if len(added) > 1 else [added[0]] * 3
        print(
            f"{kind}: alone {1000 * cost:.1f} ms; among them {statistics.median(added):+.1f} ms "
            f"each (quartiles {low:+.1f} to {high:+.1f}); {changed}"
        )


def _round(fleet: Path, airflow_home: Path) -> float:
    done = subprocess.run(
        [sys.executable, __file__, "--measure"],
        env={**os.environ, "TENANTRY_TENANTS": str(fleet), "AIRFLOW_HOME": str(airflow_home)},
        preexec_fn=_pin_to_one_core if hasattr(os, "sched_setaffinity") else None,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.splitlines()[-1])


def _pin_to_one_core() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


if __name__ == "__main__":
    main()
