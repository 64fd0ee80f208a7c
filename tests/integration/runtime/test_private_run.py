"""A whole run, from `up` through every task of a pipeline: nothing of it is for other users."""

from __future__ import annotations

import base64
import json
import os
import socket
import stat
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import airflow_stack
import ordinary_user
import psutil
import pytest
from airflow_stack import Stack, Who
from generated import Shop

from include.runtime import postgres, processes
from include.tenants.namespace import dag_id

pytestmark = pytest.mark.integration

SHOP = Shop("closed-shop", customers=120)
PIPELINE = dag_id(SHOP.id, "pipeline")
WEEK = datetime(2024, 7, 1, tzinfo=UTC)
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture(scope="module", params=["as started, umask 000", "an ordinary user, umask 022"])
def stack(
    request: pytest.FixtureRequest,
) -> Iterator[Stack]:
    """An installation after a week, started with a loose umask over loose files."""
    loose = "000" in request.param
    with tempfile.TemporaryDirectory(prefix="tenantry-data-") as scratch:
        Path(scratch).chmod(0o755)
        who = Who(umask=0)
        if not loose:
            uid, gid = ordinary_user.somebody()
            python = ordinary_user.interpreter(uid, gid, Path(scratch) / "python")
            who = Who(uid, gid, 0o022, python) if os.geteuid() == 0 else Who(umask=0o022)
        with airflow_stack.stack(Path(scratch) / "data", SHOP, who) as stack:
            stack.backfill(PIPELINE, WEEK, WEEK, "none")
            yield stack


def _open_to_others(home: Path) -> list[str]:
    found = []
    for path in (home, *home.rglob("*")):
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            continue  # components go on writing
        if not stat.S_ISLNK(mode) and mode & 0o077:
            found.append(f"{stat.filemode(mode)} {path.relative_to(home)}")
    return found


def test_every_file_and_folder_of_a_run_is_its_owners_alone(stack: Stack) -> None:
    """Lake, task logs, models, sockets, locks, keys: 0600 and 0700, whatever umask was inherited,
    and so is what an earlier version, or a person, had left open."""
    home = stack.state.home
    task_logs = list((stack.state.logs / "tasks").rglob("*.log"))
    assert len(task_logs) > 10
    assert list(stack.state.lake.rglob("*.parquet"))
    assert _open_to_others(home) == []


def test_a_command_leaves_nothing_open_either(stack: Stack) -> None:
    """`tenantry run`, in a process that Airflow did not start."""
    stack.tenantry("run", SHOP.id, "--as-of", "2024-07-08", "--use-case", "churn")
    assert _open_to_others(stack.state.home) == []


def test_rows_on_their_way_never_lie_in_a_folder_that_users_share(stack: Stack) -> None:
    """The temporary folder of the supervisor, and so of all it starts, is in the state folder."""
    for record in processes.recall(stack.state.run):
        if record.name in ("supervisor", "mlflow"):  # Airflow's write their titles over it
            environment = psutil.Process(record.pid).environ()
            assert environment["TMPDIR"] == str(stack.state.temporary), record.name


def test_the_components_run_as_who_started_them(stack: Stack) -> None:
    """No component gained or lost rights on the way; Postgres alone is not root."""
    uid = os.geteuid() if stack.who.uid is None else stack.who.uid
    for record in processes.recall(stack.state.run):
        assert psutil.Process(record.pid).uids().effective == uid, record.name
    server = postgres.postmaster(stack.state)
    assert server is not None
    assert server.uids().effective != 0


def test_no_folder_above_was_opened_for_postgres(stack: Stack) -> None:
    """The server gets to its folder although it may not pass the state folder."""
    assert stat.S_IMODE(stack.state.home.stat().st_mode) == 0o700
    socket_file = next(postgres.address(stack.state).socket_dir.glob(".s.PGSQL.*[0-9]"))
    assert stat.S_ISSOCK(socket_file.stat().st_mode)
    assert stat.S_IMODE(socket_file.stat().st_mode) == 0o600


# MLflow


