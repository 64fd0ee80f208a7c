"""The library: every reusable feature view, found by itself.

A view is a module-level `FeatureView` in any module of this folder; nothing lists them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

from include.errors import ConfigError, UnknownNameError
from include.features.views import FeatureView


@dataclass(frozen=True)
class LibraryEntry:
    """One view of the library and the module that declares it."""

    view: FeatureView
    module: str


def views() -> dict[str, FeatureView]:
    """Every view by its name: by module, then in the order of declaration."""
    return {name: entry.view for name, entry in entries().items()}


@cache
def entries() -> dict[str, LibraryEntry]:
    """`views` with the module of each.

    Raises:
        ConfigError: two views have the same name.
    """
    paths = sorted(Path(__file__).parent.glob("*.py"))
    names = [f"{__name__}.{path.stem}" for path in paths if path.stem != "__init__"]
    return collect(import_module(name) for name in names)


def collect(modules: Iterable[ModuleType]) -> dict[str, LibraryEntry]:
    """The module-level views of the modules, each once, however often it is imported."""
    found: dict[str, LibraryEntry] = {}
    for module in modules:
        for view in vars(module).values():
            if not isinstance(view, FeatureView):
                continue
            entry = found.setdefault(view.name, LibraryEntry(view, module.__name__))
            if entry.view is not view:
                raise ConfigError(
                    f"two feature views are called {view.name!r}: one in {entry.module}, one in "
                    f"{module.__name__}; give one of them another name"
                )
    return found


def get(name: str) -> FeatureView:
    """The view called `name`; raises `UnknownNameError` with the known ones and the closest."""
    known = views()
    if name not in known:
        raise unknown(name, known, "the library")
    return known[name]


def unknown(name: str, known: Iterable[str], where: str) -> UnknownNameError:
    """The error for a view that is not there, with the closest one that is."""
    error = UnknownNameError("feature view", name, known, where)
    if closest := get_close_matches(name, error.known, n=1):
        error.args = (f"{error}; did you mean {closest[0]!r}?",)
    return error
