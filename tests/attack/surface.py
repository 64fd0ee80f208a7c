"""Every function of ours that is told whose data it works on: what the harness has to attack.

Found by looking, not by listing, so that a function added tomorrow is attacked tomorrow, or a test
says what the harness needs to know first.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, is_dataclass
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, Final

PACKAGES: Final = (
    "include.storage",
    "include.ingestion",
    "include.quality",
    "include.features",
    "include.training",
    "include.registry",
    "include.scoring",
    "include.monitoring",
    "include.stores",
    "include.pipeline",
    "include.tenants",
)
#: Modules that are not imported here, and why.
LEFT_OUT: Final = {
    "include.storage.migrations": "Alembic's own, run by the superuser before there is any row",
    "include.features.spark": "needs a Java; reads the lake through `lake.Lake`, which is attacked",
    "include.pipeline.dags": "composition: Airflow objects, no data",
    "include.pipeline.operators": "composition: calls `steps`",
    "include.pipeline.platform_dags": "composition: Airflow objects, no data",
    "include.pipeline.drift_sensor": "composition: calls `stores.retrains`",
    "include.pipeline.connections": "composition: Airflow's connections",
}
#: Functions that are not called, and why.
NOT_CALLED: Final = {
    "storage.rows.drop_silo": "drops the principal's own database, which nothing puts back",
    "pipeline.in_process.run_global": "the operator's: reaches consents of all owners by design, "
    "and trains each by functions that are attacked one by one",
}
_TENANT: Final = ("TenantRef", "TenantConfig")


@dataclass(frozen=True)
class Parameter:
    """One that has to be given."""

    name: str
    kind: str  #: its annotation, as written
    optional: bool
    by_keyword: bool
    starred: bool = False


@dataclass(frozen=True)
class Function:
    """A function, or a method of a class, that takes a tenant."""

    name: str  #: from its package on: `scoring.stage.score`, `storage.lake.Lake.get`
    call: Callable[..., Any]
    parameters: tuple[Parameter, ...]
    of: str = ""  #: the class whose instance comes first
    made_with: tuple[
        Parameter, ...
    ] = ()  #: what that instance is made with, where it is a tenant's

    @property
    def kinds(self) -> frozenset[str]:
        """Annotations of all that has to be given."""
        return frozenset(one.kind for one in (*self.parameters, *self.made_with))

    def takes(self, *names: str) -> bool:
        """Whether an annotation names one of these types."""
        return any(name in kind for kind in self.kinds for name in names)


@cache
def functions() -> tuple[Function, ...]:
    """The whole surface, by name."""
    found = {one.name: one for module in _modules() for one in _of(module)}
    return tuple(found[name] for name in sorted(found.keys() - NOT_CALLED.keys()))


def _modules() -> Iterator[ModuleType]:
    for package in PACKAGES:
        top = import_module(package)
        yield top
        for one in pkgutil.walk_packages(top.__path__, f"{package}."):
            if not any(one.name == out or one.name.startswith(f"{out}.") for out in LEFT_OUT):
                yield import_module(one.name)


def _of(module: ModuleType) -> Iterator[Function]:
    short = module.__name__.removeprefix("include.")
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", "") != module.__name__:
            continue
        if inspect.isclass(value):
            yield from _of_class(f"{short}.{name}", value)
        elif callable(value):
            function = Function(f"{short}.{name}", value, _parameters(value))
            if function.takes(*_TENANT):
                yield function


def _of_class(name: str, value: type) -> Iterator[Function]:
    """Methods that take a tenant, and all methods of what is made for one.

    A dataclass that holds a tenant is a noun: it opens nothing by itself.
    """
    if getattr(value, "_is_protocol", False):
        return
    made_with = () if is_dataclass(value) else _parameters(value.__init__)  # type: ignore[misc]
    holds = any(tenant in one.kind for one in made_with for tenant in _TENANT)
    for method, content in vars(value).items():
        public = not method.startswith("_") or method == "__call__"
        if not public or not (inspect.isfunction(content) or isinstance(content, classmethod)):
            continue
        bound = isinstance(content, classmethod)
        call = getattr(value, method)
        function = Function(
            f"{name}.{method}",
            call,
            _parameters(call),
            "" if bound else value.__name__,
            made_with if holds and not bound else (),
        )
        if function.takes(*_TENANT):
            yield function


def _parameters(call: Callable[..., Any]) -> tuple[Parameter, ...]:
    try:
        signature = inspect.signature(call)
    except (TypeError, ValueError):
        return ()
    return tuple(
        Parameter(
            one.name,
            str(one.annotation),
            one.default is not one.empty,
            one.kind is one.KEYWORD_ONLY,
            one.kind is one.VAR_POSITIONAL,
        )
        for one in signature.parameters.values()
        if one.name not in ("self", "cls")
    )
