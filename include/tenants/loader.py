"""Reads the folder of tenant files. A bad file costs that tenant only."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from include.errors import ConfigError, UnknownNameError
from include.redaction import without_secrets
from include.tenants import limits as operator_limits
from include.tenants import yaml_text
from include.tenants.config import TenantConfig
from include.tenants.expressions import SEVERAL, joining
from include.tenants.limits import Limits, OperatorLimits
from include.tenants.namespace import TENANT_ID
from include.tenants.wording import ABSENT, shown

#: Bytes; a tenant file is a page, not a data set.
LARGEST_FILE: Final = 64 * 1024
#: Seconds of CPU time that reading one file may take. Its size bounds the work to some hundredth of
#: that; what takes longer all the same is left out, before the other tenants wait for it again.
BUDGET: Final = 1.0
#: Steps that stand for the forms that `where` may have.
_FORMS: Final = frozenset({"conditions", "expression"})
_MOST_PROBLEMS: Final = 50  #: lines told about one file

Clock = Callable[[], float]  #: CPU seconds


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
    limits = operator_limits.from_environment()
    loaded: list[tuple[str, TenantConfig]] = []
    problems: dict[str, tuple[str, ...]] = {}
    for path in tenant_files(folder):
        try:
            loaded.append((path.name, load_tenant(path, known_use_cases, limits)))
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


def load_tenant(
    path: Path,
    known_use_cases: frozenset[str],
    limits: OperatorLimits | None = None,
    *,
    clock: Clock = time.thread_time,
) -> TenantConfig:
    """One tenant file.

    Args:
        limits: what the operator allows; those of the environment if not given.
        clock: the CPU time that this thread has used.

    Raises:
        ConfigError: one line per problem, each naming file, key, value and what is allowed.
    """
    limits = limits or operator_limits.from_environment()
    started = clock()
    try:
        text = _text(path)
        data = yaml_text.read(text)
        _check_budget(clock() - started)
        tenant = _validated(path.name, text, data, known_use_cases)
        _check_budget(clock() - started)
        problems = _beyond(path.name, text, tenant, limits.of(tenant.id))
        _check_budget(clock() - started)
    except _ExplainedError:
        raise
    except ConfigError as error:
        raise ConfigError(f"{path.name}: {error}") from None
    except Exception as error:  # whatever a parser meets in a hostile file, the others go on
        reason = " ".join(without_secrets(str(error)[:2_000]).split()) or type(error).__name__
        raise ConfigError(f"{path.name}: cannot be read as YAML: {reason[:300]}") from None
    if problems:
        raise ConfigError("\n".join(problems))
    return tenant


class _ExplainedError(ConfigError):
    """Messages that name the file already."""


def _check_budget(spent: float) -> None:
    if spent > BUDGET:
        raise ConfigError(
            f"took {spent:.1f} s of CPU time to read, {BUDGET:g} s are allowed; it is left out. "
            "Shorten its lists"
        )


def _validated(file: str, text: str, data: Any, known_use_cases: frozenset[str]) -> TenantConfig:
    """The tenant that the file declares, or everything that is wrong with it."""
    if not isinstance(data, dict):
        raise ConfigError("must be a mapping of keys to values")
    try:
        tenant = TenantConfig.model_validate(data)
    except ValidationError as error:
        lines = list(islice(_explain(file, text, error), _MOST_PROBLEMS))
        if (more := error.error_count() - len(lines)) > 0 and len(lines) == _MOST_PROBLEMS:
            lines.append(f"{file}: and {more} problems more")
        asked = data.get("use_cases")
        names = list(asked) if isinstance(asked, dict) else []
        raise _ExplainedError(
            "\n".join([*lines, *_unknown(file, names, known_use_cases)])
        ) from None
    if unknown := _unknown(file, tenant.use_cases, known_use_cases):
        raise _ExplainedError("\n".join(unknown))
    return tenant


def _beyond(file: str, text: str, tenant: TenantConfig, limits: Limits) -> list[str]:
    """A line for everything beyond the operator's limits."""
    found = list(islice(operator_limits.exceeded(tenant, limits), _MOST_PROBLEMS))
    at = yaml_text.lines(text) if found else {}
    return [
        f"{file}: {'.'.join(map(str, one.key))}: {one.value}: {one}{_line(at, one.key)}"
        for one in found
    ]


def _unknown(file: str, asked: Iterable[str], known: frozenset[str]) -> list[str]:
    """A line per use case that there is not."""
    return [
        f"{file}: use_cases: {UnknownNameError('use case', _plain(name), known)}"
        for name in sorted(set(asked) - known)[:_MOST_PROBLEMS]
    ]


def _text(path: Path) -> str:
    """The file's text.

    Raises:
        ConfigError: it is no regular file, or too large.
        OSError, UnicodeError: it cannot be read.
    """
    if not path.is_file():
        raise ConfigError("is not a regular file")
    # Without waiting for a writer: the file could have become a pipe since.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ConfigError("is not a regular file")
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise ConfigError(f"larger than {LARGEST_FILE:,} bytes; a tenant file is a page")
    return content.decode("utf-8")


def _explain(file: str, text: str, error: ValidationError) -> Iterator[str]:
    problems = error.errors(include_url=False)
    at = yaml_text.lines(text)
    holding = {problem["loc"][:-1] for problem in problems}
    for problem in problems:
        where = problem["loc"]
        if problem["type"] == "too_short" and any(one[: len(where)] == where for one in holding):
            continue  # its parts are there, and none of them is good
        keys = ".".join(map(_plain, _steps(where))) or "file"
        line = _line(at, where)
        if problem["type"] == "extra_forbidden":
            known = ", ".join(_known_keys(where))
            yield f"{file}: {keys}: unknown key; known here: {known}{line}"
        elif problem["type"] == "missing":
            yield f"{file}: {keys}: {ABSENT}: this key is required{line}"
        else:
            message = problem["msg"].removeprefix("Value error, ")
            if problem["type"] == SEVERAL:
                message = joining(_last_name(where), problem["ctx"]["columns"])
            yield f"{file}: {keys}: {shown(problem['input'])}: {message}{line}"


def _line(at: Mapping[tuple[str | int, ...], int], where: tuple[int | str, ...]) -> str:
    """Where in the file it is, as far as the key leads: ` (line 12)`."""
    path: tuple[int | str, ...] = ()
    for part in where:
        # What a message names beside the file's own keys, such as a connector's type, is no step.
        path = (*path, part) if (*path, part) in at else path
    found = at.get(path) if path else None
    return f" (line {found})" if found else ""


def _steps(where: tuple[int | str, ...]) -> Iterator[int | str]:
    """The keys of a place, without how a value of theirs was read."""
    for before, part in zip((None, *where), where, strict=False):
        if not (before == "where" and part in _FORMS):
            yield part


def _last_name(where: tuple[int | str, ...]) -> str:
    """The innermost key of a place: beyond may be a position, or how a value was read."""
    names = [part for part in where if isinstance(part, str) and re.fullmatch(r"\w+", part)]
    return names[-1] if names else "NAME"


def _plain(part: int | str) -> str:
    """A key as it stands in the file, or escaped where it would not stay on one line."""
    text = str(part)
    return text if text.isprintable() and len(text) <= 80 else shown(text)


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """Field names of the model that holds the unknown key at `location`."""
    schema = _schema()
    node: dict[str, Any] = schema
    for part in location[:-1]:
        node = _step(schema, node, part)
    known = _resolve(schema, node).get("properties", {}).items()
    written = sorted(name for name, one in known if not one.get("readOnly"))  # not by programs
    return written or ["(see docs/operations.md)"]


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
