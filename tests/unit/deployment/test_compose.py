"""docker-compose.yaml and Dockerfile say what the code says."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.runtime import initialise
from include.runtime.environment import TELEMETRY_OFF, component_environment
from include.runtime.ports import Ports
from include.runtime.postgres import Postgres
from include.runtime.state import State

PROJECT = Path(__file__).resolve().parents[3]
SCRIPTS = Path(sys.executable).parent
COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service.get("build")}
VARIABLE = re.compile(r"\$\{([A-Z_]+)(:[?-][^}]*)?\}")

#: What the embedded default sets and the scaled deployment means differently, or has no use for.
DIFFERENT = {
    *("AIRFLOW_HOME", "TENANTRY_LAKE", "TENANTRY_TENANTS", "TENANTRY_HOME"),
    *("TENANTRY_DATABASE_URL", "TENANTRY_ADMIN_DATABASE_URL", "MLFLOW_TRACKING_URI"),
    *("MLFLOW_BACKEND_STORE_URI", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"),
    *("TENANTRY_API_PORT", "TENANTRY_MLFLOW_PORT", "AIRFLOW_CONN_STORE_292"),
    *("AIRFLOW__CORE__DAGS_FOLDER", "AIRFLOW__CORE__PLUGINS_FOLDER"),
    *("AIRFLOW__LOGGING__BASE_LOG_FOLDER",),
    *("AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY",),
    *("AIRFLOW__CORE__EXECUTOR", "AIRFLOW__CORE__PARALLELISM", "AIRFLOW__CORE__AUTH_MANAGER"),
    *("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS",),
    *("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE",),
    *("AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__API__SECRET_KEY", "AIRFLOW__API_AUTH__JWT_SECRET"),
    *("AIRFLOW__API__HOST", "AIRFLOW__API__PORT", "AIRFLOW__API__BASE_URL"),
    *("AIRFLOW__CORE__EXECUTION_API_SERVER_URL",),
    *("AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL",),
}


def _environment(service: str) -> dict[str, str]:
    return dict(SERVICES[service].get("environment") or {})


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of the embedded default's components."""
    home = tmp_path_factory.mktemp("home")
    return component_environment(State(home), Postgres(home), Ports(), base={})


def test_every_part_of_the_scaled_deployment_is_there() -> None:
    """Postgres, Redis, the init job, Airflow's five components and MLflow."""
    assert set(SERVICES) == {
        *("postgres", "redis", "init", "api-server", "scheduler", "dag-processor"),
        *("triggerer", "worker", "mlflow"),
    }
    assert set(OURS) == set(SERVICES) - {"postgres", "redis"}


def test_shared_settings_are_those_of_the_embedded_default(embedded: dict[str, str]) -> None:
    """A setting means the same on one machine and on many, unless it is listed as different."""
    wanted = {name: value for name, value in embedded.items() if name not in DIFFERENT}
    for name in OURS:
        found = _environment(name)
        assert {key: found.get(key) for key in wanted} == wanted, name


def test_every_setting_that_differs_is_one_of_the_embedded_defaults(
    embedded: dict[str, str],
) -> None:
    """The list of differences holds no name that nobody sets any more."""
    assert set(embedded) >= DIFFERENT


def test_telemetry_is_off_everywhere() -> None:
    """Every component of ours starts with all switches off."""
    for name in OURS:
        assert TELEMETRY_OFF.items() <= _environment(name).items(), name


def _required_by_the_code() -> set[str]:
    """Variables that a stage cannot run without, as they stand in the code."""
    texts = [
        path.read_text(encoding="utf-8")
        for folder in ("storage", "tenants", "registry", "pipeline")
        for path in (PROJECT / "include" / folder).rglob("*.py")
    ]
    texts.append((PROJECT / "include" / "wiring.py").read_text(encoding="utf-8"))
    pattern = re.compile(r"(?:environ\.get\(|environ\[|database_url\(\s*)\"([A-Z_]+)\"")
    return {name for text in texts for name in pattern.findall(text)}


