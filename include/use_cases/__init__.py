"""What is predicted: one declaration per file, named as the file is.

Importing this package costs nothing but the standard library; `names` reads the folder and `get`
imports the one module that is asked for.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from include.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from include.use_cases.declaration import UseCase

#: Modules of this folder that declare no use case.
_SHARED: Final = frozenset(
    {
        "__init__",
        "candidates",
        "declaration",
        "details",
        "drift_policy",
        "kept",
        "losses",
        "reach",
        "spines",
    }
)


def names() -> frozenset[str]:
    """Every use case there is."""
    return frozenset(path.stem for path in Path(__file__).parent.glob("*.py")) - _SHARED


def get(name: str) -> UseCase:
    """The use case declared in `{name}.py`.

    Raises:
        UnknownNameError: no such file.
        ConfigError: the file does not declare a `USE_CASE` of its own name.
    """
    if name not in names():
        raise UnknownNameError("use case", name, names())
    found: UseCase | None = getattr(import_module(f"{__name__}.{name}"), "USE_CASE", None)
    if found is None or found.name != name:
        raise ConfigError(
            f"include/use_cases/{name}.py must declare USE_CASE = UseCase({name!r}, …)"
        )
    return found
