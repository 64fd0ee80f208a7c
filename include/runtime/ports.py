"""The two addresses a person opens: read from the environment, checked before anything starts."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import psutil

from include.errors import ConfigError, UnavailableError

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Ports:
    """Loopback ports of the Airflow and MLflow web servers."""

    api: int = 8080
    mlflow: int = 5000

    @property
    def airflow_url(self) -> str:
        return f"http://{HOST}:{self.api}"

    @property
    def mlflow_url(self) -> str:
        return f"http://{HOST}:{self.mlflow}"


#: what to call the port in a message, and the variable that moves it
_NAMES = {"api": ("Airflow", "TENANTRY_API_PORT"), "mlflow": ("MLflow", "TENANTRY_MLFLOW_PORT")}


def from_environment(environment: Mapping[str, str]) -> Ports:
    """The ports the variables ask for; raises ConfigError for what is no port."""
    return Ports(**{field: _port(environment, field) for field in _NAMES})


def require_free(ports: Ports) -> None:
    """Raises UnavailableError naming every busy port, who holds it, and the variable to set."""
    busy = [
        f"port {port} of {owner} is in use{_holder(port)}: "
        f"stop that process, or set {variable} to another port"
        for field, (owner, variable) in _NAMES.items()
        if not _is_free(port := getattr(ports, field))
    ]
    if busy:
        raise UnavailableError("; ".join(busy) + ".")


def _port(environment: Mapping[str, str], field: str) -> int:
    variable = _NAMES[field][1]
    text = environment.get(variable) or str(getattr(Ports, field))
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise ConfigError(f"{variable} is {text!r}; it must be a port from 1 to 65535")
    return int(text)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _holder(port: int) -> str:
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                if connection.pid is None:
                    break
                name = psutil.Process(connection.pid).name()
                return f" by process {connection.pid} ({name})"
    return " by another process"
