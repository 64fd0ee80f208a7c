"""Reads the folder of tenant files. A bad file costs that tenant only."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from include.errors import ConfigError, UnknownNameError
from include.tenants.config import TenantConfig
from include.tenants.namespace import TENANT_ID

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LARGEST_FILE: Final = 1_000_000  #: bytes; a tenant file is a page, not a data set


@dataclass(frozen=True)
class Fleet:
    """What the folder holds: the good tenants by id, and what is wrong with the other files."""

    tenants: Mapping[str, TenantConfig]
    problems: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  #: file name → messages

    def __getitem__(self, tenant_id: str) -> TenantConfig:
        try:
            return self.tenants[tenant_id]
        except KeyError:
            raise UnknownNameError("tenant", tenant_id, self.tenants) from None


def tenants_folder() -> Path:
    """`$TENANTRY_TENANTS`, or the tenants that ship with the project."""
    return Path(os.environ.get("TENANTRY_TENANTS") or Path(__file__).parent / "config")


def load_fleet(folder: Path, known_use_cases: frozenset[str]) -> Fleet:
    """Every `*.yaml` of the folder, good and bad."""
    if not folder.is_dir():
        raise ConfigError(f"no folder of tenant files at {folder}; set TENANTRY_TENANTS to one")
    tenants: dict[str, TenantConfig] = {}
    origin: dict[str, str] = {}
    problems: dict[str, tuple[str, ...]] = {}
    for path in tenant_files(folder):
        try:
            tenant = load_tenant(path, known_use_cases)
        except ConfigError as error:
            problems[path.name] = tuple(str(error).splitlines())
            continue
        if tenant.id in tenants:
            problems[path.name] = (
                f"{path.name}: id: {tenant.id!r} is taken by {origin[tenant.id]}; ids must differ",
            )
            continue
        tenants[tenant.id] = tenant
        origin[tenant.id] = path.name
    return Fleet(tenants, problems)


def find_tenant(folder: Path, tenant_id: str, known_use_cases: frozenset[str]) -> TenantConfig:
    """One tenant, without reading the others where its file is named after it.

    Raises:
        UnknownNameError: no file of the folder has this id.
        ConfigError: its file is bad.
    """
    named = folder / f"{tenant_id}.yaml"
    if TENANT_ID.fullmatch(tenant_id) and named.is_file():
        tenant = load_tenant(named, known_use_cases)
        if tenant.id == tenant_id:
            return tenant
    return load_fleet(folder, known_use_cases)[tenant_id]


def tenant_files(folder: Path) -> Iterator[Path]:
    """The folder's tenant files, by name."""
    return iter(sorted(p for p in folder.iterdir() if p.suffix in (".yaml", ".yml")))


def load_tenant(path: Path, known_use_cases: frozenset[str]) -> TenantConfig:
    """One tenant file.

    Raises:
        ConfigError: one line per problem, each naming file, key, value and what is allowed.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ConfigError(f"{path.name}: larger than {_LARGEST_FILE:,} bytes")
        data = yaml.load(path.read_text(encoding="utf-8"), _LOADER)  # noqa: S506  (a SafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path.name}: cannot be read as YAML: {reason}") from None
    except (RecursionError, ValueError) as error:  # hostile nesting, impossible dates and numbers
        raise ConfigError(f"{path.name}: cannot be read as YAML: {error}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path.name}: must be a mapping of keys to values")
    try:
        tenant = TenantConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(path.name, error))) from None
    except RecursionError:
        raise ConfigError(f"{path.name}: nested too deeply") from None
    unknown = sorted(set(tenant.use_cases) - known_use_cases)
    if unknown:
        raise ConfigError(
            "\n".join(
                f"{path.name}: use_cases: {UnknownNameError('use case', name, known_use_cases)}"
                for name in unknown
            )
        )
    return tenant


def _explain(file: str, error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        keys = ".".join(str(part) for part in problem["loc"]) or "file"
        if problem["type"] == "extra_forbidden":
            known = ", ".join(_known_keys(problem["loc"]))
            yield f"{file}: {keys}: unknown key; known here: {known}"
        else:
            message = problem["msg"].removeprefix("Value error, ")
            yield f"{file}: {keys}: {_shown(problem['input'])}: {message}"


def _shown(value: Any) -> str:
    """The offending value, short and on one line."""
    text = "(nothing)" if value is None else ascii(value) if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """Field names of the model that holds the unknown key at `location`."""
    schema = TenantConfig.model_json_schema()
    node: dict[str, Any] = schema
    for part in location[:-1]:
        node = _step(schema, node, part)
    return sorted(_resolve(schema, node).get("properties", {})) or ["(see docs/operations.md)"]


def _step(schema: dict[str, Any], node: dict[str, Any], part: int | str) -> dict[str, Any]:
    node = _resolve(schema, node)
    if isinstance(part, int):
        return dict(node.get("items") or {})
    if part in node.get("properties", {}):
        return dict(node["properties"][part])
    mapping = node.get("discriminator", {}).get("mapping", {})
    if part in mapping:
        return {"$ref": mapping[part]}
    extra = node.get("additionalProperties")
    return dict(extra) if isinstance(extra, dict) else {}


def _resolve(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    for option in (node, *node.get("anyOf", ())):
        if "$ref" in option:
            return dict(schema["$defs"][option["$ref"].rsplit("/", 1)[-1]])
    return node
