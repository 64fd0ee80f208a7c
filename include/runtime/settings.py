"""airflow_settings.yaml: the pools, connections and variables that every deployment starts with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from include.errors import ConfigError
from include.runtime.state import PROJECT

FILE = PROJECT / "airflow_settings.yaml"


def _empty(value: Any) -> Any:
    return "" if value is None else value


Text = Annotated[str, BeforeValidator(_empty)]
Name = Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9_.-]+$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Pool(_Strict):
    """A number of slots that the tasks naming this pool share."""

    pool_name: Name
    pool_slot: int = Field(ge=1)
    pool_description: Text = ""


class Variable(_Strict):
    """A value that tasks read at run time."""

    variable_name: Name
    variable_value: Text = ""


class Connection(_Strict):
    """Where an external system is and how to log in there."""

    conn_id: Name
    conn_type: Name
    conn_host: Text = ""
    conn_schema: Text = ""
    conn_login: Text = ""
    conn_password: Text = ""
    conn_port: int | None = Field(default=None, ge=1, le=65535)
    conn_uri: Text = ""
    conn_extra: dict[str, Any] | Text = ""

    @property
    def is_embedded(self) -> bool:
        """A Postgres without a host is a database on the embedded server."""
        return self.conn_type == "postgres" and not self.conn_host and not self.conn_uri


class AirflowSettings(_Strict):
    """The whole file, below its one key `airflow`."""

    connections: tuple[Connection, ...] = ()
    pools: tuple[Pool, ...] = ()
    variables: tuple[Variable, ...] = ()


class _File(_Strict):
    airflow: AirflowSettings


def load(path: Path = FILE) -> AirflowSettings:
    """The file's content; raises ConfigError naming every unknown key and impossible value."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        found = _File.model_validate(content).airflow
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML: {error}") from error
    except ValidationError as error:
        raise ConfigError(f"{path}: " + "; ".join(map(_explain, error.errors()))) from error
    for kind, names in (
        ("conn_id", [c.conn_id for c in found.connections]),
        ("pool_name", [p.pool_name for p in found.pools]),
        ("variable_name", [v.variable_name for v in found.variables]),
    ):
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"{path}: {kind} {', '.join(twice)} stands there more than once")
    return found


_KNOWN: dict[str, type[_Strict]] = {"connections": Connection, "pools": Pool, "variables": Variable}


def _explain(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] != "extra_forbidden":
        return f"{where}: {error['msg']} (found {error['input']!r})"
    parts = [part for part in error["loc"][:-1] if isinstance(part, str)]
    model = _KNOWN.get(parts[-1], AirflowSettings) if parts else _File
    known = sorted(model.model_fields)
    return f"{where}: unknown key; known: {', '.join(known)}"