def test_every_variable_the_stages_read_is_set_where_they_run() -> None:
    """Whatever storage, wiring, registry and pipeline look up, a worker has."""
    wanted = _required_by_the_code() - {"TENANTRY_ADMIN_DATABASE_URL"}
    assert {"TENANTRY_DATABASE_URL", "TENANTRY_LAKE", "MLFLOW_TRACKING_URI"} <= wanted
    set_by_image = set(re.findall(r"^ENV (\w+)=", (PROJECT / "Dockerfile").read_text(), re.M))
    for service in ("worker", "scheduler", "triggerer", "dag-processor", "init"):
        missing = wanted - set(_environment(service)) - set_by_image
        assert not missing, service


def test_the_init_job_has_what_it_requires_and_nobody_else_has_the_superuser() -> None:
    """Only the job that makes databases can log in as Postgres' superuser."""
    assert set(initialise.REQUIRED) <= set(_environment("init"))
    for name in SERVICES:
        known = "POSTGRES_PASSWORD" in str(_environment(name))
        assert known == (name in ("init", "postgres")), name


def test_the_password_in_a_url_is_the_one_its_login_is_made_with() -> None:
    """All services use the same URL for the same database."""
    for variable in ("TENANTRY_DATABASE_URL", "MLFLOW_TRACKING_URI", *initialise.FOREIGN_DATABASES):
        assert len({_environment(name)[variable] for name in OURS}) == 1
    mlflow = _environment("mlflow")
    assert mlflow["MLFLOW_BACKEND_STORE_URI"] == mlflow["MLFLOW_TRACKING_URI"]


def test_no_password_or_key_is_written_down() -> None:
    """What looks like a secret is a variable that must be set, with no default."""
    secret = re.compile(r"PASSWORD|SECRET|FERNET|_KEY$")
    for name, service in SERVICES.items():
        for key, value in _environment(name).items():
            if secret.search(key):
                assert re.fullmatch(r"\$\{[A-Z_]+:\?[^}]+\}", value), (name, key)
            for user_and_password in re.findall(r"//([^/@\s]*)@", str(value)):
                given = user_and_password.partition(":")[2]
                assert re.fullmatch(r"\$\{[A-Z_]+:\?[^}]+\}", given), (name, key)
        for variable, rest in VARIABLE.findall(str(service)):
            if secret.search(variable):
                assert rest.startswith(":?"), (name, variable)


def test_every_variable_is_documented_and_the_example_sets_none() -> None:
    """`.env.example` names each variable of the compose file, and no other; required ones empty."""
    used = dict(VARIABLE.findall((PROJECT / "docker-compose.yaml").read_text()))
    lines = (PROJECT / ".env.example").read_text().splitlines()
    required = {line.partition("=")[0]: line for line in lines if re.match(r"[A-Z_]+=", line)}
    optional = {m[1] for line in lines if (m := re.match(r"#   ([A-Z_]+)=", line))}
    assert set(required) == {name for name, rest in used.items() if rest.startswith(":?")}
    assert optional == {name for name, rest in used.items() if rest.startswith(":-")}
    assert all(line.endswith("=") for line in required.values())
    assert ".env" in (PROJECT / ".gitignore").read_text().splitlines()


def test_every_service_restarts_is_checked_and_waits_for_what_it_needs() -> None:
    """Long-running services have health checks; ours start when the init job is done."""
    for name, service in SERVICES.items():
        if name == "init":
            assert service["restart"] == "no"
            continue
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name
        if name in OURS:
            assert service["depends_on"]["init"]["condition"] == "service_completed_successfully"
    for service in OURS.values():
        for needed, condition in service["depends_on"].items():
            if condition["condition"] == "service_healthy":
                assert SERVICES[needed]["healthcheck"]


