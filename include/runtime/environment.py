"""The environment of every component: one function decides all of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from include.errors import ConfigError
from include.runtime import secrets, settings
from include.runtime.ports import HOST, Ports
from include.runtime.postgres import Postgres
from include.runtime.state import PROJECT, State

#: nothing that is installed here may phone home
TELEMETRY_OFF: Mapping[str, str] = {
    "DO_NOT_TRACK": "true",  # MLflow ignores "1"
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "SCARF_ANALYTICS": "false",
    "SCARF_NO_ANALYTICS": "true",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
}

#: Airflow sets the modes of task logs itself, whatever the umask; its defaults let everybody read
PRIVATE_LOGS: Mapping[str, str] = {
    "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FOLDER_PERMISSIONS": "0o700",
    "AIRFLOW__LOGGING__FILE_TASK_HANDLER_NEW_FILE_PERMISSIONS": "0o600",
}

#: variables that point at a server; a person who sets them brings that server along
DATABASE_VARIABLES = (
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
    "MLFLOW_TRACKING_URI",
    "TENANTRY_DATABASE_URL",
    "TENANTRY_ADMIN_DATABASE_URL",
)


def component_environment(
    state: State, server: Postgres, ports: Ports, base: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The whole environment of a component of this installation.

    What the caller's environment (`base`) sets wins over our defaults, so that any
    `AIRFLOW__SECTION__KEY` can be changed without editing a file; it never wins over what makes
    the components one installation, or over the telemetry switches.
    """
    if bool(base.get("TENANTRY_DATABASE_URL")) != bool(base.get("TENANTRY_ADMIN_DATABASE_URL")):
        raise ConfigError(
            "TENANTRY_DATABASE_URL and TENANTRY_ADMIN_DATABASE_URL belong together: the first is "
            "the login that owns nothing, the second the one that creates tables. Set both, or "
            "neither to use the embedded Postgres."
        )
    given = {name: value for name, value in base.items() if value}
    given.pop("PYTHONDONTWRITEBYTECODE", None)  # without .pyc files every start takes twice as long
    environment = {
        **_databases(server),
        **_defaults(state, ports),
        **_connections(server),
        **given,
        **_identity(state, ports),
        **PRIVATE_LOGS,
        **TELEMETRY_OFF,
    }
    # the MLflow server's name for what its clients call the tracking URI
    environment["MLFLOW_BACKEND_STORE_URI"] = environment["MLFLOW_TRACKING_URI"]
    return environment


def uses_embedded_postgres(environment: Mapping[str, str], server: Postgres) -> bool:
    """Whether any component of this environment lives in the embedded server."""
    embedded = _databases(server)
    return any(environment[name] == embedded[name] for name in DATABASE_VARIABLES)


def _databases(server: Postgres) -> dict[str, str]:
    return {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": server.sqlalchemy_url("airflow", "airflow"),
        "MLFLOW_TRACKING_URI": server.sqlalchemy_url("mlflow", "mlflow"),
        "TENANTRY_DATABASE_URL": server.dsn("tenantry", "tenantry_app"),
        "TENANTRY_ADMIN_DATABASE_URL": server.dsn("tenantry"),
    }


def _defaults(state: State, ports: Ports) -> dict[str, str]:
    cores = os.cpu_count() or 1
    return {
        "TENANTRY_LAKE": str(state.lake),
        "TENANTRY_SPOOL": str(state.spool),
        "TENANTRY_PII_KEY": secrets.pii_key(state),
        "TENANTRY_TENANTS": str(PROJECT / "include" / "tenants" / "config"),
        "OMP_NUM_THREADS": "1",  # parallelism comes from tasks, not from within them
        "MLFLOW_ENABLE_WORKSPACES": "true",
        "MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # twelve processes for a feature unused here
        # a name that a stranger's server resolves to this machine is not its own
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(
            f"{host}:{ports.mlflow}" for host in (HOST, "localhost")
        ),
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        # more slots than cores: a task waits for Postgres and the API much of its time
        "AIRFLOW__CORE__PARALLELISM": str(max(6, 2 * cores)),
        "AIRFLOW__CORE__MAX_ACTIVE_RUNS_PER_DAG": "4",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",  # the default asks a name server
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{secrets.ADMIN}:admin",
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__EXPOSE_CONFIG": "False",
        "AIRFLOW__API__INSTANCE_NAME": "Tenantry",
        # a finished task keeps its slot until its next heartbeat
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        # the API server may be restarted under running tasks; they outlast it
        "AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS": "30",
        "AIRFLOW__SCHEDULER__CREATE_CRON_DATA_INTERVALS": "True",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        # what a killed scheduler was running is taken up again within half a minute
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(state.logs / "tasks"),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(
            state.logs / "dag_processor"
        ),
    }


def _connections(server: Postgres) -> dict[str, str]:
    """Connections of airflow_settings.yaml that name no host live on the embedded server."""
    return {
        f"AIRFLOW_CONN_{connection.conn_id.upper()}": json.dumps(
            {
                "conn_type": connection.conn_type,
                "host": str(server.socket_dir),
                "login": connection.conn_login,
                "schema": connection.conn_schema,
            }
        )
        for connection in settings.load().connections
        if connection.is_embedded
    }


def _identity(state: State, ports: Ports) -> dict[str, str]:
    keys = secrets.load(state)
    return {
        "TENANTRY_HOME": str(state.home),
        # rows pass through temporary files: not in a folder that all users share
        "TMPDIR": str(state.temporary),
        "TENANTRY_API_PORT": str(ports.api),
        "TENANTRY_MLFLOW_PORT": str(ports.mlflow),
        "TENANTRY_MLFLOW_USER": secrets.ADMIN,
        "TENANTRY_MLFLOW_PASSWORD_FILE": str(secrets.mlflow_password_file(state)),
        "AIRFLOW_HOME": str(state.airflow),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__AUTH_MANAGER": (
            "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
        ),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(secrets.passwords_file(state)),
        "AIRFLOW__CORE__FERNET_KEY": keys.fernet_key,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{ports.airflow_url}/execution/",
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__PORT": str(ports.api),
        "AIRFLOW__API__BASE_URL": ports.airflow_url,
        "AIRFLOW__API__SECRET_KEY": keys.api_secret_key,
        "AIRFLOW__API_AUTH__JWT_SECRET": keys.jwt_secret,
    }