def _mlflow(
    stack: Stack, path: str, login: str = "", method: str = "GET", body: object = None, **more: str
) -> tuple[int, bytes]:
    headers = {"Content-Type": "application/json", **more}
    if login:
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    request = urllib.request.Request(  # noqa: S310
        stack.ports.mlflow_url + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers=headers,
    )
    try:
        with _DIRECT.open(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def _login(stack: Stack) -> str:
    return "admin:" + (stack.state.secrets / "mlflow_password").read_text()


SEARCH = "/api/2.0/mlflow/experiments/search?max_results=10"
ATTEMPTS = [
    ("GET", "/", None),
    ("GET", SEARCH, None),
    ("GET", "/ajax-api/2.0/mlflow/experiments/search?max_results=10", None),
    ("GET", "/static-files/main.js", None),
    ("GET", "/version", None),
    ("GET", "/health/../api/2.0/mlflow/experiments/search", None),
    ("GET", "//health", None),
    ("POST", "/api/2.0/mlflow/experiments/create", {"name": "mine"}),
    ("POST", "/api/2.0/mlflow/registered-models/set-tag", {"name": "churn", "key": "a"}),
    ("PATCH", "/api/2.0/mlflow/registered-models/update", {"name": "churn"}),
    ("DELETE", "/api/2.0/mlflow/registered-models/delete", {"name": "churn"}),
    ("POST", "/graphql", {"query": "{__typename}"}),
    ("POST", "/health", {}),
    ("PUT", "/api/2.0/mlflow-artifacts/artifacts/x", {}),
    ("POST", "/v1/traces", {}),
]


@pytest.mark.parametrize(("method", "path", "body"), ATTEMPTS)
def test_who_has_no_login_neither_reads_nor_changes_anything_of_mlflow(
    stack: Stack, method: str, path: str, body: object
) -> None:
    """The same refusal for every path, known or not; the server says nothing of itself."""
    for login in ("", "admin:", "admin:admin", "admin:password1234", ":", "x" * 3000):
        status, answer = _mlflow(stack, path, login, method, body)
        assert (status, answer) == (401, b"MLflow asks for a login"), login


def test_the_printed_login_opens_mlflow(stack: Stack) -> None:
    """With the password from the owner's file, the pages and the tenant's models are there."""
    status, page = _mlflow(stack, "/", _login(stack))
    assert status == 200
    assert b"<html" in page.lower()
    path = "/api/2.0/mlflow/registered-models/search"
    status, answer = _mlflow(stack, path, _login(stack), **{"X-MLFLOW-WORKSPACE": SHOP.id})
    assert status == 200
    assert "churn" in {model["name"] for model in json.loads(answer).get("registered_models", [])}
    assert _mlflow(stack, "/health") == (200, b"OK")


def test_a_strangers_host_name_is_no_way_in(stack: Stack) -> None:
    """A name that somebody made resolve to this machine is refused, also with the login."""
    for host in ("evil.example", "10.evil.example", f"127.0.0.1.evil.example:{stack.ports.mlflow}"):
        status, answer = _mlflow(stack, SEARCH, _login(stack), Host=host)
        assert status == 403, answer
    host = f"localhost:{stack.ports.mlflow}"
    assert _mlflow(stack, SEARCH, _login(stack), Host=host)[0] == 200


def test_only_loopback_and_the_two_pages_listen(stack: Stack) -> None:
    """Nothing but Airflow's and MLflow's port, neither of which answers without a login."""
    listening = {
        (connection.laddr.ip, connection.laddr.port)
        for record in processes.recall(stack.state.run)
        for process in processes.family(record)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {("127.0.0.1", port) for port in (stack.ports.api, stack.ports.mlflow)}
    with socket.create_connection(("127.0.0.1", stack.ports.api)):
        pass


def test_a_second_start_tightens_what_was_loosened(stack: Stack) -> None:
    """`up` takes from others what an earlier version had left them."""
    stack.runtime("down")
    opened = [path for path in stack.state.lake.rglob("*") if path.is_file()][:5]
    for path in (*opened, stack.state.lake, stack.state.home):
        path.chmod(0o777)
    told = stack.runtime("up")
    assert _open_to_others(stack.state.home) == []
    for file in ("mlflow_password", "airflow_passwords.json"):
        assert str(stack.state.secrets / file) in told
    assert _login(stack).removeprefix("admin:") not in told
