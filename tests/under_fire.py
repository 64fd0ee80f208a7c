"""Promotions and rollbacks by processes that are killed, while others read who serves.

Run as a program with a JSON request on its standard input, it prints what it found as JSON. A main
process hands one task at a time to each writer, kills some of them with SIGKILL at random moments,
lets others live on as zombies beside their successor, and repeats what was not reported done.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from include.errors import TenantryError
from include.handoffs import Candidate, Trained
from include.models.baselines import baseline_model
from include.models.serialise import from_bytes, to_bytes
from include.registry import stage
from include.registry.ancestry import ModelName, ancestors
from include.registry.blast_radius import roll_back_derived
from include.registry.mlflow_registry import MlflowRegistry
from include.registry.port import CHAMPION, ModelVersion, NewVersion
from include.registry.promotions import withdrawn
from include.registry.rollback import roll_back
from include.runtime.preload import preload
from include.storage.lake import Lake
from include.stores.postgres.incidents import PostgresIncidents
from include.stores.postgres.promotions import PostgresPromotions
from include.tenants.namespace import GLOBAL, TenantRef

PROMOTIONS: Final = PostgresPromotions()
INCIDENTS: Final = PostgresIncidents()

FIRST: Final = datetime(2020, 1, 1, tzinfo=UTC)
DAY: Final = timedelta(days=1)
FINGERPRINT: Final = "0123456789abcdef"
_FORK: Final = multiprocessing.get_context("fork")
_READERS: Final = 2
#: Share of the interrupted tasks whose process lives on beside its successor.
_ZOMBIES: Final = 0.2
#: How often one task is interrupted at most, so that it is done on a busy machine, too.
_KILLS_OF_ONE: Final = 2


@dataclass(frozen=True)
class Request:
    """The experiment."""

    mlflow: str
    lake: str
    tenants: int
    tasks: int  #: promotions and rollbacks in all
    seed: int
    interrupted: float  #: share of the attempts at a task that are meant not to end

    @property
    def registry(self) -> MlflowRegistry:
        """As this process opens it."""
        return MlflowRegistry(self.mlflow, Path(self.lake))

    @property
    def case(self) -> str:
        """A use case of its own: MLflow outlives an experiment, and its lake does not."""
        return f"under_fire_{self.seed}"

    @property
    def refs(self) -> list[TenantRef]:
        """The tenants."""
        return [TenantRef(f"fire-{self.seed}-{n}", "eu", "pool") for n in range(self.tenants)]


@dataclass
class Task:
    """One promotion or rollback; run again, it does nothing that is done already."""

    owner: TenantRef
    kind: str  #: `promote`, `back` or `withdraw`
    number: int  #: of the owner's tasks
    to: str = ""
    attempts: int = 0
    done: dict[str, Any] = field(default_factory=dict)


# what a task does


def _bytes(owner: TenantRef, column: str) -> bytes:
    return to_bytes(baseline_model({"column": column, "descending": False, "then": ""}))


def _reference() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"user_id": ["0", "1"], "prediction": [0.1, 0.9]}), sink)
    return bytes(sink.getvalue().to_pybytes())


def _promote(request: Request, task: Task) -> dict[str, Any]:
    """A training whose own model is better than who serves, and the decision about it.

    Every third one finds the global champion better instead, which then serves as it is.
    """
    owner, lake, registry = task.owner, Lake(Path(request.lake)), request.registry
    as_of, own = FIRST + task.number * DAY, "global" if owner == GLOBAL else "own"
    made: list[tuple[str, str, bytes, str]] = [
        ("baseline", "rule", _bytes(owner, "rule"), ""),
        (own, "model", _bytes(owner, f"{own}_{owner.id.replace('-', '_')}_{task.number}"), ""),
    ]
    world = None if owner == GLOBAL else PROMOTIONS.champion_at(GLOBAL, request.case)
    if world is not None and world.rung == "global" and task.number % 3 == 2:
        version = registry.get(GLOBAL, request.case, world.version)
        content = registry.artifact(GLOBAL, version)
        made[1] = ("global", "model", content, str(ModelName.of(version)))
    folder = f"training/{request.case}/{as_of:%Y-%m-%d}"
    candidates = []
    for rung, name, content, parent in made:
        artifact = lake.put(owner, f"{folder}/{rung}.json", content)
        reference = lake.put(owner, f"{folder}/{rung}.parquet", _reference())
        candidates.append(Candidate(rung, name, artifact, reference, parent, 0.8, 0.7, 0.9))
    serving = PROMOTIONS.champion_at(owner, request.case, as_of)
    facing = None
    if serving is not None:
        facing = {"rung": "incumbent", "name": "x", "digest": serving.digest, "value": 0.75}
    others = ["baseline/rule", *(["incumbent/x"] if facing else [])]
    better = f"{made[1][0]}/model"
    document = {
        "metric": "auc",
        "tables": [],
        "windows": {},
        "models": {
            f"{c.rung}/{c.name}": {
                "metrics": {"auc": {"value": 0.8, "low": 0.7, "high": 0.9}},
                "segments": {},
            }
            for c in candidates
        },
        "evidence": {
            "metric": "auc",
            "entities": 1_000,
            "minimum_entities": 50,
            "candidates": [
                {
                    "rung": c.rung,
                    "name": c.name,
                    "digest": c.artifact.digest,
                    "value": 0.7 if c.rung == "baseline" else 0.8,
                }
                for c in candidates
            ],
            "incumbent": facing,
            "comparisons": [
                {"candidate": better, "against": o, "difference": 0.1, "low": 0.09, "high": 0.11}
                for o in others
            ],
            "tenants": [],
            "notes": [],
        },
    }
    evaluation = lake.put(owner, f"{folder}/evaluation.json", json.dumps(document).encode())
    trained = Trained(
        owner.id, request.case, as_of, "scheduled", tuple(candidates), evaluation, 1_000, 1_000
    )
    found = stage.register(
        owner,
        trained,
        registry=registry,
        promotions=PROMOTIONS,
        incidents=INCIDENTS,
        lake=lake,
        feature_fingerprint=FINGERPRINT,
    )
    return {"version": found.version, "promoted": found.promoted}


def _back(request: Request, task: Task) -> dict[str, Any]:
    at = FIRST + task.number * DAY
    try:
        done = roll_back(
            task.owner,
            request.case,
            to=task.to,
            as_of=at,
            registry=request.registry,
            promotions=PROMOTIONS,
        )
    except TenantryError as error:  # what it goes back to was withdrawn meanwhile
        return {"refused": str(error)}
    return {"version": done.version}


def _withdraw(request: Request, task: Task) -> dict[str, Any]:
    """The global champion of a task before, and all that came from it."""

    def fallback(owner: TenantRef, use_case: str) -> NewVersion:
        return NewVersion(
            key="fallback",
            rung="baseline",
            name="rule",
            model=_bytes(owner, "rule"),
            reference=_reference(),
            parent_version="",
            as_of=FIRST,
            feature_fingerprint=FINGERPRINT,
            parameters={},
            metrics={},
            lineage={},
        )

    effects = list(
        roll_back_derived(
            ModelName(GLOBAL.id, request.case, task.to),
            request.refs,
            as_of=lambda _: None,
            registry=request.registry,
            promotions=PROMOTIONS,
            fallback=fallback,
        )
    )
    assert all(one.complete for one in effects), effects
    return {"version": task.to, "effects": sum(e.outcome == "rolled back" for e in effects)}


_WORK: Final = {"promote": _promote, "back": _back, "withdraw": _withdraw}


def _writer(request: Request, pipe: Connection) -> None:
    """Do one task after the other; a first look at the registry makes later ones comparable."""
    request.registry.alias(request.refs[0], request.case, CHAMPION)
    pipe.send({"ready": True})
    while True:
        try:
            task: Task = pipe.recv()
        except EOFError:
            return
        began = time.perf_counter()
        found = _WORK[task.kind](request, task)
        pipe.send({**found, "seconds": time.perf_counter() - began})


# who reads


@dataclass
class Reader:
    """Looks at one owner after the other, and notes whatever must never be seen."""

    request: Request
    reads: int = 0
    lagging: int = 0  #: readings in which the alias was not yet where the ledger was
    wrong: list[str] = field(default_factory=list)
    seen: dict[str, tuple[datetime, datetime]] = field(default_factory=dict)
    aliased: set[str] = field(default_factory=set)

    def look(self, owner: TenantRef) -> None:
        """One reading: ledger, artifacts, alias."""
        registry, case = self.request.registry, self.request.case
        self.reads += 1
        champion = PROMOTIONS.champion_at(owner, case)
        if champion is None:
            if owner.id in self.seen:
                self.wrong.append(f"{owner.id}: nobody serves any more")
            return
        assert champion.decided_at is not None
        now = (champion.as_of, champion.decided_at)
        if now < self.seen.get(owner.id, now):
            self.wrong.append(f"{owner.id}: an older decision came back, {champion.version}")
        self.seen[owner.id] = now
        version = registry.get(owner, case, champion.version)
        if version.digest != champion.digest:
            self.wrong.append(f"{owner.id}: {champion.version} is not what was promoted")
        self.whole(owner, version)
        alias = registry.alias(owner, case, CHAMPION)
        if alias is None:
            if owner.id in self.aliased:
                self.wrong.append(f"{owner.id}: the alias is gone")
            return
        self.aliased.add(owner.id)
        self.lagging += alias.version != champion.version
        self.whole(owner, alias)

    def whole(self, owner: TenantRef, version: ModelVersion) -> None:
        """Model, reference and card are there, as recorded, and can be parsed."""
        registry = self.request.registry
        try:
            from_bytes(registry.artifact(owner, version))
            pq.read_table(pa.BufferReader(registry.reference(owner, version)))
            json.loads(registry.card(owner, version))
        except (TenantryError, OSError, ValueError) as error:
            self.wrong.append(f"{owner.id}@{version.version} is incomplete: {error}")


def _reader(request: Request, pipe: Connection, seed: int) -> None:
    reader, draw = Reader(request), random.Random(seed)
    while not pipe.poll(0.02):
        reader.look(draw.choice([*request.refs, GLOBAL]))
    pipe.send({"reads": reader.reads, "lagging": reader.lagging, "wrong": reader.wrong[:20]})


# who kills


@dataclass
class Writer:
    """One owner's tasks, and the process that is at them."""

    request: Request
    tasks: Iterator[Task]
    draw: random.Random
    process: Any = None
    pipe: Connection | None = None
    task: Task | None = None
    deadline: float = float("inf")
    over: bool = False

    def start(self) -> None:
        """A new process, which says when it is ready."""
        self.pipe, theirs = _FORK.Pipe()
        self.process = _FORK.Process(target=_writer, args=(self.request, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.deadline = float("inf")

    def give(self, usual: float) -> None:
        """The task that is not done, or the next one, which takes about `usual` seconds."""
        if self.task is None or self.task.done:
            self.task = next(self.tasks, None)
        if self.task is None:
            self.over = True
            return
        self.task.attempts += 1
        assert self.pipe is not None
        self.pipe.send(self.task)
        self.deadline = float("inf")
        if self.task.attempts <= _KILLS_OF_ONE and self.draw.random() < self.request.interrupted:
            self.deadline = time.monotonic() + self.draw.uniform(0, 1.2) * usual


def _tasks(request: Request, owner: TenantRef, count: int, draw: random.Random) -> Iterator[Task]:
    """Promotions and, now and then, a step back from the last one that succeeded."""
    served: list[str] = []
    for number in range(count):
        back = len(served) > 1 and draw.random() < 0.3
        if back and owner == GLOBAL:
            task = Task(owner, "withdraw", number, served[-1])
        elif back:
            task = Task(owner, "back", number, served[-2])
        else:
            task = Task(owner, "promote", number)
        yield task
        if task.kind == "promote" and task.done["promoted"]:
            served.append(task.done["version"])
        elif task.kind != "promote":
            served.pop()


def run(request: Request) -> dict[str, Any]:
    """The whole experiment."""
    draw, began = random.Random(request.seed), time.monotonic()
    readers = []
    for number in range(_READERS):
        ours, theirs = _FORK.Pipe()
        reader = _FORK.Process(target=_reader, args=(request, theirs, number), daemon=True)
        reader.start()
        theirs.close()
        readers.append((reader, ours))
    owners = [GLOBAL, *request.refs]
    writers = []
    for number, owner in enumerate(owners):
        share = request.tasks // len(owners) + (number < request.tasks % len(owners))
        tasks = _tasks(request, owner, share, random.Random(draw.random()))
        writers.append(Writer(request, tasks, random.Random(draw.random())))
        writers[-1].start()
    told: dict[str, Any] = {
        **dict.fromkeys(("promotions", "rollbacks", "refused", "blast_rollbacks", "kept"), 0),
        **dict.fromkeys(("kills", "zombies"), 0),
        "errors": [],
        "seconds": {"promote": [], "back": [], "withdraw": []},
    }
    zombies: list[tuple[Any, Connection]] = []
    printed = began
    while busy := [w for w in writers if not w.over]:
        now = time.monotonic()
        if now - printed > 30:
            printed = now
            done = {name: found for name, found in told.items() if isinstance(found, int)}
            print(f"{now - began:.0f} s: {done}", file=sys.stderr, flush=True)
        soonest = min(min(w.deadline for w in busy) - now, 1.0)
        ready = wait([w.pipe for w in busy if w.pipe], timeout=max(soonest, 0))
        for writer in busy:
            if writer.pipe in ready:
                _hear(writer, told)
            elif time.monotonic() > writer.deadline:
                if writer.draw.random() < _ZOMBIES:
                    zombies = [*_buried(zombies), (writer.process, writer.pipe)]
                    told["zombies"] += 1
                else:
                    writer.process.kill()
                    writer.process.join()
                    told["kills"] += 1
                writer.start()
    while zombies:
        zombies = _buried(zombies, patience=60.0)
    for writer in writers:
        writer.process.kill()
        writer.process.join()
    return (
        told | _checked(request, readers, told["seconds"]) | {"elapsed": time.monotonic() - began}
    )


def _buried(
    zombies: list[tuple[Any, Connection]], patience: float = 0.0
) -> list[tuple[Any, Connection]]:
    """Those that are still at their task; the others have done it a second time, and go."""
    left = []
    for process, pipe in zombies:
        if pipe.poll(patience) or patience:
            process.kill()
            process.join()
            pipe.close()
        else:
            left.append((process, pipe))
    return left


def _hear(writer: Writer, told: dict[str, Any]) -> None:
    assert writer.pipe is not None
    try:
        answer = writer.pipe.recv()
    except (EOFError, OSError):
        told["errors"].append(f"{writer.task} ended its process")
        writer.over = True
        return
    task = writer.task
    if "ready" not in answer and task is not None:
        task.done = answer
        told["seconds"][task.kind].append(answer["seconds"])
        if "refused" in answer:
            told["refused"] += 1
        elif task.kind == "promote":
            told["promotions" if answer["promoted"] else "kept"] += 1
        else:
            told["rollbacks"] += 1
            told["blast_rollbacks"] += answer.get("effects", 0)
    taken = [seconds for found in told["seconds"].values() for seconds in found]
    writer.give(statistics.median(taken) if taken else 0.5)


def _checked(
    request: Request, readers: list[tuple[Any, Connection]], seconds: Mapping[str, list[float]]
) -> dict[str, Any]:
    """What the readers saw, and how everything stands when all is quiet."""
    reports = []
    for process, pipe in readers:
        pipe.send("stop")
        reports.append(pipe.recv())
        process.join()
    reader, registry = Reader(request), request.registry
    versions = decisions = 0
    gone = {
        str(ModelName(GLOBAL.id, request.case, version))
        for version in withdrawn(PROMOTIONS.history(GLOBAL, request.case))
    }
    for owner in [GLOBAL, *request.refs]:
        reader.look(owner)
        every = registry.versions(owner, request.case)
        for version in every:
            reader.whole(owner, version)
        champion = PROMOTIONS.champion_at(owner, request.case)
        assert champion is not None
        serving = registry.get(owner, request.case, champion.version)
        come_from = {str(ModelName.of(serving)), *ancestors(serving.parent_version, registry)}
        if come_from & gone:
            reader.wrong.append(f"{owner.id} serves what was withdrawn: {come_from & gone}")
        decided = PROMOTIONS.history(owner, request.case)
        twice = {one.as_of for one in decided if one.trained}
        if len(twice) < sum(one.trained for one in decided):
            reader.wrong.append(f"{owner.id}: a training was decided twice")
        digests = [one.digest for one in every if one.rung == "own"]
        if len(set(digests)) < len(digests):
            reader.wrong.append(f"{owner.id}: a version was registered twice")
        versions, decisions = versions + len(every), decisions + len(decided)
    return {
        "reads": sum(one["reads"] for one in reports),
        "lagging": sum(one["lagging"] for one in reports),
        "wrong": [line for one in reports for line in one["wrong"]] + reader.wrong,
        "lagging_at_rest": reader.lagging,
        "versions": versions,
        "decisions": decisions,
        "seconds": {
            kind: {
                "median": statistics.median(found),
                "p99": sorted(found)[int(0.99 * (len(found) - 1))],
                "most": max(found),
            }
            for kind, found in seconds.items()
            if found
        },
    }


if __name__ == "__main__":
    preload(
        ("mlflow.store.model_registry.sqlalchemy_store", "mlflow.store.tracking.sqlalchemy_store")
    )
    asked = Request(**json.load(sys.stdin))
    print(json.dumps(run(asked)))
