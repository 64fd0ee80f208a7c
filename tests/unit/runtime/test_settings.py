"""airflow_settings.yaml is read strictly: a typing error is an error, not a missing pool."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.errors import ConfigError
from include.runtime import settings


def _load(tmp_path: Path, text: str) -> settings.AirflowSettings:
    path = tmp_path / "airflow_settings.yaml"
    path.write_text(text)
    return settings.load(path)


def test_the_shipped_file_has_the_pool_that_training_needs() -> None:
    """A pool that does not exist leaves tasks waiting for ever, so it must be in the file."""
    assert [(p.pool_name, p.pool_slot) for p in settings.load().pools] == [("training", 2)]


def test_empty_values_of_the_astro_format_are_allowed(tmp_path: Path) -> None:
    """Keys without a value, as the Astro CLI writes them, read as empty."""
    found = _load(
        tmp_path, "airflow:\n  connections:\n  - {conn_id: a, conn_type: http, conn_host: }\n"
    )
    assert found.connections[0].conn_host == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("airflow: {pools: [{pool_name: a, pool_slots: 2}]}", r"pools\.0\.pool_slots: unknown key;"
         r" known: pool_description, pool_name, pool_slot"),
        ("airflow: {pool: []}", r"airflow\.pool: unknown key; known: connections, pools"),
        ("airflows: {}", r"airflows: unknown key; known: airflow"),
        ("airflow: {pools: [{pool_name: a, pool_slot: 0}]}", r"pool_slot.*found 0"),
        ("airflow: {connections: [{conn_id: '../x', conn_type: http}]}", r"conn_id.*'\.\./x'"),
        ("airflow: {pools: [{pool_name: a, pool_slot: 1}, {pool_name: a, pool_slot: 2}]}",
         r"pool_name a stands there more than once"),
        ("airflow: [", r"is no YAML"),
        ("", r"airflow_settings\.yaml"),
    ],
)  # fmt: skip
def test_a_bad_file_names_the_key_and_what_is_allowed(
    tmp_path: Path, text: str, message: str
) -> None:
    """The error names the file, the key, the value and the known keys."""
    with pytest.raises(ConfigError, match=message):
        _load(tmp_path, text)


def test_every_mistake_is_reported_at_once(tmp_path: Path) -> None:
    """Two bad entries give one error that names both."""
    with pytest.raises(ConfigError, match=r"pools\.0\.pool_slot.*pools\.1\.colour"):
        _load(
            tmp_path,
            "airflow: {pools: [{pool_name: a, pool_slot: x},"
            " {pool_name: b, pool_slot: 1, colour: red}]}",
        )


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """Without the file the error says which file is missing."""
    with pytest.raises(ConfigError, match=r"absent\.yaml cannot be read"):
        settings.load(tmp_path / "absent.yaml")