def _commands() -> list[tuple[str, list[str]]]:
    found = []
    for name, service in OURS.items():
        found.append((f"{name} command", list(service["command"])))
        if "healthcheck" in service:
            kind, *words = service["healthcheck"]["test"]
            found.append(
                (f"{name} health check", words if kind == "CMD" else shlex.split(words[0]))
            )
    return found


@pytest.mark.parametrize(("name", "words"), _commands(), ids=[name for name, _ in _commands()])
def test_every_command_and_option_exists(name: str, words: list[str], tmp_path: Path) -> None:
    """The program's own help knows each subcommand and each option that is passed to it."""
    if words[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(words[2]) is not None
        return
    options = [word for word in words if word.startswith("--")]
    first = words.index(options[0]) if options else len(words)
    subcommand = words[: 1 if words[0] == "celery" else first]
    if words[0] == "celery":
        assert words[1:3] == ["--app", "airflow.providers.celery.executors.celery_executor.app"]
        assert importlib.util.find_spec(words[2].rpartition(".")[0]) is not None
        subcommand, options = ["celery", "inspect"], ["--destination"]
    done = subprocess.run(
        [str(SCRIPTS / subcommand[0]), *subcommand[1:], "--help"],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-500:]
    for option in options:
        assert re.search(rf"{option}\b", done.stdout), f"{name}: {option}"


def test_jobs_are_checked_by_their_own_type() -> None:
    """Each Airflow component's health check asks for its own heartbeat."""
    for service, job in (
        ("scheduler", "SchedulerJob"),
        ("dag-processor", "DagProcessorJob"),
        ("triggerer", "TriggererJob"),
    ):
        words = SERVICES[service]["healthcheck"]["test"]
        assert words[words.index("--job-type") + 1] == job


def test_the_lake_the_logs_and_the_tenants_are_shared() -> None:
    """A worker on any host sees the same lake and tenants, and writes logs where the UI reads."""
    for name, service in OURS.items():
        targets = {
            mount.split(":")[-2 if mount.endswith(":ro") else -1] for mount in service["volumes"]
        }
        environment = _environment(name)
        assert environment["TENANTRY_LAKE"] in targets
        assert environment["TENANTRY_TENANTS"] in targets
        assert any(
            environment["AIRFLOW__LOGGING__BASE_LOG_FOLDER"].startswith(f"{t}/") for t in targets
        )
    named = {
        mount.split(":")[0]
        for service in SERVICES.values()
        for mount in service["volumes"]
        if not mount.startswith((".", "/", "$"))
    }
    assert named == set(COMPOSE["volumes"])


def test_web_servers_are_published_on_the_loopback_only() -> None:
    """Nothing is open to other hosts unless somebody puts a proxy before it."""
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(published) == 2
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_image_copies_what_exists_and_the_context_lets_it_through() -> None:
    """Every COPY source is in the repository and allowed by .dockerignore."""
    lines = (PROJECT / "Dockerfile").read_text().splitlines()
    sources = [word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1]]
    allowed = (PROJECT / ".dockerignore").read_text().splitlines()
    assert "*" in allowed
    for source in sources:
        assert (PROJECT / source).exists(), source
        assert f"!{source}" in allowed, source
    assert {"include", "dags", "requirements.txt", "airflow_settings.yaml"} <= set(sources)


def test_the_image_runs_as_nobody_special_and_holds_no_secret() -> None:
    """A user without privileges; no secret in a layer; the folders of volumes are the user's."""
    text = (PROJECT / "Dockerfile").read_text()
    assert re.findall(r"^USER (\w+)$", text, re.M) == ["tenantry"]
    assert not re.search(r"PASSWORD|SECRET|FERNET|TOKEN", text)
    for folder in ("/var/lib/tenantry/lake", "/var/lib/tenantry/logs"):
        assert folder in text
    version = re.search(r"^FROM python:(\d+\.\d+)-slim", text, re.M)
    assert version is not None
    assert version[1] in ("3.11", "3.12", "3.13")
