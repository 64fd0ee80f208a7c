"""Reads the folder of tenant files. A bad file costs that tenant only."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from include.errors import ConfigError, UnknownNameError
from include.tenants.config import TenantConfig
from include.tenants.namespace import TENANT_ID

_SAFE_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LARGEST_FILE: Final = 1_000_000  #: bytes; a tenant file is a page, not a data set
_DEEPEST: Final = 20  #: levels; libyaml's own recursion ends the process at some 100,000
_MOST_PROBLEMS: Final = 50  #: lines told about one file
_ABSENT: Final = "(nothing)"


class _Loader(_SAFE_LOADER):  # type: ignore[misc, valid-type]
    """Safe YAML in which a key stands once: PyYAML lets the last of two silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(keys)) < len(keys):
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ConfigError(f"the key {_shown(twice)} stands there twice")
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


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
    loaded: list[tuple[str, TenantConfig]] = []
    problems: dict[str, tuple[str, ...]] = {}
    for path in tenant_files(folder):
        try:
            loaded.append((path.name, load_tenant(path, known_use_cases)))
        except ConfigError as error:
            problems[path.name] = tuple(str(error).splitlines())
    tenants: dict[str, TenantConfig] = {}
    origin: dict[str, str] = {}
    # A file named after its tenant comes first, here as in `find_tenant`.
    for file, tenant in sorted(loaded, key=lambda found: found[0] != f"{found[1].id}.yaml"):
        if tenant.id in tenants:
            taken = f"{tenant.id!r} is taken by {origin[tenant.id]}; ids must differ"
            problems[file] = (f"{file}: id: {taken}",)
        else:
            tenants[tenant.id] = tenant
            origin[tenant.id] = file
    return Fleet(dict(sorted(tenants.items())), dict(sorted(problems.items())))


def find_tenant(folder: Path, tenant_id: str, known_use_cases: frozenset[str]) -> TenantConfig:
    """One tenant, without reading the others where its file is named after it.

    Raises:
        UnknownNameError: no file of the folder has this id.
        ConfigError: its file is bad.
    """
    problem = None
    if TENANT_ID.fullmatch(tenant_id) and (named := folder / f"{tenant_id}.yaml").is_file():
        try:
            tenant = load_tenant(named, known_use_cases)
        except ConfigError as error:
            problem = error
        else:
            if tenant.id == tenant_id:
                return tenant
    fleet = load_fleet(folder, known_use_cases)
    if problem is not None and tenant_id not in fleet.tenants:
        raise problem
    return fleet[tenant_id]


def tenant_files(folder: Path) -> Iterator[Path]:
    """The folder's tenant files, by name."""
    return iter(sorted(p for p in folder.iterdir() if p.suffix in (".yaml", ".yml")))


def load_tenant(path: Path, known_use_cases: frozenset[str]) -> TenantConfig:
    """One tenant file.

    Raises:
        ConfigError: one line per problem, each naming file, key, value and what is allowed.
    """
    data = _read(path)
    if not isinstance(data, dict):
        raise ConfigError(f"{path.name}: must be a mapping of keys to values")
    try:
        tenant = TenantConfig.model_validate(data)
    except ValidationError as error:
        lines = list(islice(_explain(path.name, error), _MOST_PROBLEMS))
        if (more := error.error_count() - len(lines)) > 0 and len(lines) == _MOST_PROBLEMS:
            lines.append(f"{path.name}: and {more} problems more")
        asked = data.get("use_cases")
        names = [name for name in asked if isinstance(name, str)] if isinstance(asked, dict) else []
        raise ConfigError("\n".join([*lines, *_unknown(path, names, known_use_cases)])) from None
    if unknown := _unknown(path, tenant.use_cases, known_use_cases):
        raise ConfigError("\n".join(unknown))
    return tenant


def _unknown(path: Path, asked: Iterable[str], known: frozenset[str]) -> list[str]:
    """A line per use case that there is not."""
    return [
        f"{path.name}: use_cases: {UnknownNameError('use case', _plain(name), known)}"
        for name in sorted(set(asked) - known)[:_MOST_PROBLEMS]
    ]


def _read(path: Path) -> Any:
    """The file as plain YAML values, or a ConfigError, whatever the file holds."""
    try:
        if not path.is_file():  # reading a pipe or a device might never end
            raise ConfigError("is not a regular file")
        if path.stat().st_size > _LARGEST_FILE:
            raise ConfigError(f"larger than {_LARGEST_FILE:,} bytes")
        text = path.read_text(encoding="utf-8")
        _refuse_bombs(text)
        return yaml.load(text, _Loader)  # noqa: S506  (a SafeLoader)
    except ConfigError as error:
        raise ConfigError(f"{path.name}: {error}") from None
    except Exception as error:  # for a hostile scalar PyYAML raises whatever its parsers meet
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"{path.name}: cannot be read as YAML: {reason[:300]}") from None


def _refuse_bombs(text: str) -> None:
    """Refuse what is small as text and huge, or deep, once it is built."""
    depth = 0
    for event in yaml.parse(text, _SAFE_LOADER):
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError(f"aliases are not allowed; write out what *{event.anchor} stands for")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST:
                raise ConfigError(f"nested more than {_DEEPEST} levels deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _explain(file: str, error: ValidationError) -> Iterator[str]:
    problems = error.errors(include_url=False)
    for problem in problems:
        within = [
            one for one in problems if one["loc"][:-1][: len(problem["loc"])] == problem["loc"]
        ]
        if problem["type"] == "too_short" and within:
            continue  # its parts are there, and none of them is good
        keys = ".".join(_plain(part) for part in problem["loc"]) or "file"
        if problem["type"] == "extra_forbidden":
            known = ", ".join(_known_keys(problem["loc"]))
            yield f"{file}: {keys}: unknown key; known here: {known}"
        elif problem["type"] == "missing":
            yield f"{file}: {keys}: {_ABSENT}: this key is required"
        else:
            message = problem["msg"].removeprefix("Value error, ")
            yield f"{file}: {keys}: {_shown(problem['input'])}: {message}"


def _plain(part: int | str) -> str:
    """A key as it stands in the file, or escaped where it would not stay on one line."""
    text = str(part)
    return text if text.isprintable() and len(text) <= 80 else _shown(text)


def _shown(value: Any) -> str:
    """The offending value, short and on one line."""
    text = _ABSENT if value is None else ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """Field names of the model that holds the unknown key at `location`."""
    schema = _schema()
    node: dict[str, Any] = schema
    for part in location[:-1]:
        node = _step(schema, node, part)
    return sorted(_resolve(schema, node).get("properties", {})) or ["(see docs/operations.md)"]


@cache
def _schema() -> dict[str, Any]:
    return TenantConfig.model_json_schema()


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
