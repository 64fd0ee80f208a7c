"""Stages in processes of their own that are killed at a chosen write or moment.

Run as a program, it imports everything once and forks one process per stage, as Airflow's
LocalExecutor does. `Stages` speaks to that program; nothing but the forked process is killed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from include.pipeline.stages import RETRAIN_STAGES, TENANT_STAGES, USE_CASE_STAGES

START: Final = 0
END: Final = -1
_WRITES: Final = ("INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "DROP")


@dataclass(frozen=True)
class Step:
    """One stage of one tenant (or of `global`), as a scheduler would start it."""

    tenant: str
    stage: str
    use_case: str
    start: datetime
    end: datetime
    run_id: str = ""  #: not empty: of a drift retrain

    @property
    def name(self) -> str:
        """For messages and file names."""
        parts = (self.tenant, self.use_case, self.stage, f"{self.end:%m%d}", self.run_id[:5])
        return "_".join(part for part in parts if part).replace("-", "_")


@dataclass(frozen=True)
class Ended:
    """How a stage's process ended."""

    killed: bool
    writes: tuple[str, ...]  #: labels of the write boundaries it passed
    seconds: float
    handoff: dict[str, Any] | None
    error: str


@dataclass
class Stages:
    """The program's other end."""

    process: subprocess.Popen[str]
    received: dict[str, dict[str, Any]] = field(default_factory=dict)

    def run(
        self, step: Step, kill_after: int | None = None, kill_at_seconds: float | None = None
    ) -> Ended:
        """Run a stage with the hand-offs before it; keep its own.

        Args:
            kill_after: SIGKILL right after so many writes; `START` before anything is done, `END`
                when all is done and only the answer is missing.
            kill_at_seconds: SIGKILL from outside after so long.
        """
        place = f"{step.tenant}/{step.end.isoformat()}/{step.run_id}"
        mine = self.received.setdefault(place, {})
        shared = {k.partition("/")[2]: v for k, v in mine.items() if k.startswith("/")}
        own = {k.partition("/")[2]: v for k, v in mine.items() if k.startswith(f"{step.use_case}/")}
        request = {
            "tenant": step.tenant,
            "stage": step.stage,
            "use_case": step.use_case,
            "start": step.start.isoformat(),
            "end": step.end.isoformat(),
            "run_id": step.run_id,
            "received": shared | own,
            "kill_after": kill_after,
            "kill_at_seconds": kill_at_seconds,
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        ended = Ended(**{**answer, "writes": tuple(answer["writes"])})
        if ended.handoff is not None:
            mine[f"{step.use_case}/{step.stage}"] = ended.handoff
        return ended

    def finish(self, step: Step) -> Ended:
        """Run a stage to its end.

        Raises:
            AssertionError: it failed.
        """
        ended = self.run(step)
        assert not ended.error, f"{step.name}: {ended.error}"
        return ended


@contextmanager
def stages(environment: Mapping[str, str]) -> Iterator[Stages]:
    """The program, started in an environment."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve())],
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Stages(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=60)


def pipeline(
    tenant: str, start: datetime, end: datetime, use_cases: Sequence[str], trains: bool
) -> list[Step]:
    """The stages of one pipeline run in the order Airflow runs them."""
    found = [Step(tenant, stage.name, "", start, end) for stage in TENANT_STAGES]
    return found + [
        Step(tenant, stage.name, use_case, start, end)
        for use_case in use_cases
        for stage in USE_CASE_STAGES
        if trains or not stage.when_training_is_due
    ]


def retrain(tenant: str, start: datetime, end: datetime, use_case: str) -> list[Step]:
    """The stages of a retrain that drift has asked for."""
    run_id = f"drift__{use_case}__{end.isoformat()}"
    return [Step(tenant, stage.name, use_case, start, end, run_id) for stage in RETRAIN_STAGES]


# the program


def _serve() -> None:
    from include.runtime.preload import preload

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    preload()
    for line in sys.stdin:
        answers.write(json.dumps(_fork(json.loads(line))) + "\n")
        answers.flush()


def _fork(request: dict[str, Any]) -> dict[str, Any]:
    reading, writing = os.pipe()
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _child(request, writing)
    os.close(writing)
    if request["kill_at_seconds"] is not None:
        time.sleep(request["kill_at_seconds"])
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    lines = told.splitlines()
    ends = [json.loads(line[1:]) for line in lines if line.startswith("=")]
    return {
        "killed": os.WIFSIGNALED(status),
        "writes": [line[1:] for line in lines if line.startswith("+")],
        "seconds": time.monotonic() - began,
        "handoff": ends[0]["handoff"] if ends else None,
        "error": ends[0]["error"] if ends else "killed",
    }


def _child(request: dict[str, Any], writing: int) -> None:
    """Run the stage, tell every write at once through the pipe, and never return."""
    written = 0

    def wrote(label: str) -> None:
        nonlocal written
        written += 1
        os.write(writing, f"+{label[:80]!r}\n".encode())
        if written == request["kill_after"]:
            os.kill(os.getpid(), signal.SIGKILL)

    if request["kill_after"] == START:
        os.kill(os.getpid(), signal.SIGKILL)
    handoff, error = None, ""
    try:
        _watch(wrote)
        handoff = _execute(request)
        if request["kill_after"] == END:
            os.kill(os.getpid(), signal.SIGKILL)
    except BaseException as caught:
        error = f"{type(caught).__name__}: {caught}"
    os.write(writing, f"={json.dumps({'handoff': handoff, 'error': error})}\n".encode())
    os._exit(1 if error else 0)


def _execute(request: dict[str, Any]) -> dict[str, Any]:
    from include import wiring
    from include.handoffs import pack, unpack
    from include.monitoring import skew
    from include.pipeline import runs, steps
    from include.pipeline.stages import GLOBAL_STAGES, stage_named

    skew.ONE_IN = 1  # every window is replayed  # type: ignore[misc]
    received = {stage: unpack(packed) for stage, packed in request["received"].items()}
    connect = wiring.connect_from_environment
    start, end = (datetime.fromisoformat(request[name]) for name in ("start", "end"))
    tenant, use_case, stage = (request[name] for name in ("tenant", "use_case", "stage"))
    if tenant == "global":
        world = runs.open_global(use_case, as_of=end, connect=connect)
        return pack(steps.execute_global(stage_named(stage, GLOBAL_STAGES), world, received))
    if request["run_id"]:
        again = runs.open_retrain(
            tenant,
            use_case,
            as_of=end,
            trigger="drift",
            run_id=request["run_id"],
            begun=bool(received),
            connect=connect,
        )
        return pack(steps.execute(stage_named(stage), again, received))
    run = runs.open_pipeline(tenant, use_case, start=start, end=end, connect=connect)
    return pack(steps.execute(stage_named(stage), run, received))


def _watch(wrote: Callable[[str], None]) -> None:
    """Call `wrote` right after every statement that writes, commit, file and Delta commit."""
    import psycopg
    from deltalake import DeltaTable
    from sqlalchemy import event
    from sqlalchemy.engine import Engine
    from sqlalchemy.engine.default import DefaultDialect

    from include.storage import lake

    def after(target: Any, name: str, label: str) -> None:
        original = getattr(target, name)

        def replaced(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            wrote(label)
            return result

        setattr(target, name, replaced)

    def statements(name: str) -> None:
        original = getattr(psycopg.Cursor, name)

        def replaced(cursor: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(cursor, query, *args, **kwargs)
            text = " ".join(str(query).split())
            if text.upper().startswith(_WRITES):
                wrote(text)
            return result

        setattr(psycopg.Cursor, name, replaced)

    statements("execute")
    statements("executemany")
    after(psycopg.Connection, "commit", "psycopg commit")
    after(DefaultDialect, "do_commit", "sqlalchemy commit")
    after(lake, "write_deltalake", "write_deltalake")
    after(DeltaTable, "create", "DeltaTable.create")
    after(os, "fsync", "fsync")
    after(Path, "replace", "rename")

    @event.listens_for(Engine, "after_cursor_execute")
    def _(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.strip().upper().startswith(_WRITES):
            wrote(" ".join(statement.split()))


if __name__ == "__main__":
    _serve()
