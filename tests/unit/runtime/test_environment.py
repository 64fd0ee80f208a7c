"""What every component is told: one installation, no telemetry, no default login."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from include.errors import ConfigError, IntegrityError
from include.runtime import secrets, state
from include.runtime.environment import component_environment, uses_embedded_postgres
from include.runtime.ports import Ports
from include.runtime.postgres import Postgres
from include.runtime.state import State

SERVER = Postgres(Path("/run/pg"))
PORTS = Ports(api=18080, mlflow=15000)


@pytest.fixture
def here(tmp_path: Path) -> State:
    return state.prepare(State(tmp_path), minimum_free_bytes=0)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MLFLOW_DISABLE_TELEMETRY", "true"),
        ("DO_NOT_TRACK", "true"),
        ("GX_ANALYTICS_ENABLED", "false"),
        ("AIRFLOW__USAGE_DATA_COLLECTION__ENABLED", "False"),
        ("SCARF_ANALYTICS", "false"),
    ],
)
def test_telemetry_is_off_whatever_the_caller_says(here: State, variable: str, value: str) -> None:
    """Every library's switch is off, even where the shell turned it on."""
    environment = component_environment(here, SERVER, PORTS, {variable: "1"})
    assert environment[variable] == value


def test_every_database_is_on_the_embedded_server_by_default(here: State) -> None:
    """Without configuration Airflow, MLflow and the tenants share the one embedded server."""
    environment = component_environment(here, SERVER, PORTS, {})
    assert uses_embedded_postgres(environment, SERVER)
    assert environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == (
        "postgresql+psycopg2://airflow@/airflow?host=/run/pg"
    )
    assert environment["TENANTRY_DATABASE_URL"] == (
        "postgresql://tenantry_app@/tenantry?host=/run/pg"
    )
    assert environment["MLFLOW_BACKEND_STORE_URI"] == environment["MLFLOW_TRACKING_URI"]


def test_a_server_of_ones_own_replaces_the_embedded_one(here: State) -> None:
    """With all four addresses set, the embedded server is not needed."""
    own = {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://a@db/airflow",
        "MLFLOW_TRACKING_URI": "postgresql+psycopg2://m@db/mlflow",
        "TENANTRY_DATABASE_URL": "postgresql://app@db/tenantry",
        "TENANTRY_ADMIN_DATABASE_URL": "postgresql://owner@db/tenantry",
    }
    environment = component_environment(here, SERVER, PORTS, own)
    assert {name: environment[name] for name in own} == own
    assert not uses_embedded_postgres(environment, SERVER)


def test_tenants_alone_may_live_on_a_server_of_ones_own(here: State) -> None:
    """With only the tenants' addresses set, the embedded server still serves Airflow and MLflow."""
    own = {
        "TENANTRY_DATABASE_URL": "postgresql://app@db/tenantry",
        "TENANTRY_ADMIN_DATABASE_URL": "postgresql://owner@db/tenantry",
    }
    environment = component_environment(here, SERVER, PORTS, own)
    assert environment["TENANTRY_DATABASE_URL"] == "postgresql://app@db/tenantry"
    assert uses_embedded_postgres(environment, SERVER)


def test_half_an_external_server_is_refused(here: State) -> None:
    """The login of tasks without the login of migrations would split the data over two servers."""
    with pytest.raises(ConfigError, match="belong together"):
        component_environment(here, SERVER, PORTS, {"TENANTRY_DATABASE_URL": "postgresql://x/y"})


def test_another_airflow_in_the_shell_does_not_leak_in(here: State) -> None:
    """A foreign AIRFLOW_HOME, DAG folder or API address never reaches our components."""
    foreign = {
        "AIRFLOW_HOME": "/elsewhere/airflow",
        "AIRFLOW__CORE__DAGS_FOLDER": "/elsewhere/dags",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": "http://elsewhere/execution/",
    }
    environment = component_environment(here, SERVER, PORTS, foreign)
    assert environment["AIRFLOW_HOME"] == str(here.airflow)
    assert environment["AIRFLOW__CORE__DAGS_FOLDER"] == str(state.PROJECT / "dags")
    assert environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == (
        "http://127.0.0.1:18080/execution/"
    )


def test_a_setting_of_ones_own_wins_over_a_default(here: State) -> None:
    """Any AIRFLOW__SECTION__KEY that is only a default can be set from outside."""
    environment = component_environment(here, SERVER, PORTS, {"AIRFLOW__CORE__PARALLELISM": "32"})
    assert environment["AIRFLOW__CORE__PARALLELISM"] == "32"


def test_components_may_write_bytecode(here: State) -> None:
    """A shell that forbids .pyc files does not slow the components down."""
    environment = component_environment(here, SERVER, PORTS, {"PYTHONDONTWRITEBYTECODE": "1"})
    assert "PYTHONDONTWRITEBYTECODE" not in environment


def test_web_servers_listen_on_loopback(here: State) -> None:
    """Nobody on the network reaches the Airflow UI."""
    assert component_environment(here, SERVER, PORTS, {})["AIRFLOW__API__HOST"] == "127.0.0.1"


def test_no_default_password_starts(tmp_path: Path) -> None:
    """Two installations have different logins and keys, in files that only their owner reads."""
    first, second = State(tmp_path / "a"), State(tmp_path / "b")
    one, two = secrets.load(first), secrets.load(second)
    assert one.admin_password not in ("admin", "airflow", two.admin_password)
    assert one.fernet_key != two.fernet_key
    for path in first.secrets.iterdir():
        assert path.stat().st_mode & 0o077 == 0
    login = json.loads(secrets.passwords_file(first).read_text())
    assert login == {"admin": one.admin_password}


def test_keys_survive_a_restart(here: State) -> None:
    """A second start reads what the first one generated: what was encrypted stays readable."""
    assert secrets.load(here) == secrets.load(here)


def test_the_key_for_personal_data_is_made_once_and_closed(tmp_path: Path) -> None:
    """Two installations hash differently, and each goes on with the key it has."""
    first, second = State(tmp_path / "a"), State(tmp_path / "b")
    key = secrets.pii_key(first)
    assert secrets.pii_key(first) == key != secrets.pii_key(second)
    (file,) = first.secrets.iterdir()
    assert file.stat().st_mode & 0o077 == 0
    file.write_text(f"{key}x")
    with pytest.raises(IntegrityError, match="Restore it") as caught:
        secrets.pii_key(first)
    assert key not in str(caught.value)


def test_the_key_for_personal_data_reaches_the_components(here: State) -> None:
    """What the operator sets wins: hosts that share a lake share the key."""
    given = component_environment(here, SERVER, PORTS, {})
    assert given["TENANTRY_PII_KEY"] == secrets.pii_key(here)
    own = component_environment(here, SERVER, PORTS, {"TENANTRY_PII_KEY": "f" * 64})
    assert own["TENANTRY_PII_KEY"] == "f" * 64


def test_the_demo_tenants_database_is_found_through_its_connection(here: State) -> None:
    """The connection without a host points at the embedded server's socket."""
    environment = component_environment(here, SERVER, PORTS, {})
    connection = json.loads(environment["AIRFLOW_CONN_STORE_292"])
    assert connection["host"] == "/run/pg"
    assert connection["schema"] == "store_292"
