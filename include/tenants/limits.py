"""What the operator lets one tenant use of the platform. A tenant's file cannot raise it.

`TENANTRY_LIMITS` names a YAML file of the operator, or holds its content: `default` for all,
`tenants` for those that may use more, or less. What it leaves out is as below.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import Field, ValidationError

from include.errors import ConfigError
from include.tenants import yaml_text
from include.tenants.config import MOST_SOURCES, MOST_USE_CASES, TenantConfig
from include.tenants.fields import (
    LONGEST_DURATION,
    Count,
    Day,
    Duration,
    StrictModel,
    TenantId,
    shortest_interval,
)
from include.tenants.wording import shown, spelled

VARIABLE: Final = "TENANTRY_LIMITS"
_LARGEST_FILE: Final = 1_000_000  #: bytes; the operator's own


class Limits(StrictModel):
    """What one tenant's file may ask for at most."""

    shortest_interval: Duration = timedelta(hours=1)  #: between two ticks of `schedule`
    concurrent_tasks: Count = Field(default=8, ge=1)  #: of `quota`
    trainings_per_day: Count = Field(default=24, ge=0)  #: of `quota`
    shortest_between_trainings: Duration = timedelta(days=1)  #: `retrain_every` and `cooldown`
    earliest_history: Day = date(1990, 1, 1)  #: `history_from`
    longest_retention: Duration = LONGEST_DURATION
    sources: Count = Field(default=20, ge=1, le=MOST_SOURCES)
    use_cases: Count = Field(default=20, ge=1, le=MOST_USE_CASES)


class _Changes(StrictModel):
    """The limits that an operator's file changes; the others are left as they are."""

    shortest_interval: Duration | None = None
    concurrent_tasks: Count | None = Field(default=None, ge=1)
    trainings_per_day: Count | None = Field(default=None, ge=0)
    shortest_between_trainings: Duration | None = None
    earliest_history: Day | None = None
    longest_retention: Duration | None = None
    sources: Count | None = Field(default=None, ge=1, le=MOST_SOURCES)
    use_cases: Count | None = Field(default=None, ge=1, le=MOST_USE_CASES)

    def given(self) -> dict[str, Any]:
        return {name: value for name, value in self if value is not None}


class OperatorLimits(StrictModel):
    """The operator's file."""

    default: _Changes = _Changes()
    tenants: dict[TenantId, _Changes] = Field(default_factory=dict)

    def of(self, tenant_id: str) -> Limits:
        """The limits that hold for one tenant."""
        own = self.tenants.get(tenant_id, _Changes())
        return Limits(**self.default.given() | own.given())


@dataclass(frozen=True)
class Exceeded:
    """Something a tenant's file asks for that the operator does not allow."""

    key: tuple[str | int, ...]  #: where it stands in the file
    value: str  #: as it stands there
    limit: str  #: the limit's name
    allowed: str

    def __str__(self) -> str:
        return (
            f"{self.allowed} ({self.limit}); only the platform's operator may change that limit, "
            f"in {VARIABLE}"
        )


def from_environment() -> OperatorLimits:
    """The limits of this installation.

    Raises:
        ConfigError: the operator's file is not there or not good. Nothing is loaded then: without
            it nobody knows what a tenant may use.
    """
    told = os.environ.get(VARIABLE, "").strip()
    if not told:
        return OperatorLimits()
    if told.startswith("{") or "\n" in told or ": " in told:
        return parse(told)
    return read(Path(told))


def read(path: Path) -> OperatorLimits:
    """The limits of an operator's file.

    Raises:
        ConfigError: it is not there or not good; one line per problem.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_LARGEST_FILE + 1)
        if len(text) > _LARGEST_FILE:
            raise ConfigError(f"larger than {_LARGEST_FILE:,} characters")
    except (OSError, ValueError, ConfigError) as error:
        raise ConfigError(f"{VARIABLE}: {path}: cannot be read: {error}") from None
    return parse(text, f"{path}: ")


def parse(text: str, where: str = "") -> OperatorLimits:
    """The limits that a text declares; `where` it stands begins each message.

    Raises:
        ConfigError: it is not good; one line per problem.
    """
    try:
        return OperatorLimits.model_validate(yaml_text.read(text, most_nodes=_LARGEST_FILE) or {})
    except ValidationError as error:
        raise ConfigError("\n".join(_problems(where, error))) from None
    except (ValueError, ConfigError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{VARIABLE}: {where}cannot be read: {reason[:300]}") from None


def exceeded(tenant: TenantConfig, limits: Limits) -> Iterator[Exceeded]:
    """Everything a tenant asks for beyond its limits."""
    interval = shortest_interval(tenant.schedule)
    if interval < limits.shortest_interval:
        yield Exceeded(
            ("schedule",),
            shown(tenant.schedule),
            "shortest_interval",
            f"ticks {spelled(interval)} apart; at least {spelled(limits.shortest_interval)} are "
            "allowed",
        )
    for name, most in (
        ("concurrent_tasks", limits.concurrent_tasks),
        ("trainings_per_day", limits.trainings_per_day),
    ):
        if (asked := getattr(tenant.quota, name)) > most:
            yield Exceeded(("quota", name), str(asked), name, f"at most {most:,} are allowed")
    for name, most in (("sources", limits.sources), ("use_cases", limits.use_cases)):
        if (count := len(getattr(tenant, name))) > most:
            yield Exceeded((name,), f"({count})", name, f"at most {most:,} are allowed")
    if tenant.history_from < limits.earliest_history:
        yield Exceeded(
            ("history_from",),
            str(tenant.history_from),
            "earliest_history",
            f"no day before {limits.earliest_history} is allowed",
        )
    for kind in ("events", "predictions"):
        if (kept := getattr(tenant.retention, kind)) > limits.longest_retention:
            yield Exceeded(
                ("retention", kind),
                spelled(kept),
                "longest_retention",
                f"at most {spelled(limits.longest_retention)} are allowed",
            )
    for name, overrides in tenant.use_cases.items():
        for key in ("retrain_every", "cooldown"):
            asked = getattr(overrides, key)
            if asked is not None and asked < limits.shortest_between_trainings:
                yield Exceeded(
                    ("use_cases", name, key),
                    spelled(asked),
                    "shortest_between_trainings",
                    f"at least {spelled(limits.shortest_between_trainings)} are allowed",
                )


def _problems(where: str, error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False)[:50]:
        key = ".".join(map(str, problem["loc"])) or "file"
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            known = ", ".join(
                sorted(Limits.model_fields if len(problem["loc"]) > 1 else ("default", "tenants"))
            )
            message = f"unknown key; known here: {known}"
        yield f"{VARIABLE}: {where}{key[:120]}: {message}"
