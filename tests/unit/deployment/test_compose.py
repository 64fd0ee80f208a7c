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
TLS: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.tls.yaml").read_text())
OURS = {name: service for name, service in SERVICES.items() if service.get("build")}
VARIABLE = re.compile(r"\$\{([A-Z_]+)(:[?-][^}]*)?\}")

#: What the embedded default sets and the scaled deployment means differently, or has no use for.
DIFFERENT = {
    *("AIRFLOW_HOME", "TENANTRY_LAKE", "TENANTRY_TENANTS", "TENANTRY_HOME", "TENANTRY_SPOOL"),
    *("TENANTRY_DATABASE_URL", "TENANTRY_ADMIN_DATABASE_URL", "MLFLOW_TRACKING_URI"),
    *("MLFLOW_BACKEND_STORE_URI", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"),
    *("TENANTRY_API_PORT", "TENANTRY_MLFLOW_PORT", "AIRFLOW_CONN_STORE_292", "TMPDIR"),
    *("TENANTRY_MLFLOW_USER", "TENANTRY_MLFLOW_PASSWORD_FILE", "MLFLOW_SERVER_ALLOWED_HOSTS"),
    *("AIRFLOW__CORE__DAGS_FOLDER", "AIRFLOW__CORE__PLUGINS_FOLDER"),
    *("AIRFLOW__LOGGING__BASE_LOG_FOLDER",),
    *("AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY",),
    *("AIRFLOW__CORE__EXECUTOR", "AIRFLOW__CORE__PARALLELISM", "AIRFLOW__CORE__AUTH_MANAGER"),
    *("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS",),
    *("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE",),
    "TENANTRY_PII_KEY",
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
    """Postgres, Redis, the init job, Airflow's five components, housekeeping and MLflow."""
    assert set(SERVICES) == {
        *("postgres", "redis", "init", "api-server", "scheduler", "dag-processor"),
        *("triggerer", "housekeeping", "worker", "mlflow"),
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
        for folder in ("storage", "tenants", "registry", "pipeline", "ingestion")
        for path in (PROJECT / "include" / folder).rglob("*.py")
    ]
    texts.append((PROJECT / "include" / "wiring.py").read_text(encoding="utf-8"))
    pattern = re.compile(r"(?:environ\.get\(|environ\[|database_url\(\s*)\"([A-Z_]+)\"")
    return {name for text in texts for name in pattern.findall(text)}


#: Who may delete Airflow's runs is the operator's choice; without one, retention says so.
RUN_RETENTION = {
    *("TENANTRY_AIRFLOW_USER", "TENANTRY_AIRFLOW_PASSWORD_FILE"),
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE",
}
#: Places of the embedded default; a container has TENANTRY_LAKE, TENANTRY_SOURCES and TMPDIR.
EMBEDDED_PLACES = {"TENANTRY_HOME", "TENANTRY_SPOOL"}


def test_every_variable_the_stages_read_is_set_where_they_run() -> None:
    """Whatever storage, wiring, registry, pipeline and ingestion look up, a worker has, which runs
    them all; the pages and the triggers have what leads to the tenants' tables."""
    wanted = _required_by_the_code() - {"TENANTRY_ADMIN_DATABASE_URL"}
    wanted -= RUN_RETENTION | EMBEDDED_PLACES
    assert {"TENANTRY_DATABASE_URL", "TENANTRY_LAKE", "MLFLOW_TRACKING_URI"} <= wanted
    assert "TENANTRY_SOURCES" in wanted
    set_by_image = set(re.findall(r"^ENV (\w+)=", (PROJECT / "Dockerfile").read_text(), re.M))
    assert not wanted - set(_environment("worker")) - set_by_image
    for service in ("api-server", "triggerer"):
        for variable in ("TENANTRY_DATABASE_URL", "TENANTRY_LAKE", "TENANTRY_TENANTS", "TMPDIR"):
            assert variable in _environment(service), service


def test_sources_read_what_is_mounted_for_them() -> None:
    """Each tenant from its own part of the folder of sources, and nothing else of the host."""
    grants = yaml.safe_load(_environment("worker")["TENANTRY_SOURCES"])
    assert grants["default"]["roots"] == ["/var/lib/tenantry/sources/{tenant}"]
    assert grants["default"]["connections"] == ["{tenant}"]
    assert _mounts("worker")["/var/lib/tenantry/sources"] == "ro"


#: Each secret, and all that may know it. What is not here is no secret.
KNOWN_TO = {
    "POSTGRES_PASSWORD": {"postgres", "init"},
    "AIRFLOW_DATABASE_PASSWORD": {
        *("init", "api-server", "scheduler", "dag-processor", "triggerer", "housekeeping"),
    },
    "CELERY_DATABASE_PASSWORD": {"init", "scheduler", "housekeeping", "worker"},
    "MLFLOW_DATABASE_PASSWORD": {"init", "worker", "mlflow"},
    "TENANTRY_DATABASE_PASSWORD": {"init", "api-server", "triggerer", "worker"},
    "REDIS_PASSWORD": {"redis", "scheduler", "worker"},
    "AIRFLOW_FERNET_KEY": {"init", "api-server", "scheduler", "triggerer"},
    "AIRFLOW_JWT_SECRET": {"api-server", "scheduler"},
    "AIRFLOW_API_SECRET_KEY": {"api-server"},
    "TENANTRY_ADMIN_PASSWORD": {"init"},
    "TENANTRY_MLFLOW_PASSWORD": {"mlflow"},
    "TENANTRY_PII_KEY": {"worker"},
}


@pytest.mark.parametrize("secret", KNOWN_TO)
def test_a_secret_is_known_to_whom_it_serves_and_nobody_else(secret: str) -> None:
    """Also with TLS on top; above all, where tenants' data is worked on nobody knows Airflow's
    keys, its database or the superuser."""
    pattern = re.compile(rf"\$\{{{secret}\W")
    for compose in (COMPOSE, TLS):
        found = {
            name for name, service in compose["services"].items() if pattern.search(str(service))
        }
        assert found == KNOWN_TO[secret] if compose is COMPOSE else found <= KNOWN_TO[secret]
    assert set(initialise.REQUIRED) <= set(_environment("init"))


def test_no_secret_is_missing_in_that_list() -> None:
    """Every variable that must be set is a secret with its list, a digest or a folder."""
    required = {
        name
        for compose in (COMPOSE, TLS)
        for name, rest in VARIABLE.findall(str(compose))
        if rest.startswith(":?")
    }
    others = {name for name in required if name.endswith("_DIGEST")} | {"TENANTRY_CERTIFICATES"}
    assert required - others == set(KNOWN_TO)


def test_the_password_in_a_url_is_the_one_its_login_is_made_with() -> None:
    """All services use the same URL for the same database."""
    for variable in ("TENANTRY_DATABASE_URL", "MLFLOW_TRACKING_URI", *initialise.FOREIGN_DATABASES):
        urls = {_environment(name)[variable] for name in OURS if variable in _environment(name)}
        assert len(urls) == 1
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
    used |= dict(VARIABLE.findall(str(TLS["services"])))
    lines = (PROJECT / ".env.example").read_text().splitlines()
    required = {line.partition("=")[0]: line for line in lines if re.match(r"[A-Z_]+=", line)}
    optional = {m[1] for line in lines if (m := re.match(r"#   ([A-Z_]+)=", line))}
    required_with_tls = {"TENANTRY_CERTIFICATES"}
    assert optional >= required_with_tls
    optional -= required_with_tls
    used = {name: rest for name, rest in used.items() if name not in required_with_tls}
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


def _mounts(service: str) -> dict[str, str]:
    """Where folders of the host or of a volume stand in a container, each `rw` or `ro`."""
    found = {}
    for mount in SERVICES[service].get("volumes", ()):
        text = re.sub(r"\$\{[^}]*\}", "host", mount)
        place, _, mode = text.rpartition(":") if text.endswith(":ro") else (text, "", "rw")
        found[place.rpartition(":")[2]] = mode
    return found


#: Who sees which folder, and whether they may write there; `tmp` is each container's own.
FOLDERS = {
    "/var/lib/tenantry/lake": {"worker": "rw", "api-server": "ro", "mlflow": "ro"},
    "/var/lib/tenantry/logs": dict.fromkeys(
        ("api-server", "scheduler", "dag-processor", "triggerer", "worker"), "rw"
    ),
    "/etc/tenantry/tenants": dict.fromkeys(("init", "api-server", "dag-processor", "worker"), "ro"),
    "/var/lib/tenantry/sources": {"worker": "ro"},
    "/var/lib/tenantry/tmp": dict.fromkeys(OURS, "rw"),
}


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_is_mounted_where_it_is_needed_and_written_where_it_must(folder: str) -> None:
    """A worker on any host sees the same lake and tenants, and writes logs where the UI reads;
    who only looks cannot write."""
    found = {name: _mounts(name)[folder] for name in OURS if folder in _mounts(name)}
    assert found == FOLDERS[folder]


def test_no_other_folder_is_mounted() -> None:
    """Neither a folder of the host, nor Docker's socket; every volume is declared."""
    for name in OURS:
        assert set(_mounts(name)) <= set(FOLDERS), name
    named = {
        mount.split(":")[0]
        for service in SERVICES.values()
        for mount in service["volumes"]
        if not mount.startswith((".", "/", "$"))
    }
    assert named == set(COMPOSE["volumes"])
    for name in OURS:
        environment = _environment(name)
        assert environment["TENANTRY_LAKE"] in FOLDERS
        assert environment["TENANTRY_TENANTS"] in FOLDERS
        assert environment["TMPDIR"] in FOLDERS
        assert environment["AIRFLOW__LOGGING__BASE_LOG_FOLDER"].startswith(
            "/var/lib/tenantry/logs/"
        )


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
    owned = text[text.index("useradd") :]
    assert "chown" not in owned, "what is installed belongs to root, not to who runs it"
    assert not re.search(r"PASSWORD|SECRET|FERNET|TOKEN", text)
    for folder in ("/var/lib/tenantry/lake", "/var/lib/tenantry/logs"):
        assert folder in text
    version = re.search(r"^FROM python:(\d+\.\d+)-slim\S*@\$\{BASE_DIGEST\}$", text, re.M)
    assert version is not None
    assert version[1] in ("3.11", "3.12", "3.13")


# what an attacker in a container finds


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_confined(name: str) -> None:
    """No capability, no way to gain one, a root that cannot be written, no other user's rights."""
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    loosening = {"privileged", "cap_add", "pid", "ipc", "network_mode", "devices", "userns_mode"}
    assert not loosening & set(service)
    if name not in OURS:  # the image of ours says so itself
        user, _, group = service["user"].partition(":")
        assert int(user) > 0
        assert int(group) > 0


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_limits(name: str) -> None:
    """Memory, cores and processes: one service cannot take the host from the others."""
    service = SERVICES[name]
    memory = re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", str(service["mem_limit"]))
    assert re.fullmatch(r"[0-9]+[mg]", memory)
    assert 0 < float(re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", str(service["cpus"]))) <= 8
    assert 0 < service["pids_limit"] <= 1000
    for entry in service["tmpfs"]:
        assert re.search(r"size=\d+m", entry), f"{name}: {entry} could take all memory"


def test_what_only_some_may_reach_is_in_a_network_of_its_own() -> None:
    """The database, the broker and what tasks report to have no way in or out but their peers;
    MLflow cannot reach the broker, nor the parser of tenant files anything but the database."""
    networks = {name: set(service["networks"]) for name, service in SERVICES.items()}
    assert networks == {
        "postgres": {"database"},
        "redis": {"broker"},
        "init": {"database"},
        "api-server": {"database", "control", "edge"},
        "scheduler": {"database", "broker"},
        "dag-processor": {"database"},
        "triggerer": {"database"},
        "housekeeping": {"database"},
        "worker": {"database", "broker", "control", "sources"},
        "mlflow": {"database", "edge"},
    }
    internal = {name for name, one in COMPOSE["networks"].items() if one.get("internal")}
    assert internal == {"database", "broker", "control"}
    assert set().union(*networks.values()) == set(COMPOSE["networks"])
    for name, service in SERVICES.items():
        assert bool(service.get("ports")) == ("edge" in networks[name]), name


def test_every_image_is_named_by_its_digest() -> None:
    """A tag is whatever its owner makes of it; the variable has no default, and says what fills
    it in: `make digests`, which asks for the very tags."""
    makefile = (PROJECT / "Makefile").read_text()
    dockerfile = (PROJECT / "Dockerfile").read_text()
    for name, service in SERVICES.items():
        if name in OURS:
            assert service["build"]["args"]["BASE_DIGEST"].startswith("${TENANTRY_BASE_DIGEST:?")
            continue
        tag, _, digest = service["image"].partition("@")
        found = re.fullmatch(r"\$\{TENANTRY_([A-Z]+)_DIGEST:\?`make digests` prints it\}", digest)
        assert found is not None
        assert f"{found[1]}={tag}" in makefile
    base = re.search(r"^FROM (\S+)@", dockerfile, re.M)
    assert base is not None
    assert f"BASE={base[1]}" in makefile


def test_the_image_installs_what_is_locked_and_nothing_else() -> None:
    """Every file's digest is checked, nothing is resolved, and nothing is fetched to build us."""
    installs = re.findall(r"^RUN (pip install .*)$", (PROJECT / "Dockerfile").read_text(), re.M)
    assert len(installs) == 2
    assert all("--no-deps" in one for one in installs)
    assert "--require-hashes --requirement requirements.txt" in installs[0]
    assert "--no-build-isolation --editable ." in installs[1]


def test_no_password_is_an_argument() -> None:
    """The host's process list shows arguments to everybody: secrets are in the environment."""
    for compose in (COMPOSE, TLS):
        for name, service in compose["services"].items():
            command = service.get("command", [])
            assert not VARIABLE.findall(str(command)), name
            assert "--requirepass" not in str(command)


# TLS


def test_with_tls_every_connection_is_checked() -> None:
    """The same services with the same URLs, each with what makes it secure and verified."""
    assert set(TLS["services"]) == set(SERVICES)
    trusted = "/run/certificates/ca.crt"
    for name, service in TLS["services"].items():
        assert service["volumes"] == [
            "${TENANTRY_CERTIFICATES:?the folder of certificates}:/run/certificates:ro"
        ]
        plain, secure = _environment(name), dict(service.get("environment") or {})
        for key, value in plain.items():
            if "@postgres:" in value:
                assert secure[key] == f"{value}?sslmode=verify-full&sslrootcert={trusted}", key
            if "@redis:" in value:
                verified = f"?ssl_cert_reqs=required&ssl_ca_certs={trusted}"
                assert secure[key] == value.replace("redis:", "rediss:", 1) + verified
            if value.startswith("http://api-server"):
                assert secure[key] == value.replace("http:", "https:", 1)


def test_with_tls_no_server_takes_a_connection_without() -> None:
    """Postgres and Redis have no other door; both web servers serve with their certificates."""
    command = {name: " ".join(TLS["services"][name].get("command", [])) for name in SERVICES}
    assert "hostssl all all all scram-sha-256" in command["postgres"]
    assert not re.search(r"\bhost all|hostnossl|trust", command["postgres"])
    assert "ssl=on" in command["postgres"]
    assert "docker-entrypoint.sh postgres" in command["postgres"]
    assert r"port 0\ntls-port 6379" in command["redis"]
    for option in ("--ssl-certfile /run/certificates/mlflow.crt", "--app-name tenantry"):
        assert option in command["mlflow"]
    served = TLS["services"]["api-server"]["environment"]
    for part in ("CERT", "KEY"):
        assert served[f"AIRFLOW__API__SSL_{part}"].startswith("/run/certificates/api-server.")


def test_a_settings_of_the_plain_command_survives_tls() -> None:
    """A command that is replaced keeps every option of the one it replaces."""
    for name in ("postgres", "mlflow"):
        replaced = " ".join(TLS["services"][name]["command"])
        for word in SERVICES[name]["command"]:
            assert word in replaced, (name, word)
