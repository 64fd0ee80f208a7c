"""Ports: from the environment, and a busy one is explained."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from include.errors import ConfigError, UnavailableError
from include.runtime.ports import Ports, from_environment, require_free


@pytest.fixture
def busy() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def _unused() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_the_environment_moves_a_port() -> None:
    """Each address can be moved by its own variable."""
    ports = from_environment({"TENANTRY_API_PORT": "9090"})
    assert (ports.airflow_url, ports.mlflow_url) == (
        "http://127.0.0.1:9090",
        "http://127.0.0.1:5000",
    )


@pytest.mark.parametrize("text", ["http", "0", "65536", "-1", "80 80", "٣٣"])
def test_what_is_no_port_is_refused_by_name(text: str) -> None:
    """An impossible value names the variable and the range."""
    with pytest.raises(ConfigError, match=r"TENANTRY_MLFLOW_PORT is .* from 1 to 65535"):
        from_environment({"TENANTRY_MLFLOW_PORT": text})


def test_a_busy_port_names_the_port_its_holder_and_the_variable(busy: int) -> None:
    """The message holds all a person needs: which port, who has it, what to set."""
    with pytest.raises(UnavailableError) as caught:
        require_free(Ports(api=busy, mlflow=_unused()))
    message = str(caught.value)
    assert f"port {busy} of Airflow is in use by process {os.getpid()}" in message
    assert "TENANTRY_API_PORT" in message
    assert "MLflow" not in message


def test_all_busy_ports_are_named_at_once(busy: int) -> None:
    """Two conflicts give one error, so that nobody has to start three times."""
    with pytest.raises(UnavailableError, match=r"TENANTRY_API_PORT.*TENANTRY_MLFLOW_PORT"):
        require_free(Ports(api=busy, mlflow=busy))


def test_free_ports_pass() -> None:
    """Nothing is raised where nobody listens."""
    require_free(Ports(api=_unused(), mlflow=_unused()))
