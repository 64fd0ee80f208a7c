"""`python -m tests.mutation`: mutates the code that keeps tenants apart; do its tests notice?

Heavy libraries are imported once. Each mutant is tested in a process forked from that, in which the
mutated source stands in for the module: no file is changed, and all share one Postgres, whose
databases are put back after each. Exit code 1 where fewer than 95 % are noticed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from tests.mutation.mutants import Mutant, mutants
from tests.mutation.targets import DECISIONS, TARGETS, Target

ROOT: Final = Path(__file__).resolve().parents[2]
REQUIRED: Final = 0.95
#: Mutants that no test can notice, with the reason.
EQUIVALENT: Final = Path(__file__).parent / "equivalent.toml"
#: Imported before any process is forked; nothing of ours is.
HEAVY: Final = (
    *("pandas", "pyarrow.parquet", "pyarrow.dataset", "pyarrow.compute", "deltalake", "duckdb"),
    *("sklearn.pipeline", "lightgbm", "scipy.stats", "psycopg", "psycopg_pool", "sqlalchemy.orm"),
    *("alembic.command", "pydantic", "typer", "rich.console", "yaml", "croniter", "hypothesis"),
    *("mlflow", "mlflow.tracking", "skops.io", "pytest", "_pytest.assertion", "psutil", "fsspec"),
    *("airflow.api_fastapi.app", "airflow.api_fastapi.core_api.security", "fastapi.testclient"),
)
#: Seconds beyond which a mutant is taken for one that never ends, as a multiple of the unmutated
#: run, and at least.
_TIMES, _LEAST = 6.0, 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Test the mutants and print those that nobody noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument(
        "modules", nargs="*", help="ends of module names; all that keep tenants apart if none"
    )
    parser.add_argument("--list", action="store_true", help="only list the mutants")
    parser.add_argument("--only", default="", help="only mutants whose name holds this")
    asked = parser.parse_args(arguments)
    targets = [
        target
        for target in (*TARGETS, *(DECISIONS if asked.modules else ()))
        if not asked.modules or any(target.module.endswith(name) for name in asked.modules)
    ]
    equivalent = tomllib.loads(EQUIVALENT.read_text("utf-8"))
    if asked.list:
        for target in targets:
            for one in mutants(ROOT / target.path, target.functions):
                print(f"{target.module}:{one.line} {one.name}")
        return 0
    noticed = made = 0
    survivors: list[str] = []
    with _server() as server:
        for target in targets:
            found = [
                one
                for one in mutants(ROOT / target.path, target.functions)
                if asked.only in one.name
            ]
            known = equivalent.get(target.module, {})
            left = [one for one in found if one.name not in known]
            unused = set(known) - {one.name for one in found}
            if unused and not asked.only:
                survivors += [f"{target.module}: not there any more: {one}" for one in unused]
            seconds = server.baseline(target)
            print(
                f"{target.module}: {len(left)} mutants, {len(found) - len(left)} equivalent, "
                f"tests take {seconds:.0f} s",
                flush=True,
            )
            for one in left:
                made += 1
                if server.notices(target, one, max(_LEAST, _TIMES * seconds)):
                    noticed += 1
                else:
                    survivors.append(f"{target.module}:{one.line} {one.name}")
                    print(f"  not noticed: {one.line} {one.name}", flush=True)
    share = noticed / made if made else 1.0
    print(f"{noticed} of {made} mutants noticed ({share:.1%}); required: {REQUIRED:.0%}")
    for line in survivors:
        print(f"  {line}")
    return 0 if share >= REQUIRED else 1


class Server:
    """A Postgres that all mutants share, and the processes that are forked beside it."""

    def __init__(self, state: Any, running: Any) -> None:
        self._state, self._running = state, running
        self._roles: set[str] = set()
        self._templates: dict[str, str] = {}

    def prepare(self) -> None:
        """Make the databases once, and remember them."""
        import psycopg

        assert self._run(self._migrated, 300) == 0, "the databases could not be made"
        with psycopg.connect(self._running.dsn("postgres"), autocommit=True) as connection:
            for setting in ("fsync = off", "synchronous_commit = off", "autovacuum = off"):
                connection.execute(f"ALTER SYSTEM SET {setting}")  # type: ignore[arg-type]
            connection.execute("SELECT pg_reload_conf()")
            for name in ("tenantry", "mlflow"):
                self._templates[name] = f"template_{name}"
                connection.execute(f"CREATE DATABASE template_{name} TEMPLATE {name}")  # type: ignore[arg-type]
            roles = connection.execute("SELECT rolname FROM pg_roles").fetchall()
            self._roles = {name for (name,) in roles}

    def baseline(self, target: Target) -> float:
        """Seconds that the tests take, which must pass, with nothing mutated."""
        begun = time.monotonic()
        code = self._run(lambda: _tested(target, None, self._running), 1800, keep=True)
        self._put_back()
        assert code == 0, f"the tests of {target.module} fail without a mutation"
        return time.monotonic() - begun

    def notices(self, target: Target, mutant: Mutant, seconds: float) -> bool:
        """Whether a test fails, or never ends, with the mutant in place."""
        try:
            return self._run(lambda: _tested(target, mutant, self._running), seconds) != 0
        finally:
            self._put_back()

    def _migrated(self) -> int:
        os.environ |= {
            "TENANTRY_ADMIN_DATABASE_URL": self._running.dsn("postgres"),
            "TENANTRY_DATABASE_URL": self._running.dsn("tenantry", "tenantry_app"),
        }
        import_module("include.storage.migrate").migrate()
        uri = self._running.sqlalchemy_url("mlflow", "mlflow")
        import_module("include.registry.mlflow_registry").prepare(uri)
        return 0

    def _run(self, work: Any, seconds: float, *, keep: bool = False) -> int:
        """What a forked process that does the work ends with; 1 where it takes longer."""
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.setsid()
                if not keep:
                    nowhere = os.open(os.devnull, os.O_WRONLY)
                    os.dup2(nowhere, 1)
                    os.dup2(nowhere, 2)
                code = int(work())
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr)
            finally:
                sys.stdout.flush()
                os._exit(code)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return 1

    def _put_back(self) -> None:
        import psycopg

        with psycopg.connect(self._running.dsn("postgres"), autocommit=True) as connection:
            rows = connection.execute(
                "SELECT datname FROM pg_database WHERE datname LIKE 'tenantry%' "
                "OR datname LIKE 'mlflow%'"
            ).fetchall()
            for (name,) in rows:
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
            for name, template in self._templates.items():
                owner = "mlflow" if name == "mlflow" else "postgres"
                connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER {owner}")  # type: ignore[arg-type]
                if name == "tenantry":
                    connection.execute("GRANT CONNECT ON DATABASE tenantry TO tenantry_app")
            roles = connection.execute("SELECT rolname FROM pg_roles").fetchall()
            for role in {name for (name,) in roles} - self._roles:
                connection.execute(f'DROP ROLE "{role}"')


def _tested(target: Target, mutant: Mutant | None, running: Any) -> int:
    """Run the tests of a target in this process, with a mutant in place of its module."""
    if mutant is not None:
        sys.meta_path.insert(0, InPlaceOf(target.module, ROOT / target.path, mutant.source))
    embedded = import_module("include.runtime.postgres")
    embedded.start = lambda *_, **__: running  # type: ignore[attr-defined]
    embedded.stop = lambda *_, **__: None  # type: ignore[attr-defined]
    import pytest

    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header"]
    return int(pytest.main([*options, *target.tests]))


class InPlaceOf(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives a module another source than its file's."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        self._name, self._path, self._source = name, path, source

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname != self._name:
            return None
        spec = importlib.machinery.ModuleSpec(fullname, self, origin=str(self._path))
        spec.has_location = True
        return spec

    def create_module(self, spec: Any) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._source, str(self._path), "exec"), module.__dict__)  # noqa: S102


@contextlib.contextmanager
def _server() -> Iterator[Server]:
    embedded = import_module("include.runtime.postgres")
    state = import_module("include.runtime.state").State(
        Path(tempfile.mkdtemp(prefix="tenantry-mutation-"))
    )
    running = embedded.start(state)
    try:
        for name in HEAVY:
            with contextlib.suppress(ImportError):
                import_module(name)
        for name in [n for n in sys.modules if n.partition(".")[0] == "include"]:
            del sys.modules[name]
        server = Server(state, running)
        server.prepare()
        yield server
    finally:
        embedded.stop(state)
        shutil.rmtree(state.home, ignore_errors=True)


if __name__ == "__main__":
    os.chdir(ROOT)
    os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="tenantry-mutation-airflow-"))
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
